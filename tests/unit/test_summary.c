// SPDX-License-Identifier: PostgreSQL
#include "core/summary.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/engine.h"
#include "sample_scan.h"
#include "support/check.h"
#include "support/oom.h"

#define NOW (1000 * USEC_PER_SEC)
#define SERVER_NOW INT64_C(800000000000000)
#define MAX_ROWS 12000

struct fixture {
    struct engine *engine;
    struct policy *policy;
    struct session_row rows[MAX_ROWS];
    char names[MAX_ROWS][16];
    size_t n_rows;
};

static struct fixture fixture;

static const struct engine_result *feed(const struct engine_input *input) {
    const struct engine_result *result;
    CHECK_EQ(engine_step(fixture.engine, input, NOW, &result), 0);
    return result;
}

static void begin(void) {
    fixture.n_rows = 0;
    fixture.policy = policy_new();
    fixture.engine = engine_new("db");
    CHECK(fixture.policy && fixture.engine);
}

static void end(void) {
    fixture.engine = engine_free(fixture.engine);
    fixture.policy = policy_unref(fixture.policy);
}

static struct timeout *add_rule(const char *name, enum session_state state, usec_t after) {
    struct timeout *timeout = policy_add_timeout(fixture.policy, name);
    CHECK_NOT_NULL(timeout);
    timeout->state = SESSION_STATE_BIT(state);
    timeout->after = after;
    return timeout;
}

// An idle session for `age` of user u; the caller changes what it wants otherwise.
static struct session_row *add_row(const char *name, usec_t age) {
    int64_t since = SERVER_NOW - (int64_t)age;
    struct session_row *row = &fixture.rows[fixture.n_rows++];
    *row = (struct session_row){
        .id = {.id = 100 + (int64_t)fixture.n_rows, .since = SERVER_NOW - (int64_t)USEC_PER_DAY},
        .application_name = name,
        .user = "u",
        .database = "d",
        .state = SESSION_STATE_IDLE,
        .state_change = since,
        .query_start = since,
        .xact_start = TIMESTAMP_NONE,
    };
    return row;
}

static const struct engine_result *scan(void) {
    struct scan full = sample_scan(fixture.rows, fixture.n_rows, SERVER_NOW, NOW);
    full.facts.reserved_connections = 2;
    return feed(&(struct engine_input){.kind = ENGINE_INPUT_SCAN, .scan = &full});
}

static void give_policy(void) {
    (void)feed(&(struct engine_input){.kind = ENGINE_INPUT_POLICY, .policy = {fixture.policy, true}});
}

static void nothing_is_valid_before_the_first_scan(void) {
    CLEANUP(summary_deinit) struct summary summary = {0};
    begin();
    CHECK_EQ(engine_summarize(fixture.engine, &summary), 0);
    CHECK(!summary.valid);
    CHECK_EQ(summary.used, 0);
    CHECK_EQ(summary.n_groups, 0);
    CHECK_EQ(summary.n_rules, 0);
    end();
}

static void slots(void) {
    CLEANUP(summary_deinit) struct summary summary = {0};
    begin();
    add_row("a", USEC_PER_SEC);
    add_row("b", USEC_PER_SEC);
    (void)scan();
    CHECK_EQ(engine_summarize(fixture.engine, &summary), 0);
    CHECK(summary.valid);
    CHECK_EQ(summary.used, 2);
    CHECK_EQ(summary.usable, 95);
    CHECK_EQ(summary.server_now, SERVER_NOW);
    CHECK_STR(summary.facts.own_user, "pgvigil");
    // By value: it outlives the engine, and a loss makes the next one invalid but not empty.
    struct summary lost;
    (void)feed(&(struct engine_input){.kind = ENGINE_INPUT_LOST});
    CHECK_EQ(engine_summarize(fixture.engine, &lost), 0);
    CHECK(!lost.valid);
    CHECK_EQ(lost.used, 2);
    summary_deinit(&lost);
    end();
    CHECK_STR(summary.facts.own_user, "pgvigil");
    CHECK_STR(summary.groups[0].app, "\"a\"");
}

