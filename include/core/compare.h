// SPDX-License-Identifier: PostgreSQL
#pragma once

// The policy against a live server: what would not do what its author expects, before it is in force. Pure, like all of
// core: what a server shows comes in as a struct, what is to be said comes out as one.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/address.h"
#include "core/engine.h"
#include "core/event.h"
#include "core/policy.h"
#include "util/usec.h"

// Limits of time that the server itself keeps.
enum server_timeout {
    SERVER_TIMEOUT_IDLE,                // idle_session_timeout, 14 and newer
    SERVER_TIMEOUT_IDLE_IN_TRANSACTION, // idle_in_transaction_session_timeout
    SERVER_TIMEOUT_TRANSACTION,         // transaction_timeout, 17 and newer
    SERVER_TIMEOUT_STATEMENT,           // statement_timeout
    N_SERVER_TIMEOUTS_,
};
#define N_SERVER_TIMEOUTS ((unsigned)N_SERVER_TIMEOUTS_)
const char *server_timeout_to_string(enum server_timeout which); // the setting's name
bool server_timeout_from_string(const char *s, enum server_timeout *ret);
// A value as the server's catalogs keep it ("10min", "600000", "1.5 h"); 0 is off. False: not one.
bool server_timeout_parse(const char *text, usec_t *ret);

// What is read of a server only to be compared. Strings are borrowed, raw; "quoted" ones are as SQL writes them.
struct server_setting {
    enum server_timeout which;
    usec_t value;     // 0: off
    bool is_global;   // of the server; otherwise of ALTER ROLE or ALTER DATABASE
    const char *user; // NULL: all roles
    const char *user_quoted;
    const char *database; // NULL: all databases
    const char *database_quoted;
};

// Another session that calls itself pgvigil, or holds the lock of the one that acts.
struct server_watchdog {
    int64_t pid;
    const char *user;
    struct address client;
    bool is_own_role;
    bool is_same_client; // it comes from where we come from
    bool holds_lock;
};

struct server_collation {
    const char *database;
    const char *database_quoted;
    const char *recorded; // when its indexes were built
    const char *actual;
};

struct server_survey {
    const struct server_setting *settings;
    size_t n_settings;
    const struct server_watchdog *watchdogs;
    size_t n_watchdogs;
    const struct server_collation *collations; // those that differ
    size_t n_collations;
};

// One thing to be said.
struct remark {
    enum event_level level; // WARNING or NOTICE
    const char *reason;     // "covers_nobody", "protected", "server_timeout", ...
    const char *section;    // where the file says it: "timeouts", "quotas", "apps"; NULL: nowhere, it is the server
    const char *name;       // of the entry there; NULL: the section as a whole
    const char *key;        // of the entry; NULL: the entry as a whole
    const char *detail;     // a sentence; raw
    const char *hint;       // the statement or value that mends it; raw; NULL: none
};

#define COMPARE_MAX_REMARKS 500 // more are counted

struct compare_rule {
    const char *name; // borrowed from the policy
    bool is_quota;
    int64_t n_covered;   // sessions whose match it is, whatever their state; never our own
    int64_t n_protected; // of them
    int64_t n_over;      // over its limit now
    int64_t n_ends;      // of them would be ended (or logged) now, as engine_preview() counts
};

struct compare_app {
    const char *name; // borrowed from the policy
    int64_t pool;     // -1: not declared
    int64_t n_sessions;
    bool counts; // its pool is part of the sum for this server; with one that does not, it may be another server's
};

struct comparison {
    struct remark *remarks;
    size_t n_remarks, capacity;
    size_t n_dropped;           // beyond COMPARE_MAX_REMARKS
    struct compare_rule *rules; // timeouts, then quotas, in file order
    size_t n_rules;
    struct compare_app *apps;
    size_t n_apps;
    int64_t pools;          // sum of those that count
    int64_t pools_left_out; // ... of those that do not
    int64_t used;
    int64_t usable;
    char **texts; // what remarks point to
    size_t n_texts, texts_capacity;
};

void comparison_deinit(struct comparison *comparison); // NULL-safe members; for CLEANUP()

// The policy in force in the engine against its current snapshot and the survey. `is_only`: the file names no other
// server, so that every app connects here. 0, -EAGAIN: nothing complete is known; -ENOMEM.
int engine_compare(const struct engine *engine, const struct server_survey *survey, bool is_only,
                   struct comparison *ret);
