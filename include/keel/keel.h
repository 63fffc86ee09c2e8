/* keel/keel.h - everything. include/keel is all that is public; kernel/README.md is the tour of what is behind it. */
#ifndef KEEL_H
#define KEEL_H

#include <keel/diagnostic.h>
#include <keel/error.h>
#include <keel/event.h>
#include <keel/housekeeping.h>
#include <keel/lease.h>
#include <keel/limit.h>
#include <keel/module.h>
#include <keel/retry.h>
#include <keel/run.h>
#include <keel/schedule.h>
#include <keel/store.h>
#include <keel/tokens.h>
#include <keel/value.h>
#include <keel/version.h>
#include <keel/worker.h>

#endif
