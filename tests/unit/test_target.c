// SPDX-License-Identifier: PostgreSQL

// What a target does without a server: its schedule, its back-off, which failures it tells, and the way of a decision
// from its intent to its result.

#include <string.h>

#include "../../src/daemon/conditions.h"
#include "../../src/daemon/executor.h"
#include "../../src/daemon/schedule.h"
#include "support/check.h"
#include "support/oom.h"
#include "util/cleanup.h"

// ---- schedule

static void ticks_are_aligned(void) {
    static const usec_t interval = 5 * USEC_PER_SEC;
    CHECK_EQ(schedule_next_tick(0, interval), interval);
    CHECK_EQ(schedule_next_tick(1, interval), interval);
    CHECK_EQ(schedule_next_tick(interval - 1, interval), interval);
    CHECK_EQ(schedule_next_tick(interval, interval), 2 * interval);
    // Started at different times, woken together.
    CHECK_EQ(schedule_next_tick(123456789, interval), schedule_next_tick(124999999, interval));
    CHECK_EQ(schedule_next_tick(USEC_INFINITY, interval), USEC_INFINITY);
    CHECK_EQ(schedule_next_tick(USEC_INFINITY - 1, interval), USEC_INFINITY);
}

static void backoff_doubles(void) {
    struct backoff backoff = {0};
    usec_t expected = BACKOFF_FIRST;
    for (int i = 0; i < 100; i++) {
        check_context("try %d", i);
        struct backoff least = backoff, most = backoff;
        usec_t jitter = expected * BACKOFF_JITTER_PERCENT / 100;
        CHECK_EQ(backoff_next(&least, PG_ERROR_UNREACHABLE, 0), expected - jitter);
        CHECK_EQ(backoff_next(&most, PG_ERROR_UNREACHABLE, UINT32_MAX), expected + jitter);
        CHECK_GT(backoff_next(&backoff, PG_ERROR_UNREACHABLE, UINT32_MAX / 2), 0);
        expected = MIN(expected * 2, BACKOFF_MAX);
    }
    CHECK_EQ(expected, BACKOFF_MAX);
}

static void backoff_is_reset_by_success(void) {
    struct backoff backoff = {0};
    for (int i = 0; i < 10; i++) {
        (void)backoff_next(&backoff, PG_ERROR_TIMEOUT, 0);
    }
    backoff_reset(&backoff);
    CHECK_EQ(backoff_next(&backoff, PG_ERROR_SHUTDOWN, 0), BACKOFF_AT_ONCE);
    // Only the first time: a server that ends us at each login is not asked ten times a second.
    CHECK_LE(backoff_next(&backoff, PG_ERROR_SHUTDOWN, 0), BACKOFF_FIRST);
    CHECK_GT(backoff_next(&backoff, PG_ERROR_SHUTDOWN, 0), BACKOFF_FIRST / 2);
}

static void full_server_is_asked_often(void) {
    struct backoff backoff = {0};
    for (int i = 0; i < 1000; i++) {
        CHECK_EQ(backoff_next(&backoff, PG_ERROR_FULL, 0), BACKOFF_FULL_MIN);
        CHECK_EQ(backoff_next(&backoff, PG_ERROR_FULL, UINT32_MAX), BACKOFF_FULL_MAX);
    }
    // And does not count for the others.
    CHECK_LT(backoff_next(&backoff, PG_ERROR_UNREACHABLE, 0), BACKOFF_FIRST);
}

// ---- outage

static struct pg_error make_error(enum pg_error_kind kind, const char *sqlstate) {
    struct pg_error error = {.kind = kind};
    memcpy(error.sqlstate, sqlstate, strlen(sqlstate) + 1);
    return error;
}

