// SPDX-License-Identifier: PostgreSQL
#pragma once

// What the service manager is told (sd_notify(3)): ready, reloading, stopping, one line of status, and that the work
// goes on. Never blocks: a manager that does not read is told again later. Without $NOTIFY_SOCKET all of it does
// nothing.

#include <stdbool.h>

#include "daemon/loop.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

// READY is sent after this even if some server has no verdict yet: what is ordered after us must not wait for ever, and
// a start that times out would end us.
#define NOTIFY_READY_WITHIN USEC_PER_MINUTE
#define NOTIFY_EVERY (5 * USEC_PER_SEC) // status; more often when the watchdog is shorter

// Who knows. Called from within the calls below and from the loop.
struct notify_source {
    bool (*is_ready)(void *userdata);
    bool (*is_alive)(void *userdata, usec_t now);
    void (*describe)(void *userdata, usec_t now, struct strbuf *sb); // one line, printable
    void *userdata;
};

struct notify;

// NULL: out of memory.
struct notify *notify_new(struct loop *loop, const struct notify_source *source);
struct notify *notify_free(struct notify *notify); // NULL-safe, returns NULL
DEFINE_CLEANUP(struct notify *, notify_free)

void notify_start(struct notify *notify, usec_t now);
// Something may have become ready: READY is sent if so.
void notify_check(struct notify *notify, usec_t now);
// Around a reload, whether it changed something or was refused.
void notify_reloading(struct notify *notify, usec_t now);
void notify_reloaded(struct notify *notify, usec_t now);
void notify_stopping(struct notify *notify);
