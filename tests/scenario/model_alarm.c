// SPDX-License-Identifier: PostgreSQL
//
// Alarms, said a second time: each group keeps what every scan showed, and for how long something has held is read off
// that list anew each time.
#include <stdio.h>
#include <string.h>

#include "model_impl.h"
#include "util/macro.h"

struct expected_alarm {
    char name[32];
    char group[32]; // empty: none
    enum severity before, now;
};

#define MODEL_MAX_EXPECTED (MODEL_MAX_ALARMS * MODEL_MAX_ALARM_GROUPS)

static bool alarm_event_is(const struct event *event, const struct expected_alarm *expected) {
    const char *reason = expected->now == SEVERITY_NONE      ? "cleared"
                         : expected->before == SEVERITY_NONE ? "raised"
                         : expected->now > expected->before  ? "escalated"
                                                             : "eased";
    return strcmp(event->alarm, expected->name) == 0 &&
           strcmp(event->group ? event->group : "", expected->group) == 0 && event->severity == expected->now &&
           strcmp(event->reason, reason) == 0;
}

// All that is expected came, once, and nothing else of the policy's alarms.
static void alarm_compare(struct model *model, const struct engine_result *result,
                          const struct expected_alarm *expected, size_t n) {
    size_t n_came = 0;

    for (size_t i = 0; i < result->n_events; i++) {
        const struct event *event = &result->events[i];
        if (event->kind != EVENT_ALARM || strncmp(event->alarm, MODEL_ALARM_PREFIX, 2) != 0) {
            continue;
        }
        n_came++;
        bool found = false;
        for (size_t k = 0; k < n; k++) {
            found = found || alarm_event_is(event, &expected[k]);
        }
        HOLDS(ALARMS_ARE_THOSE_OF_THE_MODEL, found);
        model_hash(model, (uint64_t)event->severity * 7 + (uint64_t)(event->value + 3));
    }
    HOLDS(ALARMS_ARE_THOSE_OF_THE_MODEL, n_came == n);
}

void model_alarms_silent(const struct engine_result *result) {
    for (size_t i = 0; i < result->n_events; i++) {
        HOLDS(P3_ABSENT_DATA_NEITHER_RAISES_NOR_CLEARS,
              result->events[i].kind != EVENT_ALARM || strncmp(result->events[i].alarm, MODEL_ALARM_PREFIX, 2) != 0);
    }
    HOLDS(P3_ABSENT_DATA_NEITHER_RAISES_NOR_CLEARS, true);
}

// --- What a scan shows
// ------------------------------------------------------------------------------------------------

static bool alarm_counts(const struct model *model, const struct model_alarm *alarm, const struct scan *scan,
                         const struct session_row *row) {
    bool own = row->id.id == scan->facts.own_pid ||
               (strcmp(row->user, "pgvigil") == 0 && strcmp(row->application_name, "pgvigil") == 0);
    (void)model;
    switch ((unsigned)alarm->metric) {
    case METRIC_IDLE:
        return row->state == SESSION_STATE_IDLE && !own;
    case METRIC_ACTIVE:
        return (row->state == SESSION_STATE_ACTIVE || row->state == SESSION_STATE_FASTPATH) && !own;
    default:
        return true;
    }
}

static void alarm_label(const struct model_alarm *alarm, const struct session_row *row, char label[static 32]) {
    bool user = alarm->per & GROUP_KEY_BIT(GROUP_USER), database = alarm->per & GROUP_KEY_BIT(GROUP_DATABASE);

    (void)snprintf(label, 32, "%s%s%s", user ? row->user : "", user && database ? ", " : "",
                   database ? row->database : "");
}

static struct model_alarm_group *alarm_group(struct model_alarm_state *state, const char *label) {
    for (size_t i = 0; i < state->n_groups; i++) {
        if (strcmp(state->groups[i].label, label) == 0) {
            return &state->groups[i];
        }
    }
    HOLDS(ALARMS_ARE_THOSE_OF_THE_MODEL, state->n_groups < MODEL_MAX_ALARM_GROUPS);
    struct model_alarm_group *group = &state->groups[state->n_groups++];
    memset(group, 0, sizeof(*group));
    (void)snprintf(group->label, sizeof(group->label), "%s", label);
    return group;
}

static enum severity alarm_level(const struct model_alarm *alarm, int64_t value) {
    int64_t sign = alarm->below ? -1 : 1;

    return alarm->critical >= 0 && sign * value > sign * alarm->critical ? SEVERITY_CRITICAL
           : alarm->warning >= 0 && sign * value > sign * alarm->warning ? SEVERITY_WARNING
                                                                         : SEVERITY_NONE;
}

static int64_t alarm_value(const struct model *model, size_t i, const struct scan *scan, const char *label) {
    const struct model_alarm *alarm = &model->policy.alarms[i];
    int64_t n = 0, usable = server_facts_usable(&scan->facts);

    for (size_t k = 0; k < scan->n_rows; k++) {
        char other[32];
        alarm_label(alarm, &scan->rows[k], other);
        n += strcmp(label, other) == 0 && model_alarm_covers(&model->policy, alarm, &scan->rows[k]) &&
             alarm_counts(model, alarm, scan, &scan->rows[k]);
    }
    if (alarm->metric != METRIC_USAGE) {
        return n;
    }
    n = (int64_t)scan->n_rows * 100;
    return alarm->below ? n / usable : (n + usable - 1) / usable;
}