static void groups_by_number_then_name(void) {
    CLEANUP(summary_deinit) struct summary summary = {0};
    begin();
    struct app *app = policy_add_app(fixture.policy, "\"b\""); // looks like a quoted application_name
    CHECK_NOT_NULL(app);
    app->match = selector_new();
    CHECK(app->match && selector_add_clause(app->match) == 0 &&
          selector_add(app->match, SELECTOR_USER, "worker", NULL) == 0);
    give_policy();
    add_row("c", 5 * USEC_PER_SEC);
    add_row("b", 7 * USEC_PER_SEC);
    add_row("a", 3 * USEC_PER_SEC);
    add_row("a", 9 * USEC_PER_SEC);
    add_row("b", 1 * USEC_PER_SEC)->user = "worker";
    add_row("a", 1 * USEC_PER_SEC)->state = SESSION_STATE_ACTIVE;
    add_row("a", 1 * USEC_PER_SEC)->database = "other";
    (void)scan();
    CHECK_EQ(engine_summarize(fixture.engine, &summary), 0);
    end();
    CHECK_EQ(summary.n_groups, 6);
    CHECK_STR(summary.groups[0].app, "\"a\"");
    CHECK_EQ(summary.groups[0].n_sessions, 2);
    CHECK_EQ(summary.groups[0].longest, 9 * USEC_PER_SEC);
    CHECK_STR(summary.groups[0].database, "d");
    CHECK_EQ(summary.groups[0].state, SESSION_STATE_IDLE);
    CHECK_EQ(summary.groups[1].state, SESSION_STATE_ACTIVE);
    CHECK_STR(summary.groups[2].database, "other");
    CHECK_STR(summary.groups[3].app, "\"b\"");
    CHECK(!summary.groups[3].is_app);
    CHECK_STR(summary.groups[4].app, "\"b\"");
    CHECK(summary.groups[4].is_app);
    CHECK_STR(summary.groups[4].user, "worker");
    CHECK_STR(summary.groups[5].app, "\"c\"");
}

static void beyond_the_limit_groups_fold(void) {
    CLEANUP(summary_deinit) struct summary summary = {0};
    int64_t n = 0, n_other = 0;
    begin();
    for (size_t i = 0; i < MAX_ROWS; i++) {
        (void)snprintf(fixture.names[i], sizeof(fixture.names[i]), "n%zu", i);
        add_row(fixture.names[i], USEC_PER_SEC);
    }
    (void)scan();
    CHECK_EQ(engine_summarize(fixture.engine, &summary), 0);
    end();
    CHECK_EQ(summary.n_groups, SUMMARY_MAX_GROUPS);
    for (size_t i = 0; i < summary.n_groups; i++) {
        n += summary.groups[i].n_sessions;
        n_other += strcmp(summary.groups[i].app, "other") == 0 ? summary.groups[i].n_sessions : 0;
    }
    CHECK_EQ(n, MAX_ROWS);
    CHECK_EQ(n_other, MAX_ROWS - SUMMARY_MAX_GROUPS + 1);
    CHECK_STR(summary.groups[0].app, "other"); // the biggest
}

static void longest_lists(void) {
    CLEANUP(summary_deinit) struct summary summary = {0};
    begin();
    // Neither sorted nor distinct: 5 sessions for each of 5 ages.
    for (size_t i = 0; i < 25; i++) {
        struct session_row *row = add_row("a", (i * 7 % 5 + 1) * USEC_PER_SEC);
        row->query = "select 1";
    }
    for (size_t i = 0; i < 3; i++) {
        struct session_row *row = add_row("t", USEC_PER_SEC);
        row->state = SESSION_STATE_IDLE_IN_TRANSACTION;
        row->xact_start = SERVER_NOW - (int64_t)((i + 1) * USEC_PER_MINUTE);
    }
    (void)scan();
    CHECK_EQ(engine_summarize(fixture.engine, &summary), 0);
    end();
    CHECK_EQ(summary.n_longest_idle, SUMMARY_MAX_SESSIONS);
    for (size_t i = 0; i < SUMMARY_MAX_SESSIONS; i++) {
        const struct summary_session *session = &summary.longest_idle[i];
        CHECK_EQ(session->age, (i < 5 ? 5 : 4) * USEC_PER_SEC);
        CHECK_NULL(session->session.query);
        CHECK_STR(session->session.application_name, "a");
        if (i % 5 > 0) {
            CHECK_GT(session->session.id.id, summary.longest_idle[i - 1].session.id.id);
        }
    }
    CHECK_EQ(summary.n_longest_transaction, 3);
    CHECK_EQ(summary.longest_transaction[0].age, 3 * USEC_PER_MINUTE);
    CHECK_EQ(summary.longest_transaction[2].age, USEC_PER_MINUTE);
    CHECK_STR(summary.longest_transaction[0].app, "\"t\"");
}

