// SPDX-License-Identifier: PostgreSQL
#include "../../src/cli/report.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/oom.h"
#include "util/cleanup.h"

#define NASTY "evil\n\x1b[2J\"%s,\xff\xc2\x9b"

// {app, is_app, user, database, state, n_sessions, longest}
static struct summary_group groups[] = {
    {"worker", true, "worker", "app", SESSION_STATE_IDLE, 41, 912 * USEC_PER_SEC},
    {"worker", true, "worker", "app", SESSION_STATE_ACTIVE, 9, 3 * USEC_PER_SEC},
    {"worker", true, "worker", "other", SESSION_STATE_IDLE_IN_TRANSACTION, 1, 75 * USEC_PER_SEC},
    {"worker", true, "worker", "app", SESSION_STATE_IDLE_IN_TRANSACTION_ABORTED, 1, 5 * USEC_PER_SEC},
    {"\"worker\"", false, "=cmd()", "app", SESSION_STATE_IDLE, 3, 10 * USEC_PER_SEC},
    {"\"\"", false, NASTY, "app", SESSION_STATE_ACTIVE, 2, 1500 * USEC_PER_MSEC},
};

static struct summary_rule rules[] = {
    {.name = "idle", .n_covered = 41, .n_matches = 12, .n_held = {[HELD_OBSERVE] = 9, [HELD_KEEP] = 3}},
    {.name = "per-user", .is_quota = true, .action = ACTION_LOG, .n_covered = 57},
};
static struct summary_alarm alarms[] = {
    {.name = "slots", .severity = SEVERITY_CRITICAL, .value = 100},
    {.name = "full",
     .severity = SEVERITY_CRITICAL,
     .value = EVENT_NUMBER_NONE,
     .detail = "no slot\x1b is left",
     .hint = "end some"},
    {.name = "old", .group = "\"a\\x1b\"", .severity = SEVERITY_WARNING, .value = 75 * (int64_t)USEC_PER_SEC},
};
static const struct event findings[] = {
    {.level = EVENT_WARNING, .reason = "no_reserved_slot", .detail = "no slot \x1b", .hint = "GRANT it"},
    {.level = EVENT_NOTICE, .reason = "in_recovery", .detail = "a standby"},
};

static const struct screen plain = {0}, colours = {.colour = true};
static struct policy *policy;
static struct summary summary;
static struct report_target target;

static void set_up(void) {
    policy = policy_new();
    CHECK_NOT_NULL(policy);
    struct app *app = policy_add_app(policy, "worker");
    CHECK_NOT_NULL(app);
    app->pool = 50;
    summary = (struct summary){
        .valid = true,
        .server_now = INT64_C(700000000000000),
        .facts = {.version_num = 150018, .max_connections = 60, .superuser_reserved_connections = 3},
        .used = 57,
        .usable = 57,
        .groups = groups,
        .n_groups = ARRAY_SIZE(groups),
        .longest_idle = {{.session = {.id = {4711, 0},
                                      .application_name = NASTY,
                                      .user = "worker",
                                      .database = "app",
                                      .state = SESSION_STATE_IDLE},
                          .app = "worker",
                          .age = 912 * USEC_PER_SEC}},
        .n_longest_idle = 1,
    };
    target = (struct report_target){.name = "db", .address = "127.0.0.1:5432", .summary = &summary, .policy = policy};
}

// What the file adds.
static void add_rules(void) {
    struct alarm *alarm = policy_add_alarm(policy, "slots");
    CHECK_NOT_NULL(alarm);
    alarm->metric = METRIC_USAGE;
    alarm = policy_add_alarm(policy, "old");
    CHECK_NOT_NULL(alarm);
    alarm->metric = METRIC_LONGEST_TRANSACTION;
    summary.rules = rules;
    summary.n_rules = ARRAY_SIZE(rules);
    summary.alarms = alarms;
    summary.n_alarms = ARRAY_SIZE(alarms);
    target.findings = findings;
    target.n_findings = ARRAY_SIZE(findings);
}

static void tear_down(void) {
    policy = policy_unref(policy);
}

