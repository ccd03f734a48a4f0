// SPDX-License-Identifier: PostgreSQL
//
// What a target cannot know now (its server is down) is left out: a number that is no longer true would draw a flat
// line. Alarms are not: they survive gaps.
#include "metrics_collect.h"

#include <string.h>

#include "core/engine.h"
#include "output/metrics.h"
#include "util/macro.h"

#define METRICS_OTHER "other"

// ---- the process and its configuration

static void metrics_build_info(const struct view *view, struct sample_set *set) {
    const struct sample_label label = {"version", view->version};
    sample_add(set, &label, 1, 1);
}

static void metrics_reload_successful(const struct view *view, struct sample_set *set) {
    sample_add(set, NULL, 0, view->config.last_reload_ok);
}

static void metrics_reload_time(const struct view *view, struct sample_set *set) {
    sample_add(set, NULL, 0, (int64_t)view->config.loaded_realtime);
}

static void metrics_known(struct sample_set *set, int64_t value) {
    if (value >= 0) {
        sample_add(set, NULL, 0, value);
    }
}

static void metrics_cpu(const struct view *view, struct sample_set *set) {
    metrics_known(set, view->process.cpu_usec);
}

static void metrics_resident(const struct view *view, struct sample_set *set) {
    metrics_known(set, view->process.resident_bytes);
}

static void metrics_virtual(const struct view *view, struct sample_set *set) {
    metrics_known(set, view->process.virtual_bytes);
}

static void metrics_open_fds(const struct view *view, struct sample_set *set) {
    metrics_known(set, view->process.open_fds);
}

static void metrics_max_fds(const struct view *view, struct sample_set *set) {
    metrics_known(set, view->process.max_fds);
}

static void metrics_start_time(const struct view *view, struct sample_set *set) {
    sample_add(set, NULL, 0, (int64_t)view->process.started_realtime);
}

static void metrics_records_dropped(const struct view *view, struct sample_set *set) {
    sample_add(set, NULL, 0, (int64_t)view->n_records_dropped);
}

static void metrics_events(const struct view *view, struct sample_set *set) {
    for (unsigned i = 0; i < N_EVENT_KINDS; i++) {
        const struct sample_label label = {"event", event_kind_to_string((enum event_kind)i)};
        sample_add(set, &label, 1, (int64_t)tally_n_events(view->tally, (enum event_kind)i));
    }
}

// ---- how targets go

static void metrics_of_target(struct sample_set *set, const struct view_target *target, int64_t value) {
    const struct sample_label label = {"target", target->name};
    sample_add(set, &label, 1, value);
}

static void metrics_up(const struct view *view, struct sample_set *set) {
    for (size_t i = 0; i < view->n_targets; i++) {
        metrics_of_target(set, &view->targets[i], view->targets[i].up);
    }
}

static void metrics_locked_out(const struct view *view, struct sample_set *set) {
    for (size_t i = 0; i < view->n_targets; i++) {
        metrics_of_target(set, &view->targets[i], view->targets[i].locked_out);
    }
}

static void metrics_enforcing(const struct view *view, struct sample_set *set) {
    for (size_t i = 0; i < view->n_targets; i++) {
        metrics_of_target(set, &view->targets[i], view->targets[i].enforces);
    }
}

static void metrics_leader(const struct view *view, struct sample_set *set) {
    for (size_t i = 0; i < view->n_targets; i++) {
        metrics_of_target(set, &view->targets[i], view->targets[i].leads);
    }
}

static void metrics_last_poll(const struct view *view, struct sample_set *set) {
    for (size_t i = 0; i < view->n_targets; i++) {
        metrics_of_target(set, &view->targets[i], (int64_t)view_realtime(view, view->targets[i].polled_at));
    }
}

static void metrics_polls(const struct view *view, struct sample_set *set) {
    for (size_t i = 0; i < view->n_targets; i++) {
        for (unsigned j = 0; j < N_POLL_RESULTS; j++) {
            const struct sample_label labels[] = {{"target", view->targets[i].name},
                                                  {"result", poll_result_to_string((enum poll_result)j)}};
            sample_add(set, labels, ARRAY_SIZE(labels), (int64_t)view->targets[i].n_polls[j]);
        }
    }
}

static bool metrics_poll_durations(const struct view *view, size_t i, const char **ret_target,
                                   const struct histogram **ret) {
    if (i >= view->n_targets) {
        return false;
    }
    *ret_target = view->targets[i].name;
    *ret = &view->targets[i].poll_durations;
    return true;
}

// ---- what summaries say

// NULL: nothing is known of the sessions now.
static const struct summary *metrics_summary(const struct view_target *target) {
    return target->has_summary && target->summary.valid ? &target->summary : NULL;
}

