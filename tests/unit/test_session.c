// SPDX-License-Identifier: PostgreSQL
#include "core/session.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "support/check.h"

#define SECONDS_TO_2000 INT64_C(946684800)

static void check_timestamp(int64_t timestamp, const char *wanted) {
    char text[TIMESTAMP_TEXT_SIZE];
    check_context("timestamp %" PRId64, timestamp);
    timestamp_format(timestamp, text);
    CHECK_STR(text, wanted);
}

static void timestamps(void) {
    check_timestamp(0, "2000-01-01T00:00:00.000000Z");
    check_timestamp(1, "2000-01-01T00:00:00.000001Z");
    check_timestamp(-1, "1999-12-31T23:59:59.999999Z");
    check_timestamp(-SECONDS_TO_2000 * 1000000, "1970-01-01T00:00:00.000000Z");
    check_timestamp(INT64_C(5097600) * 1000000, "2000-02-29T00:00:00.000000Z");
    check_timestamp(INT64_C(762525296789012), "2024-02-29T12:34:56.789012Z");
    check_timestamp(INT64_C(252455615999999999), "9999-12-31T23:59:59.999999Z");
    check_timestamp(INT64_C(252455616000000000), "10000-01-01T00:00:00.000000Z");
    char text[TIMESTAMP_TEXT_SIZE];
    timestamp_format(INT64_MAX, text); // 292277 years on; must fit
    CHECK_STR(text, "294277-01-09T04:00:54.775807Z");
    timestamp_format(INT64_MIN, text);
    CHECK_CONTAINS(text, "T19:59:05.224192Z");
}

// Against libc's calendar: each day of eight centuries.
static void timestamps_agree_with_libc(void) {
    for (int64_t day = -146097; day < 146097; day++) {
        int64_t second = day * 86400 + (day * 7919 % 86400 + 86400) % 86400;
        time_t t = (time_t)(second + SECONDS_TO_2000);
        struct tm tm;
        char wanted[64];
        CHECK_NOT_NULL(gmtime_r(&t, &tm));
        (void)snprintf(wanted, sizeof(wanted), "%04d-%02d-%02dT%02d:%02d:%02d.000042Z", tm.tm_year + 1900,
                       tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
        check_timestamp(second * 1000000 + 42, wanted);
    }
}

static void states(void) {
    static const char *const names[] = {
        "starting", "active", "idle", "idle in transaction", "idle in transaction (aborted)", "fastpath function call",
        "disabled"};
    CHECK_EQ(ARRAY_SIZE(names), N_SESSION_STATES);
    for (unsigned i = 0; i < N_SESSION_STATES; i++) {
        enum session_state state = N_SESSION_STATES_;
        CHECK_STR(session_state_to_string((enum session_state)i), names[i]);
        CHECK(session_state_from_string(names[i], strlen(names[i]), &state));
        CHECK_EQ(state, i);
    }
    enum session_state state = N_SESSION_STATES_;
    CHECK(!session_state_from_string("", 0, &state));
    CHECK(!session_state_from_string("Idle", 4, &state));
    CHECK(!session_state_from_string("idle ", 5, &state));
    CHECK(!session_state_from_string("idle\0", 5, &state));
    CHECK(!session_state_from_string("idle in transaction", 8, &state));
    CHECK(session_state_from_string("idle in transaction", 4, &state)); // the length rules
    CHECK_EQ(state, SESSION_STATE_IDLE);
}

static void any_state_covers_no_victimless_one(void) {
    CHECK_EQ(SESSION_STATES_ANY & SESSION_STATE_BIT(SESSION_STATE_NONE), 0u);
    CHECK_EQ(SESSION_STATES_ANY & SESSION_STATE_BIT(SESSION_STATE_DISABLED), 0u);
}

static void times(void) {
    const struct session_row row = {
        .id = {.id = 1, .since = 10}, .state_change = 20, .query_start = 30, .xact_start = 40};
    CHECK_EQ(session_row_time(&row, SESSION_TIME_BACKEND_START), 10);
    CHECK_EQ(session_row_time(&row, SESSION_TIME_STATE_CHANGE), 20);
    CHECK_EQ(session_row_time(&row, SESSION_TIME_QUERY_START), 30);
    CHECK_EQ(session_row_time(&row, SESSION_TIME_XACT_START), 40);
    CHECK_STR(session_time_to_string(SESSION_TIME_BACKEND_START), "backend_start");
    CHECK_STR(session_time_to_string(SESSION_TIME_STATE_CHANGE), "state_change");
    CHECK_STR(session_time_to_string(SESSION_TIME_QUERY_START), "query_start");
    CHECK_STR(session_time_to_string(SESSION_TIME_XACT_START), "xact_start");
}

// P1: a reused pid is another session.
static void identity(void) {
    const struct session_id a = {1, 2}, same = {1, 2}, reused = {1, 3}, other = {2, 2};
    CHECK(session_id_is_equal(&a, &same));
    CHECK(!session_id_is_equal(&a, &reused));
    CHECK(!session_id_is_equal(&a, &other));
}

static void usable_slots(void) {
    struct server_facts facts = {.max_connections = 100, .superuser_reserved_connections = 3};
    CHECK_EQ(server_facts_usable(&facts), 97);
    facts.reserved_connections = 5;
    CHECK_EQ(server_facts_usable(&facts), 92);
    facts.max_connections = 8;
    CHECK_EQ(server_facts_usable(&facts), 1);
    facts.max_connections = 2;
    CHECK_EQ(server_facts_usable(&facts), 1);
}

// The same in tables, alarms and the status: neither 93 beside an alarm's 94, nor 100 while a slot is free.
static void percentages(void) {
    static const struct {
        int64_t used, usable, percent;
    } cases[] = {{0, 97, 0},        {1, 97, 2},    {90, 97, 93},   {95, 97, 98},        {96, 97, 99},
                 {97, 97, 100},     {98, 97, 102}, {50, 100, 50},  {51, 100, 51},       {999, 1000, 99},
                 {1000, 1000, 100}, {5, 0, 0},     {1, 262143, 1}, {262142, 262143, 99}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        check_context("of %lld of %lld", (long long)cases[i].used, (long long)cases[i].usable);
        CHECK_EQ(slots_percent(cases[i].used, cases[i].usable), cases[i].percent);
    }
}

CHECK_MAIN({"timestamps", timestamps}, {"timestamps_agree_with_libc", timestamps_agree_with_libc}, {"states", states},
           {"any_state_covers_no_victimless_one", any_state_covers_no_victimless_one}, {"times", times},
           {"P1_identity", identity}, {"usable_slots", usable_slots}, {"percentages", percentages})
