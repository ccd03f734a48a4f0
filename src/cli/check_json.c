// SPDX-License-Identifier: PostgreSQL
#include <errno.h>

#include "check.h"
#include "json_make.h"
#include "util/cleanup.h"

static int check_json_findings(json_t *root, const struct check_findings *findings) {
    json_t *array = json_array();
    int r = 0;

    for (size_t i = 0; r == 0 && i < findings->n_items; i++) {
        const struct check_finding *finding = &findings->items[i];
        bool has_place = finding->at.line > 0;
        const struct json_member members[] = {
            {"level", json_string(check_word(finding->level))},
            {"reason", json_text(finding->reason)},
            {"file", json_text_or_null(finding->at.file)},
            {"line", has_place ? json_integer(finding->at.line) : json_null()},
            {"column", has_place ? json_integer(finding->at.column) : json_null()},
            {"path", json_text(finding->path)},
            {"target", json_text_or_null(finding->target)},
            {"detail", json_text(finding->detail)},
            {"hint", json_text_or_null(finding->hint)},
        };
        r = json_append_all(array, members, ARRAY_SIZE(members));
    }
    return json_put(root, "findings", array) < 0 ? -ENOMEM : r;
}

static json_t *check_json_rules(const struct comparison *comparison, const struct policy *policy) {
    json_t *array = json_array();
    int r = 0;

    for (size_t i = 0; r == 0 && i < comparison->n_rules; i++) {
        const struct compare_rule *rule = &comparison->rules[i];
        enum action action =
            rule->is_quota ? policy->quotas[i - policy->n_timeouts].action : policy->timeouts[i].action;
        const struct json_member members[] = {
            {"name", json_text(rule->name)},
            {"kind", json_string(rule->is_quota ? "quota" : "timeout")},
            {"action", json_string(action_to_string(action))},
            {"covers", json_integer(rule->n_covered)},
            {"protected", json_integer(rule->n_protected)},
            {"over", json_integer(rule->n_over)},
            {"would_end", json_integer(rule->n_ends)},
        };
        r = json_append_all(array, members, ARRAY_SIZE(members));
    }
    if (r < 0) {
        json_decref(array);
        return NULL;
    }
    return array;
}

static json_t *check_json_apps(const struct comparison *comparison) {
    json_t *array = json_array();
    int r = 0;

    for (size_t i = 0; r == 0 && i < comparison->n_apps; i++) {
        const struct compare_app *app = &comparison->apps[i];
        const struct json_member members[] = {
            {"app", json_text(app->name)},
            {"pool", app->pool >= 0 ? json_integer(app->pool) : json_null()},
            {"counted", json_boolean(app->counts)},
            {"sessions", json_integer(app->n_sessions)},
        };
        r = json_append_all(array, members, ARRAY_SIZE(members));
    }
    if (r < 0) {
        json_decref(array);
        return NULL;
    }
    return array;
}

int check_json(const struct check_findings *findings, const struct check_target *targets, size_t n_targets,
               const struct policy *policy, struct strbuf *sb) {
    CLEANUP(json_unrefp) json_t *root = json_object();
    json_t *array = json_array();
    int r = check_json_findings(root, findings);

    for (size_t i = 0; r == 0 && i < n_targets; i++) {
        const struct check_target *target = &targets[i];
        const struct json_member members[] = {
            {"target", json_text(target->name)},
            {"version_num", json_integer(target->summary->facts.version_num)},
            {"used", json_integer(target->summary->used)},
            {"usable", json_integer(target->summary->usable)},
            {"rules", check_json_rules(target->comparison, policy)},
            {"apps", check_json_apps(target->comparison)},
            {"pools", json_integer(target->comparison->pools)},
            {"pools_left_out", json_integer(target->comparison->pools_left_out)},
        };
        r = json_append_all(array, members, ARRAY_SIZE(members));
    }
    r = json_put(root, "targets", array) < 0 ? -ENOMEM : r;
    return r < 0 ? r : json_write(root, false, sb);
}