static void text_is_exact(void) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    set_up();
    CHECK_EQ(report_text(&target, &plain, &text), 0);
    CHECK_STR(strbuf_str(&text),
              "db: PostgreSQL 15.18, primary, 127.0.0.1:5432, 2022-03-07T20:26:40Z\n"
              "57 of 57 usable slots in use (100%); max_connections 60, reserved 3; connections / max_connections"
              " 57/60 (95%)\n"
              "\n"
              "  app       sessions  % usable  active  idle  idle in tx  longest idle  pool\n"
              "  worker          52       92%       9    41           2     15min 12s  50, over by 2\n"
              "  \"worker\"         3        6%       -     3           -           10s  -\n"
              "  \"\"               2        4%       2     -           -             -  -\n"
              "\n"
              "  user                           sessions  % usable  active  idle  idle in tx  longest idle\n"
              "  worker                               52       92%       9    41           2     15min 12s\n"
              "  =cmd()                                3        6%       -     3           -           10s\n"
              "  evil\\n\\x1b[2J\"%s,\\xff\\xc2\\x9b         2        4%       2     -           -             -\n"
              "\n"
              "  database  sessions  % usable  active  idle  idle in tx  longest idle\n"
              "  app             56       99%      11    44           1     15min 12s\n"
              "  other            1        2%       -     -           1             -\n"
              "\n"
              "  state                          sessions  % usable    longest\n"
              "  idle                                 44       78%  15min 12s\n"
              "  active                               11       20%       3.0s\n"
              "  idle in transaction                   1        2%   1min 15s\n"
              "  idle in transaction (aborted)         1        2%       5.0s\n"
              "\n"
              "longest idle\n"
              "   pid  app     user@database  client  state        age  application_name\n"
              "  4711  worker  worker@app     local   idle   15min 12s  evil\\n\\x1b[2J\"%s,\\xff\\xc2\\x9b\n");
    tear_down();
}

static void text_has_colour(void) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    set_up();
    CHECK_EQ(report_text(&target, &colours, &text), 0);
    CHECK_CONTAINS(strbuf_str(&text), "\033[31m57 of 57 usable slots in use (100%)\033[0m;");
    strbuf_clear(&text);
    summary.used = 50; // 88 %
    CHECK_EQ(report_text(&target, &colours, &text), 0);
    CHECK_LACKS(strbuf_str(&text), "\033[31m");
    tear_down();
}

// As from a document of somebody who answers at the daemon's path, and escapes nothing.
static void text_is_safe_whoever_tells(void) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    static struct summary_group forged = {"\"a\x1b[2J\\x1b\"", false, "u", "d", SESSION_STATE_IDLE, 1, 0};
    static struct summary_alarm raised = {.name = "\x1b", .group = "u, \"\x1b\\n\"", .value = EVENT_NUMBER_NONE};

    set_up();
    summary.groups = &forged;
    summary.n_groups = 1;
    summary.alarms = &raised;
    summary.n_alarms = 1;
    CHECK_EQ(report_text(&target, &plain, &text), 0);
    CHECK_EQ(report_csv(&target, &text), 0);
    CHECK_LACKS(strbuf_str(&text), "\x1b");
    CHECK_CONTAINS(strbuf_str(&text), "  \"a\\x1b[2J\\x1b\" ");
    CHECK_CONTAINS(strbuf_str(&text), "WARNING \\x1b of u, \"\\x1b\\n\"\n");
    tear_down();
}

static void text_tells_alarms_and_rules(void) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    set_up();
    add_rules();
    CHECK_EQ(report_text(&target, &plain, &text), 0);
    CHECK_CONTAINS(strbuf_str(&text), "57/60 (95%)\n"
                                      "CRITICAL slots: usage 100%\n"
                                      "CRITICAL full: no slot\\x1b is left; hint: end some\n"
                                      "WARNING old of \"a\\x1b\": longest_transaction 1min 15s\n"
                                      "\n");
    CHECK_CONTAINS(strbuf_str(&text), "\n\n"
                                      "  rule             action     covers  over its limit  would act  held back\n"
                                      "  timeouts.idle    terminate      41              12          9  keep 3\n"
                                      "  quotas.per-user  log            57               -          -  -\n"
                                      "\nlongest idle\n");
    tear_down();
}

static void json_tells_alarms_and_rules(void) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    json_t *group, *value, *hint;
    const char *name, *metric, *unit, *kind, *reason;
    int keep, covers;

    set_up();
    add_rules();
    CHECK_EQ(report_json(&target, 1, true, &text), 0);
    json_t *root = json_loads(strbuf_str(&text), 0, NULL);
    CHECK_NOT_NULL(root);
    CHECK_EQ(
        json_unpack(root,
                    "{s:[{s:[{s:s, s:o, s:s, s:s}, {s:o}], s:[{s:s, s:s, s:i, s:{s:i}}, {s:{}}], s:[{s:s}, {s:o}]}]}",
                    "targets", "alarms", "name", &name, "group", &group, "metric", &metric, "unit", &unit, "value",
                    &value, "rules", "name", &name, "kind", &kind, "covers", &covers, "held_back", "keep", &keep,
                    "held_back", "findings", "reason", &reason, "hint", &hint),
        0);
    CHECK_STR(metric, "usage");
    CHECK_STR(unit, "percent");
    CHECK(json_is_null(group) && json_is_null(value) && json_is_null(hint));
    CHECK_STR(kind, "timeout");
    CHECK_EQ(covers, 41);
    CHECK_EQ(keep, 3);
    CHECK_STR(reason, "no_reserved_slot");
    json_decref(root);
    tear_down();
}

