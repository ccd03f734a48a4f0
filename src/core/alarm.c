// SPDX-License-Identifier: PostgreSQL
//
// The alarms of a target: the always-on ones and the policy's. One state: alarm_group.c. What they measure:
// alarm_measure.c. What is said of them: alarm_tell.c.
#include "alarm.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "alarm_group.h"
#include "alarm_measure.h"
#include "util/array.h"

static const struct {
    const char *name;
    enum severity severity;
} alarm_fixed[] = {
    [ALARM_FULL] = {"full", SEVERITY_CRITICAL},
    [ALARM_LINGERING] = {"lingering", SEVERITY_WARNING},
    [ALARM_THRASHING] = {"thrashing", SEVERITY_WARNING},
    [ALARM_FORGED_NAME] = {"forged_name", SEVERITY_WARNING},
    [ALARM_CONDITION(CONDITION_LOCKED_OUT)] = {"locked_out", SEVERITY_CRITICAL},
    [ALARM_CONDITION(CONDITION_OWN_LIMIT)] = {"own_limit", SEVERITY_CRITICAL},
    [ALARM_CONDITION(CONDITION_UNREACHABLE)] = {"unreachable", SEVERITY_CRITICAL},
    [ALARM_CONDITION(CONDITION_BLIND)] = {"blind", SEVERITY_CRITICAL},
    [ALARM_CONDITION(CONDITION_POWERLESS)] = {"powerless", SEVERITY_WARNING},
    [ALARM_CONDITION(CONDITION_POOLED_CONNECTION)] = {"pooled_connection", SEVERITY_CRITICAL},
    [ALARM_CONDITION(CONDITION_LEADER_UNKNOWN)] = {"leader_unknown", SEVERITY_WARNING},
};
static_assert(ARRAY_SIZE(alarm_fixed) == ALARM_N_FIXED, "one row for each always-on alarm");

const char *condition_to_string(enum condition condition) {
    return alarm_fixed[ALARM_CONDITION(condition)].name;
}

const char *engine_alarm_name(size_t i) {
    return i < ALARM_N_FIXED ? alarm_fixed[i].name : NULL;
}

// --- Sets ----------------------------------------------------------------------------------------------------------

static struct alarm_set *alarm_set_new(const char *name) {
    struct alarm_set *set = calloc(1, sizeof(*set));
    if (!set) {
        return NULL;
    }
    set->name = strdup(name);
    if (!set->name) {
        free(set);
        return NULL;
    }
    return set;
}

static void alarm_set_remove(struct alarms *alarms, struct alarm_set *set, struct alarm_group *group) {
    alarms->generation++;
    HASH_DEL(set->groups, group);
    alarm_group_free(alarms_interner(alarms), group);
}

static void alarm_set_free(struct alarms *alarms, struct alarm_set *set) {
    struct alarm_group *group, *next;

    if (!set) {
        return;
    }
    HASH_ITER(hh, set->groups, group, next) {
        alarm_set_remove(alarms, set, group);
    }
    free(set->name);
    free(set);
}

// Nothing is known of the group that a new one would not say.
static bool alarm_group_is_idle(const struct alarms *alarms, const struct alarm_group *group) {
    return group->severity == SEVERITY_NONE && group->told == SEVERITY_NONE && group->seen != alarms->scan &&
           group->over_since[SEVERITY_WARNING] == USEC_INFINITY;
}

// Forgets groups that are of no use any more, and removed alarms whose end has been told.
static void alarms_sweep(struct alarms *alarms) {
    struct alarm_group *group, *next;
    size_t n = 0;

    for (size_t i = 0; i < alarms->n_sets; i++) {
        struct alarm_set *set = alarms->sets[i];
        HASH_ITER(hh, set->groups, group, next) {
            if (alarm_group_is_idle(alarms, group)) {
                alarm_set_remove(alarms, set, group);
            }
        }
        if (set->removed && !set->groups) {
            alarm_set_free(alarms, set);
        } else {
            alarms->sets[n++] = set;
        }
    }
    alarms->n_sets = n;
}

int alarms_init(struct alarms *alarms, const char *target, struct snapshot *snapshot) {
    *alarms = (struct alarms){.target = target, .snapshot = snapshot, .seen_at = USEC_INFINITY};
    alarms->sets = calloc(ALARM_N_FIXED, sizeof(struct alarm_set *));
    if (!alarms->sets) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < ALARM_N_FIXED; i++) {
        alarms->sets[i] = alarm_set_new(alarm_fixed[i].name);
        if (!alarms->sets[i]) {
            return -ENOMEM;
        }
        alarms->sets[i]->fixed = alarm_fixed[i].severity;
        alarms->n_sets++;
    }
    return 0;
}

