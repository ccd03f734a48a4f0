// SPDX-License-Identifier: PostgreSQL
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "json_make.h"
#include "report.h"
#include "util/cleanup.h"
#include "util/escape.h"

static json_t *json_time(int64_t server_time) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    report_add_time(&text, server_time, true);
    return json_from_strbuf(&text);
}

static json_t *json_version(int version_num) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    report_add_version(&text, version_num);
    return json_from_strbuf(&text);
}

static json_t *json_address(const struct address *address) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    address_render(&text, address);
    return json_from_strbuf(&text);
}

static int json_put_line(json_t *array, const struct report_line *line, enum report_key key, int64_t pool) {
    static const char *const names[] = {"app", "user", "database", "state"};
    json_t *object = json_object();
    int r = json_put(object, names[key], json_text(line->name));

    if (key == REPORT_APP) {
        const struct json_member app[] = {
            {"is_app", json_boolean(line->is_app)},
            {"pool", pool < 0 ? json_null() : json_integer(pool)},
        };
        r = json_put_all(object, app, ARRAY_SIZE(app)) < 0 ? -ENOMEM : r;
    }
    r = json_put(object, "sessions", json_integer(line->n_sessions)) < 0 ? -ENOMEM : r;
    if (key == REPORT_STATE) {
        r = json_put(object, "longest_seconds", json_seconds(line->longest)) < 0 ? -ENOMEM : r;
    } else {
        const struct json_member counts[] = {
            {"active", json_integer(line->n_active)},
            {"idle", json_integer(line->n_idle)},
            {"idle_in_transaction", json_integer(line->n_idle_in_transaction)},
            {"longest_idle_seconds", json_seconds(line->longest_idle)},
        };
        r = json_put_all(object, counts, ARRAY_SIZE(counts)) < 0 ? -ENOMEM : r;
    }
    return json_array_append_new(array, object) < 0 ? -ENOMEM : r;
}

static int json_put_lines(json_t *object, const char *name, const struct report_target *target, enum report_key key) {
    CLEANUP(freep) struct report_line *lines = NULL;
    json_t *array = json_array();
    size_t n = 0;
    int r = report_group(target->summary, key, &lines, &n);

    for (size_t i = 0; r == 0 && i < n; i++) {
        r = json_put_line(array, &lines[i], key, report_pool(target->policy, &lines[i]));
    }
    return json_put(object, name, array) < 0 ? -ENOMEM : r;
}

static int json_put_groups(json_t *object, const struct summary *summary) {
    json_t *array = json_array();
    int r = 0;

    for (size_t i = 0; r == 0 && i < summary->n_groups; i++) {
        const struct summary_group *group = &summary->groups[i];
        const struct json_member members[] = {
            {"app", json_text(group->app)},
            {"is_app", json_boolean(group->is_app)},
            {"user", json_text(group->user)},
            {"database", json_text(group->database)},
            {"state", json_text(session_state_to_string(group->state))},
            {"sessions", json_integer(group->n_sessions)},
            {"longest_seconds", json_seconds(group->longest)},
        };
        r = json_append_all(array, members, ARRAY_SIZE(members));
    }
    return json_put(object, "groups", array) < 0 ? -ENOMEM : r;
}

static int json_put_sessions(json_t *object, const char *name, const struct summary_session *sessions, size_t n,
                             const struct server_facts *facts) {
    json_t *array = json_array();
    int r = 0;

    for (size_t i = 0; r == 0 && i < n; i++) {
        const struct session_row *row = &sessions[i].session;
        if (row->id.id == facts->own_pid) {
            continue;
        }
        const struct json_member members[] = {
            {"pid", json_integer(row->id.id)},
            {"backend_start", json_time(row->id.since)},
            {"app", json_text(sessions[i].app)},
            {"user", json_text(row->user)},
            {"database", json_text(row->database)},
            {"client", json_address(&row->client)},
            {"state", json_text(session_state_to_string(row->state))},
            {"age_seconds", json_seconds(sessions[i].age)},
            {"application_name", json_text(row->application_name)},
        };
        r = json_append_all(array, members, ARRAY_SIZE(members));
    }
    return json_put(object, name, array) < 0 ? -ENOMEM : r;
}

// ---- what the file says of it