static void metrics_slots(const struct view *view, struct sample_set *set) {
    for (size_t i = 0; i < view->n_targets; i++) {
        const struct summary *summary = metrics_summary(&view->targets[i]);
        if (!summary) {
            continue;
        }
        const struct server_facts *facts = &summary->facts;
        const struct {
            const char *kind;
            int64_t n;
        } slots[] = {
            {"max", facts->max_connections},
            {"usable", summary->usable},
            {"reserved", facts->superuser_reserved_connections + facts->reserved_connections},
            {"used", summary->used},
        };
        for (size_t j = 0; j < ARRAY_SIZE(slots); j++) {
            const struct sample_label labels[] = {{"target", view->targets[i].name}, {"kind", slots[j].kind}};
            sample_add(set, labels, ARRAY_SIZE(labels), slots[j].n);
        }
    }
}

static void metrics_usage(const struct view *view, struct sample_set *set) {
    for (size_t i = 0; i < view->n_targets; i++) {
        const struct summary *summary = metrics_summary(&view->targets[i]);
        if (summary) {
            metrics_of_target(set, &view->targets[i], summary->used * 1000000 / summary->usable);
        }
    }
}

// The groups come with the largest first; those of strangers may take only some of the places.
struct metrics_places {
    size_t n;
    size_t n_strangers;
};

static bool metrics_take_place(struct metrics_places *places, const struct summary_group *group) {
    if (places->n >= METRICS_MAX_CONNECTIONS || (!group->is_app && places->n_strangers >= METRICS_MAX_STRANGERS)) {
        return false;
    }
    places->n++;
    places->n_strangers += !group->is_app;
    return true;
}

static void metrics_add_connections(struct sample_set *set, const struct view_target *target,
                                    const struct summary_group *group) {
    const struct sample_label labels[] = {
        {"target", target->name},
        {"app", group->app},
        {"user", group->user},
        {"database", group->database},
        {"state", session_state_to_string(group->state)},
    };
    sample_add(set, labels, ARRAY_SIZE(labels), group->n_sessions);
}

static void metrics_add_oldest(struct sample_set *set, const struct view_target *target,
                               const struct summary_group *group) {
    const struct sample_label labels[] = {
        {"target", target->name},
        {"app", group->app},
        {"state", session_state_to_string(group->state)},
    };
    sample_add(set, labels, ARRAY_SIZE(labels), (int64_t)group->longest);
}

// Adds the groups of all targets, and for each state what is beyond them.
static void metrics_groups(const struct view *view, struct sample_set *set,
                           void (*add)(struct sample_set *set, const struct view_target *target,
                                       const struct summary_group *group)) {
    for (size_t i = 0; i < view->n_targets; i++) {
        const struct summary *summary = metrics_summary(&view->targets[i]);
        struct summary_group others[N_SESSION_STATES_] = {0};
        struct metrics_places places = {0};
        for (size_t j = 0; summary && j < summary->n_groups; j++) {
            const struct summary_group *group = &summary->groups[j];
            struct summary_group *other = &others[group->state];
            if (metrics_take_place(&places, group)) {
                add(set, &view->targets[i], group);
            } else {
                other->n_sessions += group->n_sessions;
                other->longest = MAX(other->longest, group->longest);
            }
        }
        for (unsigned state = 0; state < N_SESSION_STATES; state++) {
            if (others[state].n_sessions > 0) {
                others[state].app = others[state].user = others[state].database = METRICS_OTHER;
                others[state].state = (enum session_state)state;
                add(set, &view->targets[i], &others[state]);
            }
        }
    }
}

static void metrics_connections(const struct view *view, struct sample_set *set) {
    metrics_groups(view, set, metrics_add_connections);
}

static void metrics_oldest(const struct view *view, struct sample_set *set) {
    metrics_groups(view, set, metrics_add_oldest);
}

static void metrics_rule_matches(const struct view *view, struct sample_set *set) {
    for (size_t i = 0; i < view->n_targets; i++) {
        const struct summary *summary = metrics_summary(&view->targets[i]);
        for (size_t j = 0; summary && j < summary->n_rules; j++) {
            const struct sample_label labels[] = {{"target", view->targets[i].name}, {"rule", summary->rules[j].name}};
            sample_add(set, labels, ARRAY_SIZE(labels), summary->rules[j].n_matches);
        }
    }
}

// ---- pauses, which outlast the connection

static void metrics_paused(const struct view *view, struct sample_set *set) {
    for (size_t i = 0; i < view->n_targets; i++) {
        if (view->targets[i].has_summary) {
            metrics_of_target(set, &view->targets[i], view->targets[i].summary.paused);
        }
    }
}