void alarms_deinit(struct alarms *alarms) {
    for (size_t i = 0; i < alarms->n_sets; i++) {
        alarm_set_free(alarms, alarms->sets[i]);
    }
    free(alarms->sets);
    free(alarms->events);
    strbuf_deinit(&alarms->holders);
    policy_unref(alarms->policy);
    *alarms = (struct alarms){0};
}

// --- Policy --------------------------------------------------------------------------------------------------------

#define ALARM_NO_SET SIZE_MAX

// The set of an alarm of the policy until now that is equal to alarm `i` of the new one.
static size_t alarms_find_same(const struct alarms *alarms, const struct policy *policy, size_t i) {
    for (size_t k = 0; alarms->policy && k < alarms->policy->n_alarms; k++) {
        if (policy_alarm_is_same(alarms->policy, k, policy, i)) {
            return ALARM_N_FIXED + k;
        }
    }
    return ALARM_NO_SET;
}

static const char *alarms_why_removed(const struct policy *policy, const char *name) {
    for (size_t i = 0; i < policy->n_alarms; i++) {
        if (strcmp(policy->alarms[i].name, name) == 0) {
            return "its entry in the configuration has changed: it starts anew";
        }
    }
    return "removed from the configuration";
}

static void alarm_set_retire(struct alarm_set *set, const char *why) {
    set->alarm = NULL;
    set->removed = why;
    for (struct alarm_group *group = set->groups; group; group = group->hh.next) {
        alarm_group_restart(group);
        group->severity = SEVERITY_NONE;
        group->seen = 0;
    }
}

// Whose set is to be `sets[n_fixed + i]`: the old one of an equal alarm, or a new one, which is then in `made` as well.
static int alarms_plan(const struct alarms *alarms, const struct policy *policy, struct alarm_set **sets,
                       struct alarm_set **made) {
    for (size_t i = 0; i < policy->n_alarms; i++) {
        size_t old = alarms_find_same(alarms, policy, i);
        if (old == ALARM_NO_SET) {
            made[i] = alarm_set_new(policy->alarms[i].name);
            if (!made[i]) {
                return -ENOMEM;
            }
        }
        sets[ALARM_N_FIXED + i] = old == ALARM_NO_SET ? made[i] : alarms->sets[old];
    }
    return 0;
}

static void alarms_commit(struct alarms *alarms, struct policy *policy, struct alarm_set **sets) {
    size_t n = ALARM_N_FIXED + policy->n_alarms;

    memcpy(sets, alarms->sets, ALARM_N_FIXED * sizeof(*sets));
    for (size_t i = 0; i < policy->n_alarms; i++) {
        struct alarm_set *set = sets[ALARM_N_FIXED + i];
        set->alarm = &policy->alarms[i];
        set->by_query = selector_asks_query(set->alarm->match) || selector_asks_query(set->alarm->ignore);
    }
    for (size_t k = ALARM_N_FIXED; k < alarms->n_sets; k++) {
        struct alarm_set *set = alarms->sets[k];
        bool stays = false;
        for (size_t i = ALARM_N_FIXED; i < ALARM_N_FIXED + policy->n_alarms; i++) {
            stays |= sets[i] == set;
        }
        if (!stays) {
            if (!set->removed) {
                alarm_set_retire(set, alarms_why_removed(policy, set->name));
            }
            sets[n++] = set;
        }
    }
    free(alarms->sets);
    alarms->sets = sets;
    alarms->n_sets = n;
    policy_ref(policy);
    policy_unref(alarms->policy);
    alarms->policy = policy;
    alarms->generation++;
    alarms->dirty = true;
}

int alarms_set_policy(struct alarms *alarms, struct policy *policy, usec_t gap_after) {
    CLEANUP(freep) struct alarm_set **made = NULL;

    alarms->gap_after = gap_after;
    if (policy == alarms->policy) {
        return 0;
    }
    alarms_sweep(alarms);
    made = calloc(policy->n_alarms + 1, sizeof(*made));
    struct alarm_set **sets = calloc(alarms->n_sets + policy->n_alarms, sizeof(*sets));
    int r = made && sets ? alarms_plan(alarms, policy, sets, made) : -ENOMEM;
    if (r < 0) {
        for (size_t i = 0; made && i < policy->n_alarms; i++) {
            alarm_set_free(alarms, made[i]);
        }
        free(sets);
        return r;
    }
    alarms_commit(alarms, policy, sets);
    return 0;
}

// --- What is found -------------------------------------------------------------------------------------------------

