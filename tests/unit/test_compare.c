// SPDX-License-Identifier: PostgreSQL
#include "core/compare.h"

#include <errno.h>
#include <string.h>

#include "sample_scan.h"
#include "support/check.h"
#include "support/oom.h"
#include "util/cleanup.h"
#include "util/macro.h"

DEFINE_CLEANUP(struct selector *, selector_free)

#define NOW (1000 * USEC_PER_SEC)
#define SERVER_NOW INT64_C(800000000000000)
#define MAX_ROWS 20

static struct policy *policy;
static struct engine *engine;
static struct session_row rows[MAX_ROWS];
static size_t n_rows;

// ---- values of the server's settings

static void reads_values_as_the_server_does(void) {
    static const struct {
        const char *text;
        usec_t value;
    } good[] = {
        {"0", 0},
        {"600000", 10 * USEC_PER_MINUTE},
        {"10min", 10 * USEC_PER_MINUTE},
        {"10 min", 10 * USEC_PER_MINUTE},
        {"1.5h", 90 * USEC_PER_MINUTE},
        {"2d ", 2 * USEC_PER_DAY},
        {"250us", 250},
        {".5s", USEC_INFINITY},
        {"1.000000000001s", USEC_PER_SEC},
        {"2147483647", INT32_MAX * USEC_PER_MSEC},
        {"24d", 24 * USEC_PER_DAY},
    };
    static const char *const bad[] = {"",     " ",   "-1",    "min", "10m",        "10 minutes",
                                      "0x10", "1e3", "10s10", "25d", "2147483648", "99999999999999999999999d"};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        usec_t value = 7;
        check_context("of %s", good[i].text);
        if (good[i].value == USEC_INFINITY) {
            CHECK(!server_timeout_parse(good[i].text, &value));
            continue;
        }
        CHECK(server_timeout_parse(good[i].text, &value));
        CHECK_EQ(value, good[i].value);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        usec_t value = 7;
        check_context("of %s", bad[i]);
        CHECK(!server_timeout_parse(bad[i], &value));
        CHECK_EQ(value, 7);
    }
    enum server_timeout which;
    for (unsigned i = 0; i < N_SERVER_TIMEOUTS; i++) {
        CHECK(server_timeout_from_string(server_timeout_to_string((enum server_timeout)i), &which));
        CHECK_EQ(which, i);
    }
    CHECK(!server_timeout_from_string("lock_timeout", &which));
}

// ---- what lies within what

// "user=a,b database=c | superuser=true": clauses of keys of strings.
static struct selector *parse(const char *text) {
    struct selector *selector = selector_new();
    char copy[256], *clauses = copy, *clause;
    char *why = NULL;

    CHECK_NOT_NULL(selector);
    CHECK_LT(strlen(text), sizeof(copy));
    (void)strcpy(copy, text);
    while ((clause = strsep(&clauses, "|"))) {
        char *word;
        CHECK_EQ(selector_add_clause(selector), 0);
        while ((word = strsep(&clause, " "))) {
            char *values = strchr(word, '='), *value;
            if (!values) {
                continue;
            }
            *values++ = '\0';
            unsigned key = 0;
            while (strcmp(selector_key_to_string((enum selector_key)key), word) != 0) {
                key++;
                CHECK_LT(key, N_SELECTOR_KEYS);
            }
            while ((value = strsep(&values, ","))) {
                if (key == SELECTOR_QUERY) {
                    CHECK_EQ(selector_add_query(selector, (unsigned)(value[0] - '0')), 0);
                } else {
                    CHECK_EQ(selector_add(selector, (enum selector_key)key, value, &why), 0);
                }
            }
        }
    }
    return selector;
}

