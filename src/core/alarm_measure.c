// SPDX-License-Identifier: PostgreSQL
//
// What the alarms of the policy measure. Sessions are gone through once and added up by origin, for all metrics; whom
// an alarm covers is asked of origins alone and remembered with them. Only an alarm whose selectors ask for the
// statement is asked for each session.
//
// Counts tell of every session that holds a slot, protected ones too. Durations do so where there is a `match`; without
// one they leave out the protected sessions, or a listener, idle for ever by design, would raise them for good. Our own
// session counts as a connection and as nothing else.
//
// Forged names (P4: "more than 5 sessions of an app living on a built-in name"): what counts is the sessions of one
// user that one built-in name protects, whatever variant of a pattern they bear and wherever they come from. A name
// that the file binds to its user is not suspicious.
#include "alarm_measure.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "alarm_group.h"
#include "guard.h"

struct alarm_stats {
    int64_t all[N_METRICS_];  // by metric, those of sessions
    int64_t open[N_METRICS_]; // the same of sessions that are not protected
};

struct alarm_origin {
    struct alarm_stats stats; // of the scan
    int64_t user_limit;
    int64_t database_limit;
    uint64_t generation;         // of `groups`
    struct alarm_group **groups; // by alarm: the one that it counts to; NULL: to be found. Behind `covers`
    uint64_t covers[];           // bit i: alarm i of the policy covers it
};

// --- Sessions ------------------------------------------------------------------------------------------------------

static void alarm_stats_note(struct alarm_stats *stats, bool is_open, enum metric metric, int64_t value) {
    bool counts = metric_unit(metric) == METRIC_UNIT_COUNT;
    int64_t *all = &stats->all[metric], *open = &stats->open[metric];

    *all = counts ? *all + value : MAX(*all, value);
    if (is_open) {
        *open = counts ? *open + value : MAX(*open, value);
    }
}

static int64_t alarm_age(const struct snapshot *snapshot, const struct session *session, enum session_time time) {
    usec_t age = 0;

    session_age(snapshot, session, time, &age);
    return (int64_t)MIN(age, (usec_t)INT64_MAX);
}

static void alarm_stats_add(struct alarm_stats *stats, const struct snapshot *snapshot, const struct session *session) {
    alarm_stats_note(stats, true, METRIC_CONNECTIONS, 1);
    if (session->origin->own || session->id.id == snapshot->facts.own_pid) {
        return;
    }
    bool is_open = !guard_is_protected_for_good(snapshot, &snapshot->origins.policy->protect, session);
    switch (session->state) {
    case SESSION_STATE_IDLE:
        alarm_stats_note(stats, is_open, METRIC_IDLE, 1);
        alarm_stats_note(stats, is_open, METRIC_LONGEST_IDLE, alarm_age(snapshot, session, SESSION_TIME_STATE_CHANGE));
        break;
    case SESSION_STATE_ACTIVE:
    case SESSION_STATE_FASTPATH:
        alarm_stats_note(stats, is_open, METRIC_ACTIVE, 1);
        alarm_stats_note(stats, is_open, METRIC_LONGEST_QUERY, alarm_age(snapshot, session, SESSION_TIME_QUERY_START));
        break;
    case SESSION_STATE_IDLE_IN_TRANSACTION:
    case SESSION_STATE_IDLE_IN_TRANSACTION_ABORTED:
        alarm_stats_note(stats, is_open, METRIC_IDLE_IN_TRANSACTION, 1);
        alarm_stats_note(stats, is_open, METRIC_LONGEST_IDLE_IN_TRANSACTION,
                         alarm_age(snapshot, session, SESSION_TIME_STATE_CHANGE));
        break;
    case SESSION_STATE_NONE:
    case SESSION_STATE_DISABLED:
    case N_SESSION_STATES_:
        break;
    }
    alarm_stats_note(stats, is_open, METRIC_WAITING, session->waits_lock);
    alarm_stats_note(stats, is_open, METRIC_BLOCKED, session->n_blocked_by > 0);
    alarm_stats_note(stats, is_open, METRIC_LONGEST_TRANSACTION, alarm_age(snapshot, session, SESSION_TIME_XACT_START));
}

// --- Whom an alarm covers ------------------------------------------------------------------------------------------

static struct selector_subject alarm_subject(const struct alarms *alarms, const struct origin *origin) {
    return (struct selector_subject){
        .app = origin->group->key.app >= 0 ? alarms->policy->apps[origin->group->key.app].name : NULL,
        .user = origin->key.user,
        .database = origin->key.database,
        .application_name = origin->key.application_name,
        .client = origin->key.client,
        .target = alarms->snapshot->origins.target,
        .superuser = origin->key.superuser,
    };
}

