// SPDX-License-Identifier: PostgreSQL
#include "output/status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_event.h"
#include "json_tree.h"
#include "status_groups.h"
#include "status_totals.h"
#include "util/macro.h"
#include "util/strbuf.h"

struct status {
    struct json_tree tree;
    const struct view *view;
    struct status_totals totals;
};

static void status_deinit(struct status *status) {
    json_tree_deinit(&status->tree);
    status_totals_deinit(&status->totals);
}

// ---- the process

static void status_put_config(struct status *status) {
    struct json_tree *tree = &status->tree;
    const struct view_config *config = &status->view->config;
    const struct policy *policy = config->policy;
    json_t *object = json_tree_put_object(tree, tree->root, "configuration");
    json_tree_put_text(tree, object, "file", config->file);
    json_tree_put_time(tree, object, "loaded_at", config->loaded_realtime);
    json_tree_put_bool(tree, object, "last_reload_ok", config->last_reload_ok);
    json_tree_put_time(tree, object, "last_reload_at", config->last_reload_realtime);
    json_tree_put_bool(tree, object, "enforce", policy->enforce);
    json_tree_put_text(tree, object, "scope", config->scope);
    json_tree_put_number(tree, object, "apps", (int64_t)policy->n_apps);
    json_tree_put_number(tree, object, "rules", (int64_t)(policy->n_timeouts + policy->n_quotas));
    json_tree_put_number(tree, object, "alarms", (int64_t)policy->n_alarms);
}

static void status_put_process(struct status *status) {
    struct json_tree *tree = &status->tree;
    const struct view_process *process = &status->view->process;
    json_t *object = json_tree_put_object(tree, tree->root, "process");
    json_tree_put_seconds(tree, object, "cpu_seconds", process->cpu_usec < 0 ? 0 : (usec_t)process->cpu_usec);
    json_tree_put_number(tree, object, "resident_bytes", process->resident_bytes);
    json_tree_put_number(tree, object, "open_fds", process->open_fds);
    json_tree_put_number(tree, object, "records_dropped", (int64_t)status->view->n_records_dropped);
}

static void status_put_pauses(struct status *status) {
    struct json_tree *tree = &status->tree;
    json_t *array = json_tree_put_array(tree, tree->root, "pauses");
    for (size_t i = 0; i < status->view->n_pauses; i++) {
        const struct view_pause *pause = &status->view->pauses[i];
        json_t *object = json_tree_append_object(tree, array);
        json_tree_put_text(tree, object, "scope", pause->scope);
        json_tree_put_text(tree, object, "name", *pause->name ? pause->name : NULL);
        json_tree_put_time(tree, object, "until", pause->until_realtime);
        json_tree_put_seconds(tree, object, "left_seconds", pause->left);
    }
}

static void status_put_notifications(struct status *status) {
    struct json_tree *tree = &status->tree;
    size_t n;
    const struct tally_series *series = tally_list(status->view->tally, TALLY_NOTIFICATIONS, &n);
    json_t *array = json_tree_put_array(tree, tree->root, "notifications");
    for (size_t i = 0; i < n; i++) {
        json_t *object = json_tree_append_object(tree, array);
        for (size_t j = 0; j < tally_n_labels(TALLY_NOTIFICATIONS); j++) {
            json_tree_put_text(tree, object, tally_label(TALLY_NOTIFICATIONS, j), series[i].values[j]);
        }
        json_tree_put_number(tree, object, "count", (int64_t)series[i].count);
    }
}

static void status_put_head(struct status *status) {
    struct json_tree *tree = &status->tree;
    const struct view *view = status->view;
    json_tree_put_text(tree, tree->root, "version", view->version);
    json_tree_put_time(tree, tree->root, "time", view->realtime);
    json_tree_put_time(tree, tree->root, "started_at", view->process.started_realtime);
    status_put_config(status);
    status_put_pauses(status);
    status_put_process(status);
    status_put_notifications(status);
}

// ---- sessions

static void status_put_groups(struct status *status, json_t *object, const struct summary *summary) {
    struct json_tree *tree = &status->tree;
    CLEANUP(freep) struct summary_group *groups = NULL;
    size_t n = 0;
    json_t *array = json_tree_put_array(tree, object, "groups");
    tree->failed |= status_fold_groups(summary, STATUS_MAX_GROUPS, &groups, &n) < 0;
    for (size_t i = 0; i < n; i++) {
        json_t *item = json_tree_append_object(tree, array);
        json_tree_put_text(tree, item, "app", groups[i].app);
        json_tree_put_bool(tree, item, "is_app", groups[i].is_app);
        json_tree_put_text(tree, item, "user", groups[i].user);
        json_tree_put_text(tree, item, "database", groups[i].database);
        json_tree_put_text(tree, item, "state", session_state_to_string(groups[i].state));
        json_tree_put_number(tree, item, "sessions", groups[i].n_sessions);
        json_tree_put_seconds(tree, item, "longest_seconds", groups[i].longest);
    }
}