static void knows_what_lies_within(void) {
    static const struct {
        const char *inner, *outer;
        int within;
    } cases[] = {
        {"user=alice", "user=alice", 1},
        {"user=alice", "user=bob", 0},
        {"user=alice", "user=bob,ali*", 1},
        {"user=alice,bob", "user=ali*", 0},
        {"user=ali*", "user=ali*", 1},
        {"user=ali*", "user=al*", 0}, // true, and not told: nobody writes it so
        {"user=ali*", "user=*", 1},
        {"user=/^ali/", "user=/^ali/", 1},
        {"user=alice", "user=/^ALI/i", 1},
        {"user=alice database=shop", "user=alice", 1},
        {"user=alice", "user=alice database=shop", 0},
        {"user=alice|user=bob", "user=alice", 0},
        {"user=alice|user=bob", "user=bob|user=alice", 1},
        {"superuser=true", "superuser=true", 1},
        {"superuser=false", "superuser=true", 0},
        {"client_addr=10.1.0.0/16", "client_addr=10.0.0.0/8", 1},
        {"client_addr=10.0.0.0/8", "client_addr=10.1.0.0/16", 0},
        {"client_addr=local", "client_addr=local", 1},
        {"client_addr=local", "client_addr=0.0.0.0/0", 0},
        {"client_addr=10.1.2.3", "client_addr=::/0", 0},
        {"query=1", "query=1,2", 1},
        {"query=1,3", "query=1,2", 0},
        {"app=web", "user=alice", 1}, // by its own match
        {"app=web,both", "user=alice", 0},
        {"app=w*", "user=alice", 1},
        {"app=none", "user=alice", 0},
        {"app=none", "user=*", 0},
        {"", "user=*", 0},
    };
    policy = policy_new();
    CHECK_NOT_NULL(policy);
    policy_add_app(policy, "web")->match = parse("user=alice database=shop");
    policy_add_app(policy, "both")->match = parse("user=alice|user=bob");
    policy_add_app(policy, "none");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(selector_freep) struct selector *inner = parse(cases[i].inner);
        CLEANUP(selector_freep) struct selector *outer = parse(cases[i].outer);
        const struct selector *const outers[] = {NULL, outer};
        check_context("of '%s' within '%s'", cases[i].inner, cases[i].outer);
        CHECK_EQ(policy_is_within(policy, inner, outers, 2), cases[i].within);
        CHECK_EQ(policy_is_within(policy, NULL, outers, 2), 0); // everybody
        CHECK_EQ(policy_is_within(policy, inner, NULL, 0), 0);
    }
    policy = policy_unref(policy);
}

// ---- the whole

static void add_row(const char *user, enum session_state state, usec_t age) {
    CHECK_LT(n_rows, MAX_ROWS);
    int64_t since = SERVER_NOW - (int64_t)age;
    struct session_row *row = &rows[n_rows++];
    *row = (struct session_row){
        .id = {.id = 100 + (int64_t)n_rows, .since = SERVER_NOW - (int64_t)USEC_PER_DAY},
        .application_name = "name",
        .user = user,
        .database = "shop",
        .superuser = strcmp(user, "root") == 0,
        .state = state,
        .state_change = since,
        .query_start = since,
        .xact_start = TIMESTAMP_NONE,
        .user_limit = strcmp(user, "web") == 0 ? 4 : -1,
        .database_limit = -1,
    };
}

static void feed(const struct engine_input *input) {
    const struct engine_result *result;
    CHECK_EQ(engine_step(engine, input, NOW, &result), 0);
}

static struct timeout *add_rule(const char *name, const char *match, unsigned state, usec_t after) {
    struct timeout *timeout = policy_add_timeout(policy, name);
    CHECK_NOT_NULL(timeout);
    timeout->match = match ? parse(match) : NULL;
    timeout->state = state;
    timeout->after = after;
    return timeout;
}

