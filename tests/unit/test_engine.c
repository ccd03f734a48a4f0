// SPDX-License-Identifier: PostgreSQL
//
// The engine while memory is short, and before it has seen anything. What it decides otherwise: tests/scenario.
#include "core/engine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "support/check.h"
#include "support/oom.h"

#define START (1000 * USEC_PER_SEC)
#define SERVER_START INT64_C(800000000000000)
#define N_SESSIONS 12
#define MAX_INTENTS 64

// One run: a failed step is offered again, as the target does it.
struct run {
    struct engine *engine;
    bool failed;
    usec_t now;
    struct session_row rows[N_SESSIONS];
    char names[N_SESSIONS][16];
    struct {
        uint64_t serial;
        int64_t pid;
        enum action action;
        unsigned n_outcomes;
    } intents[MAX_INTENTS];
    size_t n_intents;
    size_t n_reports; // would-be decisions and those of rules that log
};

static void run_note(struct run *run, const struct engine_result *result) {
    for (size_t i = 0; i < result->n_decisions; i++) {
        CHECK_LT(run->n_intents, MAX_INTENTS);
        run->intents[run->n_intents].serial = result->decisions[i].serial;
        run->intents[run->n_intents].pid = result->intents[i].session->id.id;
        run->intents[run->n_intents].action = result->intents[i].action;
        run->intents[run->n_intents++].n_outcomes = 0;
    }
    for (size_t i = 0; i < result->n_events; i++) {
        run->n_reports += result->events[i].kind == EVENT_DECISION;
        if (result->events[i].kind != EVENT_OUTCOME) {
            continue;
        }
        for (size_t k = run->n_intents; k-- > 0;) {
            if (run->intents[k].pid == result->events[i].session->id.id &&
                run->intents[k].action == result->events[i].action) {
                run->intents[k].n_outcomes++;
                break;
            }
        }
    }
}

static bool run_step(struct run *run, const struct engine_input *input) {
    const struct engine_result *result;
    int r = engine_step(run->engine, input, run->now, &result);
    if (r < 0) {
        CHECK_EQ(r, -ENOMEM);
        CHECK(!run->failed); // one allocation fails: the next try succeeds
        run->failed = true;
        struct summary summary; // of what is left
        CHECK_EQ(engine_summarize(run->engine, &summary), 0);
        CHECK(!summary.valid);
        summary_deinit(&summary);
        return false;
    }
    run_note(run, result);
    return true;
}

static void run_surely(struct run *run, const struct engine_input *input) {
    if (!run_step(run, input)) {
        CHECK(run_step(run, input));
    }
}

// A scan that failed is not offered again: the next full one is another.
static void run_scan(struct run *run, usec_t at, size_t first, size_t n, bool full) {
    struct session_id asked[N_SESSIONS];
    struct scan scan = {
        .kind = full ? SCAN_FULL : SCAN_LOOK,
        .rows = run->rows + first,
        .n_rows = n,
        .asked = asked,
        .n_asked = full ? 0 : n,
        .facts =
            {.version_num = 150018, .postmaster_start = 1, .max_connections = 100, .own_pid = 1, .own_user = "pgvigil"},
    };

    run->now = START + at;
    scan.sent_at = scan.received_at = run->now;
    scan.server_now = SERVER_START + (int64_t)at;
    for (size_t i = 0; i < n; i++) {
        asked[i] = scan.rows[i].id;
    }
    const struct engine_input input = {.kind = ENGINE_INPUT_SCAN, .scan = &scan};
    if (!run_step(run, &input) && full) {
        run->now += USEC_PER_SEC;
        scan.sent_at = scan.received_at = run->now;
        scan.server_now += (int64_t)USEC_PER_SEC;
        CHECK(run_step(run, &input));
    }
}

