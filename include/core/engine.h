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

#define ENGINE_GAP_POLLS 3

// Always-on alarms that the shell tells of. Those that the engine sees by itself: full, lingering, thrashing.
enum condition {
    CONDITION_LOCKED_OUT,        // critical: we are refused for lack of slots
    CONDITION_OWN_LIMIT,         // critical: 53300 from a role's or a database's limit
    CONDITION_UNREACHABLE,       // critical
    CONDITION_BLIND,             // critical: not allowed to see other sessions
    CONDITION_POWERLESS,         // warning: not allowed to signal them
    CONDITION_POOLED_CONNECTION, // critical: observe only
    CONDITION_LEADER_UNKNOWN,    // warning: our lock is held under another role
    N_CONDITIONS_,
};
#define N_CONDITIONS ((unsigned)N_CONDITIONS_)
const char *condition_to_string(enum condition condition); // "locked_out", ...
// Always-on alarms of a target, those that the engine sees by itself first. NULL: there are no more.
const char *engine_alarm_name(size_t i);

enum engine_input_kind {
    ENGINE_INPUT_SCAN,       // what a poll or a look brought
    ENGINE_INPUT_ACT,        // what came back for one decision
    ENGINE_INPUT_LOST,       // the connection is gone: nothing known is current until the next full scan
    ENGINE_INPUT_POLICY,     // the rules to apply from now on; what is equal to before keeps its memory
    ENGINE_INPUT_LEADERSHIP, // whether we are the one watchdog that acts
    ENGINE_INPUT_PAUSE,      // what an operator has paused, all of it: nothing, single rules or everything
    ENGINE_INPUT_HOLD,       // somebody else acts on these sessions: they are left alone for a while
    ENGINE_INPUT_CONDITION,  // a condition that only the shell can see has begun or ended: an always-on alarm
    ENGINE_INPUT_STOP,       // we stop: settle what is pending as unverified
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
            int64_t pressure_at;   // percent of usable slots; 0: never pressed
            usec_t poll_interval;  // without a complete poll for ENGINE_GAP_POLLS of these: a gap; 0: never
        } policy;
        bool leads;
        struct {
            bool all;
            const char *const *rules; // names, also of rules that this policy does not have; read during the step only
            size_t n_rules;
        } pause;
        struct {
            const struct session_id *ids; // read during the step only
            size_t n_ids;
            usec_t until;
        } hold;
        struct {
            enum condition condition;
            bool holds;
            const char *detail; // a sentence; NULL: none
            const char *hint;
        } condition;
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
    bool pressed;   // poll at the pressure interval: usage is at or above pressure_at, or the slots fill fast
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

// A second engine beside this one that knows what it knows of the sessions, also whom it is ending, and has rules of
// its own, without budgets spent and pauses: for a command. It is to be fed the same scans from here on. -EAGAIN:
// nothing complete is known; -ENOMEM.
int engine_fork(const struct engine *engine, struct policy *policy, bool enforce, struct engine **ret);

// The state by value. 0 or -ENOMEM.
int engine_summarize(const struct engine *engine, struct summary *ret);

// For a policy not yet in force: how many sessions of the current snapshot each of its rules (timeouts, then quotas)
// would end now, in their order: over the limit, not protected, keep and pressure heeded; budgets and `for` are not.
// Rules that log count what they would report. ENGINE_PREVIEW_UNKNOWN: it depends on queries, or on who blocks whom,
// that the policy in force did not ask for. -EAGAIN: nothing complete is known; -ENOMEM.
#define ENGINE_PREVIEW_UNKNOWN (-1)
int engine_preview(const struct engine *engine, struct policy *policy, int64_t *ret_counts);