// --- For how long
// -----------------------------------------------------------------------------------------------------

// Since when without a break the level has been at least `severity` (or below it), up to the last scan; false: it is
// not.
static bool alarm_since(const struct model_alarm_group *group, enum severity severity, bool over, usec_t *ret) {
    bool holds = false;

    for (size_t i = group->n_seen; i > 0; i--) {
        if ((group->seen[i - 1].level >= severity) != over) {
            break;
        }
        *ret = group->seen[i - 1].at;
        holds = true;
    }
    return holds;
}

static void alarm_see(struct model_alarm_group *group, enum severity level, usec_t now) {
    if (group->n_seen == MODEL_MAX_SEEN) {
        memmove(group->seen, group->seen + 1, (MODEL_MAX_SEEN - 1) * sizeof(group->seen[0]));
        group->n_seen--;
    }
    group->seen[group->n_seen].at = now;
    group->seen[group->n_seen++].level = level;
}

static enum severity alarm_judge(const struct model_alarm *alarm, const struct model_alarm_group *group,
                                 enum severity level, usec_t now) {
    enum severity severity = group->severity;
    usec_t since;

    for (unsigned s = SEVERITY_CRITICAL; s > (unsigned)group->severity; s--) {
        if (alarm_since(group, (enum severity)s, true, &since) && now - since >= alarm->wait) {
            return (enum severity)s;
        }
    }
    while (severity > level && alarm_since(group, severity, false, &since) && now - since >= alarm->clear_after) {
        severity = (enum severity)(severity - 1);
    }
    return severity;
}

static void alarm_name(const struct model *model, size_t i, char name[static 32]) {
    (void)snprintf(name, 32, MODEL_ALARM_PREFIX "%zug%u", i, model->policy.generation);
}

static void alarms_forget_times(struct model *model) {
    for (size_t i = 0; i < MODEL_MAX_ALARMS; i++) {
        for (size_t k = 0; k < model->alarms[i].n_groups; k++) {
            model->alarms[i].groups[k].n_seen = 0;
        }
    }
}

void model_alarms_scan(struct model *model, const struct scan *scan, usec_t now, const struct engine_result *result) {
    struct expected_alarm expected[MODEL_MAX_EXPECTED];
    usec_t gap = ENGINE_GAP_POLLS * model->policy.poll_interval;
    size_t n = 0;

    if ((gap > 0 && now > model->alarms_at + gap) || scan->facts.postmaster_start != model->alarms_server) {
        alarms_forget_times(model); // nothing is known of the time between
    }
    model->alarms_at = now;
    model->alarms_server = scan->facts.postmaster_start;
    for (size_t i = 0; i < model->policy.n_alarms; i++) {
        const struct model_alarm *alarm = &model->policy.alarms[i];
        struct model_alarm_state *state = &model->alarms[i];
        char label[32] = "";
        for (size_t k = 0; k < scan->n_rows || k == 0; k++) {
            if (alarm->per == 0) {
                (void)alarm_group(state, label);
            } else if (k < scan->n_rows && model_alarm_covers(&model->policy, alarm, &scan->rows[k])) {
                alarm_label(alarm, &scan->rows[k], label);
                (void)alarm_group(state, label);
            }
        }
        for (size_t k = 0; k < state->n_groups; k++) {
            struct model_alarm_group *group = &state->groups[k];
            enum severity level = alarm_level(alarm, alarm_value(model, i, scan, group->label));
            alarm_see(group, level, now);
            enum severity severity = alarm_judge(alarm, group, level, now);
            if (severity != group->severity) {
                struct expected_alarm *one = &expected[n++];
                alarm_name(model, i, one->name);
                memcpy(one->group, group->label, sizeof(one->group));
                one->before = group->severity;
                one->now = severity;
                group->severity = severity;
            }
        }
    }
    alarm_compare(model, result, expected, n);
}

// `old` has been replaced: its alarms that are not the same any more clear, and nothing else happens.
void model_alarms_policy(struct model *model, const struct model_policy *old, const struct engine_result *result) {
    const struct model_policy *policy = &model->policy;
    struct expected_alarm expected[MODEL_MAX_EXPECTED];
    size_t n = 0;

    for (size_t i = 0; i < MODEL_MAX_ALARMS; i++) {
        struct model_alarm_state *state = &model->alarms[i];
        if (old->generation == policy->generation && i < MIN(old->n_alarms, policy->n_alarms) &&
            model_alarm_is_same(&old->alarms[i], &policy->alarms[i])) {
            continue;
        }
        for (size_t k = 0; k < state->n_groups; k++) {
            if (state->groups[k].severity == SEVERITY_NONE) {
                continue;
            }
            struct expected_alarm *one = &expected[n++];
            (void)snprintf(one->name, sizeof(one->name), MODEL_ALARM_PREFIX "%zug%u", i, old->generation);
            memcpy(one->group, state->groups[k].label, sizeof(one->group));
            one->before = state->groups[k].severity;
            one->now = SEVERITY_NONE;
        }
        state->n_groups = 0;
    }
    alarm_compare(model, result, expected, n);
}