static void run_answer_all(struct run *run) {
    static const enum act_result answers[] = {ACT_SIGNALLED, ACT_CHANGED,   ACT_UNKNOWN, ACT_SIGNALLED,
                                              ACT_DENIED,    ACT_SIGNALLED, ACT_LEFT,    ACT_FAILED};
    for (size_t i = 0; i < run->n_intents; i++) {
        if (run->intents[i].n_outcomes == 0) {
            run_surely(run, &(struct engine_input){
                                .kind = ENGINE_INPUT_ACT,
                                .act = {.serial = run->intents[i].serial,
                                        .result = answers[run->intents[i].serial % ARRAY_SIZE(answers)],
                                        .sqlstate = "42501",
                                        .message = "permission denied"},
                            });
        }
    }
}

static struct timeout *add_rule(struct policy *policy, const char *name, enum action action, enum session_state state,
                                usec_t after) {
    struct timeout *timeout = policy_add_timeout(policy, name);
    if (timeout) {
        timeout->action = action;
        timeout->state = SESSION_STATE_BIT(state);
        timeout->after = after;
    }
    return timeout;
}

static struct policy *make_policy(void) {
    CLEANUP(policy_unrefp) struct policy *policy = policy_new();
    if (!policy || !add_rule(policy, "idle", ACTION_TERMINATE, SESSION_STATE_IDLE, USEC_PER_MINUTE) ||
        !add_rule(policy, "long", ACTION_CANCEL, SESSION_STATE_ACTIVE, USEC_PER_MINUTE) ||
        !add_rule(policy, "say", ACTION_LOG, SESSION_STATE_ACTIVE, USEC_PER_SEC)) {
        return NULL;
    }
    struct timeout *watch = add_rule(policy, "watch", ACTION_TERMINATE, SESSION_STATE_ACTIVE, USEC_PER_SEC);
    if (!watch) {
        return NULL;
    }
    watch->enforce = false;
    watch->match = selector_new();
    if (!watch->match || selector_add_clause(watch->match) < 0 ||
        selector_add(watch->match, SELECTOR_APPLICATION_NAME, "/^name-[0-9]+$/i", NULL) < 0) {
        return NULL;
    }
    struct quota *quota = policy_add_quota(policy, "quota");
    if (!quota) {
        return NULL;
    }
    quota->per = GROUP_KEY_BIT(GROUP_APPLICATION_NAME) | GROUP_KEY_BIT(GROUP_CLIENT_ADDR);
    quota->max = 1;
    quota->evict[0] = SESSION_STATE_ACTIVE;
    struct timeout *blocker = add_rule(policy, "blocker", ACTION_LOG, SESSION_STATE_ACTIVE, 0);
    if (!blocker) {
        return NULL;
    }
    blocker->when.blocks = 1;
    policy->limits.breaker_rounds = 1;
    policy->limits.share = 99;
    policy->enforce = true;
    return TAKE_PTR(policy);
}

static void make_rows(struct run *run) {
    static const int64_t holder = 104;

    for (size_t i = 0; i < N_SESSIONS; i++) {
        (void)snprintf(run->names[i], sizeof(run->names[i]), "name-%zu", i / 2);
        int64_t since = SERVER_START - (int64_t)(90 * USEC_PER_SEC) - (int64_t)i;
        run->rows[i] = (struct session_row){
            .id = {.id = (int64_t)i + 100, .since = SERVER_START - (int64_t)USEC_PER_HOUR},
            .application_name = run->names[i],
            .user = "u",
            .database = "d",
            .user_oid = 10,
            .database_oid = 20,
            .state = i % 4 == 0 ? SESSION_STATE_ACTIVE : SESSION_STATE_IDLE,
            .state_change = since,
            .query_start = since,
            .xact_start = i % 4 == 0 ? since : TIMESTAMP_NONE,
            .query = "select 1",
            .blocked_by = &holder,
            .n_blocked_by = i % 4 == 1,
        };
    }
    run->rows[7].state_change = SERVER_START - (int64_t)(55 * USEC_PER_SEC); // comes due at 5 s
}

