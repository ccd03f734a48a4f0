// SPDX-License-Identifier: PostgreSQL
#pragma once

// Something a person should know: the entries of `alarms`, and the always-on ones. An alarm has one state for each
// group that it counts by. What is found goes into the states; alarms_tell() makes events of how they differ from what
// was said last, so that an event that was lost with a step that ran out of memory is said by the next one.

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

// The snapshot stays the caller's. 0 or -ENOMEM; to be deinited in either case, before the snapshot.
int alarms_init(struct alarms *alarms, const char *target, struct snapshot *snapshot);
void alarms_deinit(struct alarms *alarms);

void alarms_begin(struct alarms *alarms); // a new step of the engine
// Alarms that are equal keep their states; removed ones that were raised clear. After `gap_after` without a full scan
// timers start again. 0, or -ENOMEM: nothing has changed.
int alarms_set_policy(struct alarms *alarms, struct policy *policy, usec_t gap_after);
// Judges the full scan that the snapshot has just taken in. 0 or -ENOMEM.
int alarms_step(struct alarms *alarms, int64_t n_lingering, usec_t now);
// Raises or clears an always-on alarm, at once; saying the same again changes nothing. `group` tells apart what can
// hold several times (printable; NULL: once). detail and hint may be NULL; all are copied. 0 or -ENOMEM.
int alarms_set_builtin(struct alarms *alarms, unsigned builtin, const char *group, bool holds, const char *detail,
                       const char *hint);

// alarm_tell.c
int alarms_tell(struct alarms *alarms);   // 0 or -ENOMEM
void alarms_abort(struct alarms *alarms); // what was made since alarms_begin() reaches nobody

// alarm_measure.c: puts the scan's values into the groups and judges them, of the policy's alarms and of `forged_name`.
int alarms_measure(struct alarms *alarms, usec_t now);
int alarms_judge_names(struct alarms *alarms, usec_t now);

// alarm_group.c
static inline struct interner *alarms_interner(const struct alarms *alarms) {
    return alarms->snapshot->origins.interner;
}
void alarm_group_free(struct interner *interner, struct alarm_group *group); // NULL-safe
// The set's group of that key, made when it is not there; beyond ALARM_MAX_GROUPS the one for all others. 0 or -ENOMEM.
int alarm_set_get(struct alarms *alarms, struct alarm_set *set, const struct alarm_key *key, struct alarm_group **ret);
// Moves the state on by what holds now. true: its severity has changed.
bool alarm_group_judge(struct alarm_group *group, enum severity level, usec_t for_, usec_t clear_after, usec_t now);
int alarm_group_set_text(char **text, const char *new); // *text becomes a copy of `new` (NULL: none). 0 or -ENOMEM
// What to tell of it now: EVENT_NUMBER_NONE while it is not known.
int64_t alarm_shown(const struct alarm *alarm, const struct alarm_group *group);
void alarm_group_restart(struct alarm_group *group); // its timers start again

#define ALARM_KEY_APP 1u    // names[0] is an app of the file
#define ALARM_KEY_OTHER 2u  // all groups beyond ALARM_MAX_GROUPS
#define ALARM_KEY_FORGED 4u // names[0] is a built-in name
#define ALARM_KEY_TEXT 8u   // names[0] is printable as it is
