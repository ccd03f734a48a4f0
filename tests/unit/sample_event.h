// SPDX-License-Identifier: PostgreSQL
#pragma once

// Events for the tests of encoders and sinks.

#include "core/event.h"

#define SAMPLE_REALTIME UINT64_C(1735787045678901) // 2025-01-02T03:04:05.678901Z

static inline struct session_row sample_session(void) {
    return (struct session_row){
        .id = {.id = 4711, .since = 0}, // 2000-01-01
        .application_name = "worker-1",
        .user = "worker",
        .database = "app",
        .client = {.family = ADDRESS_INET, .bytes = {172, 18, 0, 7}},
        .state = SESSION_STATE_IDLE,
        .state_change = TIMESTAMP_NONE,
        .query_start = TIMESTAMP_NONE,
        .xact_start = TIMESTAMP_NONE,
        .query = "SELECT 1",
    };
}

// Every field is set.
static inline struct event sample_event(const struct session_row *session) {
    struct event event = event_make(EVENT_OUTCOME, EVENT_NOTICE, "db");
    event.rule = "idle";
    event.reason = "because";
    event.detail = "a detail";
    event.hint = "a hint";
    event.sqlstate = "42501";
    event.has_action = true;
    event.action = ACTION_TERMINATE;
    event.outcome = OUTCOME_GONE;
    event.session = session;
    event.app = "worker";
    event.time = SESSION_TIME_STATE_CHANGE;
    event.age = 912 * USEC_PER_SEC;
    event.limit = 600 * USEC_PER_SEC;
    event.took = USEC_PER_SEC / 5;
    event.used = 90;
    event.usable = 97;
    event.count = 1;
    event.alarm = "slots";
    event.severity = SEVERITY_WARNING;
    event.group = "worker";
    event.has_metric = true;
    event.metric = METRIC_USAGE;
    event.value = 93;
    event.threshold = 90;
    event.holders = "worker 41";
    event.held = 34;
    event.allowed = 30;
    event.n_blocked = 2;
    event.blocked = "4712, 4713";
    event.output = "oncall";
    event.asker = (struct event_asker){1000, 815};
    return event;
}