static void outage_is_told_once(void) {
    struct outage outage = {0};
    struct pg_error error = make_error(PG_ERROR_UNREACHABLE, "");
    int64_t count;
    CHECK_EQ(outage_add(&outage, OUTAGE_CONNECT, &error, true, 5, &count), OUTAGE_EDGE);
    for (usec_t i = 1; i < 20; i++) {
        CHECK_EQ(outage_add(&outage, OUTAGE_CONNECT, &error, true, 5 + i * USEC_PER_SEC, &count), OUTAGE_QUIET);
    }
    CHECK_EQ(outage.since, 5);
    CHECK_EQ(outage.n_tries, 20);
    CHECK_EQ(outage_add(&outage, OUTAGE_CONNECT, &error, true, 5 + OUTAGE_REPEAT_AFTER, &count), OUTAGE_REPEAT);
    CHECK_EQ(count, 20);
    CHECK_EQ(outage_add(&outage, OUTAGE_CONNECT, &error, true, 6 + OUTAGE_REPEAT_AFTER, &count), OUTAGE_QUIET);
}

static void outage_tells_each_kind(void) {
    struct outage outage = {0};
    struct pg_error down = make_error(PG_ERROR_UNREACHABLE, ""), starting = make_error(PG_ERROR_STARTING, "57P03"),
                    denied = make_error(PG_ERROR_AUTH, "28P01"), no_role = make_error(PG_ERROR_AUTH, "28000");
    int64_t count;
    CHECK_EQ(outage_add(&outage, OUTAGE_CONNECT, &down, true, 0, &count), OUTAGE_EDGE);
    CHECK_EQ(outage_add(&outage, OUTAGE_CONNECT, &starting, true, 1, &count), OUTAGE_EDGE);
    CHECK_EQ(outage_add(&outage, OUTAGE_CONNECT, &denied, true, 2, &count), OUTAGE_EDGE);
    CHECK_EQ(outage_add(&outage, OUTAGE_CONNECT, &no_role, true, 3, &count), OUTAGE_EDGE);
    // The same kind at another stage is something else.
    CHECK_EQ(outage_add(&outage, OUTAGE_PASSWORD_FILE, &denied, true, 4, &count), OUTAGE_EDGE);
    // Alternating ones are not news each time.
    for (usec_t i = 5; i < 50; i++) {
        CHECK_EQ(outage_add(&outage, OUTAGE_CONNECT, i % 2 ? &down : &starting, true, i, &count), OUTAGE_QUIET);
    }
    // After a recovery they are.
    outage.active = false;
    CHECK_EQ(outage_add(&outage, OUTAGE_CONNECT, &down, true, 60, &count), OUTAGE_EDGE);
    CHECK_EQ(outage.since, 60);
    CHECK_EQ(outage.n_tries, 1);
}

// The loss of a connection is no try.
static void outage_counts_tries(void) {
    struct outage outage = {0};
    struct pg_error lost = make_error(PG_ERROR_SHUTDOWN, "57P01"), full = make_error(PG_ERROR_FULL, "53300");
    int64_t count;
    CHECK_EQ(outage_add(&outage, OUTAGE_CONNECT, &lost, false, 0, &count), OUTAGE_EDGE);
    CHECK_EQ(outage.n_tries, 0);
    CHECK_EQ(outage_add(&outage, OUTAGE_CONNECT, &full, true, 1, &count), OUTAGE_EDGE);
    CHECK_EQ(outage_add(&outage, OUTAGE_CONNECT, &full, true, 2, &count), OUTAGE_QUIET);
    CHECK_EQ(outage.n_tries, 2);
    // Repeats count whatever failed, losses too.
    CHECK_EQ(outage_add(&outage, OUTAGE_CONNECT, &lost, false, 3, &count), OUTAGE_QUIET);
    CHECK_EQ(outage_add(&outage, OUTAGE_CONNECT, &lost, false, 1 + OUTAGE_REPEAT_AFTER, &count), OUTAGE_REPEAT);
    CHECK_EQ(count, 3);
    CHECK_EQ(outage.n_tries, 2);
}

// ---- conditions

