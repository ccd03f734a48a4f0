// SPDX-License-Identifier: PostgreSQL
#pragma once

// One round of somebody else's rules on a target, over its connection and beside its own engine: `pgvigil reap` by a
// running daemon. A second engine, forked from the target's, judges the next full scan; what it decides is recorded,
// sent by the same guarded statement and verified like any other act, and the target's own rules leave those sessions
// alone meanwhile. Whom they are ending already, it leaves alone.

#include <stdbool.h>
#include <stddef.h>

#include "core/engine.h"
#include "daemon/sinks.h"
#include "executor.h"
#include "pg/error.h"

struct visit_options {
    struct policy *policy; // a reference is taken; enforces: it acts, else it tells whom it would act on
    struct event_asker asker;
    // Decisions (would-be ones too) and outcomes, as they come; from the loop.
    void (*on_event)(void *userdata, const struct event *event);
    // It is over, and the target has let go of it: it may be freed, but not from here. Not told when the target stops.
    void (*on_end)(void *userdata, usec_t now);
    void *userdata;
};

struct visit {
    struct visit_options options;
    struct sinks *sinks;
    struct executor *executor;
    struct engine *engine; // NULL: no scan has come yet
    struct policy *none;   // without rules: it decides once
    size_t n_unsettled;    // decided, and without an outcome
    bool has_ended;
    bool is_attached; // the target still has it
    bool failed;      // before it could decide: error says why
    struct pg_error error;
    int64_t n_held[N_HELD_REASONS_]; // as of its decisions
};

int visit_new(struct sinks *sinks, const struct visit_options *options, struct visit **ret); // 0 or -ENOMEM
struct visit *visit_free(struct visit *visit);                                               // NULL-safe, returns NULL

// The rest is the target's to call.

// After the target's own engine has taken it. ids that were decided on are in *ret_held (free it), for the target's own
// engine to leave alone. 0 or -ENOMEM.
int visit_take_scan(struct visit *visit, const struct engine *engine, const struct scan *scan, usec_t now,
                    struct session_id **ret_held, size_t *ret_n_held);
int visit_settle(struct visit *visit, usec_t now); // hands the executor's results to the engine. 0 or -ENOMEM
void visit_lost(struct visit *visit, usec_t now);  // the connection is gone
void visit_stop(struct visit *visit, usec_t now);  // what is open is settled as unverified
void visit_fail(struct visit *visit, const struct pg_error *error); // it could not begin
