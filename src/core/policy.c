// SPDX-License-Identifier: PostgreSQL
#include "core/policy.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "util/macro.h"

#define POLICY_MIN_AGE (5 * USEC_PER_SEC) // a client that has just connected has not had the time to do anything
#define POLICY_PER_POLL 20
#define POLICY_PER_MINUTE 60
#define POLICY_PRESSURE_PER_MINUTE 600
#define POLICY_SHARE 100
#define POLICY_BREAKER_ROUNDS 3
#define POLICY_BREAKER_PAUSE (5 * USEC_PER_MINUTE)
#define POLICY_GRACE (30 * USEC_PER_SEC)
#define POLICY_MIN_IDLE (5 * USEC_PER_SEC)
#define POLICY_POOL_UNKNOWN (-1)

static const char *const action_names[] = {
    [ACTION_TERMINATE] = "terminate",
    [ACTION_CANCEL] = "cancel",
    [ACTION_LOG] = "log",
};
static_assert(ARRAY_SIZE(action_names) == N_ACTIONS, "one name for each action");

static const char *const group_key_names[] = {
    [GROUP_APP] = "app",
    [GROUP_USER] = "user",
    [GROUP_DATABASE] = "database",
    [GROUP_CLIENT_ADDR] = "client_addr",
    [GROUP_APPLICATION_NAME] = "application_name",
};
static_assert(ARRAY_SIZE(group_key_names) == N_GROUP_KEYS, "one name for each key");

static const char *const victims_names[] = {
    [VICTIMS_LONGEST] = "longest",
    [VICTIMS_OLDEST] = "oldest",
    [VICTIMS_NEWEST] = "newest",
};
static_assert(ARRAY_SIZE(victims_names) == N_VICTIMS, "one name for each order");

static const struct {
    const char *name;
    enum metric_unit unit;
    bool by_session;
} metrics[] = {
    [METRIC_USAGE] = {"usage", METRIC_UNIT_PERCENT, false},
    [METRIC_CONNECTIONS] = {"connections", METRIC_UNIT_COUNT, true},
    [METRIC_IDLE] = {"idle", METRIC_UNIT_COUNT, true},
    [METRIC_ACTIVE] = {"active", METRIC_UNIT_COUNT, true},
    [METRIC_IDLE_IN_TRANSACTION] = {"idle_in_transaction", METRIC_UNIT_COUNT, true},
    [METRIC_WAITING] = {"waiting", METRIC_UNIT_COUNT, true},
    [METRIC_BLOCKED] = {"blocked", METRIC_UNIT_COUNT, true},
    [METRIC_LONGEST_IDLE] = {"longest_idle", METRIC_UNIT_DURATION, true},
    [METRIC_LONGEST_QUERY] = {"longest_query", METRIC_UNIT_DURATION, true},
    [METRIC_LONGEST_TRANSACTION] = {"longest_transaction", METRIC_UNIT_DURATION, true},
    [METRIC_LONGEST_IDLE_IN_TRANSACTION] = {"longest_idle_in_transaction", METRIC_UNIT_DURATION, true},
    [METRIC_TIME_TO_FULL] = {"time_to_full", METRIC_UNIT_DURATION, false},
    [METRIC_ROLE_LIMIT] = {"role_limit", METRIC_UNIT_PERCENT, false},
    [METRIC_DATABASE_LIMIT] = {"database_limit", METRIC_UNIT_PERCENT, false},
};
static_assert(ARRAY_SIZE(metrics) == N_METRICS, "one row for each metric");

static const char *const severity_names[] = {
    [SEVERITY_NONE] = "none",
    [SEVERITY_WARNING] = "warning",
    [SEVERITY_CRITICAL] = "critical",
};
static_assert(ARRAY_SIZE(severity_names) == SEVERITY_CRITICAL + 1, "one name for each severity");

const char *const protect_builtin_names[] = {
    "pg_dump",      "pg_dumpall",  "pg_restore", "pg_basebackup", "pg_upgrade", "vacuumdb", "reindexdb",
    "pg_repack",    "pgbackrest*", "barman*",    "wal-g*",        "Patroni*",   "repmgr*",  "pg_auto_failover*",
    "postgres_fdw", NULL,
};
static_assert(ARRAY_SIZE(protect_builtin_names) == PROTECT_N_BUILTIN + 1, "PROTECT_N_BUILTIN counts the names");

const char *action_to_string(enum action action) {
    return action_names[action];
}

bool action_from_string(const char *s, enum action *ret) {
    for (unsigned i = 0; i < N_ACTIONS; i++) {
        if (strcmp(s, action_names[i]) == 0) {
            *ret = (enum action)i;
            return true;
        }
    }
    return false;
}

const char *group_key_to_string(enum group_key key) {
    return group_key_names[key];
}

const char *victims_to_string(enum victims victims) {
    return victims_names[victims];
}

const char *metric_to_string(enum metric metric) {
    return metrics[metric].name;
}

enum metric_unit metric_unit(enum metric metric) {
    return metrics[metric].unit;
}

bool metric_is_by_session(enum metric metric) {
    return metrics[metric].by_session;
}

const char *severity_to_string(enum severity severity) {
    return severity_names[severity];
}