static void conditions_are_told_at_their_edges(void) {
    struct conditions conditions = {0};
    struct engine_input input;
    char text[2 * CONDITIONS_TEXT_MAX];
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    CHECK(!conditions_peek(&conditions, &input));
    conditions_raise(&conditions, CONDITION_BLIND, "why", NULL);
    conditions_raise(&conditions, CONDITION_LOCKED_OUT, text, "hint");
    conditions_raise(&conditions, CONDITION_BLIND, "another reason", "later");
    // In the order of their severity, and again until they are told.
    for (int i = 0; i < 2; i++) {
        CHECK(conditions_peek(&conditions, &input));
        CHECK_EQ(input.kind, ENGINE_INPUT_CONDITION);
        CHECK_EQ(input.condition.condition, CONDITION_LOCKED_OUT);
        CHECK(input.condition.holds);
        CHECK_EQ(strlen(input.condition.detail), CONDITIONS_TEXT_MAX - 1);
        CHECK_STR(input.condition.hint, "hint");
    }
    conditions_told(&conditions, &input);
    CHECK(conditions_peek(&conditions, &input));
    CHECK_EQ(input.condition.condition, CONDITION_BLIND);
    CHECK_STR(input.condition.detail, "why");
    CHECK_NULL(input.condition.hint);
    conditions_told(&conditions, &input);
    CHECK(!conditions_peek(&conditions, &input));
    // What begins and ends between two tellings is nothing.
    conditions_raise(&conditions, CONDITION_UNREACHABLE, "gone", NULL);
    conditions_clear(&conditions, CONDITION_UNREACHABLE);
    CHECK(!conditions_peek(&conditions, &input));
    conditions_clear_all(&conditions);
    for (int i = 0; i < 2; i++) {
        CHECK(conditions_peek(&conditions, &input));
        CHECK(!input.condition.holds);
        conditions_told(&conditions, &input);
    }
    CHECK(!conditions_peek(&conditions, &input));
}

// ---- executor

#define N_DECISIONS 120

static struct decision decisions[EXECUTOR_MAX + N_DECISIONS];
static struct event intents[ARRAY_SIZE(decisions)];
static size_t n_told;

static bool count_intent(void *userdata, const struct event *event) {
    (void)userdata;
    n_told += event->kind == EVENT_DECISION;
    return true;
}

// What the engine hands out: n decisions from that serial on.
static struct engine_result make_result(uint64_t first_serial, size_t n) {
    for (size_t i = 0; i < n; i++) {
        decisions[i] = (struct decision){.serial = first_serial + i, .enforce = true, .rule = "idle"};
        decisions[i].test.id.id = (int64_t)(1000 + i);
        decisions[i].test.application_name = "worker";
        intents[i] = event_make(EVENT_DECISION, EVENT_NOTICE, "db");
    }
    return (struct engine_result){.decisions = decisions, .intents = intents, .n_decisions = n};
}

struct bench {
    struct loop *loop;
    struct sinks *sinks;
    struct executor *executor;
};

static void bench_close(struct bench *bench) {
    executor_free(bench->executor);
    sinks_free(bench->sinks);
    loop_free(bench->loop);
}

// `told`: whoever has a tee has been told at once; without it nobody takes the records.
static struct bench bench_open(bool told) {
    const struct sinks_options options = {
        .level = EVENT_NOTICE,
        .format = LOG_FORMAT_TEXT,
        .fd = -1,
        .tee = told ? count_intent : NULL,
    };
    struct bench bench = {.loop = loop_new()};
    const char *why = NULL;
    CHECK_NOT_NULL(bench.loop);
    CHECK_EQ(sinks_new(bench.loop, &options, &bench.sinks, &why), 0);
    bench.executor = executor_new(bench.sinks);
    CHECK_NOT_NULL(bench.executor);
    n_told = 0;
    return bench;
}