static int json_put_alarms(json_t *object, const struct report_target *target) {
    static const char *const units[] = {
        [METRIC_UNIT_PERCENT] = "percent", [METRIC_UNIT_COUNT] = "sessions", [METRIC_UNIT_DURATION] = "microseconds"};
    const struct summary *summary = target->summary;
    json_t *array = json_array();
    int r = 0;

    for (size_t i = 0; r == 0 && i < summary->n_alarms; i++) {
        const struct summary_alarm *alarm = &summary->alarms[i];
        enum metric metric;
        bool measures = report_alarm_metric(target->policy, alarm->name, &metric) && alarm->value != EVENT_NUMBER_NONE;
        const struct json_member members[] = {
            {"name", json_text(alarm->name)},
            {"group", json_text_or_null(alarm->group)},
            {"severity", json_text(severity_to_string(alarm->severity))},
            {"value", measures ? json_integer(alarm->value) : json_null()},
            {"metric", measures ? json_string(metric_to_string(metric)) : json_null()},
            {"unit", measures ? json_string(units[metric_unit(metric)]) : json_null()},
            {"detail", json_text_or_null(alarm->detail)},
            {"hint", json_text_or_null(alarm->hint)},
        };
        r = json_append_all(array, members, ARRAY_SIZE(members));
    }
    return json_put(object, "alarms", array) < 0 ? -ENOMEM : r;
}

static int json_put_findings(json_t *object, const struct report_target *target) {
    json_t *array = json_array();
    int r = 0;

    for (size_t i = 0; r == 0 && i < target->n_findings; i++) {
        const struct event *finding = &target->findings[i];
        const struct json_member members[] = {
            {"level", json_string(event_level_to_string(finding->level))},
            {"reason", json_text(finding->reason)},
            {"detail", json_text(finding->detail)},
            {"hint", json_text_or_null(finding->hint)},
        };
        r = json_append_all(array, members, ARRAY_SIZE(members));
    }
    return json_put(object, "findings", array) < 0 ? -ENOMEM : r;
}

