// SPDX-License-Identifier: PostgreSQL

// What a reload finds changed, and how it says so.

#include <string.h>

#include "../../src/daemon/reload.h"
#include "support/check.h"
#include "support/oom.h"

#define TARGET "{ conninfo: host=/tmp }"
#define RULE "{ state: idle, after: 10s }"

struct side {
    struct diag_list diags;
    struct settings settings;
};

static void side_deinit(struct side *side) {
    config_free(side->settings.config);
    diag_list_deinit(&side->diags);
}

static struct side side_load(const char *yaml) {
    struct side side = {0};
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    int r = config_load_buffer("file", yaml, strlen(yaml), NULL, NULL, &side.diags, &side.settings.config);
    diag_list_render(&side.diags, &text);
    CHECK_STR(strbuf_str(&text), "");
    CHECK_EQ(r, 0);
    return side;
}

static void describes(const char *before, const char *after, const char *expected) {
    CLEANUP(side_deinit) struct side a = side_load(before);
    CLEANUP(side_deinit) struct side b = side_load(after);
    CLEANUP(reload_deinit) struct reload reload = {0};
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    CHECK_EQ(reload_compare(&a.settings, &b.settings, &reload), 0);
    reload_describe(&reload, &text);
    CHECK_STR(strbuf_str(&text), expected);
}

static void nothing_changes(void) {
    static const char yaml[] = "targets: { a: " TARGET ", b: " TARGET " }\n"
                               "timeouts: { idle: " RULE " }\n"
                               "quotas: { all: { max: 5 } }\n"
                               "alarms: { slots: { metric: usage, above: { warning: 80% } } }\n";
    describes(yaml, yaml, "2 targets, 2 rules, 1 alarm");
}

static void order_is_no_change(void) {
    describes("targets: { a: " TARGET ", b: " TARGET " }\ntimeouts: { x: " RULE ", y: " RULE " }\n",
              "targets: { b: " TARGET ", a: " TARGET " }\ntimeouts: { y: " RULE ", x: " RULE " }\n",
              "2 targets, 2 rules, 0 alarms");
}

static void everything_changes(void) {
    describes("targets: { a: " TARGET ", b: " TARGET " }\n"
              "timeouts: { idle: " RULE ", old: " RULE ", moved: " RULE " }\n"
              "alarms: { slots: { metric: usage, above: { warning: 80% } } }\n",
              "targets: { a: { conninfo: host=/var }, c: " TARGET " }\n"
              "timeouts: { idle: { state: idle, after: 11s }, new: " RULE " }\n"
              "quotas: { moved: { max: 5 }, all: { max: 5 } }\n"
              "alarms: { slots: { metric: usage, above: { critical: 80% } } }\n",
              "2 targets (changed: a; added: c; removed: b), 4 rules (changed: idle, moved; added: new, all; "
              "removed: old), 1 alarm (changed: slots)");
}

