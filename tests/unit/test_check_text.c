// SPDX-License-Identifier: PostgreSQL
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "../../src/cli/check.h"
#include "support/check.h"
#include "support/oom.h"
#include "util/cleanup.h"

static const char text[] = "targets:\n"
                           "  a: { conninfo: host=/a }\n"
                           "  b:\n"
                           "    conninfo: host=/b\n"
                           "apps:\n"
                           "  web:\n"
                           "    match: { user: web }\n"
                           "timeouts:\n"
                           "  idle:\n"
                           "    state: idle\n"
                           "    after: 10min\n";
static struct diag_list diags;
static struct config *config;

static void load(void) {
    diags = (struct diag_list){0};
    CHECK_EQ(config_load_buffer("f", text, strlen(text), NULL, NULL, &diags, &config), 0);
}

static void unload(void) {
    config = config_free(config);
    diag_list_deinit(&diags);
}

static void add(struct check_findings *findings, const char *target, const char *reason, const char *section,
                const char *name, const char *key) {
    const struct remark remark = {.level = EVENT_NOTICE,
                                  .reason = reason,
                                  .section = section,
                                  .name = name,
                                  .key = key,
                                  .detail = "odd \033[1m",
                                  .hint = key ? "mend it" : NULL};
    check_add(findings, config, target, &remark);
}

static void finds_the_place(void) {
    static const struct {
        const char *section, *name, *key;
        unsigned line, column;
    } cases[] = {
        {"timeouts", "idle", "after", 11, 12}, {"timeouts", "idle", "match", 9, 3}, {"timeouts", NULL, NULL, 8, 1},
        {"apps", "web", "match", 7, 5},        {"quotas", "none", "max", 1, 1},     {"targets", "a", "conninfo", 2, 18},
    };
    load();
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct location at = config_locate(config, cases[i].section, cases[i].name, cases[i].key);
        check_context("of case %zu", i);
        CHECK_STR(at.file, "f");
        CHECK_EQ(at.line, cases[i].line);
        CHECK_EQ(at.column, cases[i].column);
    }
    unload();
}

static void sorts_and_folds(void) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    CLEANUP(check_findings_deinit) struct check_findings findings = {0};

    load();
    add(&findings, "a", "server_timeout", "timeouts", "idle", "after");
    add(&findings, "a", "covers_nobody", "apps", "web", "match");
    add(&findings, "a", "covers_nobody", "timeouts", "idle", "match"); // only there
    add(&findings, "b", "covers_nobody", "apps", "web", "match");
    add(&findings, "b", "unanswered", NULL, NULL, NULL);
    add(&findings, "b", "server_timeout", "timeouts", "idle", "after");
    check_findings_finish(&findings, 2);
    CHECK_EQ(check_text(&findings, NULL, 0, config->policy, &(struct screen){0}, &sb), 0);
    CHECK_STR(strbuf_str(&sb), "f:4:15: note: targets.b: odd \\x1b[1m\n"
                               "f:7:5: note: apps.web.match: odd \\x1b[1m\n"
                               "    mend: mend it\n"
                               "f:11:12: note: timeouts.idle.after: on a: odd \\x1b[1m\n"
                               "    mend: mend it\n"
                               "f:11:12: note: timeouts.idle.after: on b: odd \\x1b[1m\n"
                               "    mend: mend it\n");
    unload();
}

static void json_has_its_shape(void) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    CLEANUP(check_findings_deinit) struct check_findings findings = {0};
    struct compare_rule rule = {.name = "idle", .n_covered = 3, .n_ends = 2};
    struct compare_app app = {.name = "web", .pool = -1, .n_sessions = 1};
    const struct comparison comparison = {.rules = &rule, .n_rules = 1, .apps = &app, .n_apps = 1};
    const struct summary summary = {.used = 4, .usable = 7};
    const struct check_target target = {"a", &summary, &comparison};
    const char *level, *path, *detail, *kind;
    int line, ends, used;
    json_t *hint, *pool;

    load();
    add(&findings, "a", "server_timeout", "timeouts", "idle", "after");
    add(&findings, "b", "unanswered", NULL, NULL, NULL);
    check_findings_finish(&findings, 1);
    CHECK_EQ(check_json(&findings, &target, 1, config->policy, &sb), 0);
    json_t *root = json_loads(strbuf_str(&sb), 0, NULL);
    CHECK_NOT_NULL(root);
    CHECK_EQ(json_unpack(root, "{s:[{s:o},{s:s,s:s,s:i,s:s}], s:[{s:i, s:[{s:s,s:i}], s:[{s:o}]}]}", "findings", "hint",
                         &hint, "level", &level, "path", &path, "line", &line, "detail", &detail, "targets", "used",
                         &used, "rules", "kind", &kind, "would_end", &ends, "apps", "pool", &pool),
             0);
    CHECK_STR(level, "note");
    CHECK_STR(path, "timeouts.idle.after");
    CHECK_STR(detail, "odd \033[1m");
    CHECK_STR(kind, "timeout");
    CHECK(json_is_null(hint) && json_is_null(pool));
    CHECK_EQ(line, 11);
    CHECK_EQ(ends, 2);
    CHECK_EQ(used, 4);
    json_decref(root);
    unload();
}

static int render_once(void *userdata) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    CLEANUP(check_findings_deinit) struct check_findings findings = {0};
    struct compare_rule rule = {.name = "idle", .n_covered = 3};
    struct compare_app app = {.name = "web", .pool = 3, .counts = true};
    const struct comparison comparison = {.rules = &rule, .n_rules = 1, .apps = &app, .n_apps = 1};
    const struct summary summary = {.facts = {.version_num = 150018}};
    const struct check_target target = {"a", &summary, &comparison};
    (void)userdata;
    add(&findings, "a", "server_timeout", "timeouts", "idle", "after");
    add(&findings, "a", "covers_nobody", "apps", "web", "match");
    check_findings_finish(&findings, 1);
    int r = check_text(&findings, &target, 1, config->policy, &(struct screen){.colour = true}, &sb);
    r = r < 0 ? r : check_json(&findings, &target, 1, config->policy, &sb);
    return findings.failed ? -ENOMEM : r;
}

static void survives_oom(void) {
    load();
    oom_sweep(render_once, NULL);
    unload();
}

CHECK_MAIN({"finds_the_place", finds_the_place}, {"sorts_and_folds", sorts_and_folds},
           {"json_has_its_shape", json_has_its_shape}, {"survives_oom", survives_oom})
