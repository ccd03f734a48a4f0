// SPDX-License-Identifier: PostgreSQL
#pragma once

// The deciding part for one target: a pure function of its own memory and one typed input with `now`. It reads no
// clock, does no I/O and logs nothing. Everything that changes it enters through engine_step().

#include <stdbool.h>
#include <stddef.h>

#include "core/decision.h"
#include "core/event.h"
#include "core/policy.h"
#include "core/session.h"
#include "core/summary.h"

// Constants of time that the tests know too.
#define ENGINE_LINGERING_AFTER (10 * USEC_PER_SEC) // a terminated session still there is lingering
#define ENGINE_RETRY_AFTER (60 * USEC_PER_SEC)     // not signalled again for this long (lingering, failed)
#define ENGINE_DENIED_RETRY (10 * USEC_PER_MINUTE) // nor for this long after the server denied the right
#define ENGINE_CANCEL_SETTLES (10 * USEC_PER_SEC)  // a cancelled query still there then is still_running
#define ENGINE_CLOCK_STEP (2 * USEC_PER_SEC)       // a server clock that moved this much against ours has stepped
#define ENGINE_LOOKS_APART (100 * USEC_PER_MSEC)   // looks are at least this far apart
#define ENGINE_LOOK_SHARE                                                                                              \
    10                      // and this many times the last look's duration: at most 10 % of the
                            // server's time goes into them
#define ENGINE_LOOK_MAX 200 // sessions in one look; more wait for the next one
#define ENGINE_VERIFY_FIRST                                                                                            \
    (100 * USEC_PER_MSEC)                      // when to look first whether a terminated session is gone; the
                                               // waits then double
#define ENGINE_HELD_REPEAT (60 * USEC_PER_SEC) // held_back is repeated for a rule and reason at most so often

enum engine_input_kind {
    ENGINE_INPUT_SCAN,   // what a poll or a look brought
    ENGINE_INPUT_ACT,    // what came back for one decision
    ENGINE_INPUT_LOST,   // the connection is gone: nothing known is current until the next full scan
    ENGINE_INPUT_POLICY, // the rules to apply from now on
    ENGINE_INPUT_STOP,   // we stop: settle what is pending as unverified
};

struct engine_input {
    enum engine_input_kind kind;
    union {
        const struct scan *scan; // read during the step only
        struct {
            uint64_t serial; // of the decision
            enum act_result result;
            const char *sqlstate; // with DENIED and FAILED, else NULL
            const char *message;
        } act;
        struct {
            struct policy *policy; // the engine takes its own reference
            bool enforce;          // the target's part: false = observe, whatever the policy says
        } policy;
    };
};

// What a step brings. Borrowed from the engine, valid until its next step; events about an act also borrow the input's
// sqlstate and message.
struct engine_result {
    const struct decision *decisions; // enforcing ones alone: these are to be carried out, in this order
    size_t n_decisions;
    const struct event *events; // to be said, in this order, apart from the intents below
    size_t n_events;
    // decisions[i]'s intent, to be recorded before it is carried out.
    const struct event *intents;
    usec_t look_at; // look at these sessions then; USEC_INFINITY: nobody comes due
    const struct session_id *look;
    size_t n_look;
};

struct engine;

struct engine *engine_new(const char *target);     // NULL: out of memory
struct engine *engine_free(struct engine *engine); // NULL-safe, returns NULL
DEFINE_CLEANUP(struct engine *, engine_free)

// 0, or -ENOMEM: then nothing was decided, and nothing will be before the next full scan that succeeds.
int engine_step(struct engine *engine, const struct engine_input *input, usec_t now, const struct engine_result **ret);

// The state by value. 0 or -ENOMEM.
int engine_summarize(const struct engine *engine, struct summary *ret);
