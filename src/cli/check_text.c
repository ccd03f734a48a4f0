// SPDX-License-Identifier: PostgreSQL
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "report.h"
#include "table.h"
#include "util/array.h"
#include "util/cleanup.h"
#include "util/escape.h"

#define CHECK_NOBODY "covers_nobody"

void check_findings_deinit(struct check_findings *findings) {
    for (size_t i = 0; i < findings->n_items; i++) {
        free(findings->items[i].path);
        free(findings->items[i].detail);
        free(findings->items[i].hint);
    }
    free(findings->items);
    *findings = (struct check_findings){0};
}

static char *check_path(const struct remark *remark) {
    struct strbuf path = STRBUF_EMPTY;

    strbuf_add(&path, remark->section);
    if (remark->name) {
        strbuf_addf(&path, ".%s", remark->name);
    }
    if (remark->key) {
        strbuf_addf(&path, ".%s", remark->key);
    }
    return strbuf_take(&path);
}

void check_add(struct check_findings *findings, const struct config *config, const char *target,
               const struct remark *remark) {
    // What no entry of the file is about is about the server.
    const struct remark of_server = {.section = "targets", .name = target};
    const struct remark *place = remark->section ? remark : &of_server;
    struct check_finding finding = {
        .at = config_locate(config, place->section, place->name, remark->section ? remark->key : "conninfo"),
        .level = remark->level,
        .target = target,
        .reason = remark->reason,
        .path = check_path(place),
        .detail = strdup(remark->detail),
        .hint = remark->hint ? strdup(remark->hint) : NULL,
        .order = findings->n_items,
    };

    if (!finding.path || !finding.detail || (remark->hint && !finding.hint) ||
        ARRAY_RESERVE(findings->items, findings->capacity, findings->n_items) < 0) {
        free(finding.path);
        free(finding.detail);
        free(finding.hint);
        findings->failed = true;
        return;
    }
    findings->items[findings->n_items++] = finding;
}

static int check_compare(const void *pa, const void *pb) {
    const struct check_finding *a = pa, *b = pb;
    int c = strcmp(a->at.file ? a->at.file : "", b->at.file ? b->at.file : "");

    if (c != 0) {
        return c;
    }
    if (a->at.line != b->at.line) {
        return a->at.line < b->at.line ? -1 : 1;
    }
    if (a->at.column != b->at.column) {
        return a->at.column < b->at.column ? -1 : 1;
    }
    return a->order < b->order ? -1 : a->order > b->order;
}

static bool check_is_same(const struct check_finding *a, const struct check_finding *b) {
    return strcmp(a->reason, b->reason) == 0 && strcmp(a->path, b->path) == 0;
}

void check_findings_finish(struct check_findings *findings, size_t n_targets) {
    size_t n = 0;

    for (size_t i = 0; i < findings->n_items; i++) {
        struct check_finding *finding = &findings->items[i];
        size_t n_same = 0;
        bool is_first = true;
        for (size_t j = 0; j < findings->n_items && strcmp(finding->reason, CHECK_NOBODY) == 0; j++) {
            bool same = check_is_same(finding, &findings->items[j]);
            n_same += same;
            is_first = is_first && !(same && j < i);
        }
        finding->order = n_same == 0 || n_same == n_targets ? is_first : 0; // 1: stays
    }
    for (size_t i = 0; i < findings->n_items; i++) {
        struct check_finding finding = findings->items[i];
        if (finding.order == 0) {
            free(finding.path);
            free(finding.detail);
            free(finding.hint);
            continue;
        }
        if (n_targets > 1 && strcmp(finding.reason, CHECK_NOBODY) == 0) {
            finding.target = NULL;
        }
        finding.order = n;
        findings->items[n++] = finding;
    }
    findings->n_items = n;
    if (n > 1) {
        qsort(findings->items, n, sizeof(*findings->items), check_compare);
    }
}

// ---- for people

const char *check_word(enum event_level level) {
    return level <= EVENT_ERROR ? "error" : level == EVENT_WARNING ? "warning" : "note";
}