// Of a target only what its connection depends on; the rest is handed over.
static void targets_keep_their_connection(void) {
    static const struct {
        const char *text;
        bool keeps;
    } cases[] = {
        {"conninfo: host=/tmp", true},
        {"conninfo: host=/tmp, poll_interval: 2s", true},
        {"conninfo: host=/tmp, enforce: false", true},
        {"conninfo: host=/tmp, pressure_at: 50%", true},
        {"conninfo: host=/tmp port=1", false},
        {"conninfo: host=/tmp, password_file: /x", false},
        {"conninfo: host=/tmp, connect_timeout: 9s", false},
        {"conninfo: host=/tmp, query_timeout: 9s", false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(strbuf_deinit) struct strbuf yaml = STRBUF_EMPTY;
        check_context("%s", cases[i].text);
        strbuf_addf(&yaml, "targets: { a: { %s } }\n", cases[i].text);
        describes("targets: { a: " TARGET " }\n", strbuf_str(&yaml),
                  cases[i].keeps ? "1 target, 0 rules, 0 alarms" : "1 target (changed: a), 0 rules, 0 alarms");
    }
}

// Told only where there are any; every key counts.
static void webhooks(void) {
    static const char *const others[] = {
        "url: 'http://b', format: json",
        "url_file: /a, format: json",
        "url: 'http://a', format: slack",
        "url: 'http://a', format: json, min_severity: critical",
        "url: 'http://a', format: json, timeout: 9s",
        "url: 'http://a', format: json, headers: { X: b }",
        "url: 'http://a', format: json, headers: { X: a, Y: a }",
        "url: 'http://a', format: json, headers: { Z: a }",
        "url: 'http://a', format: json, headers: { X: a }, bearer_token_file: /a",
        "url: 'http://a', format: json, headers: { X: a }, ca_file: /a",
        "url: 'http://a', format: json, headers: { X: a }, proxy: 'http://a'",
    };
    static const char before[] =
        "targets: { a: " TARGET
        " }\noutputs: { webhooks: { w: { url: 'http://a', format: json, headers: { X: a } } } }\n";
    describes(before, before, "1 target, 0 rules, 0 alarms, 1 webhook");
    describes(before, "targets: { a: " TARGET " }\n", "1 target, 0 rules, 0 alarms, 0 webhooks (removed: w)");
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        CLEANUP(strbuf_deinit) struct strbuf yaml = STRBUF_EMPTY;
        check_context("%s", others[i]);
        strbuf_addf(&yaml, "targets: { a: " TARGET " }\noutputs: { webhooks: { w: { %s } } }\n", others[i]);
        describes(before, strbuf_str(&yaml), "1 target, 0 rules, 0 alarms, 1 webhook (changed: w)");
    }
}

static void long_lists_are_cut(void) {
    describes("targets: { a: " TARGET " }\n",
              "targets: { a: " TARGET " }\ntimeouts: { r1: " RULE ", r2: " RULE ", r3: " RULE ", r4: " RULE
              ", r5: " RULE ", r6: " RULE ", r7: " RULE " }\n",
              "1 target, 7 rules (added: r1, r2, r3, r4, r5 and 2 more), 0 alarms");
}

static void entries_know_their_places(void) {
    CLEANUP(side_deinit)
    struct side a = side_load("targets: { a: " TARGET ", b: " TARGET " }\nquotas: { q: { max: 5 } }\n");
    CLEANUP(side_deinit)
    struct side b = side_load("targets: { b: " TARGET " }\ntimeouts: { t: " RULE " }\nquotas: { q: { max: 5 } }\n");
    CLEANUP(reload_deinit) struct reload reload = {0};
    CHECK_EQ(reload_compare(&a.settings, &b.settings, &reload), 0);
    CHECK_EQ(reload.targets.n_items, 2);
    CHECK_EQ(reload.targets.items[0].index, 0);
    CHECK_EQ(reload.targets.items[0].before, 1);
    CHECK_EQ(reload.targets.items[1].change, RELOAD_REMOVED);
    CHECK_EQ(reload.targets.items[1].before, 0);
    CHECK_STR(reload.rules.items[1].name, "q");
    CHECK_EQ(reload.rules.items[1].change, RELOAD_KEPT);
    CHECK_EQ(reload.rules.items[1].index, 1); // behind the timeouts
    CHECK_EQ(reload.rules.items[1].before, 0);
}

static int compare_without_memory(void *userdata) {
    struct side *sides = userdata;
    struct reload reload = {0};
    int r = reload_compare(&sides[0].settings, &sides[1].settings, &reload);
    reload_deinit(&reload);
    return r;
}

static void out_of_memory(void) {
    struct side sides[] = {side_load("targets: { a: " TARGET " }\n"), side_load("targets: { b: " TARGET " }\n")};
    oom_sweep(compare_without_memory, sides);
    side_deinit(&sides[0]);
    side_deinit(&sides[1]);
}

CHECK_MAIN({"nothing_changes", nothing_changes}, {"order_is_no_change", order_is_no_change},
           {"everything_changes", everything_changes}, {"targets_keep_their_connection", targets_keep_their_connection},
           {"webhooks", webhooks}, {"long_lists_are_cut", long_lists_are_cut},
           {"entries_know_their_places", entries_know_their_places}, {"out_of_memory", out_of_memory})