static void metrics_rule_paused(const struct view *view, struct sample_set *set) {
    for (size_t i = 0; i < view->n_targets; i++) {
        const struct view_target *target = &view->targets[i];
        for (size_t j = 0; target->has_summary && j < target->summary.n_rules; j++) {
            const struct sample_label labels[] = {{"target", target->name}, {"rule", target->summary.rules[j].name}};
            sample_add(set, labels, ARRAY_SIZE(labels), target->summary.rules[j].paused);
        }
    }
}

// ---- alarms

static void metrics_add_alarm(struct sample_set *set, const char *target, const char *alarm, const char *group,
                              enum severity severity) {
    const struct sample_label labels[] = {{"target", target}, {"alarm", alarm}, {"group", group}};
    sample_add(set, labels, ARRAY_SIZE(labels), (int64_t)severity);
}

// Those that can be told without a group are 0 while they are quiet: an expression can then tell quiet from unknown.
static void metrics_add_quiet_alarms(struct sample_set *set, const char *target, const struct policy *policy) {
    const char *name;
    for (size_t i = 0; (name = engine_alarm_name(i)); i++) {
        metrics_add_alarm(set, target, name, "", SEVERITY_NONE);
    }
    for (size_t i = 0; i < policy->n_alarms; i++) {
        if (policy->alarms[i].per == 0) {
            metrics_add_alarm(set, target, policy->alarms[i].name, "", SEVERITY_NONE);
        }
    }
}

static void metrics_alarms(const struct view *view, struct sample_set *set) {
    metrics_add_alarm(set, "", "reload_failed", "", view->config.last_reload_ok ? SEVERITY_NONE : SEVERITY_WARNING);
    for (size_t i = 0; i < view->n_targets; i++) {
        const struct view_target *target = &view->targets[i];
        if (!target->has_summary) {
            continue; // not known is not quiet
        }
        metrics_add_quiet_alarms(set, target->name, view->config.policy);
        for (size_t j = 0; j < target->summary.n_alarms; j++) {
            const struct summary_alarm *alarm = &target->summary.alarms[j];
            metrics_add_alarm(set, target->name, alarm->name, j < METRICS_MAX_ALARMS ? alarm->group : METRICS_OTHER,
                              alarm->severity);
        }
    }
}

// ---- counters

static void metrics_tally(const struct view *view, enum tally_family family, struct sample_set *set) {
    size_t n;
    const struct tally_series *series = tally_list(view->tally, family, &n);
    struct sample_label labels[TALLY_MAX_LABELS];
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < tally_n_labels(family); j++) {
            labels[j] = (struct sample_label){tally_label(family, j), series[i].values[j]};
        }
        sample_add(set, labels, tally_n_labels(family), (int64_t)series[i].count);
    }
}

static void metrics_decisions(const struct view *view, struct sample_set *set) {
    metrics_tally(view, TALLY_DECISIONS, set);
}

static void metrics_outcomes(const struct view *view, struct sample_set *set) {
    metrics_tally(view, TALLY_OUTCOMES, set);
}

static void metrics_held_back(const struct view *view, struct sample_set *set) {
    metrics_tally(view, TALLY_HELD_BACK, set);
}

static void metrics_notifications(const struct view *view, struct sample_set *set) {
    metrics_tally(view, TALLY_NOTIFICATIONS, set);
}

static bool metrics_deaths(const struct view *view, size_t i, const char **ret_target, const struct histogram **ret) {
    size_t n;
    const struct tally_death *deaths = tally_deaths(view->tally, &n);
    if (i >= n) {
        return false;
    }
    *ret_target = deaths[i].target;
    *ret = &deaths[i].took;
    return true;
}