static void rules(void) {
    CLEANUP(summary_deinit) struct summary summary = {0};
    begin();
    fixture.policy->enforce = true;
    fixture.policy->limits.per_poll = 2;
    add_rule("idle", SESSION_STATE_IDLE, USEC_PER_MINUTE);
    add_rule("watch", SESSION_STATE_IDLE, USEC_PER_MINUTE)->enforce = false;
    struct timeout *covers = add_rule("active", SESSION_STATE_ACTIVE, USEC_PER_HOUR);
    covers->action = ACTION_LOG;
    covers->match = selector_new();
    CHECK(covers->match && selector_add_clause(covers->match) == 0 &&
          selector_add(covers->match, SELECTOR_USER, "x", NULL) == 0);
    give_policy();
    for (size_t i = 0; i < 4; i++) {
        add_row("a", 2 * USEC_PER_MINUTE);
    }
    add_row("a", 2 * USEC_PER_MINUTE)->superuser = true;
    add_row("a", USEC_PER_SEC)->user = "x";
    // We, and another of ours: covered by none.
    struct session_row *own = add_row("other name", USEC_PER_SEC);
    own->id.id = 1;
    own->state = SESSION_STATE_ACTIVE;
    own = add_row("pgvigil", USEC_PER_SEC);
    own->user = "pgvigil";
    CHECK_EQ(scan()->n_decisions, 2);
    CHECK_EQ(engine_summarize(fixture.engine, &summary), 0);
    end();
    CHECK_EQ(summary.n_rules, 3);
    CHECK_EQ(summary.n_dying, 2);
    CHECK_STR(summary.rules[0].name, "idle");
    CHECK(summary.rules[0].enforce);
    CHECK_EQ(summary.rules[0].n_matches, 5);
    CHECK_EQ(summary.rules[0].n_decided, 2);
    CHECK_EQ(summary.rules[0].n_held[HELD_PROTECTED], 1);
    CHECK_EQ(summary.rules[0].n_held[HELD_BUDGET], 2);
    CHECK_EQ(summary.rules[0].n_covered, 6);
    // With every rule enforced the first one would have had the first two, and the budget with them.
    CHECK(!summary.rules[1].enforce);
    CHECK_EQ(summary.rules[1].n_matches, 5);
    CHECK_EQ(summary.rules[1].n_decided, 0);
    CHECK_EQ(summary.rules[1].n_held[HELD_BUDGET], 2);
    CHECK_EQ(summary.rules[1].n_held[HELD_PROTECTED], 1);
    CHECK_EQ(summary.rules[2].action, ACTION_LOG);
    CHECK_EQ(summary.rules[2].n_covered, 1);
    CHECK_EQ(summary.rules[2].n_matches, 0);
}

static int summarize_once(void *userdata) {
    struct summary summary;
    (void)userdata;
    int r = engine_summarize(fixture.engine, &summary);
    if (r == 0) {
        summary_deinit(&summary);
    }
    return r;
}

static void survives_oom(void) {
    begin();
    add_rule("idle", SESSION_STATE_IDLE, USEC_PER_HOUR);
    give_policy();
    for (size_t i = 0; i < 30; i++) {
        (void)snprintf(fixture.names[i], sizeof(fixture.names[i]), "n%zu", i);
        add_row(fixture.names[i], USEC_PER_SEC)->xact_start = SERVER_NOW;
    }
    (void)scan();
    oom_sweep(summarize_once, NULL);
    end();
}

CHECK_MAIN({"nothing_is_valid_before_the_first_scan", nothing_is_valid_before_the_first_scan}, {"slots", slots},
           {"groups_by_number_then_name", groups_by_number_then_name},
           {"beyond_the_limit_groups_fold", beyond_the_limit_groups_fold}, {"longest_lists", longest_lists},
           {"rules", rules}, {"survives_oom", survives_oom})
