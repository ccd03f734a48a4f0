// SPDX-License-Identifier: PostgreSQL
#pragma once

// One watched server: its connection, its schedule, its engine. Holds one connection, opened at start and kept; polls
// on aligned ticks and looks early when a session comes due; carries out what the engine decides; reconnects by itself.

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"
#include "core/compare.h"
#include "core/engine.h"
#include "daemon/target_context.h"
#include "output/view.h"
#include "pg/conninfo.h"
#include "pg/error.h"
#include "util/cleanup.h"

struct target;

// What just happened, for the owner (app or oneshot). Called from the target's own timers and ios, never from a call
// into the target; the owner must not free the target from it.
enum target_news {
    TARGET_POLLED, // a complete poll went through the engine, and what it decided was carried out or given up
    TARGET_FAILED, // a connect or a poll failed: see target_error()
};

struct target_options {
    const struct target_config *config; // borrowed for the target's life
    struct conninfo *conninfo;          // borrowed; password and resolved addresses are set in it at each connect
    struct policy *policy;              // a reference is taken
    bool enforce;                       // false: observe, whatever policy and config say
    bool competes;                      // with other watchdogs: of those that enforce, one acts
    bool surveys;                       // reads at each connect what target_compare() needs
    void (*fn)(void *userdata, struct target *target, enum target_news news, usec_t now); // may be NULL
    void *userdata;
};

int target_new(struct target_context *context, const struct target_options *options, struct target **ret);
struct target *target_free(struct target *target); // NULL-safe, returns NULL; closes at once
DEFINE_CLEANUP(struct target *, target_free)

void target_start(struct target *target, usec_t now);
// Stops looking, settles what is pending as unverified (events go to the sinks), closes.
void target_stop(struct target *target, usec_t now);
// Other options from now on, under the same name; fn and userdata stay. `reconnect`: the server is reached in another
// way, so the connection is exchanged as soon as the acts under way are settled; otherwise options->conninfo must be
// the object of before. The old config and policy are not used any more.
void target_reconfigure(struct target *target, const struct target_options *options, bool reconnect, usec_t now);
// Stops for good: its alarms are cleared as well.
void target_retire(struct target *target, usec_t now);
// One round of somebody else's rules; one at a time. Polls soon. What becomes of it is told by the visit's own
// callbacks; it is the caller's, and borrowed until then. -EBUSY: there is one; -ENOTCONN: the server is down
// (target_error()), or nothing may be done through this connection.
struct visit;
int target_visit(struct target *target, struct visit *visit, usec_t now);
void target_end_visit(struct target *target, usec_t now); // its time is over; it ends from the loop

// The context's pauses have changed: what was not sent yet is not.
void target_note_pause(struct target *target, usec_t now);
// Polls now instead of at the next tick (oneshot: to verify what was ended).
void target_poll_soon(struct target *target, usec_t now);

// It has been polled, or it is known why not: what "ready" means to a service manager.
bool target_has_verdict(const struct target *target);
// Its work goes on: see vitals_are_good(). What the service manager's watchdog is fed by.
bool target_is_alive(const struct target *target, usec_t now);
// Slots as of the last complete poll; false: it is down.
bool target_slots(const struct target *target, int64_t *ret_used, int64_t *ret_usable);
bool target_is_locked_out(const struct target *target); // down, for lack of a slot

const char *target_name(const struct target *target);
const struct engine *target_engine(const struct target *target);
// Acts sent and not settled, or waiting to be recorded.
bool target_is_busy(const struct target *target);
// Why it is down; kind NONE while it is up.
const struct pg_error *target_error(const struct target *target);
// What engine_compare() says, once it has been polled. -EAGAIN: there was no survey, see *ret_error, or no poll.
int target_compare(const struct target *target, bool is_only, struct comparison *ret,
                   const struct pg_error **ret_error);
// The self-check's last findings, for report; borrowed until the next connect.
const struct event *target_findings(const struct target *target, size_t *ret_n);
// How it goes, without the summary; cheap. Borrowed from the target until it runs again.
void target_status(const struct target *target, struct view_target *ret);
