/* statement.c - what is done to the statements of all drivers alike. */
#include "sql/sql.h"

enum keel_code keel_run_statement(struct keel_statement *statement, struct keel_error *err)
{
	bool row;
	enum keel_code code = keel_step(statement, &row, err);
	keel_reset(statement);
	return code;
}