static void acts_go_out_in_chunks(void) {
    CLEANUP(bench_close) struct bench bench = bench_open(true);
    struct executor *executor = bench.executor;
    const struct engine_result result = make_result(7, N_DECISIONS);
    const struct decision *chunk;
    struct act_report reports[ACT_MAX] = {0};
    struct engine_input input;
    uint64_t serial = 7;
    size_t n;

    executor_add(executor, &result, 0);
    CHECK_EQ(n_told, N_DECISIONS);
    CHECK(executor_is_busy(executor));
    CHECK_EQ(executor_deadline(executor), EXECUTOR_RECORD_WITHIN);
    // What the engine lent is gone with its next step.
    memset(decisions, 0, sizeof(decisions));
    executor_check(executor, 1);
    CHECK_EQ(executor_deadline(executor), USEC_INFINITY);
    while ((n = executor_take_chunk(executor, &chunk)) > 0) {
        CHECK_LE(n, ACT_MAX);
        for (size_t i = 0; i < n; i++) {
            CHECK_EQ(chunk[i].serial, serial + i);
            CHECK_EQ(chunk[i].test.id.id, 1000 + (int64_t)(serial - 7 + i));
            CHECK_STR(chunk[i].test.application_name, "worker");
            reports[i] = (struct act_report){.serial = chunk[i].serial, .result = ACT_SIGNALLED};
        }
        CHECK_EQ(executor_take_chunk(executor, &chunk), 0); // one at a time
        CHECK(!executor_peek(executor, &input));
        executor_report(executor, reports, n);
        for (size_t i = 0; i < n; i++) {
            CHECK(executor_peek(executor, &input));
            CHECK_EQ(input.kind, ENGINE_INPUT_ACT);
            CHECK_EQ(input.act.serial, serial + i);
            CHECK_EQ(input.act.result, ACT_SIGNALLED);
            CHECK_NULL(input.act.sqlstate);
            executor_pop(executor);
        }
        serial += n;
    }
    CHECK_EQ(serial, 7 + N_DECISIONS);
    CHECK(!executor_is_busy(executor));
}

static void nothing_is_done_unrecorded(void) {
    CLEANUP(bench_close) struct bench bench = bench_open(false);
    const struct engine_result result = make_result(1, 3);
    const struct decision *chunk;
    struct engine_input input;
    executor_add(bench.executor, &result, 0);
    executor_check(bench.executor, EXECUTOR_RECORD_WITHIN);
    CHECK_EQ(executor_take_chunk(bench.executor, &chunk), 0);
    for (uint64_t serial = 1; serial <= 3; serial++) {
        CHECK(executor_peek(bench.executor, &input));
        CHECK_EQ(input.act.serial, serial);
        CHECK_EQ(input.act.result, ACT_UNRECORDED);
        executor_pop(bench.executor);
    }
    CHECK(!executor_is_busy(bench.executor));
}

static void more_than_the_most_is_refused(void) {
    CLEANUP(bench_close) struct bench bench = bench_open(true);
    struct executor *executor = bench.executor;
    struct engine_result result = make_result(1, ARRAY_SIZE(decisions));
    const struct decision *chunk;
    struct engine_input input;
    executor_add(executor, &result, 0);
    CHECK_EQ(n_told, EXECUTOR_MAX); // the rest is not announced
    result = make_result(ARRAY_SIZE(decisions) + 1, 1);
    executor_add(executor, &result, 0);
    for (uint64_t serial = EXECUTOR_MAX + 1; serial <= ARRAY_SIZE(decisions) + 1; serial++) {
        CHECK(executor_peek(executor, &input));
        CHECK_EQ(input.act.serial, serial);
        CHECK_EQ(input.act.result, ACT_UNRECORDED);
        executor_pop(executor);
    }
    CHECK(!executor_peek(executor, &input));
    executor_check(executor, 1);
    CHECK_EQ(executor_take_chunk(executor, &chunk), ACT_MAX);
}