static int64_t status_pool(const struct policy *policy, const struct status_app *app) {
    for (size_t i = 0; app->is_app && i < policy->n_apps; i++) {
        if (strcmp(policy->apps[i].name, app->name) == 0) {
            return policy->apps[i].pool;
        }
    }
    return -1;
}

static void status_put_apps(struct status *status, json_t *object, const struct summary *summary) {
    struct json_tree *tree = &status->tree;
    CLEANUP(freep) struct status_app *apps = NULL;
    size_t n = 0;
    json_t *array = json_tree_put_array(tree, object, "apps");
    tree->failed |= status_count_apps(summary, STATUS_MAX_APPS, &apps, &n) < 0;
    for (size_t i = 0; i < n; i++) {
        int64_t pool = status_pool(status->view->config.policy, &apps[i]);
        json_t *item = json_tree_append_object(tree, array);
        json_tree_put_text(tree, item, "app", apps[i].name);
        json_tree_put_bool(tree, item, "is_app", apps[i].is_app);
        json_tree_put(tree, item, "pool", pool < 0 ? json_null() : json_integer(pool));
        json_tree_put_number(tree, item, "sessions", apps[i].n_sessions);
        json_tree_put_number(tree, item, "active", apps[i].n_active);
        json_tree_put_number(tree, item, "idle", apps[i].n_idle);
        json_tree_put_number(tree, item, "idle_in_transaction", apps[i].n_idle_in_transaction);
        if (apps[i].longest_idle == USEC_INFINITY) {
            json_tree_put(tree, item, "longest_idle_seconds", json_null());
        } else {
            json_tree_put_seconds(tree, item, "longest_idle_seconds", apps[i].longest_idle);
        }
    }
}

static void status_put_sessions(struct status *status, json_t *object, const char *name,
                                const struct summary_session *sessions, size_t n) {
    struct json_tree *tree = &status->tree;
    json_t *array = json_tree_put_array(tree, object, name);
    for (size_t i = 0; i < n; i++) {
        const struct session_row *row = &sessions[i].session;
        char start[TIMESTAMP_TEXT_SIZE], client[ADDRESS_TEXT_SIZE];
        json_t *item = json_tree_append_object(tree, array);
        timestamp_format(row->id.since, start);
        address_format(&row->client, client);
        json_tree_put_number(tree, item, "pid", row->id.id);
        json_tree_put_text(tree, item, "backend_start", start);
        json_tree_put_text(tree, item, "app", sessions[i].app);
        json_tree_put_text(tree, item, "user", row->user);
        json_tree_put_text(tree, item, "database", row->database);
        json_tree_put_text(tree, item, "client", client);
        json_tree_put_text(tree, item, "state", session_state_to_string(row->state));
        json_tree_put_seconds(tree, item, "age_seconds", sessions[i].age);
        json_tree_put_text(tree, item, "application_name", row->application_name);
    }
}

static void status_put_server(struct status *status, json_t *object, const struct summary *summary) {
    struct json_tree *tree = &status->tree;
    const struct server_facts *facts = &summary->facts;
    char text[TIMESTAMP_TEXT_SIZE], version[32];
    json_t *server = json_tree_put_object(tree, object, "server");
    timestamp_format(summary->server_now, text);
    (void)snprintf(version, sizeof(version), "%d.%d", facts->version_num / 10000, facts->version_num % 10000);
    json_tree_put_text(tree, server, "time", text);
    json_tree_put_text(tree, server, "version", version);
    json_tree_put_number(tree, server, "version_num", facts->version_num);
    json_tree_put_bool(tree, server, "in_recovery", facts->in_recovery);
    json_tree_put_number(tree, server, "own_pid", facts->own_pid);
    timestamp_format(facts->postmaster_start, text);
    json_tree_put_text(tree, server, "started_at", text);

    json_t *slots = json_tree_put_object(tree, object, "slots");
    json_tree_put_number(tree, slots, "used", summary->used);
    json_tree_put_number(tree, slots, "usable", summary->usable);
    json_tree_put_number(tree, slots, "max_connections", facts->max_connections);
    json_tree_put_number(tree, slots, "superuser_reserved_connections", facts->superuser_reserved_connections);
    json_tree_put_number(tree, slots, "reserved_connections", facts->reserved_connections);
    json_tree_put_number(tree, slots, "usage_percent", slots_percent(summary->used, summary->usable));
    json_tree_put_number(tree, slots, "dying", summary->n_dying);
}

