// SPDX-License-Identifier: PostgreSQL
#pragma once

// A server of invented sessions and an invented clock, watched by an engine for its alarms.

#include <stdio.h>
#include <string.h>

#include "core/engine.h"
#include "sample_scan.h"
#include "support/check.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

#define START (1000 * USEC_PER_SEC)
#define SERVER_START INT64_C(800000000000000)
#define MAX_ROWS 200
#define MAX_TOLD 2000

// The server, the engine, and what it said of alarms since the last look.
struct world {
    struct engine *engine;
    struct policy *policy;
    struct session_row rows[MAX_ROWS];
    char names[MAX_ROWS][24];
    size_t n_rows;
    usec_t at;
    int64_t postmaster_start;
    char told[MAX_TOLD];
    size_t n_told;
};

static struct world world;

static inline int64_t server_time(void) {
    return SERVER_START + (int64_t)world.at;
}

static inline void begin(void) {
    world = (struct world){.postmaster_start = 1};
    world.policy = policy_new();
    world.engine = engine_new("db");
    CHECK(world.policy && world.engine);
}

static inline void end(void) {
    world.engine = engine_free(world.engine);
    world.policy = policy_unref(world.policy);
}

static inline void note(const struct engine_result *result) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    for (size_t i = 0; i < result->n_events; i++) {
        if (result->events[i].kind == EVENT_ALARM) {
            strbuf_add(&sb, sb.len > 0 ? "\n" : "");
            event_render(&result->events[i], &sb);
            world.n_told++;
        }
    }
    CHECK_LT(sb.len, sizeof(world.told));
    (void)snprintf(world.told, sizeof(world.told), "%s", strbuf_str(&sb));
}

static inline void feed(const struct engine_input *input) {
    const struct engine_result *result;
    CHECK_EQ(engine_step(world.engine, input, START + world.at, &result), 0);
    note(result);
}

static inline void give_policy(struct policy *policy) {
    feed(&(struct engine_input){.kind = ENGINE_INPUT_POLICY,
                                .policy = {.policy = policy, .poll_interval = 5 * USEC_PER_SEC, .pressure_at = 80}});
}

static inline struct scan make_scan(void) {
    struct scan scan = sample_scan(world.rows, world.n_rows, server_time(), START + world.at);
    scan.facts.postmaster_start = world.postmaster_start;
    return scan;
}

// A full scan at that second; what it says of alarms is `wanted`.
#define SCAN_AT(seconds, wanted)                                                                                       \
    do {                                                                                                               \
        world.at = (usec_t)((seconds)*1e6);                                                                            \
        const struct scan scan_ = make_scan();                                                                         \
        feed(&(struct engine_input){.kind = ENGINE_INPUT_SCAN, .scan = &scan_});                                       \
        CHECK_STR(world.told, (wanted));                                                                               \
    } while (0)

static inline struct session_row *add_row(const char *name, enum session_state state) {
    CHECK_LT(world.n_rows, MAX_ROWS);
    struct session_row *row = &world.rows[world.n_rows++];
    (void)snprintf(world.names[world.n_rows], sizeof(world.names[0]), "%s", name);
    *row = (struct session_row){
        .id = {.id = 100 + (int64_t)world.n_rows, .since = SERVER_START - (int64_t)USEC_PER_DAY},
        .application_name = world.names[world.n_rows],
        .user = "u",
        .database = "d",
        .user_oid = 10,
        .database_oid = 20,
        .state = state,
        .state_change = SERVER_START,
        .query_start = SERVER_START,
        .xact_start = state == SESSION_STATE_IDLE ? TIMESTAMP_NONE : SERVER_START,
        .user_limit = -1,
        .database_limit = -1,
    };
    return row;
}

static inline void set_rows(const char *name, size_t n) {
    world.n_rows = 0;
    while (n-- > 0) {
        (void)add_row(name, SESSION_STATE_IDLE);
    }
}

static inline struct alarm *add_alarm(const char *name, enum metric metric, int64_t warning, int64_t critical) {
    struct alarm *alarm = policy_add_alarm(world.policy, name);
    CHECK_NOT_NULL(alarm);
    alarm->metric = metric;
    alarm->has_warning = warning >= 0;
    alarm->warning = warning;
    alarm->has_critical = critical >= 0;
    alarm->critical = critical;
    alarm->for_ = 0;
    alarm->clear_after = 0;
    return alarm;
}

static inline struct selector *make_selector(enum selector_key key, const char *text) {
    struct selector *selector = selector_new();
    CHECK(selector && selector_add_clause(selector) == 0 && selector_add(selector, key, text, NULL) == 0);
    return selector;
}