// 1, 0, or -ENOMEM: not known.
static int alarm_covers(const struct alarm *alarm, const struct selector_subject *subject) {
    int r = alarm->match ? selector_matches(alarm->match, subject) : 1;
    if (r <= 0) {
        return r;
    }
    int ignored = selector_matches(alarm->ignore, subject);
    return ignored < 0 ? ignored : !ignored;
}

static struct alarm_set *alarms_set_of(const struct alarms *alarms, size_t i) {
    return alarms->sets[ALARM_N_FIXED + i];
}

static int alarms_prepare_origin(const struct alarms *alarms, struct origin *origin) {
    const struct policy *policy = alarms->policy;

    if (origin->alarms) {
        memset(&origin->alarms->stats, 0, sizeof(origin->alarms->stats));
        if (origin->alarms->generation != alarms->generation) {
            memset(origin->alarms->groups, 0, policy->n_alarms * sizeof(origin->alarms->groups[0]));
            origin->alarms->generation = alarms->generation;
        }
        return 0;
    }
    size_t n_words = policy->n_alarms / 64 + 1;
    struct alarm_origin *new =
        calloc(1, sizeof(*new) + n_words * sizeof(new->covers[0]) + policy->n_alarms * sizeof(new->groups[0]));
    if (!new) {
        return -ENOMEM;
    }
    new->generation = alarms->generation;
    new->groups = (struct alarm_group **)(void *)(new->covers + n_words);
    struct selector_subject subject = alarm_subject(alarms, origin);
    for (size_t i = 0; i < policy->n_alarms; i++) {
        if (!metric_is_by_session(policy->alarms[i].metric) || alarms_set_of(alarms, i)->by_query) {
            continue;
        }
        int r = alarm_covers(&policy->alarms[i], &subject);
        if (r < 0) {
            free(new);
            return r;
        }
        new->covers[i / 64] |= (uint64_t)r << (i % 64);
    }
    origin->alarms = new;
    return 0;
}

// --- Into the groups -----------------------------------------------------------------------------------------------

static struct alarm_key alarm_key_of(const struct alarm *alarm, const struct origin *origin, const char *app) {
    struct alarm_key key;

    memset(&key, 0, sizeof(key));
    if (alarm->per & GROUP_KEY_BIT(GROUP_APP)) {
        key.names[0] = app;
        key.flags = origin->group->key.app >= 0 ? ALARM_KEY_APP : 0;
    }
    if (alarm->per & GROUP_KEY_BIT(GROUP_USER)) {
        key.names[1] = origin->key.user;
    }
    if (alarm->per & GROUP_KEY_BIT(GROUP_DATABASE)) {
        key.names[2] = origin->key.database;
    }
    if (alarm->per & GROUP_KEY_BIT(GROUP_CLIENT_ADDR)) {
        memcpy(&key.client, &origin->key.client, sizeof(key.client));
    }
    if (alarm->per & GROUP_KEY_BIT(GROUP_APPLICATION_NAME)) {
        key.names[3] = origin->key.application_name;
    }
    return key;
}

static int alarms_group_of(struct alarms *alarms, struct alarm_set *set, const struct origin *origin,
                           struct alarm_group **ret) {
    struct interner *interner = alarms->snapshot->origins.interner;
    const char *app = NULL;

    if (set->only) {
        *ret = set->only;
        return 0;
    }
    if (set->alarm->per & GROUP_KEY_BIT(GROUP_APP)) {
        // By name: the numbers of apps change with the policy.
        app = origin->group->key.app >= 0 ? alarms->policy->apps[origin->group->key.app].name
                                          : origin->key.application_name;
        app = intern_ref(interner, app);
        if (!app) {
            return -ENOMEM;
        }
    }
    struct alarm_key key = alarm_key_of(set->alarm, origin, app);
    int r = alarm_set_get(alarms, set, &key, ret);
    intern_unref(interner, app);
    return r;
}

static void alarms_add(const struct alarms *alarms, const struct alarm *alarm, struct alarm_group *group,
                       const struct alarm_stats *stats) {
    enum metric_unit unit = metric_unit(alarm->metric);
    int64_t value =
        unit == METRIC_UNIT_DURATION && !alarm->match ? stats->open[alarm->metric] : stats->all[alarm->metric];
    group->seen = alarms->scan;
    group->value = unit == METRIC_UNIT_COUNT ? group->value + value : MAX(group->value, value);
}

