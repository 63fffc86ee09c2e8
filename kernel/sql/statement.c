/* statement.c - what is done to the statements of all drivers alike. */
#include "sql/sql.h"

#include <string.h>

int keel_sql_parameters(const char *text)
{
	int highest = 0;
	for (const char *at = strchr(text, '?'); at; at = strchr(at + 1, '?')) {
		int number = 0;
		for (const char *digit = at + 1; *digit >= '0' && *digit <= '9'; digit++)
			number = number * 10 + (*digit - '0');
		highest = number > highest ? number : highest;
	}
	return highest;
}

enum keel_code keel_run_statement(struct keel_statement *statement, struct keel_error *err)
{
	bool row;
	enum keel_code code = keel_step(statement, &row, err);
	keel_reset(statement);
	return code;
}