static void text_is_cut(void) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    static char names[30][16];
    static struct summary_group many[30];

    set_up();
    for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
        (void)snprintf(names[i], sizeof(names[i]), "\"name-%02zu\"", i);
        many[i] = (struct summary_group){names[i], false, "u", "d", SESSION_STATE_IDLE, 2, 0};
    }
    summary.groups = many;
    summary.n_groups = ARRAY_SIZE(many);
    CHECK_EQ(report_text(&target, &plain, &text), 0);
    CHECK_CONTAINS(strbuf_str(&text), "\"name-19\"");
    CHECK_LACKS(strbuf_str(&text), "\"name-20\"");
    CHECK_CONTAINS(strbuf_str(&text), "  and 10 more with 20 sessions (");
    tear_down();
}

static void json_has_its_shape(void) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    struct pg_error error;
    json_error_t where;

    set_up();
    pg_error_set(&error, PG_ERROR_FULL, "53300", "sorry, too many clients already");
    const struct report_target targets[] = {target,
                                            {.name = "b", .address = "/tmp:5432", .error = &error, .policy = policy}};
    CHECK_EQ(report_json(targets, 2, true, &text), 0);
    CHECK_EQ(strcspn(strbuf_str(&text), "\n"), text.len - 1);
    for (size_t i = 0; i + 1 < text.len; i++) {
        CHECK(text.data[i] >= ' ' && text.data[i] < 0x7f);
    }
    json_t *root = json_loads(strbuf_str(&text), 0, &where);
    CHECK_NOT_NULL(root);

    const char *name, *user, *kind, *app;
    int ok, used, pool, n, is_app;
    json_t *groups_json;
    CHECK_EQ(json_unpack(root, "{s:[{s:s, s:b, s:{s:i}, s:[{s:s, s:b, s:i, s:i}], s:o}, {s:{s:s}}]}", "targets",
                         "target", &name, "ok", &ok, "slots", "used", &used, "apps", "app", &app, "is_app", &is_app,
                         "pool", &pool, "sessions", &n, "groups", &groups_json, "error", "kind", &kind),
             0);
    CHECK_STR(name, "db");
    CHECK(ok);
    CHECK_EQ(used, 57);
    CHECK_STR(app, "worker");
    CHECK(is_app);
    CHECK_EQ(pool, 50);
    CHECK_EQ(n, 52);
    CHECK_STR(kind, "full");
    CHECK_EQ(json_array_size(groups_json), ARRAY_SIZE(groups));
    CHECK_EQ(json_unpack(json_array_get(groups_json, 5), "{s:s}", "user", &user), 0);
    CHECK_STR(user, "evil\n\x1b[2J\"%s,\xef\xbf\xbd\xc2\x9b");
    json_decref(root);
    tear_down();
}

static void csv_is_safe(void) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    set_up();
    CHECK_EQ(report_csv_header(&text), 0);
    CHECK_EQ(report_csv(&target, &text), 0);
    CHECK_CONTAINS(strbuf_str(&text),
                   "time,target,app,user,database,state,sessions,longest_seconds\r\n"
                   "2022-03-07T20:26:40Z,\"db\",\"worker\",\"worker\",\"app\",\"idle\",41,912.000\r\n");
    CHECK_CONTAINS(strbuf_str(&text), ",\"\"\"worker\"\"\",\"'=cmd()\",\"app\",\"idle\",3,10.000\r\n");
    CHECK_CONTAINS(strbuf_str(&text),
                   ",\"\"\"\"\"\",\"evil\\n\\x1b[2J\"\"%s,\\xff\\xc2\\x9b\",\"app\",\"active\",2,1.500\r\n");
    tear_down();
}

static int render_all(void *userdata) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    int r;

    (void)userdata;
    r = report_text(&target, &plain, &text);
    r = r < 0 ? r : report_json(&target, 1, false, &text);
    return r < 0 ? r : report_csv(&target, &text);
}

static void tells_out_of_memory(void) {
    set_up();
    add_rules();
    oom_sweep(render_all, NULL);
    tear_down();
}

CHECK_MAIN({"text_is_exact", text_is_exact}, {"text_has_colour", text_has_colour}, {"text_is_cut", text_is_cut},
           {"text_is_safe_whoever_tells", text_is_safe_whoever_tells},
           {"text_tells_alarms_and_rules", text_tells_alarms_and_rules},
           {"json_tells_alarms_and_rules", json_tells_alarms_and_rules}, {"json_has_its_shape", json_has_its_shape},
           {"csv_is_safe", csv_is_safe}, {"tells_out_of_memory", tells_out_of_memory})