static int alarms_add_by_query(struct alarms *alarms, struct alarm_set *set) {
    for (const struct session *s = alarms->snapshot->sessions; s; s = s->hh.next) {
        struct selector_subject subject = alarm_subject(alarms, s->origin);
        struct alarm_stats stats = {0};

        subject.query_matches = s->query_matches;
        int r = alarm_covers(set->alarm, &subject);
        if (r > 0) {
            struct alarm_group *group;
            alarm_stats_add(&stats, alarms->snapshot, s);
            r = alarms_group_of(alarms, set, s->origin, &group);
            if (r == 0) {
                alarms_add(alarms, set->alarm, group, &stats);
            }
        }
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

// All groups at nothing, and the one of an alarm that counts all together is there whether anybody is or not.
static int alarms_reset_groups(struct alarms *alarms) {
    struct alarm_key key;

    memset(&key, 0, sizeof(key));
    for (size_t i = 0; i < alarms->policy->n_alarms; i++) {
        struct alarm_set *set = alarms_set_of(alarms, i);
        set->only = NULL;
        if (set->alarm->per == 0) {
            int r = alarm_set_get(alarms, set, &key, &set->only);
            if (r < 0) {
                return r;
            }
            set->only->seen = alarms->scan;
        }
        for (struct alarm_group *group = set->groups; group; group = group->hh.next) {
            group->value = 0;
        }
    }
    return 0;
}

static int alarms_add_origin(struct alarms *alarms, const struct origin *origin) {
    for (size_t word = 0; word <= alarms->policy->n_alarms / 64; word++) {
        for (uint64_t bits = origin->alarms->covers[word]; bits; bits &= bits - 1) {
            size_t i = word * 64 + bit_lowest(bits);
            struct alarm_set *set = alarms_set_of(alarms, i);
            struct alarm_group **group = &origin->alarms->groups[i];
            int r = *group ? 0 : alarms_group_of(alarms, set, origin, group);
            if (r < 0) {
                return r;
            }
            alarms_add(alarms, set->alarm, *group, &origin->alarms->stats);
        }
    }
    return 0;
}

static int alarms_add_up(struct alarms *alarms) {
    struct origin *origins = alarms->snapshot->origins.origins;

    int r = alarms_reset_groups(alarms);
    for (struct origin *origin = origins; r == 0 && origin; origin = origin->hh.next) {
        r = origin->n_sessions > 0 ? alarms_prepare_origin(alarms, origin) : 0;
    }
    for (const struct session *s = alarms->snapshot->sessions; r == 0 && s; s = s->hh.next) {
        alarm_stats_add(&s->origin->alarms->stats, alarms->snapshot, s);
        s->origin->alarms->user_limit = s->user_limit;
        s->origin->alarms->database_limit = s->database_limit;
    }
    for (const struct origin *origin = origins; r == 0 && origin; origin = origin->hh.next) {
        r = origin->n_sessions > 0 ? alarms_add_origin(alarms, origin) : 0;
    }
    for (size_t i = 0; r == 0 && i < alarms->policy->n_alarms; i++) {
        r = alarms_set_of(alarms, i)->by_query ? alarms_add_by_query(alarms, alarms_set_of(alarms, i)) : 0;
    }
    return r;
}

// --- Metrics of the whole server -----------------------------------------------------------------------------------

// Rounded towards being over the threshold: against a whole number this is the same as not rounding. What is told is
// slots_percent(), here as everywhere.
static int64_t alarm_percent(int64_t part, int64_t whole, bool below) {
    return below ? part * 100 / whole : (part * 100 + whole - 1) / whole;
}

struct alarm_limit {
    const char *name; // interned
    int64_t n;
    int64_t limit;
};

static int alarm_limit_compare(const void *pa, const void *pb) {
    uintptr_t a = (uintptr_t)((const struct alarm_limit *)pa)->name,
              b = (uintptr_t)((const struct alarm_limit *)pb)->name;

    return (a > b) - (a < b); // equal names have equal pointers
}

// One entry for each role (its superusers are not bound by the limit) or database that has a limit, in any order.
static size_t alarms_list_limits(const struct alarms *alarms, bool of_roles, struct alarm_limit *limits) {
    size_t n = 0, n_merged = 0;

    for (const struct origin *origin = alarms->snapshot->origins.origins; origin; origin = origin->hh.next) {
        if (origin->n_sessions == 0 || (of_roles && origin->key.superuser)) {
            continue;
        }
        int64_t limit = of_roles ? origin->alarms->user_limit : origin->alarms->database_limit;
        if (limit >= 0) {
            limits[n++] = (struct alarm_limit){of_roles ? origin->key.user : origin->key.database,
                                               (int64_t)origin->n_sessions, limit};
        }
    }
    if (n > 1) {
        qsort(limits, n, sizeof(*limits), alarm_limit_compare);
    }
    for (size_t i = 0; i < n; i++) {
        if (n_merged > 0 && limits[n_merged - 1].name == limits[i].name) {
            limits[n_merged - 1].n += limits[i].n;
        } else {
            limits[n_merged++] = limits[i];
        }
    }
    return n_merged;
}

// The fullest one's percentage, and whose it is in the group's detail. 0 or -ENOMEM.
static int alarms_measure_limits(const struct alarms *alarms, const struct alarm *alarm, struct alarm_group *group) {
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    CLEANUP(freep)
    struct alarm_limit *limits = calloc(HASH_COUNT(alarms->snapshot->origins.origins) + 1, sizeof(*limits));
    const struct alarm_limit *fullest = NULL;
    bool of_roles = alarm->metric == METRIC_ROLE_LIMIT;

    if (!limits) {
        return -ENOMEM;
    }
    size_t n = alarms_list_limits(alarms, of_roles, limits);
    group->value = group->shown = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t limit = MAX(limits[i].limit, INT64_C(1)), value = alarm_percent(limits[i].n, limit, alarm->below);
        if (!fullest || value > group->value || (value == group->value && strcmp(limits[i].name, fullest->name) < 0)) {
            group->value = value;
            group->shown = slots_percent(limits[i].n, limit);
            fullest = &limits[i];
        }
    }
    free(group->detail);
    group->detail = NULL;
    if (!fullest) {
        return 0;
    }
    strbuf_addf(&detail, "%s '%s' has %" PRId64 " of %" PRId64 " connections", of_roles ? "role" : "database",
                fullest->name, fullest->n, fullest->limit);
    group->detail = strbuf_take(&detail);
    return group->detail ? 0 : -ENOMEM;
}

// What is not by session, into the alarm's only group. *ret_known: there is a value.
static int alarms_measure_server(struct alarms *alarms, struct alarm_set *set, bool *ret_known) {
    const struct snapshot *snapshot = alarms->snapshot;
    int64_t usable = server_facts_usable(&snapshot->facts);
    struct alarm_group *group = set->only;
    usec_t left;

    *ret_known = true;
    switch ((unsigned)set->alarm->metric) {
    case METRIC_USAGE:
        group->value = alarm_percent((int64_t)snapshot_n_sessions(snapshot), usable, set->alarm->below);
        group->shown = slots_percent((int64_t)snapshot_n_sessions(snapshot), usable);
        break;
    case METRIC_TIME_TO_FULL:
        *ret_known = forecast_time_to_full(&alarms->forecast, usable, &left);
        group->value = *ret_known ? (int64_t)MIN(left, (usec_t)ALARM_VALUE_UNKNOWN) : ALARM_VALUE_UNKNOWN;
        break;
    default:
        return alarms_measure_limits(alarms, set->alarm, group);
    }
    return 0;
}

// --- Verdicts ------------------------------------------------------------------------------------------------------

static bool alarm_is_over(const struct alarm *alarm, int64_t threshold, int64_t value) {
    return alarm->below ? value < threshold : value > threshold;
}

static enum severity alarm_severity(const struct alarm *alarm, int64_t value) {
    if (alarm->has_critical && alarm_is_over(alarm, alarm->critical, value)) {
        return SEVERITY_CRITICAL;
    }
    return alarm->has_warning && alarm_is_over(alarm, alarm->warning, value) ? SEVERITY_WARNING : SEVERITY_NONE;
}

// The threshold that the change was about: the one reached, or the lowest one that does not hold any more.
static int64_t alarm_threshold(const struct alarm *alarm, enum severity before, enum severity now) {
    enum severity about = now > before ? now : now == SEVERITY_WARNING ? SEVERITY_CRITICAL : SEVERITY_WARNING;

    return (about == SEVERITY_CRITICAL && alarm->has_critical) || !alarm->has_warning ? alarm->critical
                                                                                      : alarm->warning;
}

int64_t alarm_shown(const struct alarm *alarm, const struct alarm_group *group) {
    if (metric_unit(alarm->metric) == METRIC_UNIT_PERCENT) {
        return group->shown;
    }
    return group->value == ALARM_VALUE_UNKNOWN ? EVENT_NUMBER_NONE : group->value;
}

static void alarms_judge(struct alarms *alarms, struct alarm_set *set, usec_t now) {
    const struct alarm *alarm = set->alarm;

    for (struct alarm_group *group = set->groups; group; group = group->hh.next) {
        enum severity before = group->severity;
        if (alarm_group_judge(group, alarm_severity(alarm, group->value), alarm->for_, alarm->clear_after, now)) {
            group->changed_value = alarm_shown(alarm, group);
            group->threshold = alarm_threshold(alarm, before, group->severity);
            alarms->dirty = true;
        }
    }
}

int alarms_measure(struct alarms *alarms, usec_t now) {
    if (alarms->policy->n_alarms == 0) {
        return 0;
    }
    int r = alarms_add_up(alarms);
    for (size_t i = 0; r == 0 && i < alarms->policy->n_alarms; i++) {
        struct alarm_set *set = alarms_set_of(alarms, i);
        bool known = true;
        if (set->only && !metric_is_by_session(set->alarm->metric)) {
            r = alarms_measure_server(alarms, set, &known);
        }
        if (r == 0 && known) {
            alarms_judge(alarms, set, now);
        } else if (r == 0) {
            for (struct alarm_group *group = set->groups; group; group = group->hh.next) {
                alarm_group_restart(group);
            }
        }
    }
    return r;
}

// --- Forged names --------------------------------------------------------------------------------------------------

// The built-in name that protects the origin's sessions though any user may bear it; NULL: none does.
static int alarms_find_unbound(const struct alarms *alarms, const struct origin *origin, const char **ret) {
    const struct protect *protect = &alarms->policy->protect;

    *ret = NULL;
    for (size_t i = 0; origin->protected_name && protect->builtin && i < PROTECT_N_BUILTIN; i++) {
        int r = protect->builtin_user[i]
                    ? 0
                    : pattern_matches(alarms->snapshot->origins.builtin[i], origin->key.application_name);
        if (r != 0) {
            *ret = r > 0 ? protect_builtin_names[i] : NULL;
            return MIN(r, 0);
        }
    }
    return 0;
}

static int alarms_count_name(struct alarms *alarms, const struct origin *origin, const char *name) {
    struct interner *interner = alarms->snapshot->origins.interner;
    struct alarm_group *group;
    struct alarm_key key;

    memset(&key, 0, sizeof(key));
    key.flags = ALARM_KEY_FORGED;
    key.names[0] = intern_ref(interner, name);
    key.names[1] = origin->key.user;
    int r = key.names[0] ? alarm_set_get(alarms, alarms->sets[ALARM_FORGED_NAME], &key, &group) : -ENOMEM;
    intern_unref(interner, key.names[0]);
    if (r < 0) {
        return r;
    }
    group->seen = alarms->scan;
    group->value += (int64_t)origin->n_sessions;
    return 0;
}

static int alarms_judge_name(struct alarms *alarms, struct alarm_group *group, usec_t now) {
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    bool many = group->value > ALARM_FORGED_NAME_MAX;

    if (!alarm_group_judge(group, many ? SEVERITY_WARNING : SEVERITY_NONE, 0, ALARM_CLEAR, now)) {
        return 0;
    }
    alarms->dirty = true;
    strbuf_addf(&detail, "%" PRId64 " sessions are protected by a built-in name that any client can take",
                group->value);
    int r = strbuf_error(&detail);
    r = r < 0 ? r : alarm_group_set_text(&group->detail, strbuf_str(&detail));
    return r < 0 ? r
                 : alarm_group_set_text(&group->hint, "bind the name to the user that runs it: protect: { builtin: { "
                                                      "NAME: USER } }");
}

int alarms_judge_names(struct alarms *alarms, usec_t now) {
    for (struct alarm_group *group = alarms->sets[ALARM_FORGED_NAME]->groups; group; group = group->hh.next) {
        group->value = 0;
    }
    for (const struct origin *origin = alarms->snapshot->origins.origins; origin; origin = origin->hh.next) {
        const char *name;
        int r = alarms_find_unbound(alarms, origin, &name);
        if (r == 0 && name && origin->n_sessions > 0) {
            r = alarms_count_name(alarms, origin, name);
        }
        if (r < 0) {
            return r;
        }
    }
    for (struct alarm_group *group = alarms->sets[ALARM_FORGED_NAME]->groups; group; group = group->hh.next) {
        int r = alarms_judge_name(alarms, group, now);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}