void alarms_begin(struct alarms *alarms) {
    alarms->step++;
    alarms->n_events = 0;
    strbuf_clear(&alarms->holders);
}

static int alarms_set_group(struct alarms *alarms, struct alarm_set *set, struct alarm_group *group, bool holds,
                            const char *detail, const char *hint) {
    if (holds) {
        int r = alarm_group_set_text(&group->detail, detail);
        r = r < 0 ? r : alarm_group_set_text(&group->hint, hint);
        if (r < 0) {
            return r;
        }
    }
    enum severity severity = holds ? set->fixed : SEVERITY_NONE;
    alarms->dirty |= group->severity != severity;
    group->severity = severity;
    return 0;
}

int alarms_set_builtin(struct alarms *alarms, unsigned builtin, const char *group, bool holds, const char *detail,
                       const char *hint) {
    struct alarm_set *set = alarms->sets[builtin];
    struct alarm_group *of = NULL;
    struct alarm_key key;
    int r = 0;

    assert(builtin < ALARM_N_FIXED);
    memset(&key, 0, sizeof(key));
    if (group) {
        key.flags = ALARM_KEY_TEXT;
        key.names[0] = intern_ref(alarms_interner(alarms), group);
        if (!key.names[0]) {
            return -ENOMEM;
        }
    }
    if (holds) {
        r = alarm_set_get(alarms, set, &key, &of);
    } else {
        HASH_FIND(hh, set->groups, &key, sizeof(key), of);
    }
    if (r == 0 && of) {
        r = alarms_set_group(alarms, set, of, holds, detail, hint);
    }
    intern_unref(alarms_interner(alarms), key.names[0]);
    return r;
}

static int alarms_judge_full(struct alarms *alarms, usec_t now) {
    struct alarm_set *set = alarms->sets[ALARM_FULL];
    struct alarm_group *group;
    struct alarm_key key;
    int64_t used = (int64_t)snapshot_n_sessions(alarms->snapshot);
    int64_t usable = server_facts_usable(&alarms->snapshot->facts);

    memset(&key, 0, sizeof(key));
    int r = alarm_set_get(alarms, set, &key, &group);
    r = r < 0 ? r : alarm_group_set_text(&group->detail, "no usable connection slot is left");
    if (r < 0) {
        return r;
    }
    group->value = used;
    group->seen = alarms->scan;
    alarms->dirty |= alarm_group_judge(group, used >= usable ? set->fixed : SEVERITY_NONE, 0, ALARM_CLEAR, now);
    return 0;
}

static int alarms_judge_lingering(struct alarms *alarms, int64_t n) {
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;

    strbuf_addf(&detail, "%" PRId64 " %s still there over %" PRIu64 " s after being ended", n,
                n == 1 ? "session is" : "sessions are", ENGINE_LINGERING_AFTER / USEC_PER_SEC);
    int r = strbuf_error(&detail);
    return r < 0 ? r
                 : alarms_set_builtin(alarms, ALARM_LINGERING, NULL, n > 0, strbuf_str(&detail),
                                      "a backend that does not end is stuck in I/O or in an extension: see its "
                                      "wait_event in pg_stat_activity");
}

static void alarms_restart_timers(struct alarms *alarms) {
    for (size_t i = 0; i < alarms->n_sets; i++) {
        for (struct alarm_group *group = alarms->sets[i]->groups; group; group = group->hh.next) {
            alarm_group_restart(group);
        }
    }
}

int alarms_step(struct alarms *alarms, int64_t n_lingering, usec_t now) {
    const struct snapshot *snapshot = alarms->snapshot;
    int64_t used = (int64_t)snapshot_n_sessions(snapshot);

    int r = alarms_set_policy(alarms, snapshot->origins.policy, alarms->gap_after);
    if (r < 0) {
        return r;
    }
    if (alarms->seen_at != USEC_INFINITY && alarms->gap_after > 0 &&
        now > usec_add(alarms->seen_at, alarms->gap_after)) {
        alarms_restart_timers(alarms);
    }
    if (alarms->postmaster_start != snapshot->facts.postmaster_start) {
        forecast_clear(&alarms->forecast);
        alarms_restart_timers(alarms);
    }
    alarms->postmaster_start = snapshot->facts.postmaster_start;
    alarms->seen_at = now;
    alarms_sweep(alarms);
    alarms->scan++;
    forecast_add(&alarms->forecast, now, used, server_facts_usable(&snapshot->facts));
    r = alarms_judge_full(alarms, now);
    r = r < 0 ? r : alarms_judge_lingering(alarms, n_lingering);
    r = r < 0 ? r : alarms_judge_names(alarms, now);
    return r < 0 ? r : alarms_measure(alarms, now);
}
