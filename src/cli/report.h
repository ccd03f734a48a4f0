// SPDX-License-Identifier: PostgreSQL
#pragma once

// Who holds the slots, rendered. Pure: a summary in, text out.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/event.h"
#include "core/policy.h"
#include "core/summary.h"
#include "pg/error.h"
#include "table.h"
#include "util/strbuf.h"
#include "util/usec.h"

// One server and what it answered.
struct report_target {
    const char *name;
    const char *address;           // where it was asked, as configured
    const struct pg_error *error;  // NULL: it answered
    const struct summary *summary; // when it answered
    const struct policy *policy;   // for the pool sizes of apps, and what alarms measure
    const struct event *findings;  // of the self-check
    size_t n_findings;
};

// All functions: 0 or -ENOMEM.

// For people. A server that failed leaves nothing here: that is told on stderr.
int report_text(const struct report_target *target, const struct screen *screen, struct strbuf *sb) MUST_CHECK;

// One object and a newline, ASCII only; in one line if `compact`:
// {"targets": [{
//   "target", "address", "ok": true,
//   "server": {"time", "version", "version_num", "in_recovery"},
//   "slots": {"used", "usable", "max_connections", "superuser_reserved_connections", "reserved_connections",
//             "usage_percent"},
//   "apps": [{"app", "is_app", "pool", <counts>}], "users": [{"user", <counts>}],
//   "databases": [{"database", <counts>}], "states": [{"state", "sessions", "longest_seconds"}],
//   "groups": [{"app", "is_app", "user", "database", "state", "sessions", "longest_seconds"}],
//   "alarms": [{"name", "group", "severity", "value", "metric", "unit", "detail", "hint"}],
//   "findings": [{"level", "reason", "detail", "hint"}],
//   "rules": [{"name", "kind", "action", "covers", "matches", "held_back": {"protected": 2}}],
//   "longest_idle": [<session>], "longest_transactions": [<session>]}]}
// with <counts>: "sessions", "active", "idle", "idle_in_transaction", "longest_idle_seconds" (null: none is idle);
// <session>: "pid", "backend_start", "app", "user", "database", "client", "state", "age_seconds", "application_name".
// "is_app" is false where "app" is not an app of the configuration but an application_name in quotes. "pool" is null
// where it is not declared. "matches" are over the rule's limit now; of those "held_back" tells, by reason, what keeps
// it from them ("observe": it would act). Alarms that must hold `for` some time are raised with --watch only. A server
// that failed: {"target", "address", "ok": false, "error": {"kind", "sqlstate", "message"}}.
int report_json(const struct report_target *targets, size_t n_targets, bool compact, struct strbuf *sb) MUST_CHECK;

// RFC 4180, one record for each group of equal app, user, database and state: time, target, app, user, database, state,
// sessions, longest_seconds. Text is escaped as in the log, so that a record is one line. A spreadsheet would run a
// name such as =HYPERLINK(...) that any client may choose: text that begins like a formula gets a ' in front.
int report_csv_header(struct strbuf *sb) MUST_CHECK;
int report_csv(const struct report_target *target, struct strbuf *sb) MUST_CHECK;

// The rest is shared by the renderers.

enum report_key {
    REPORT_APP,
    REPORT_USER,
    REPORT_DATABASE,
    REPORT_STATE,
    N_REPORT_KEYS_,
};
#define N_REPORT_KEYS ((unsigned)N_REPORT_KEYS_)

// The sessions that share a key.
struct report_line {
    const char *name; // raw; a label with REPORT_APP
    bool is_app;      // REPORT_APP
    int64_t n_sessions, n_active, n_idle, n_idle_in_transaction;
    usec_t longest_idle; // USEC_INFINITY: none is idle
    usec_t longest;      // in its state
};

// Most sessions first, then by name. free() *ret.
int report_group(const struct summary *summary, enum report_key key, struct report_line **ret,
                 size_t *ret_n) MUST_CHECK;

// The metric of an alarm of the file; false: it is one that is always on.
bool report_alarm_metric(const struct policy *policy, const char *name, enum metric *ret);
int64_t report_pool(const struct policy *policy, const struct report_line *line); // -1: not declared

// Appends the label of a group, safe for a terminal: those of sessions that no app claims are escaped already.
void report_add_label(struct strbuf *sb, const char *label);
// Appends a server's version as people write it: "15.18".
void report_add_version(struct strbuf *sb, int version_num);
// Appends a server's time in RFC 3339, UTC, with microseconds if `exact`.
void report_add_time(struct strbuf *sb, int64_t server_time, bool exact);

// Titles of the cells that report_add_session() adds.
#define REPORT_SESSION_COLUMNS                                                                                         \
    {"pid", true}, {"app", false, true}, {"user@database", false, true}, {"client", false}, {"state", false},          \
        {"age", true}, {                                                                                               \
        "application_name", false, true                                                                                \
    }
void report_add_session(struct table *table, const struct session_row *row, const char *app, usec_t age);
