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

// When a timeout bites at all.
struct when {
    bool has_usage; // from `usage` percent of usable slots on, end just as many as bring usage to `until`
    int64_t usage;
    int64_t until;  // below usage
    int64_t blocks; // only sessions that hold up at least so many others; 0: not asked
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
    bool has_then; // after `action: cancel`: terminate if the same query of the same backend still runs after `grace`
    usec_t grace;
    struct when when;
    bool enforce;
};

// What quotas and alarms count by.
enum group_key {
    GROUP_APP,
    GROUP_USER,
    GROUP_DATABASE,
    GROUP_CLIENT_ADDR,
    GROUP_APPLICATION_NAME,
    N_GROUP_KEYS_,
};
#define N_GROUP_KEYS ((unsigned)N_GROUP_KEYS_)
#define GROUP_KEY_BIT(key) (1u << (unsigned)(key))
const char *group_key_to_string(enum group_key key); // "app", "user", ...

enum victims {
    VICTIMS_LONGEST, // longest in its state first
    VICTIMS_OLDEST,  // earliest backend_start first
    VICTIMS_NEWEST,
    N_VICTIMS_,
};
#define N_VICTIMS ((unsigned)N_VICTIMS_)
const char *victims_to_string(enum victims victims);

#define QUOTA_MAX_EVICT 5
// One entry of `quotas`: how many connections a group may hold; eviction back down to `max`.
struct quota {
    char *name;
    unsigned per; // GROUP_KEY_BIT()s: every combination is a group; 0: all that match are one
    struct selector *match;
    struct selector *ignore;
    int64_t max;
    bool max_is_percent;                       // of usable slots, which a restart of the server may change
    usec_t for_;                               // `for`: only after it has been over for this long
    enum session_state evict[QUOTA_MAX_EVICT]; // states that may be evicted, in this order
    size_t n_evict;
    usec_t min_idle; // in its state for at least this long
    enum victims victims;
    enum action action; // terminate or log
    bool enforce;
};

enum metric {
    METRIC_USAGE, // percent of usable slots in use
    METRIC_CONNECTIONS,
    METRIC_IDLE,
    METRIC_ACTIVE,
    METRIC_IDLE_IN_TRANSACTION, // aborted ones too
    METRIC_WAITING,             // on a lock
    METRIC_BLOCKED,             // sessions that wait for a lock that another one holds
    METRIC_LONGEST_IDLE,        // usec_t from here on
    METRIC_LONGEST_QUERY,
    METRIC_LONGEST_TRANSACTION,
    METRIC_LONGEST_IDLE_IN_TRANSACTION,
    METRIC_TIME_TO_FULL,
    METRIC_ROLE_LIMIT, // percent of CONNECTION LIMIT in use, the fullest role or database
    METRIC_DATABASE_LIMIT,
    N_METRICS_,
};
#define N_METRICS ((unsigned)N_METRICS_)
const char *metric_to_string(enum metric metric);
enum metric_unit { METRIC_UNIT_PERCENT, METRIC_UNIT_COUNT, METRIC_UNIT_DURATION };
enum metric_unit metric_unit(enum metric metric);
bool metric_is_by_session(enum metric metric); // counts and durations of sessions: take match, ignore and per

enum severity { SEVERITY_NONE, SEVERITY_WARNING, SEVERITY_CRITICAL };
const char *severity_to_string(enum severity severity); // "none", "warning", "critical"

// One entry of `alarms`. Thresholds are in the metric's unit (percent, sessions, microseconds).
struct alarm {
    char *name;
    enum metric metric;
    unsigned per; // GROUP_KEY_BIT()s; 0: one alarm
    struct selector *match;
    struct selector *ignore;
    bool below; // else above
    bool has_warning;
    bool has_critical;
    int64_t warning;
    int64_t critical;
    usec_t for_;        // must hold for this long before it is raised
    usec_t clear_after; // must not hold for this long before it clears
};

#define LIMIT_NONE INT64_MAX
struct limits {
    int64_t per_poll; // sessions ended (or queries cancelled) in one step of the engine
    int64_t per_minute;
    int64_t pressure_per_minute; // of quotas and `when: usage` rules while usage is at or above pressure_at
    int64_t share;               // percent of what a rule's match covered a minute ago; 100: off
    int64_t breaker_rounds;
    usec_t breaker_pause;
};

struct policy {
    unsigned n_refs;
    bool enforce; // the master switch
    struct app *apps;
    size_t n_apps;
    struct protect protect;
    struct timeout *timeouts;
    size_t n_timeouts;
    struct quota *quotas;
    size_t n_quotas;
    struct alarm *alarms;
    size_t n_alarms;
    // The regular expressions of all `query` selectors, each once, without slashes. The server matches them: bit i of
    // session_row.query_matches tells of entry i.
    struct query_pattern {
        char *expression;
        bool icase;
    } * queries;
    size_t n_queries;
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
struct quota *policy_add_quota(struct policy *policy, const char *name);
struct alarm *policy_add_alarm(struct policy *policy, const char *name);

#define POLICY_MAX_QUERIES SELECTOR_MAX_QUERIES
// The bit of a `query` selector's text ("/.../" or "/.../i"; anything else is a glob and refused). It is a regular
// expression of PostgreSQL (its "advanced" ones), and one that no server of ours refuses: an expression that fails
// there would fail every poll. -EINVAL with *ret_why (free it); -ENOSPC: more than POLICY_MAX_QUERIES distinct ones.
int policy_add_query(struct policy *policy, const char *text, unsigned *ret_bit, char **ret_why);
// Some rule or alarm asks who blocks whom.
bool policy_asks_blockers(const struct policy *policy);

// Apps and protections alone are left: for commands that bring rules of their own, before anybody else knows the
// policy.
void policy_clear_timeouts(struct policy *policy);

#define POLICY_NO_APP (-1)

// Index of the app that claims the session, POLICY_NO_APP, or -ENOMEM.
int policy_classify(const struct policy *policy, const struct selector_subject *subject);

// Whatever `inner` matches one of `outers` matches too, as far as what is written tells: 1; 0: it cannot be told;
// -ENOMEM. NULL is every session as `inner`, nobody among `outers`.
int policy_is_within(const struct policy *policy, const struct selector *inner, const struct selector *const *outers,
                     size_t n_outers);

// The memory of a rule survives a reload when these say so: name and compiled form are equal, and so are the apps that
// decide whom it covers. Memory that ran out, or an app that cannot be told, is "no".
bool policy_timeout_is_same(const struct policy *a, size_t i, const struct policy *b, size_t j);
bool policy_quota_is_same(const struct policy *a, size_t i, const struct policy *b, size_t j);
bool policy_alarm_is_same(const struct policy *a, size_t i, const struct policy *b, size_t j);

// ret_bits[i]: the bit, in b, of the query that is bit i in a; 0: b does not ask for it.
void policy_translate_queries(const struct policy *a, const struct policy *b, uint32_t ret_bits[POLICY_MAX_QUERIES]);
// The same set of queries, in bits of the other policy.
uint32_t policy_translate_matches(uint32_t matches, const uint32_t bits[POLICY_MAX_QUERIES]);

// What the rule measures for a session in that state.
enum session_time timeout_time(const struct timeout *timeout, enum session_state state);