// ---- rules and alarms

// What the counters of one rule say, by the last of their labels: {"gone": 3, "left": 1}.
static void status_put_totals(struct status *status, json_t *totals, const char *key, enum tally_family family,
                              const char *target, const char *rule) {
    struct json_tree *tree = &status->tree;
    json_t *object = json_tree_put_object(tree, totals, key);
    size_t n, last = tally_n_labels(family) - 1;
    const struct tally_series *const *series = status_totals_of(&status->totals, family, target, rule, &n);
    for (size_t i = 0; i < n; i++) {
        const char *word = series[i]->values[last];
        int64_t before = json_integer_value(json_object_get(object, word));
        json_tree_put_number(tree, object, word, before + (int64_t)series[i]->count);
    }
}

static void status_put_rules(struct status *status, json_t *object, const struct view_target *target) {
    struct json_tree *tree = &status->tree;
    json_t *array = json_tree_put_array(tree, object, "rules");
    for (size_t i = 0; i < target->summary.n_rules; i++) {
        const struct summary_rule *rule = &target->summary.rules[i];
        json_t *item = json_tree_append_object(tree, array);
        json_tree_put_text(tree, item, "name", rule->name);
        json_tree_put_text(tree, item, "kind", rule->is_quota ? "quota" : "timeout");
        json_tree_put_text(tree, item, "action", action_to_string(rule->action));
        json_tree_put_bool(tree, item, "enforcing", rule->enforce);
        json_tree_put_bool(tree, item, "paused", rule->paused);
        json_tree_put_number(tree, item, "covers", rule->n_covered);
        json_tree_put_number(tree, item, "matches", rule->n_matches);
        json_t *held = json_tree_put_object(tree, item, "held_back");
        for (unsigned reason = 0; reason < N_HELD_REASONS; reason++) {
            if (rule->n_held[reason] > 0) {
                json_tree_put_number(tree, held, held_reason_to_string((enum held_reason)reason), rule->n_held[reason]);
            }
        }
        json_t *totals = json_tree_put_object(tree, item, "totals");
        status_put_totals(status, totals, "decisions", TALLY_DECISIONS, target->name, rule->name);
        status_put_totals(status, totals, "outcomes", TALLY_OUTCOMES, target->name, rule->name);
        status_put_totals(status, totals, "held_back", TALLY_HELD_BACK, target->name, rule->name);
    }
}

// What an alarm's value is of, and its unit. One that is always on, and so in no policy, has neither.
static void status_put_metric(struct json_tree *tree, json_t *item, const struct policy *policy, const char *name) {
    static const char *const units[] = {
        [METRIC_UNIT_PERCENT] = "percent", [METRIC_UNIT_COUNT] = "sessions", [METRIC_UNIT_DURATION] = "microseconds"};
    const char *metric = NULL, *unit = NULL;
    for (size_t i = 0; i < policy->n_alarms && !metric; i++) {
        if (strcmp(policy->alarms[i].name, name) == 0) {
            metric = metric_to_string(policy->alarms[i].metric);
            unit = units[metric_unit(policy->alarms[i].metric)];
        }
    }
    json_tree_put_text(tree, item, "metric", metric);
    json_tree_put_text(tree, item, "unit", unit);
}

static void status_put_alarms(struct status *status, json_t *object, const struct summary *summary) {
    struct json_tree *tree = &status->tree;
    json_t *array = json_tree_put_array(tree, object, "alarms");
    for (size_t i = 0; i < summary->n_alarms && i < STATUS_MAX_ALARMS; i++) {
        const struct summary_alarm *alarm = &summary->alarms[i];
        json_t *item = json_tree_append_object(tree, array);
        json_tree_put_text(tree, item, "name", alarm->name);
        json_tree_put_text(tree, item, "group", alarm->group);
        json_tree_put_text(tree, item, "severity", severity_to_string(alarm->severity));
        if (alarm->value != EVENT_NUMBER_NONE) {
            json_tree_put_number(tree, item, "value", alarm->value);
            status_put_metric(tree, item, status->view->config.policy, alarm->name);
        }
        json_tree_put_text(tree, item, "detail", alarm->detail);
        json_tree_put_text(tree, item, "hint", alarm->hint);
    }
    json_tree_put_number(tree, object, "n_alarms", (int64_t)summary->n_alarms);
}

// ---- targets

static void status_put_findings(struct status *status, json_t *object, const struct view_target *target) {
    struct json_tree *tree = &status->tree;
    json_t *array = json_tree_put_array(tree, object, "findings");
    for (size_t i = 0; i < target->n_findings; i++) {
        const struct event *finding = &target->findings[i];
        json_t *item = json_tree_append_object(tree, array);
        json_tree_put_text(tree, item, "level", event_level_to_string(finding->level));
        json_tree_put_text(tree, item, "reason", finding->reason);
        json_tree_put_text(tree, item, "detail", finding->detail);
        json_tree_put_text(tree, item, "hint", finding->hint);
    }
}

