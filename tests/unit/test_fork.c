// SPDX-License-Identifier: PostgreSQL
//
// A second engine beside the first (engine_fork), and sessions that somebody else acts on (ENGINE_INPUT_HOLD).
#include <errno.h>

#include "core/engine.h"
#include "support/check.h"
#include "support/oom.h"

#define START (1000 * USEC_PER_SEC)
#define SERVER_START INT64_C(800000000000000)
#define N_SESSIONS 6

struct world {
    struct engine *engine;
    struct policy *policy;
    struct session_row rows[N_SESSIONS];
};

// Ends what is idle for longer than `after`; NULL: out of memory.
static struct policy *make_policy(usec_t after) {
    CLEANUP(policy_unrefp) struct policy *policy = policy_new();
    struct timeout *rule = policy ? policy_add_timeout(policy, "idle") : NULL;
    if (!rule) {
        return NULL;
    }
    rule->state = SESSION_STATE_BIT(SESSION_STATE_IDLE);
    rule->after = after;
    rule->action = ACTION_TERMINATE;
    policy->enforce = true;
    policy->protect.min_age = 0;
    policy->limits = (struct limits){.per_poll = LIMIT_NONE, .per_minute = LIMIT_NONE, .share = 100};
    return TAKE_PTR(policy);
}

static int step(struct engine *engine, const struct engine_input *input, usec_t at, const struct engine_result **ret) {
    return engine_step(engine, input, START + at, ret);
}

static int take_scan(const struct world *world, struct engine *engine, usec_t at, const struct engine_result **ret) {
    const struct scan scan = {
        .kind = SCAN_FULL,
        .rows = world->rows,
        .n_rows = N_SESSIONS,
        .facts =
            {.version_num = 150018, .postmaster_start = 1, .max_connections = 100, .own_pid = 1, .own_user = "pgvigil"},
        .sent_at = START + at,
        .received_at = START + at,
        .server_now = SERVER_START + (int64_t)at,
    };
    return step(engine, &(struct engine_input){.kind = ENGINE_INPUT_SCAN, .scan = &scan}, at, ret);
}

// Session i has been idle for 10 * (i + 1) s at the start. 0 or -ENOMEM.
static int world_init(struct world *world, usec_t after) {
    const struct engine_result *result;
    *world = (struct world){.engine = engine_new("db"), .policy = make_policy(after)};
    for (size_t i = 0; i < N_SESSIONS; i++) {
        int64_t since = SERVER_START - (int64_t)(10 * (i + 1) * USEC_PER_SEC);
        world->rows[i] = (struct session_row){
            .id = {100 + (int64_t)i, since - 1000},
            .application_name = "x",
            .user = "app",
            .database = "d",
            .user_oid = 10,
            .database_oid = 11,
            .state = SESSION_STATE_IDLE,
            .state_change = since,
            .query_start = since,
            .xact_start = TIMESTAMP_NONE,
            .user_limit = -1,
            .database_limit = -1,
        };
    }
    if (!world->engine || !world->policy) {
        return -ENOMEM;
    }
    const struct engine_input input = {.kind = ENGINE_INPUT_POLICY,
                                       .policy = {.policy = world->policy, .enforce = true}};
    return step(world->engine, &input, 0, &result);
}

static void world_deinit(struct world *world) {
    (void)engine_free(world->engine);
    (void)policy_unref(world->policy);
}

// The first ends those over 45 s (two of six); the second, with 15 s, everybody else over it, and none of those.
static int sweep_fork(void *userdata) {
    CLEANUP(world_deinit) struct world world = {0};
    CLEANUP(engine_freep) struct engine *fork = NULL;
    CLEANUP(policy_unrefp) struct policy *policy = make_policy(15 * USEC_PER_SEC);
    const struct engine_result *result;
    (void)userdata;
    int r = world_init(&world, 45 * USEC_PER_SEC);
    if (r < 0 || !policy) {
        return -ENOMEM;
    }
    CHECK_EQ(engine_fork(world.engine, policy, true, &fork), -EAGAIN); // nothing is known yet
    r = take_scan(&world, world.engine, 0, &result);
    if (r < 0) {
        return r;
    }
    CHECK_EQ(result->n_decisions, 2u);
    r = engine_fork(world.engine, policy, true, &fork);
    r = r < 0 ? r : take_scan(&world, fork, 0, &result);
    if (r < 0) {
        return r;
    }
    CHECK_EQ(result->n_decisions, 3u);
    for (size_t i = 0; i < result->n_decisions; i++) {
        CHECK(result->decisions[i].session.id.id >= 101 && result->decisions[i].session.id.id <= 103);
    }
    return 0;
}

static void a_fork_leaves_alone_whom_the_first_ends(void) {
    oom_sweep(sweep_fork, NULL);
}

static void who_is_held_is_left_alone_for_a_while(void) {
    CLEANUP(world_deinit) struct world world = {0};
    const struct engine_result *result;
    CHECK_EQ(world_init(&world, 100 * USEC_PER_SEC), 0);
    CHECK_EQ(take_scan(&world, world.engine, 0, &result), 0);
    CHECK_EQ(result->n_decisions, 0u);
    const struct session_id held[] = {world.rows[5].id, {.id = 7, .since = 7}};
    const struct engine_input input = {.kind = ENGINE_INPUT_HOLD,
                                       .hold = {.ids = held, .n_ids = 2, .until = START + 70 * USEC_PER_SEC}};
    CHECK_EQ(step(world.engine, &input, USEC_PER_SEC, &result), 0);
    // At 65 s three are over 100 s, and one of them is held.
    CHECK_EQ(take_scan(&world, world.engine, 65 * USEC_PER_SEC, &result), 0);
    CHECK_EQ(result->n_decisions, 2u);
    CHECK_NE(result->decisions[0].session.id.id, 105);
    CHECK_NE(result->decisions[1].session.id.id, 105);
    CHECK_EQ(take_scan(&world, world.engine, 71 * USEC_PER_SEC, &result), 0);
    CHECK_EQ(result->n_decisions, 2u); // the held one, and one that came due
}

CHECK_MAIN({"a_fork_leaves_alone_whom_the_first_ends", a_fork_leaves_alone_whom_the_first_ends},
           {"who_is_held_is_left_alone_for_a_while", who_is_held_is_left_alone_for_a_while})