static json_t *json_held(const struct summary_rule *rule) {
    json_t *object = json_object();
    int r = 0;

    for (unsigned reason = 0; r == 0 && reason < N_HELD_REASONS; reason++) {
        if (rule->n_held[reason] > 0) {
            r = json_put(object, held_reason_to_string((enum held_reason)reason), json_integer(rule->n_held[reason]));
        }
    }
    if (r < 0) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static int json_put_rules(json_t *object, const struct summary *summary) {
    json_t *array = json_array();
    int r = 0;

    for (size_t i = 0; r == 0 && i < summary->n_rules; i++) {
        const struct summary_rule *rule = &summary->rules[i];
        const struct json_member members[] = {
            {"name", json_text(rule->name)},
            {"kind", json_string(rule->is_quota ? "quota" : "timeout")},
            {"action", json_string(action_to_string(rule->action))},
            {"covers", json_integer(rule->n_covered)},
            {"matches", json_integer(rule->n_matches)},
            {"held_back", json_held(rule)},
        };
        r = json_append_all(array, members, ARRAY_SIZE(members));
    }
    return json_put(object, "rules", array) < 0 ? -ENOMEM : r;
}

static int json_put_head(json_t *object, const struct summary *summary) {
    const struct server_facts *facts = &summary->facts;
    json_t *server = json_object(), *slots = json_object();
    const struct json_member about[] = {
        {"time", json_time(summary->server_now)},
        {"version", json_version(facts->version_num)},
        {"version_num", json_integer(facts->version_num)},
        {"in_recovery", json_boolean(facts->in_recovery)},
    };
    const struct json_member counts[] = {
        {"used", json_integer(summary->used)},
        {"usable", json_integer(summary->usable)},
        {"max_connections", json_integer(facts->max_connections)},
        {"superuser_reserved_connections", json_integer(facts->superuser_reserved_connections)},
        {"reserved_connections", json_integer(facts->reserved_connections)},
        {"usage_percent", json_integer(slots_percent(summary->used, summary->usable))},
    };
    int r = json_put_all(server, about, ARRAY_SIZE(about));

    r = json_put_all(slots, counts, ARRAY_SIZE(counts)) < 0 ? -ENOMEM : r;
    r = json_put(object, "server", server) < 0 ? -ENOMEM : r;
    return json_put(object, "slots", slots) < 0 ? -ENOMEM : r;
}

static int json_put_target(json_t *array, const struct report_target *target) {
    json_t *object = json_object();
    const struct summary *summary = target->summary;
    const struct json_member head[] = {
        {"target", json_text(target->name)},
        {"address", json_text(target->address)},
        {"ok", json_boolean(!target->error)},
    };
    int r = json_put_all(object, head, ARRAY_SIZE(head));

    if (target->error) {
        json_t *error = json_object();
        const struct json_member members[] = {
            {"kind", json_text(pg_error_kind_to_string(target->error->kind))},
            {"sqlstate", json_text(target->error->sqlstate)},
            {"message", json_text(target->error->message)},
        };
        r = json_put_all(error, members, ARRAY_SIZE(members)) < 0 ? -ENOMEM : r;
        r = json_put(object, "error", error) < 0 ? -ENOMEM : r;
    } else {
        r = r < 0 ? r : json_put_head(object, summary);
        r = r < 0 ? r : json_put_lines(object, "apps", target, REPORT_APP);
        r = r < 0 ? r : json_put_lines(object, "users", target, REPORT_USER);
        r = r < 0 ? r : json_put_lines(object, "databases", target, REPORT_DATABASE);
        r = r < 0 ? r : json_put_lines(object, "states", target, REPORT_STATE);
        r = r < 0 ? r : json_put_groups(object, summary);
        r = r < 0 ? r : json_put_alarms(object, target);
        r = r < 0 ? r : json_put_findings(object, target);
        r = r < 0 ? r : json_put_rules(object, summary);
        r = r < 0 ? r
                  : json_put_sessions(object, "longest_idle", summary->longest_idle, summary->n_longest_idle,
                                      &summary->facts);
        r = r < 0 ? r
                  : json_put_sessions(object, "longest_transactions", summary->longest_transaction,
                                      summary->n_longest_transaction, &summary->facts);
    }
    return json_array_append_new(array, object) < 0 ? -ENOMEM : r;
}

int report_json(const struct report_target *targets, size_t n_targets, bool compact, struct strbuf *sb) {
    CLEANUP(json_unrefp) json_t *root = json_object();
    json_t *array = json_array();
    int r = 0;

    for (size_t i = 0; r == 0 && i < n_targets; i++) {
        r = json_put_target(array, &targets[i]);
    }
    r = json_put(root, "targets", array) < 0 ? -ENOMEM : r;
    if (r < 0) {
        return r;
    }
    return json_write(root, compact, sb);
}

// ---- CSV

// `safe` is escaped text.
static void csv_add_text(struct strbuf *sb, const char *safe) {
    strbuf_add_char(sb, '"');
    if (*safe != '\0' && strchr("=+-@", *safe)) {
        strbuf_add_char(sb, '\'');
    }
    for (const char *s = safe; *s != '\0'; s++) {
        strbuf_add(sb, *s == '"' ? "\"" : "");
        strbuf_add_char(sb, *s);
    }
    strbuf_add(sb, "\",");
}

static int csv_add(struct strbuf *sb, const char *raw, bool is_label) {
    CLEANUP(strbuf_deinit) struct strbuf safe = STRBUF_EMPTY;

    if (is_label) {
        report_add_label(&safe, raw);
    } else {
        escape_text(&safe, raw);
    }
    csv_add_text(sb, strbuf_str(&safe));
    return strbuf_error(&safe);
}

int report_csv_header(struct strbuf *sb) {
    strbuf_add(sb, "time,target,app,user,database,state,sessions,longest_seconds\r\n");
    return strbuf_error(sb);
}

int report_csv(const struct report_target *target, struct strbuf *sb) {
    const struct summary *summary = target->summary;
    int r = 0;

    for (size_t i = 0; !target->error && r == 0 && i < summary->n_groups; i++) {
        const struct summary_group *group = &summary->groups[i];
        report_add_time(sb, summary->server_now, false);
        strbuf_add_char(sb, ',');
        r = csv_add(sb, target->name, false);
        r = r < 0 ? r : csv_add(sb, group->app, true);
        r = r < 0 ? r : csv_add(sb, group->user, false);
        r = r < 0 ? r : csv_add(sb, group->database, false);
        r = r < 0 ? r : csv_add(sb, session_state_to_string(group->state), false);
        strbuf_addf(sb, "%" PRId64 ",%" PRIu64 ".%03" PRIu64 "\r\n", group->n_sessions, group->longest / USEC_PER_SEC,
                    group->longest % USEC_PER_SEC / USEC_PER_MSEC);
    }
    return r < 0 ? r : strbuf_error(sb);
}