static void status_put_trouble(struct status *status, json_t *object, const struct view_target *target) {
    struct json_tree *tree = &status->tree;
    if (!target->error) {
        json_tree_put(tree, object, "error", json_null());
        return;
    }
    json_t *error = json_tree_put_object(tree, object, "error");
    json_tree_put_text(tree, error, "kind", target->error_kind);
    json_tree_put_text(tree, error, "sqlstate", target->sqlstate);
    json_tree_put_text(tree, error, "message", target->error);
    json_tree_put_time(tree, error, "since", view_realtime(status->view, target->failing_since));
}

static void status_put_polls(struct status *status, json_t *object, const struct view_target *target) {
    struct json_tree *tree = &status->tree;
    json_t *polls = json_tree_put_object(tree, object, "polls");
    for (unsigned i = 0; i < N_POLL_RESULTS; i++) {
        json_tree_put_number(tree, polls, poll_result_to_string((enum poll_result)i), (int64_t)target->n_polls[i]);
    }
    json_tree_put_seconds(tree, object, "poll_interval_seconds", target->poll_interval);
    json_tree_put_time(tree, object, "last_poll", view_realtime(status->view, target->polled_at));
}

static void status_put_target(struct status *status, json_t *array, const struct view_target *target) {
    struct json_tree *tree = &status->tree;
    json_t *object = json_tree_append_object(tree, array);
    json_tree_put_text(tree, object, "target", target->name);
    json_tree_put_text(tree, object, "address", target->address);
    json_tree_put_text(tree, object, "state", target->state);
    json_tree_put_bool(tree, object, "up", target->up);
    json_tree_put_bool(tree, object, "locked_out", target->locked_out);
    json_tree_put_bool(tree, object, "enforcing", target->enforces);
    json_tree_put_bool(tree, object, "paused", target->has_summary && target->summary.paused);
    json_tree_put_bool(tree, object, "leading", target->leads);
    json_tree_put_text(tree, object, "standing", target->standing);
    json_tree_put_bool(tree, object, "pooled_connection", target->pooled);
    status_put_polls(status, object, target);
    status_put_trouble(status, object, target);
    status_put_findings(status, object, target);
    // Old numbers are told as such; before the first there are none.
    json_tree_put_bool(tree, object, "current", target->has_summary && target->summary.valid);
    if (!target->has_summary) {
        return;
    }
    status_put_rules(status, object, target);
    status_put_alarms(status, object, &target->summary);
    if (target->polled_at == 0) {
        return;
    }
    status_put_server(status, object, &target->summary);
    status_put_apps(status, object, &target->summary);
    status_put_groups(status, object, &target->summary);
    status_put_sessions(status, object, "longest_idle", target->summary.longest_idle, target->summary.n_longest_idle);
    status_put_sessions(status, object, "longest_transactions", target->summary.longest_transaction,
                        target->summary.n_longest_transaction);
}

// ---- the last events

struct status_event {
    struct json_tree *tree;
    json_t *object;
};

static void status_put_field(void *userdata, enum event_field field, const struct event_value *value) {
    const struct status_event *event = userdata;
    json_event_put_value(event->tree, event->object, field, value);
}

static void status_put_events(struct status *status) {
    struct json_tree *tree = &status->tree;
    const struct ring *events = status->view->events;
    json_tree_put_number(tree, tree->root, "events_missed", (int64_t)ring_n_missed(events));
    json_t *array = json_tree_put_array(tree, tree->root, "events");
    for (size_t i = 0; i < ring_n(events); i++) {
        struct status_event item = {tree, json_tree_append_object(tree, array)};
        const struct ring_event event = ring_get(events, i, status_put_field, &item);
        json_event_put_head(tree, item.object, event.realtime, event.level, event.message);
    }
}

int status_render(const struct view *view, struct strbuf *sb) {
    CLEANUP(status_deinit) struct status status = {.view = view};
    json_tree_init(&status.tree);
    if (status_totals_init(&status.totals, view->tally) < 0) {
        return -ENOMEM;
    }
    status_put_head(&status);
    json_t *targets = json_tree_put_array(&status.tree, status.tree.root, "targets");
    for (size_t i = 0; i < view->n_targets; i++) {
        status_put_target(&status, targets, &view->targets[i]);
    }
    status_put_events(&status);
    int r = status.tree.failed ? -ENOMEM : json_tree_write(status.tree.root, sb);
    strbuf_add_char(sb, '\n');
    return r < 0 ? r : strbuf_error(sb);
}
