// SPDX-License-Identifier: PostgreSQL
#pragma once

// Everything that pgvigil says is one of these. Events are output only. Strings are borrowed and raw (as the server
// sent them): the message and the encoders escape.

#include <stdbool.h>
#include <stdint.h>

#include "core/decision.h"

struct strbuf;

enum event_kind {
    EVENT_START,
    EVENT_STOP,
    EVENT_CONFIG_LOADED,
    EVENT_CONFIG_REJECTED,
    EVENT_TARGET_UP,
    EVENT_TARGET_DOWN,
    EVENT_LOCKED_OUT,
    EVENT_SELF_CHECK,
    EVENT_DECISION,
    EVENT_OUTCOME,
    EVENT_HELD_BACK,
    EVENT_ALARM,
    EVENT_BREAKER,
    EVENT_PAUSED,
    EVENT_RESUMED,
    EVENT_LEADERSHIP,
    EVENT_CLOCK_JUMP,
    EVENT_RECORDS_DROPPED,
    EVENT_NOTIFICATION_FAILED,
    N_EVENT_KINDS_,
};
#define N_EVENT_KINDS ((unsigned)N_EVENT_KINDS_)
const char *event_kind_to_string(enum event_kind kind); // "start", "decision", ...

enum event_level {
    EVENT_ERROR,
    EVENT_WARNING,
    EVENT_NOTICE, // an action, or a change of state worth a line at every level but the quietest
    EVENT_INFO,
    EVENT_DEBUG,
    N_EVENT_LEVELS_,
};
#define N_EVENT_LEVELS ((unsigned)N_EVENT_LEVELS_)
const char *event_level_to_string(enum event_level level); // "error", "warning", "notice", "info", "debug"
bool event_level_from_string(const char *s, enum event_level *ret);

#define EVENT_NUMBER_NONE INT64_MIN

#define EVENT_REASON_DELIVERED "delivered"         // EVENT_NOTIFICATION_FAILED: it works again
#define EVENT_REASON_NOT_LISTENING "not_listening" // EVENT_CONFIG_LOADED: an address is not to be had; detail says all
#define EVENT_REASON_PRESSURE "pressure"           // a decision of a `when: usage` rule: the message tells the usage

// The process that asked for it over the control socket. EVENT_NUMBER_NONE: nobody did; `pid` also: it is of another
// pid namespace.
struct event_asker {
    int64_t uid;
    int64_t pid;
};
#define EVENT_NOBODY ((struct event_asker){EVENT_NUMBER_NONE, EVENT_NUMBER_NONE})

struct event {
    enum event_kind kind;
    enum event_level level;
    const char *target;   // NULL: none
    const char *rule;     // NULL: none
    const char *reason;   // one or two words that code can compare ("pooled_connection", "protected"); NULL: none
    const char *detail;   // a sentence for people, without the target's name; NULL: none
    const char *hint;     // what mends it: a statement or a setting; NULL: none
    const char *sqlstate; // five characters, or NULL
    bool has_action;
    enum action action;
    bool observe;                      // would-be: nothing was done
    enum outcome outcome;              // OUTCOME_NONE: none
    const struct session_row *session; // NULL: none
    const char *app;                   // label of the session's group
    enum session_time time;            // what `age` is measured from
    usec_t age;                        // EVENT_ALARM: for how long it has held; USEC_INFINITY: none
    usec_t limit;                      // USEC_INFINITY: none
    usec_t took;                       // from signal to gone; USEC_INFINITY: none
    int64_t used;                      // slots; EVENT_NUMBER_NONE: none
    int64_t usable;
    const char *alarm;      // EVENT_ALARM: its name; reason is "raised", "escalated", "eased" or "cleared"
    const char *group;      // of a quota, an alarm or the breaker: "worker", "10.0.0.7"; printable; NULL: none
    enum severity severity; // EVENT_ALARM: the new one
    bool has_metric;        // EVENT_ALARM of an entry of `alarms`: what it measures
    enum metric metric;
    bool below;          // it tells of what is below its threshold, not above
    int64_t value;       // in the metric's unit; EVENT_NUMBER_NONE: none
    int64_t threshold;   // the one that it passed, or came back from; EVENT_NUMBER_NONE: none
    const char *holders; // who holds the slots, "worker 41, postgrest 22, other 18"; printable; NULL: none
    int64_t held;        // quotas: sessions that the group holds
    int64_t allowed;     // quotas: sessions that it may hold
    int64_t n_blocked;   // sessions that the session holds up; EVENT_NUMBER_NONE: none
    const char *blocked; // their pids, "4711, 4712 and 3 more"; NULL: none
    const char *output;  // EVENT_NOTIFICATION_FAILED: the webhook; NULL: none
    int64_t count;       // how many (repeats, drops, sessions held back); EVENT_NUMBER_NONE: none
    struct event_asker asker;
};

