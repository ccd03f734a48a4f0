// SPDX-License-Identifier: PostgreSQL

// The names of fields, kinds and levels, and what an event has in each field.

#include "core/event.h"

#include "sample_event.h"
#include "support/check.h"

static void names(void) {
    static const char *const fields[] = {
        "event",         "target",     "rule",      "action",   "outcome",          "reason",  "pid",
        "backend_start", "app",        "user",      "database", "application_name", "client",  "state",
        "age_usec",      "limit_usec", "took_usec", "used",     "usable",           "count",   "alarm",
        "severity",      "group",      "metric",    "value",    "threshold",        "holders", "held",
        "allowed",       "n_blocked",  "blocked",   "output",   "sqlstate",         "observe", "asker_uid",
        "asker_pid",     "detail",     "hint",      "query"};
    static const char *const kinds[] = {"start",
                                        "stop",
                                        "config_loaded",
                                        "config_rejected",
                                        "target_up",
                                        "target_down",
                                        "locked_out",
                                        "self_check",
                                        "decision",
                                        "outcome",
                                        "held_back",
                                        "alarm",
                                        "breaker",
                                        "paused",
                                        "resumed",
                                        "leadership",
                                        "clock_jump",
                                        "records_dropped",
                                        "notification_failed"};
    static const char *const levels[] = {"error", "warning", "notice", "info", "debug"};
    CHECK_EQ(ARRAY_SIZE(fields), N_EVENT_FIELDS);
    CHECK_EQ(ARRAY_SIZE(kinds), N_EVENT_KINDS);
    CHECK_EQ(ARRAY_SIZE(levels), N_EVENT_LEVELS);
    for (unsigned i = 0; i < N_EVENT_FIELDS; i++) {
        CHECK_STR(event_field_to_string((enum event_field)i), fields[i]);
    }
    for (unsigned i = 0; i < N_EVENT_KINDS; i++) {
        CHECK_STR(event_kind_to_string((enum event_kind)i), kinds[i]);
    }
    for (unsigned i = 0; i < N_EVENT_LEVELS; i++) {
        enum event_level level = N_EVENT_LEVELS_;
        CHECK_STR(event_level_to_string((enum event_level)i), levels[i]);
        CHECK(event_level_from_string(levels[i], &level));
        CHECK_EQ(level, i);
    }
    enum event_level level;
    CHECK(!event_level_from_string("", &level));
    CHECK(!event_level_from_string("Info", &level));
}

static void check_field(const struct event *event, enum event_field field, const char *string, int64_t number) {
    struct event_value value;
    check_context("field %s", event_field_to_string(field));
    event_get(event, field, &value);
    CHECK_EQ(value.kind, string ? EVENT_VALUE_STRING : EVENT_VALUE_NUMBER);
    CHECK_STR(value.string, string);
    CHECK_EQ(value.number, number);
}

static void fields(void) {
    struct session_row row = sample_session();
    struct event event = sample_event(&row);
    struct event_value value;
    row.id.since = INT64_C(762525296789012);
    event.reason = "r\n";
    check_field(&event, EVENT_FIELD_EVENT, "outcome", 0);
    check_field(&event, EVENT_FIELD_TARGET, "db", 0);
    check_field(&event, EVENT_FIELD_RULE, "idle", 0);
    check_field(&event, EVENT_FIELD_ACTION, "terminate", 0);
    check_field(&event, EVENT_FIELD_OUTCOME, "gone", 0);
    check_field(&event, EVENT_FIELD_REASON, "r\n", 0); // raw
    check_field(&event, EVENT_FIELD_PID, NULL, 4711);
    check_field(&event, EVENT_FIELD_BACKEND_START, "2024-02-29T12:34:56.789012Z", 0);
    check_field(&event, EVENT_FIELD_APP, "worker", 0);
    check_field(&event, EVENT_FIELD_USER, "worker", 0);
    check_field(&event, EVENT_FIELD_DATABASE, "app", 0);
    check_field(&event, EVENT_FIELD_APPLICATION_NAME, "worker-1", 0);
    check_field(&event, EVENT_FIELD_CLIENT, "172.18.0.7", 0);
    check_field(&event, EVENT_FIELD_STATE, "idle", 0);
    check_field(&event, EVENT_FIELD_AGE_USEC, NULL, 912000000);
    check_field(&event, EVENT_FIELD_LIMIT_USEC, NULL, 600000000);
    check_field(&event, EVENT_FIELD_TOOK_USEC, NULL, 200000);
    check_field(&event, EVENT_FIELD_USED, NULL, 90);
    check_field(&event, EVENT_FIELD_USABLE, NULL, 97);
    check_field(&event, EVENT_FIELD_COUNT, NULL, 1);
    check_field(&event, EVENT_FIELD_ALARM, "slots", 0);
    check_field(&event, EVENT_FIELD_SEVERITY, "warning", 0);
    check_field(&event, EVENT_FIELD_GROUP, "worker", 0);
    check_field(&event, EVENT_FIELD_METRIC, "usage", 0);
    check_field(&event, EVENT_FIELD_VALUE, NULL, 93);
    check_field(&event, EVENT_FIELD_THRESHOLD, NULL, 90);
    check_field(&event, EVENT_FIELD_HOLDERS, "worker 41", 0);
    check_field(&event, EVENT_FIELD_HELD, NULL, 34);
    check_field(&event, EVENT_FIELD_ALLOWED, NULL, 30);
    check_field(&event, EVENT_FIELD_N_BLOCKED, NULL, 2);
    check_field(&event, EVENT_FIELD_BLOCKED, "4712, 4713", 0);
    check_field(&event, EVENT_FIELD_OUTPUT, "oncall", 0);
    check_field(&event, EVENT_FIELD_SQLSTATE, "42501", 0);
    check_field(&event, EVENT_FIELD_ASKER_UID, NULL, 1000);
    check_field(&event, EVENT_FIELD_ASKER_PID, NULL, 815);
    check_field(&event, EVENT_FIELD_DETAIL, "a detail", 0);
    check_field(&event, EVENT_FIELD_HINT, "a hint", 0);
    check_field(&event, EVENT_FIELD_QUERY, "SELECT 1", 0);
    event_get(&event, EVENT_FIELD_OBSERVE, &value);
    CHECK_EQ(value.kind, EVENT_VALUE_BOOL);
    CHECK_EQ(value.number, 0);
    event.age = USEC_INFINITY - 1;
    check_field(&event, EVENT_FIELD_AGE_USEC, NULL, INT64_MAX);
}

static void fields_of_nothing(void) {
    const struct event event = event_make(EVENT_START, EVENT_INFO, NULL);
    for (unsigned field = 0; field < N_EVENT_FIELDS; field++) {
        struct event_value value;
        check_context("field %s", event_field_to_string((enum event_field)field));
        event_get(&event, (enum event_field)field, &value);
        CHECK_EQ(value.kind, field == EVENT_FIELD_EVENT ? EVENT_VALUE_STRING : EVENT_VALUE_NONE);
    }
    struct event blank = event;
    struct event_value value;
    const struct session_row row = {.id = {1, TIMESTAMP_NONE}};
    blank.session = &row;
    event_get(&blank, EVENT_FIELD_BACKEND_START, &value);
    CHECK_EQ(value.kind, EVENT_VALUE_NONE);
    event_get(&blank, EVENT_FIELD_QUERY, &value);
    CHECK_EQ(value.kind, EVENT_VALUE_NONE);
}

CHECK_MAIN({"names", names}, {"fields", fields}, {"fields_of_nothing", fields_of_nothing})