static void loss_settles_all(void) {
    CLEANUP(bench_close) struct bench bench = bench_open(true);
    struct executor *executor = bench.executor;
    const struct engine_result result = make_result(1, N_DECISIONS);
    const struct decision *chunk;
    struct engine_input input;
    struct act_report failed = {.serial = 1, .result = ACT_FAILED};
    executor_add(executor, &result, 0);
    executor_check(executor, 1);
    CHECK_EQ(executor_take_chunk(executor, &chunk), ACT_MAX);
    failed.error = make_error(PG_ERROR_OTHER, "XX000");
    executor_report(executor, &failed, 1); // the rest of the chunk did not come back
    executor_lost(executor);
    for (uint64_t serial = 1; serial <= N_DECISIONS; serial++) {
        check_context("serial %u", (unsigned)serial);
        CHECK(executor_peek(executor, &input));
        CHECK_EQ(input.act.serial, serial);
        CHECK_EQ(input.act.result, serial == 1 ? ACT_FAILED : serial <= ACT_MAX ? ACT_UNKNOWN : ACT_UNSENT);
        CHECK_STR(input.act.sqlstate, serial == 1 ? "XX000" : NULL);
        executor_pop(executor);
    }
    CHECK(!executor_is_busy(executor));
}

// Batches that overlap for ever do not make the executor grow.
static void memory_is_reused(void) {
    CLEANUP(bench_close) struct bench bench = bench_open(true);
    struct executor *executor = bench.executor;
    const struct decision *chunk;
    struct engine_input input;
    size_t n_live = 0;
    for (uint64_t round = 0; round < 1000; round++) {
        const struct engine_result result = make_result(1 + round * 10, 10);
        struct act_report reports[10];
        executor_add(executor, &result, 0);
        executor_check(executor, 1);
        if (round == 0) {
            CHECK_EQ(executor_take_chunk(executor, &chunk), 10);
            continue;
        }
        for (size_t i = 0; i < 10; i++) {
            reports[i] = (struct act_report){.serial = 1 + (round - 1) * 10 + i, .result = ACT_LEFT};
        }
        executor_report(executor, reports, 10);
        for (size_t i = 0; i < 10; i++) {
            CHECK(executor_peek(executor, &input));
            CHECK_EQ(input.act.serial, reports[i].serial);
            CHECK_EQ(input.act.result, ACT_LEFT);
            executor_pop(executor);
        }
        CHECK_EQ(executor_take_chunk(executor, &chunk), 10);
        if (round == 10) {
            n_live = oom_n_live();
        }
    }
    CHECK_EQ(oom_n_live(), n_live);
}

static void without_memory_nothing_is_lost(void) {
    bool has_failed = true;
    for (unsigned n = 1; n < 8 && has_failed; n++) {
        CLEANUP(bench_close) struct bench bench = bench_open(true);
        const struct engine_result result = make_result(1, 20);
        const struct decision *chunk;
        struct engine_input input;
        uint64_t n_refused = 0;
        check_context("allocation %u fails", n);
        oom_arm(n);
        executor_add(bench.executor, &result, 0);
        has_failed = oom_disarm();
        while (executor_peek(bench.executor, &input)) {
            CHECK_EQ(input.act.result, ACT_UNRECORDED);
            n_refused++;
            executor_pop(bench.executor);
        }
        CHECK_EQ(n_refused > 0, has_failed);
        executor_check(bench.executor, 1);
        CHECK_EQ(executor_take_chunk(bench.executor, &chunk) + n_refused, 20);
    }
    if (!has_failed) {
        check_skip("allocations do not fail here");
    }
}

CHECK_MAIN({"ticks_are_aligned", ticks_are_aligned}, {"backoff_doubles", backoff_doubles},
           {"backoff_is_reset_by_success", backoff_is_reset_by_success},
           {"full_server_is_asked_often", full_server_is_asked_often}, {"outage_is_told_once", outage_is_told_once},
           {"outage_tells_each_kind", outage_tells_each_kind}, {"outage_counts_tries", outage_counts_tries},
           {"conditions_are_told_at_their_edges", conditions_are_told_at_their_edges},
           {"acts_go_out_in_chunks", acts_go_out_in_chunks}, {"nothing_is_done_unrecorded", nothing_is_done_unrecorded},
           {"more_than_the_most_is_refused", more_than_the_most_is_refused}, {"loss_settles_all", loss_settles_all},
           {"memory_is_reused", memory_is_reused}, {"without_memory_nothing_is_lost", without_memory_nothing_is_lost})