static void begin(void) {
    n_rows = 0;
    policy = policy_new();
    engine = engine_new("db");
    CHECK(policy && engine);
    for (int i = 0; i < 3; i++) {
        add_row("web", SESSION_STATE_IDLE, USEC_PER_HOUR);
    }
    add_row("root", SESSION_STATE_IDLE, USEC_PER_HOUR);
    add_row("pgvigil", SESSION_STATE_ACTIVE, 0);
    rows[n_rows - 1].id.id = 1;
    rows[n_rows - 1].application_name = "pgvigil";
    rows[n_rows - 1].user_limit = 10; // the self-check has told
    struct app *app = policy_add_app(policy, "web");
    app->match = parse("user=web");
    app->pool = 120;
    policy_add_app(policy, "ghost")->match = parse("user=ghost");
    (void)add_rule("idle", "user=web,root", SESSION_STATE_BIT(SESSION_STATE_IDLE), USEC_PER_MINUTE);
    (void)add_rule("nobody", "user=ghost", SESSION_STATE_BIT(SESSION_STATE_IDLE), USEC_PER_MINUTE);
    (void)add_rule("never", "application_name=pg_dump", SESSION_STATE_BIT(SESSION_STATE_IDLE), USEC_PER_MINUTE);
    (void)add_rule("root", "user=root", SESSION_STATE_BIT(SESSION_STATE_IDLE), USEC_PER_MINUTE);
    struct quota *quota = policy_add_quota(policy, "web");
    CHECK_NOT_NULL(quota);
    quota->match = parse("app=web");
    quota->max = 4;
    struct alarm *alarm = policy_add_alarm(policy, "there");
    CHECK_NOT_NULL(alarm);
    alarm->metric = METRIC_IDLE;
    alarm->match = parse("app=web");
    alarm = policy_add_alarm(policy, "elsewhere");
    CHECK_NOT_NULL(alarm);
    alarm->metric = METRIC_IDLE;
    alarm->match = parse("user=web,root");
    alarm->ignore = parse("user=w*|superuser=true");
    feed(&(struct engine_input){.kind = ENGINE_INPUT_POLICY, .policy = {policy, false}});
}

static void scan(void) {
    const struct scan full = sample_scan(rows, n_rows, SERVER_NOW, NOW);
    feed(&(struct engine_input){.kind = ENGINE_INPUT_SCAN, .scan = &full});
}

static void end(void) {
    engine = engine_free(engine);
    policy = policy_unref(policy);
}

static const struct server_setting settings[] = {
    {.which = SERVER_TIMEOUT_IDLE, .value = 30 * USEC_PER_SEC, .is_global = true},
    {.which = SERVER_TIMEOUT_IDLE, .value = 0, .user = "web", .user_quoted = "web"},
    {.which = SERVER_TIMEOUT_IDLE,
     .value = 20 * USEC_PER_SEC,
     .user = "web",
     .user_quoted = "web",
     .database = "shop",
     .database_quoted = "\"shop\""},
    {.which = SERVER_TIMEOUT_STATEMENT, .value = 1, .is_global = true},
};
static const struct server_watchdog watchdogs[] = {
    {.pid = 9, .user = "pgvigil", .is_own_role = true, .is_same_client = true, .holds_lock = true},
    {.pid = 10, .user = "other", .holds_lock = true},
};
static const struct server_collation collations[] = {{"shop", "shop", "2.31", "2.36"}};
static const struct server_survey full_survey = {
    settings, ARRAY_SIZE(settings), watchdogs, ARRAY_SIZE(watchdogs), collations, ARRAY_SIZE(collations),
};

static const struct remark *find(const struct comparison *comparison, const char *reason, const char *name) {
    for (size_t i = 0; i < comparison->n_remarks; i++) {
        const struct remark *remark = &comparison->remarks[i];
        if (strcmp(remark->reason, reason) == 0 &&
            (name ? remark->name && strcmp(remark->name, name) == 0 : !remark->name)) {
            return remark;
        }
    }
    return NULL;
}

