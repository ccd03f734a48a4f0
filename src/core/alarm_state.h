// SPDX-License-Identifier: PostgreSQL
#pragma once

// What is remembered of alarms: see alarm.h.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/engine.h"
#include "core/event.h"
#include "core/policy.h"
#include "forecast.h"
#include "snapshot.h"
#include "util/strbuf.h"

#define ALARM_MAX_GROUPS 1000           // of one alarm with a state; what comes later counts as one, named "other"
#define ALARM_VALUE_UNKNOWN INT64_MAX   // of a group: not known, or never
#define ALARM_MAX_HOLDERS 5             // named in an event; the rest is "other N"
#define ALARM_CLEAR (10 * USEC_PER_SEC) // `full` and `forged_name` clear after this long
#define ALARM_FORGED_NAME_MAX 5         // sessions of one user that may bear one built-in name

// Always-on alarms. Behind them stand the conditions of engine.h: ALARM_CONDITION().
enum alarm_builtin {
    ALARM_FULL,        // critical: no usable slot is left
    ALARM_LINGERING,   // warning: sessions that were ended are still there
    ALARM_THRASHING,   // warning: ending sessions does not help, the clients come straight back
    ALARM_FORGED_NAME, // warning: more sessions of one user than is likely are protected by one built-in name
    N_ALARM_BUILTINS_,
};
#define N_ALARM_BUILTINS ((unsigned)N_ALARM_BUILTINS_)
#define ALARM_CONDITION(condition) (N_ALARM_BUILTINS + (unsigned)(condition))
#define ALARM_N_FIXED (N_ALARM_BUILTINS + N_CONDITIONS)

// Of an alarm_key, in `flags`.
#define ALARM_KEY_APP 1u    // names[0] is an app of the file
#define ALARM_KEY_OTHER 2u  // all groups beyond ALARM_MAX_GROUPS
#define ALARM_KEY_FORGED 4u // names[0] is a built-in name
#define ALARM_KEY_TEXT 8u   // names[0] is printable as it is

// One state. Raised when what is over a threshold has been so for `for`; lower only when it has not been so for
// `clear_after`.
struct alarm_group {
    struct alarm_key {
        const char *names[4]; // interned: app (or the group of an always-on alarm), user, database, application_name
        struct address client;
        unsigned flags;
    } key;                                     // padding is zero: it is hashed as bytes
    char *label;                               // printable; NULL: the alarm has this one only
    uint64_t seen;                             // the latest full scan that had sessions of it
    int64_t value;                             // of the latest full scan, as it is judged
    int64_t shown;                             // and as it is told; the same but for percentages
    usec_t over_since[SEVERITY_CRITICAL + 1];  // by severity: without a break; USEC_INFINITY: it is not
    usec_t under_since[SEVERITY_CRITICAL + 1]; // the opposite
    enum severity severity;
    enum severity told; // what was said last
    // Of the latest change of severity.
    int64_t changed_value; // as it is told
    int64_t threshold;
    usec_t held_for;
    char *detail;
    char *hint;
    enum severity told_before; // `told_in` step
    uint64_t told_in;
    UT_hash_handle hh;
};

// An alarm and its groups.
struct alarm_set {
    char *name;
    const struct alarm *alarm;  // the policy's; NULL: always on, or removed
    enum severity fixed;        // of an always-on alarm
    const char *removed;        // why it is not in the policy any more; NULL: it is
    bool by_query;              // its selectors ask for the statement: judged session by session
    struct alarm_group *groups; // while raised, pending, or in use
    struct alarm_group *only;   // during alarms_measure(): of an alarm that counts all together; else NULL
};

struct alarms {
    const char *target;
    struct snapshot *snapshot;
    struct policy *policy;   // reference; NULL before the first
    struct alarm_set **sets; // always-on ones, the policy's in its order, removed ones until their end has been told
    size_t n_sets;
    struct forecast forecast;
    usec_t gap_after;
    usec_t seen_at; // the latest full scan; USEC_INFINITY: none yet
    uint64_t scan;  // its number
    uint64_t step;
    int64_t postmaster_start; // of that scan
    bool dirty;               // alarms_tell() has something to do
    uint64_t generation;      // of what origins remember of groups: another one when a group has gone

    // Made by alarms_tell(), valid until the next alarms_begin().
    struct event *events;
    size_t n_events;
    size_t events_capacity;
    struct strbuf holders;
};

static inline struct interner *alarms_interner(const struct alarms *alarms) {
    return alarms->snapshot->origins.interner;
}