static void run_preview(struct run *run, struct policy *policy) {
    int64_t counts[8];
    int r = engine_preview(run->engine, policy, counts);

    if (r == -ENOMEM) {
        CHECK(!run->failed);
        run->failed = true;
    } else {
        CHECK(r == 0 || r == -EAGAIN);
    }
}

static void run_timeline(struct run *run, struct policy *policy) {
    struct summary summary;

    run_surely(run, &(struct engine_input){.kind = ENGINE_INPUT_POLICY, .policy = {policy, true}});
    run_scan(run, 0, 0, N_SESSIONS, true);
    run_answer_all(run);
    run_scan(run, 5 * USEC_PER_SEC, 6, 4, false);
    run_answer_all(run);
    if (engine_summarize(run->engine, &summary) == 0) {
        CHECK_EQ(summary.n_rules, 6);
        summary_deinit(&summary);
    } else {
        run->failed = true;
    }
    run_preview(run, policy);
    run_surely(run, &(struct engine_input){.kind = ENGINE_INPUT_LOST});
    run_scan(run, 15 * USEC_PER_SEC, 2, 9, true); // some have gone, others linger
    run_answer_all(run);
    run->rows[3].application_name = "another";
    run_scan(run, 80 * USEC_PER_SEC, 2, 9, true); // what lingered is chosen again
    run_scan(run, 85 * USEC_PER_SEC, 2, 9, true);
    run_surely(run, &(struct engine_input){.kind = ENGINE_INPUT_STOP});
}

static int busy(void *userdata) {
    CLEANUP(policy_unrefp) struct policy *policy = make_policy();
    CLEANUP(engine_freep) struct engine *engine = engine_new("db");
    struct run run = {.engine = engine};
    (void)userdata;

    if (!policy || !engine) {
        return -ENOMEM;
    }
    make_rows(&run);
    run_timeline(&run, policy);
    CHECK_GT(run.n_intents, 8);
    CHECK_GE(run.n_reports, 6); // three active sessions: rules say and watch speak of each
    for (size_t i = 0; i < run.n_intents; i++) {
        // One, or one after "unknown" or "lingering".
        CHECK_GE(run.intents[i].n_outcomes, 1);
        CHECK_LE(run.intents[i].n_outcomes, 2);
    }
    return run.failed ? -ENOMEM : 0;
}

static void P6_every_intent_settles_after_oom(void) {
    oom_sweep(busy, NULL);
}

// Nobody knows how many slots are used of a server that was never seen.
static void P3_no_numbers_of_what_was_not_seen(void) {
    CLEANUP(engine_freep) struct engine *engine = engine_new("db");
    CLEANUP(policy_unrefp) struct policy *policy = policy_new();
    const struct engine_result *result;
    CHECK_NOT_NULL(engine);
    CHECK_NOT_NULL(policy);
    const struct engine_input rules = {.kind = ENGINE_INPUT_POLICY,
                                       .policy = {.policy = policy, .poll_interval = USEC_PER_SEC}};
    const struct engine_input down = {.kind = ENGINE_INPUT_CONDITION,
                                      .condition = {.condition = CONDITION_UNREACHABLE, .holds = true, .detail = "no"}};
    CHECK_EQ(engine_step(engine, &rules, USEC_PER_SEC, &result), 0);
    CHECK_EQ(engine_step(engine, &down, 2 * USEC_PER_SEC, &result), 0);
    CHECK_EQ(result->n_events, 1);
    CHECK_STR(result->events[0].alarm, "unreachable");
    CHECK_EQ(result->events[0].used, EVENT_NUMBER_NONE);
    CHECK_EQ(result->events[0].usable, EVENT_NUMBER_NONE);
}

static void free_takes_null(void) {
    CHECK_NULL(engine_free(NULL));
}

CHECK_MAIN({"P6_every_intent_settles_after_oom", P6_every_intent_settles_after_oom},
           {"P3_no_numbers_of_what_was_not_seen", P3_no_numbers_of_what_was_not_seen},
           {"free_takes_null", free_takes_null})