static void compares(void) {
    CLEANUP(comparison_deinit) struct comparison comparison = {0};
    const struct remark *remark;

    begin();
    CHECK_EQ(engine_compare(engine, &full_survey, true, &comparison), -EAGAIN);
    scan();
    CHECK_EQ(engine_compare(engine, &full_survey, true, &comparison), 0);
    CHECK_EQ(comparison.n_rules, 5);
    CHECK_EQ(comparison.rules[0].n_covered, 4);
    CHECK_EQ(comparison.rules[0].n_protected, 1);
    CHECK_EQ(comparison.rules[0].n_over, 4);
    CHECK_EQ(comparison.rules[0].n_ends, 3);
    CHECK_EQ(comparison.rules[1].n_covered, 0);
    CHECK(comparison.rules[4].is_quota);
    CHECK_EQ(comparison.rules[4].n_covered, 3);
    CHECK_EQ(comparison.n_apps, 2);
    CHECK_EQ(comparison.apps[0].n_sessions, 3);
    CHECK_EQ(comparison.pools, 120);
    CHECK_EQ(comparison.usable, 97);

    remark = find(&comparison, "superuser_sessions", "idle");
    CHECK(remark && remark->level == EVENT_NOTICE);
    CHECK_CONTAINS(remark->detail, "1 of the 4 sessions");
    CHECK(find(&comparison, "covers_nobody", "nobody") && find(&comparison, "covers_nobody", "ghost"));
    CHECK(find(&comparison, "covers_nobody", "elsewhere") && !find(&comparison, "covers_nobody", "there"));
    remark = find(&comparison, "protected", "never");
    CHECK(remark && strcmp(remark->key, "match") == 0);
    CHECK_NOT_NULL(find(&comparison, "protected", "root"));
    remark = find(&comparison, "pools", NULL);
    CHECK_CONTAINS(remark->hint, "max_connections = 123");
    // Of the settings of web's sessions the one that says most counts, and for root's the server's.
    remark = find(&comparison, "server_timeout", "idle");
    CHECK_NOT_NULL(remark);
    remark = find(&comparison, "server_timeout", "root");
    CHECK_CONTAINS(remark->detail, "after 30s: this rule, after 1min, comes too late for 1 of the 1 session");
    remark = find(&comparison, "connection_limit", "web");
    CHECK_NOT_NULL(remark);
    remark = find(&comparison, "connection_limit", NULL);
    CHECK_CONTAINS(remark->detail, "role web may hold 4 connections (CONNECTION LIMIT), 3 are in use");
    remark = find(&comparison, "watchdogs", NULL);
    CHECK_CONTAINS(remark->detail, "pid 10 of role other from local");
    CHECK_NULL(strstr(remark->detail, "pid 9"));
    CHECK_CONTAINS(find(&comparison, "collation", NULL)->hint, "REINDEX DATABASE shop");
    end();
}

static void the_most_special_setting_counts(void) {
    CLEANUP(comparison_deinit) struct comparison comparison = {0};
    size_t n = 0;

    begin();
    scan();
    CHECK_EQ(engine_compare(engine, &full_survey, true, &comparison), 0);
    for (size_t i = 0; i < comparison.n_remarks; i++) {
        const struct remark *remark = &comparison.remarks[i];
        if (strcmp(remark->reason, "server_timeout") == 0 && strcmp(remark->name, "idle") == 0) {
            n++;
            CHECK(strstr(remark->detail, "for 3 of the 4") ? strstr(remark->hint, "IN DATABASE \"shop\" SET") != NULL
                                                           : strstr(remark->detail, "for 1 of the 4") != NULL);
        }
    }
    CHECK_EQ(n, 2);
    end();
}

// Apps may belong to other servers of the file.
static void pools_count_where_their_app_is(void) {
    CLEANUP(comparison_deinit) struct comparison comparison = {0};

    begin();
    policy->apps[1].pool = 50;
    scan();
    CHECK_EQ(engine_compare(engine, &full_survey, false, &comparison), 0);
    CHECK_EQ(comparison.pools, 120);
    CHECK_EQ(comparison.pools_left_out, 50);
    CHECK_CONTAINS(find(&comparison, "pools", NULL)->detail, "of the apps that have sessions here sum up to 120, ");
    CHECK_EQ(comparison.apps[1].pool, 50);
    CHECK(comparison.apps[0].counts && !comparison.apps[1].counts);
    comparison_deinit(&comparison);
    // The only server is everybody's.
    CHECK_EQ(engine_compare(engine, &full_survey, true, &comparison), 0);
    CHECK_EQ(comparison.pools, 170);
    CHECK_EQ(comparison.pools_left_out, 0);
    CHECK(comparison.apps[1].counts);
    end();
}

static int compare_once(void *userdata) {
    struct comparison comparison;
    (void)userdata;
    int r = engine_compare(engine, &full_survey, true, &comparison);
    if (r == 0) {
        comparison_deinit(&comparison);
    }
    return r;
}

static void survives_oom(void) {
    begin();
    scan();
    oom_sweep(compare_once, NULL);
    end();
}

CHECK_MAIN({"reads_values_as_the_server_does", reads_values_as_the_server_does},
           {"knows_what_lies_within", knows_what_lies_within}, {"compares", compares},
           {"the_most_special_setting_counts", the_most_special_setting_counts},
           {"pools_count_where_their_app_is", pools_count_where_their_app_is}, {"survives_oom", survives_oom})