struct policy *policy_new(void) {
    struct policy *policy = malloc(sizeof(*policy));
    if (policy) {
        *policy = (struct policy){
            .n_refs = 1,
            .protect =
                {
                    .builtin = true,
                    .superusers = true,
                    .listeners = true,
                    .maintenance = true,
                    .min_age = POLICY_MIN_AGE,
                },
            .limits =
                {
                    .per_poll = POLICY_PER_POLL,
                    .per_minute = POLICY_PER_MINUTE,
                    .pressure_per_minute = POLICY_PRESSURE_PER_MINUTE,
                    .share = POLICY_SHARE,
                    .breaker_rounds = POLICY_BREAKER_ROUNDS,
                    .breaker_pause = POLICY_BREAKER_PAUSE,
                },
        };
    }
    return policy;
}

struct policy *policy_ref(struct policy *policy) {
    assert(policy->n_refs > 0);
    policy->n_refs++;
    return policy;
}

void policy_clear_timeouts(struct policy *policy) {
    for (size_t i = 0; i < policy->n_timeouts; i++) {
        free(policy->timeouts[i].name);
        selector_free(policy->timeouts[i].match);
        selector_free(policy->timeouts[i].ignore);
    }
    free(policy->timeouts);
    policy->timeouts = NULL;
    policy->n_timeouts = 0;
    for (size_t i = 0; i < policy->n_quotas; i++) {
        free(policy->quotas[i].name);
        selector_free(policy->quotas[i].match);
        selector_free(policy->quotas[i].ignore);
    }
    free(policy->quotas);
    policy->quotas = NULL;
    policy->n_quotas = 0;
    for (size_t i = 0; i < policy->n_alarms; i++) {
        free(policy->alarms[i].name);
        selector_free(policy->alarms[i].match);
        selector_free(policy->alarms[i].ignore);
    }
    free(policy->alarms);
    policy->alarms = NULL;
    policy->n_alarms = 0;
}

struct policy *policy_unref(struct policy *policy) {
    if (!policy) {
        return NULL;
    }
    assert(policy->n_refs > 0);
    if (--policy->n_refs > 0) {
        return NULL;
    }
    policy_clear_timeouts(policy);
    for (size_t i = 0; i < PROTECT_N_BUILTIN; i++) {
        pattern_free(policy->protect.builtin_user[i]);
    }
    selector_free(policy->protect.match);
    for (size_t i = 0; i < policy->n_apps; i++) {
        free(policy->apps[i].name);
        selector_free(policy->apps[i].match);
    }
    free(policy->apps);
    for (size_t i = 0; i < policy->n_queries; i++) {
        free(policy->queries[i].expression);
    }
    free(policy->queries);
    free(policy);
    return NULL;
}

struct app *policy_add_app(struct policy *policy, const char *name) {
    struct app *apps = reallocarray(policy->apps, policy->n_apps + 1, sizeof(*apps));
    if (!apps) {
        return NULL;
    }
    policy->apps = apps;
    struct app *app = &apps[policy->n_apps];
    *app = (struct app){.name = strdup(name), .pool = POLICY_POOL_UNKNOWN};
    if (!app->name) {
        return NULL;
    }
    policy->n_apps++;
    return app;
}

struct timeout *policy_add_timeout(struct policy *policy, const char *name) {
    struct timeout *timeouts = reallocarray(policy->timeouts, policy->n_timeouts + 1, sizeof(*timeouts));
    if (!timeouts) {
        return NULL;
    }
    policy->timeouts = timeouts;
    struct timeout *timeout = &timeouts[policy->n_timeouts];
    *timeout = (struct timeout){.name = strdup(name), .grace = POLICY_GRACE, .enforce = true};
    if (!timeout->name) {
        return NULL;
    }
    policy->n_timeouts++;
    return timeout;
}

struct quota *policy_add_quota(struct policy *policy, const char *name) {
    struct quota *quotas = reallocarray(policy->quotas, policy->n_quotas + 1, sizeof(*quotas));
    if (!quotas) {
        return NULL;
    }
    policy->quotas = quotas;
    struct quota *quota = &quotas[policy->n_quotas];
    *quota = (struct quota){
        .name = strdup(name),
        .evict = {SESSION_STATE_IDLE},
        .n_evict = 1,
        .min_idle = POLICY_MIN_IDLE,
        .enforce = true,
    };
    if (!quota->name) {
        return NULL;
    }
    policy->n_quotas++;
    return quota;
}

struct alarm *policy_add_alarm(struct policy *policy, const char *name) {
    struct alarm *alarms = reallocarray(policy->alarms, policy->n_alarms + 1, sizeof(*alarms));
    if (!alarms) {
        return NULL;
    }
    policy->alarms = alarms;
    struct alarm *alarm = &alarms[policy->n_alarms];
    *alarm = (struct alarm){.name = strdup(name)};
    if (!alarm->name) {
        return NULL;
    }
    policy->n_alarms++;
    return alarm;
}

bool policy_asks_blockers(const struct policy *policy) {
    for (size_t i = 0; i < policy->n_timeouts; i++) {
        if (policy->timeouts[i].when.blocks > 0) {
            return true;
        }
    }
    for (size_t i = 0; i < policy->n_alarms; i++) {
        if (policy->alarms[i].metric == METRIC_BLOCKED) {
            return true;
        }
    }
    return false;
}

int policy_classify(const struct policy *policy, const struct selector_subject *subject) {
    for (size_t i = 0; i < policy->n_apps; i++) {
        int r = selector_matches(policy->apps[i].match, subject);
        if (r != 0) {
            return r < 0 ? r : (int)i;
        }
    }
    return POLICY_NO_APP;
}

enum session_time timeout_time(const struct timeout *timeout, enum session_state state) {
    if (timeout->has_since) {
        return timeout->since;
    }
    return state == SESSION_STATE_ACTIVE ? SESSION_TIME_QUERY_START : SESSION_TIME_STATE_CHANGE;
}
