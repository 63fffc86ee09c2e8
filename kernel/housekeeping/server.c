/* server.c - what there is to know of the server that has a store. Uses: store. */
#include <keel/housekeeping.h>

#include <string.h>

#include "base/error.h"
#include "store/store.h"

enum keel_code keel_store_server(struct keel_store *store, struct keel_server *server, struct keel_error *err)
{
	memset(server, 0, sizeof *server);
	enum keel_code code = keel_store_check(store, err);
	if (code == KEEL_OK && !store->sql->driver->look_at_server)
		code = keel_fail(err, KEEL_NOT_SUPPORTED, "the store is on no server");
	if (code != KEEL_OK)
		return code;
	int64_t before = keel_store_now(store);
	code = store->sql->driver->look_at_server(store->sql, server, err);
	if (code == KEEL_OK) /* it looked some time in between */
		server->skew_us = server->clock - before - (keel_store_now(store) - before) / 2;
	return code;
}