const struct metrics_family metrics_families[] = {
    {"pgvigil_build_info", "The version that runs.", METRICS_INFO, NULL, SAMPLE_MAX, metrics_build_info, NULL},
    {"pgvigil_config_last_reload_successful", "Whether the last reload of the configuration was taken.", METRICS_GAUGE,
     NULL, SAMPLE_MAX, metrics_reload_successful, NULL},
    {"pgvigil_config_last_reload_success_timestamp_seconds", "When the configuration that is in force was read.",
     METRICS_GAUGE, "seconds", SAMPLE_MAX, metrics_reload_time, NULL},
    {"pgvigil_target_up", "Whether the connection stands and the last poll of the server succeeded.", METRICS_GAUGE,
     NULL, SAMPLE_MAX, metrics_up, NULL},
    {"pgvigil_target_locked_out", "Whether the server refuses pgvigil because no slot is left.", METRICS_GAUGE, NULL,
     SAMPLE_MAX, metrics_locked_out, NULL},
    {"pgvigil_enforcing",
     "Whether sessions are ended on this target: by the master switch, the target and the way to "
     "the server.",
     METRICS_GAUGE, NULL, SAMPLE_MAX, metrics_enforcing, NULL},
    {"pgvigil_paused", "Whether an operator has paused all rules of the target.", METRICS_GAUGE, NULL, SAMPLE_MAX,
     metrics_paused, NULL},
    {"pgvigil_rule_paused", "Whether an operator has paused the rule, alone or with all.", METRICS_GAUGE, NULL,
     SAMPLE_MAX, metrics_rule_paused, NULL},
    {"pgvigil_leader", "Whether this instance is the one that acts, of all that watch the server.", METRICS_GAUGE, NULL,
     SAMPLE_MAX, metrics_leader, NULL},
    {"pgvigil_polls_total", "Polls of the server, by how they ended.", METRICS_COUNTER, NULL, SAMPLE_SUM, metrics_polls,
     NULL},
    {"pgvigil_poll_duration_seconds", "How long a complete poll took, from sent to decoded.", METRICS_HISTOGRAM,
     "seconds", SAMPLE_SUM, NULL, metrics_poll_durations},
    {"pgvigil_last_poll_timestamp_seconds", "When the last complete poll came back; 0: none yet.", METRICS_GAUGE,
     "seconds", SAMPLE_MAX, metrics_last_poll, NULL},
    {"pgvigil_slots", "Connection slots of the server.", METRICS_GAUGE, NULL, SAMPLE_MAX, metrics_slots, NULL},
    {"pgvigil_usage_ratio", "Used slots as a part of the usable ones.", METRICS_GAUGE, "ratio", SAMPLE_MAX,
     metrics_usage, NULL},
    {"pgvigil_connections", "Client sessions.", METRICS_GAUGE, NULL, SAMPLE_SUM, metrics_connections, NULL},
    {"pgvigil_oldest_seconds", "How long the session that has been longest in its state has been so.", METRICS_GAUGE,
     "seconds", SAMPLE_MAX, metrics_oldest, NULL},
    {"pgvigil_rule_matches", "Sessions that the last poll found over the limit of a rule, held back or not.",
     METRICS_GAUGE, NULL, SAMPLE_SUM, metrics_rule_matches, NULL},
    {"pgvigil_decisions_total", "What rules decided to do, and of rules that only log what they reported.",
     METRICS_COUNTER, NULL, SAMPLE_SUM, metrics_decisions, NULL},
    {"pgvigil_outcomes_total", "What became of the sessions that were acted on.", METRICS_COUNTER, NULL, SAMPLE_SUM,
     metrics_outcomes, NULL},
    {"pgvigil_held_back_total", "Sessions that were told as held back, by why.", METRICS_COUNTER, NULL, SAMPLE_SUM,
     metrics_held_back, NULL},
    {"pgvigil_time_to_death_seconds", "Time from the signal until the session was seen gone.", METRICS_HISTOGRAM,
     "seconds", SAMPLE_SUM, NULL, metrics_deaths},
    {"pgvigil_alarm_severity", "0: quiet, 1: warning, 2: critical.", METRICS_GAUGE, NULL, SAMPLE_MAX, metrics_alarms,
     NULL},
    {"pgvigil_notifications_total", "Notifications to webhooks, by how they ended.", METRICS_COUNTER, NULL, SAMPLE_SUM,
     metrics_notifications, NULL},
    {"pgvigil_events_total", "What pgvigil said, by kind, whether or not it was logged.", METRICS_COUNTER, NULL,
     SAMPLE_SUM, metrics_events, NULL},
    {"pgvigil_records_dropped_total", "Log records that were lost because the log did not take them.", METRICS_COUNTER,
     NULL, SAMPLE_SUM, metrics_records_dropped, NULL},
    {"process_cpu_seconds_total", "User and system CPU time spent by this process.", METRICS_COUNTER, "seconds",
     SAMPLE_SUM, metrics_cpu, NULL},
    {"process_resident_memory_bytes", "Resident memory of this process.", METRICS_GAUGE, "bytes", SAMPLE_MAX,
     metrics_resident, NULL},
    {"process_virtual_memory_bytes", "Virtual memory of this process.", METRICS_GAUGE, "bytes", SAMPLE_MAX,
     metrics_virtual, NULL},
    {"process_open_fds", "Open file descriptors of this process.", METRICS_GAUGE, NULL, SAMPLE_MAX, metrics_open_fds,
     NULL},
    {"process_max_fds", "How many of them it may open.", METRICS_GAUGE, NULL, SAMPLE_MAX, metrics_max_fds, NULL},
    {"process_start_time_seconds", "When this process started.", METRICS_GAUGE, "seconds", SAMPLE_MAX,
     metrics_start_time, NULL},
};
const size_t metrics_n_families = ARRAY_SIZE(metrics_families);