static void check_text_finding(const struct check_finding *finding, struct strbuf *sb) {
    escape_text(sb, finding->at.file ? finding->at.file : "pgvigil");
    if (finding->at.line > 0) {
        strbuf_addf(sb, ":%u:%u", finding->at.line, finding->at.column);
    }
    strbuf_addf(sb, ": %s: ", check_word(finding->level));
    escape_text(sb, finding->path);
    strbuf_add(sb, ": ");
    if (finding->target && strncmp(finding->path, "targets.", 8) != 0) {
        strbuf_addf(sb, "on %s: ", finding->target);
    }
    escape_text(sb, finding->detail);
    if (finding->hint) {
        strbuf_add(sb, "\n    mend: ");
        escape_text(sb, finding->hint);
    }
    strbuf_add_char(sb, '\n');
}

static int check_text_rules(const struct comparison *comparison, const struct policy *policy,
                            const struct screen *screen, struct strbuf *sb) {
    static const struct table_column columns[] = {{"rule", false, true},    {"action", false},
                                                  {"covers now", true},     {"protected", true},
                                                  {"over its limit", true}, {"would end now", true}};
    CLEANUP(table_deinit) struct table table = {0};

    if (comparison->n_rules == 0) {
        return 0;
    }
    table_init(&table, columns, ARRAY_SIZE(columns));
    for (size_t i = 0; i < comparison->n_rules; i++) {
        const struct compare_rule *rule = &comparison->rules[i];
        enum action action =
            rule->is_quota ? policy->quotas[i - policy->n_timeouts].action : policy->timeouts[i].action;
        table_addf(&table, "%s.%s", rule->is_quota ? "quotas" : "timeouts", rule->name);
        table_add(&table, action_to_string(action));
        table_add_count(&table, rule->n_covered);
        table_add_count(&table, rule->n_protected);
        table_add_count(&table, rule->n_over);
        if (action == ACTION_LOG) {
            table_addf(&table, "(reports %" PRId64 ")", rule->n_ends);
        } else {
            table_addf(&table, "%" PRId64, rule->n_ends);
        }
    }
    strbuf_add_char(sb, '\n');
    return table_render(&table, screen, sb);
}

static int check_text_pools(const struct comparison *comparison, const struct screen *screen, struct strbuf *sb) {
    static const struct table_column columns[] = {{"app", false, true}, {"pool", true}, {"sessions now", true}};
    CLEANUP(table_deinit) struct table table = {0};
    bool has_pools = false;

    if (comparison->n_apps == 0) {
        return 0;
    }
    table_init(&table, columns, ARRAY_SIZE(columns));
    for (size_t i = 0; i < comparison->n_apps; i++) {
        const struct compare_app *app = &comparison->apps[i];
        table_add(&table, app->name);
        if (app->pool < 0) {
            table_add(&table, "-");
        } else {
            table_addf(&table, app->counts ? "%" PRId64 : "(left out) %" PRId64, app->pool);
        }
        table_add_count(&table, app->n_sessions);
        has_pools |= app->pool >= 0;
    }
    strbuf_add_char(sb, '\n');
    int r = table_render(&table, screen, sb);
    if (r == 0 && has_pools) {
        strbuf_addf(sb, "  all pools: %" PRId64 " of %" PRId64 " usable slots\n", comparison->pools,
                    comparison->usable);
    }
    if (r == 0 && comparison->pools_left_out > 0) {
        strbuf_addf(sb, "  left out: %" PRId64 ", of apps without a session here, which may be another server's\n",
                    comparison->pools_left_out);
    }
    return r;
}

int check_text(const struct check_findings *findings, const struct check_target *targets, size_t n_targets,
               const struct policy *policy, const struct screen *screen, struct strbuf *sb) {
    int r = 0;

    for (size_t i = 0; i < findings->n_items; i++) {
        check_text_finding(&findings->items[i], sb);
    }
    if (findings->n_dropped > 0) {
        strbuf_addf(sb, "and %zu more\n", findings->n_dropped);
    }
    for (size_t i = 0; r == 0 && i < n_targets; i++) {
        const struct check_target *target = &targets[i];
        strbuf_addf(sb, "%s%s: PostgreSQL ", sb->len > 0 ? "\n" : "", target->name);
        report_add_version(sb, target->summary->facts.version_num);
        strbuf_addf(sb, ", %" PRId64 " of %" PRId64 " usable slots in use (%" PRId64 "%%)\n", target->summary->used,
                    target->summary->usable, slots_percent(target->summary->used, target->summary->usable));
        r = check_text_rules(target->comparison, policy, screen, sb);
        r = r == 0 ? check_text_pools(target->comparison, screen, sb) : r;
    }
    return r < 0 ? r : strbuf_error(sb);
}
