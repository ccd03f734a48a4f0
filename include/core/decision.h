// SPDX-License-Identifier: PostgreSQL
#pragma once

// What the engine wants done to one session, why, with the numbers, and the test that must still hold in the very
// statement that does it (P1).

#include <stdbool.h>
#include <stdint.h>

#include "core/policy.h"
#include "core/session.h"

enum outcome {
    OUTCOME_NONE,          // not known yet
    OUTCOME_GONE,          // terminated, and a later look no longer saw it
    OUTCOME_LINGERING,     // terminated 10 s ago and still there
    OUTCOME_CHANGED,       // spared: it moved on between the poll and the statement
    OUTCOME_LEFT,          // had gone by itself
    OUTCOME_DENIED,        // the server refused: no right to signal it
    OUTCOME_FAILED,        // the statement failed otherwise
    OUTCOME_CANCELLED,     // cancelled, and a later look saw that query no more
    OUTCOME_STILL_RUNNING, // cancelled, and the query still runs
    OUTCOME_UNKNOWN,       // the connection broke after it was sent
    OUTCOME_UNVERIFIED,    // we stopped before we could see
    N_OUTCOMES_,
};
#define N_OUTCOMES ((unsigned)N_OUTCOMES_)
const char *outcome_to_string(enum outcome outcome); // "gone", "lingering", ...

// Why a session that a rule named was not acted on.
enum held_reason {
    HELD_PROTECTED,
    HELD_KEEP,
    HELD_SHARE,
    HELD_BUDGET,
    HELD_OBSERVE,
    HELD_PAUSED,
    HELD_BREAKER,
    HELD_UNRECORDED,
    N_HELD_REASONS_,
};
#define N_HELD_REASONS ((unsigned)N_HELD_REASONS_)
const char *held_reason_to_string(enum held_reason reason);

// What came back from the guarded statement.
enum act_result {
    ACT_SIGNALLED,
    ACT_CHANGED,    // the test failed: NULL. What was measured has changed
    ACT_SPARED,     // the same, but that is unchanged: it is protected by now, renamed, or nobody waits for it any more
    ACT_LEFT,       // no row
    ACT_DENIED,     // SQLSTATE 42501
    ACT_FAILED,     // any other error, or false
    ACT_UNKNOWN,    // sent, and the connection broke
    ACT_UNSENT,     // not sent: the connection broke before
    ACT_UNRECORDED, // not sent: no log sink took the intent
};

// More than these are not asked of: each costs the server a look at all of its locks.
#define GUARD_MAX_WAITERS 8

// The test of the guarded statement, next to (pid, backend_start): all of these are as they were.
struct guard_test {
    struct session_id id;
    uint32_t user_oid;
    uint32_t database_oid;
    const char *application_name;
    unsigned states; // SESSION_STATE_BIT()s, one of which it must be in; 0: any that a rule may judge
    enum session_time time;
    int64_t at;          // the value of that column
    int64_t query_start; // TIMESTAMP_NONE: not tested; else it must still be this (the rule asked for the query)
    // Protections that can begin between the poll and the statement.
    bool spare_listeners;
    bool spare_maintenance;
    bool spare_superusers;
    // `when: blocks`: of these pids at least so many must still wait for its locks; 0: not tested.
    int64_t waiters[GUARD_MAX_WAITERS];
    size_t n_waiters;
    size_t n_waiting;
};

struct decision {
    uint64_t serial; // unique within the engine
    enum action action;
    bool enforce;               // false: to be reported only
    const char *rule;           // borrowed from the policy
    size_t rule_index;          // its place among the policy's timeouts; quotas follow them
    const char *app;            // label of the group, printable: the app's name, or the quoted application_name
    struct session_row session; // strings live as long as the decision
    struct guard_test test;
    usec_t observed; // age in what the rule measures, when it was last exact
    usec_t limit;
    bool by_usage; // of a `when: usage` rule; then of so many slots so many were used
    int64_t used;
    int64_t usable;
    // Why, beyond the age. All EVENT_NUMBER_NONE (see event.h) where it does not apply.
    const char *group;   // quotas: its label, printable; NULL: none
    int64_t held;        // quotas: sessions that the group held
    int64_t allowed;     // quotas: sessions that it may hold
    int64_t n_blocked;   // `when: blocks`: sessions that it held up
    const char *blocked; // their pids, "4711, 4712 and 3 more"; NULL: none
};
