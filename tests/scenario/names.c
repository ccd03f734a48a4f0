// SPDX-License-Identifier: PostgreSQL
//
// Clients that put a new name into each connection. Half of the sessions below take a new name at each poll, half are
// new sessions; a rule observes them all, so that each is remembered too.
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine_impl.h"
#include "model.h"
#include "util/intern.h"
#include "util/macro.h"

#define NAMES_MAX 1000000
#define NAMES_AT_ONCE 100
#define NAMES_WARM_UP 100 // polls until all that is reused has its size
#define NAMES_NOISE 65536 // bytes that malloc's own bookkeeping may differ by
#define SERVER_START INT64_C(800000000000000)

#if defined(__SANITIZE_ADDRESS__)
#define NAMES_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define NAMES_SANITIZED 1
#endif
#endif

static void names_must(bool done) {
    if (!done) {
        (void)fprintf(stderr, "out of memory\n");
        exit(2);
    }
}

static void names_scan(struct engine *engine, uint64_t round) {
    static char names[NAMES_AT_ONCE][64];
    static struct session_row rows[NAMES_AT_ONCE];
    usec_t now = (round + 1) * 5 * USEC_PER_SEC;
    const struct engine_result *result;
    struct scan scan = {
        .kind = SCAN_FULL,
        .server_now = SERVER_START + (int64_t)now,
        .sent_at = now,
        .received_at = now,
        .facts = {.postmaster_start = 1, .max_connections = 200, .own_user = "pgvigil"},
        .rows = rows,
        .n_rows = NAMES_AT_ONCE,
    };

    for (size_t i = 0; i < NAMES_AT_ONCE; i++) {
        uint64_t number = round * NAMES_AT_ONCE + i;
        (void)snprintf(names[i], sizeof(names[i]), "%016llx-%llu", (unsigned long long)(number * 2654435761u),
                       (unsigned long long)number);
        rows[i] = (struct session_row){
            .id = {.id = (int64_t)i + 2, .since = i % 2 ? (int64_t)round : 1},
            .application_name = names[i],
            .user = "u0",
            .database = "d0",
            .state = SESSION_STATE_IDLE,
            .state_change = scan.server_now - (int64_t)USEC_PER_HOUR,
            .query_start = scan.server_now - (int64_t)USEC_PER_HOUR,
            .xact_start = TIMESTAMP_NONE,
        };
    }
    const struct engine_input input = {.kind = ENGINE_INPUT_SCAN, .scan = &scan};
    names_must(engine_step(engine, &input, now, &result) == 0);
}

static struct engine *names_engine(void) {
    struct engine *engine = engine_new("names");
    struct policy *policy = policy_new();
    const struct engine_result *result;

    names_must(engine && policy);
    struct timeout *timeout = policy_add_timeout(policy, "watch");
    names_must(timeout != NULL);
    timeout->any = true;
    timeout->after = USEC_PER_MINUTE;
    const struct engine_input input = {.kind = ENGINE_INPUT_POLICY, .policy = {policy, false}};
    names_must(engine_step(engine, &input, 1, &result) == 0);
    policy_unref(policy);
    return engine;
}

void names_check(uint64_t n_names) {
    struct engine *engine = names_engine();
    size_t first = 0, now = 0;

    for (uint64_t round = 0; round < MIN(n_names, NAMES_MAX) / NAMES_AT_ONCE; round++) {
        names_scan(engine, round);
        HOLDS(A_MILLION_NAMES_AT_CONSTANT_MEMORY,
              interner_count(engine->snapshot.origins.interner) <= NAMES_AT_ONCE + 2 &&
                  HASH_COUNT(engine->snapshot.origins.origins) <= NAMES_AT_ONCE &&
                  HASH_COUNT(engine->snapshot.origins.groups) <= NAMES_AT_ONCE);
#ifndef NAMES_SANITIZED // which has an allocator of its own
        now = mallinfo2().uordblks;
#endif
        first = round == NAMES_WARM_UP ? now : first;
        HOLDS(A_MILLION_NAMES_AT_CONSTANT_MEMORY, round <= NAMES_WARM_UP || now <= first + NAMES_NOISE);
    }
    engine_free(engine);
}
