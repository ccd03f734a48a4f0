// SPDX-License-Identifier: PostgreSQL
#include "core/policy.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "util/macro.h"

#define POLICY_MIN_AGE (5 * USEC_PER_SEC) // a client that has just connected has not had the time to do anything
#define POLICY_PER_POLL 20
#define POLICY_PER_MINUTE 60
#define POLICY_POOL_UNKNOWN (-1)

static const char *const action_names[] = {
    [ACTION_TERMINATE] = "terminate",
    [ACTION_CANCEL] = "cancel",
    [ACTION_LOG] = "log",
};
static_assert(ARRAY_SIZE(action_names) == N_ACTIONS, "one name for each action");

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
            .limits = {.per_poll = POLICY_PER_POLL, .per_minute = POLICY_PER_MINUTE},
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
    *timeout = (struct timeout){.name = strdup(name), .action = ACTION_TERMINATE, .enforce = true};
    if (!timeout->name) {
        return NULL;
    }
    policy->n_timeouts++;
    return timeout;
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
