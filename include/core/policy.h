// SPDX-License-Identifier: PostgreSQL
#pragma once

// The compiled rules that the configuration produces. Filled once by config, then immutable, reference-counted and
// shared by all targets. Members bear the names of their YAML keys.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/pattern.h"
#include "core/selector.h"
#include "core/session.h"
#include "util/cleanup.h"
#include "util/usec.h"

enum action {
    ACTION_TERMINATE,
    ACTION_CANCEL,
    ACTION_LOG,
    N_ACTIONS_,
};
#define N_ACTIONS ((unsigned)N_ACTIONS_)
const char *action_to_string(enum action action); // "terminate", "cancel", "log"
bool action_from_string(const char *s, enum action *ret);

// Whose connection is this? The first match in file order wins.
struct app {
    char *name;
    struct selector *match;
    int64_t pool; // the pool size the operator declared; -1: not declared
};

// Names that are never ended while protect.builtin is on (P4). Patterns, ended by NULL.
extern const char *const protect_builtin_names[];
#define PROTECT_N_BUILTIN 15 // checked against the table

struct protect {
    bool builtin;
    // Bound to users: the name protects only sessions of these. NULL: any user.
    struct pattern *builtin_user[PROTECT_N_BUILTIN];
    bool superusers;
    bool listeners;
    bool maintenance;
    usec_t min_age;
    struct selector *match; // NULL: none
};

// One entry of `timeouts`: end what has stayed in a state too long.
struct timeout {
    char *name;
    unsigned state; // SESSION_STATE_BIT()s; IDLE_IN_TRANSACTION brings ABORTED with it
    bool any;       // `state: any`: the guard tests no state
    bool has_since; // `since` is written; otherwise state_change, and query_start while active
    enum session_time since;
    usec_t after;
    struct selector *match;  // NULL: every session
    struct selector *ignore; // NULL: none; wins over match
    int64_t keep;
    enum action action;
    bool enforce;
};

#define LIMIT_NONE INT64_MAX
struct limits {
    int64_t per_poll; // sessions ended (or queries cancelled) in one step of the engine
    int64_t per_minute;
};

struct policy {
    unsigned n_refs;
    bool enforce; // the master switch
    struct app *apps;
    size_t n_apps;
    struct protect protect;
    struct timeout *timeouts;
    size_t n_timeouts;
    struct limits limits;
    int64_t query_text; // characters of query text kept in events; 0: off
};

struct policy *policy_new(void); // one reference, built-in defaults, no apps and no rules; NULL: out of memory
struct policy *policy_ref(struct policy *policy);
struct policy *policy_unref(struct policy *policy); // NULL-safe, returns NULL
DEFINE_CLEANUP(struct policy *, policy_unref)

// Appends a zeroed entry with that name and the defaults of its section; NULL: out of memory. The returned entry moves
// with the next addition.
struct app *policy_add_app(struct policy *policy, const char *name);
struct timeout *policy_add_timeout(struct policy *policy, const char *name);
// Apps and protections alone are left: for commands that bring rules of their own, before anybody else knows the
// policy.
void policy_clear_timeouts(struct policy *policy);

#define POLICY_NO_APP (-1)

// Index of the app that claims the session, POLICY_NO_APP, or -ENOMEM.
int policy_classify(const struct policy *policy, const struct selector_subject *subject);

// What the rule measures for a session in that state.
enum session_time timeout_time(const struct timeout *timeout, enum session_state state);