// An event with nothing set but these.
struct event event_make(enum event_kind kind, enum event_level level, const char *target);

// Appends the one-line message that a person can read alone. No control character leaves it, whatever the strings hold.
void event_render(const struct event *event, struct strbuf *sb);

// The event as named fields, one table for the journal (upper case, PGVIGIL_ in front) and JSON (as they are):
// event, target, rule, action, outcome, reason, pid, backend_start, app, user, database, application_name, client,
// state, age_usec, limit_usec, took_usec, used, usable, count, alarm, severity, group, metric, value, threshold,
// holders, held, allowed, n_blocked, blocked, output, sqlstate, observe, asker_uid, asker_pid, detail, hint, query.
enum event_field {
    EVENT_FIELD_EVENT,
    EVENT_FIELD_TARGET,
    EVENT_FIELD_RULE,
    EVENT_FIELD_ACTION,
    EVENT_FIELD_OUTCOME,
    EVENT_FIELD_REASON,
    EVENT_FIELD_PID,
    EVENT_FIELD_BACKEND_START, // RFC 3339 with microseconds, UTC
    EVENT_FIELD_APP,
    EVENT_FIELD_USER,
    EVENT_FIELD_DATABASE,
    EVENT_FIELD_APPLICATION_NAME,
    EVENT_FIELD_CLIENT,
    EVENT_FIELD_STATE,
    EVENT_FIELD_AGE_USEC,
    EVENT_FIELD_LIMIT_USEC,
    EVENT_FIELD_TOOK_USEC,
    EVENT_FIELD_USED,
    EVENT_FIELD_USABLE,
    EVENT_FIELD_COUNT,
    EVENT_FIELD_ALARM,
    EVENT_FIELD_SEVERITY,
    EVENT_FIELD_GROUP,
    EVENT_FIELD_METRIC,
    EVENT_FIELD_VALUE, // in the metric's unit: percent, sessions or microseconds
    EVENT_FIELD_THRESHOLD,
    EVENT_FIELD_HOLDERS,
    EVENT_FIELD_HELD,
    EVENT_FIELD_ALLOWED,
    EVENT_FIELD_N_BLOCKED,
    EVENT_FIELD_BLOCKED,
    EVENT_FIELD_OUTPUT,
    EVENT_FIELD_SQLSTATE,
    EVENT_FIELD_OBSERVE,
    EVENT_FIELD_ASKER_UID,
    EVENT_FIELD_ASKER_PID,
    EVENT_FIELD_DETAIL,
    EVENT_FIELD_HINT,
    EVENT_FIELD_QUERY,
    N_EVENT_FIELDS_,
};
#define N_EVENT_FIELDS ((unsigned)N_EVENT_FIELDS_)
const char *event_field_to_string(enum event_field field); // lower case

enum event_value_kind {
    EVENT_VALUE_NONE, // the event has no such field
    EVENT_VALUE_STRING,
    EVENT_VALUE_NUMBER,
    EVENT_VALUE_BOOL,
};
struct event_value {
    enum event_value_kind kind;
    const char *string; // borrowed from the event or from `storage`; raw
    int64_t number;     // also the bool
    char storage[64];
};
void event_get(const struct event *event, enum event_field field, struct event_value *ret);
