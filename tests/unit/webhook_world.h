// SPDX-License-Identifier: PostgreSQL
#pragma once

// An output's queue, alarms for it, and an invented clock.

#include <stdlib.h>

#include "output/webhook.h"
#include "sample_event.h"
#include "support/check.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

#define NOW (1000 * USEC_PER_SEC)

static inline struct event alarm_event(const char *alarm, const char *group, enum severity severity,
                                       const char *reason) {
    struct event event = event_make(EVENT_ALARM, EVENT_WARNING, "db");
    event.alarm = alarm;
    event.group = group;
    event.severity = severity;
    event.reason = reason;
    event.detail = severity == SEVERITY_NONE ? "over" : "a & b <!channel>";
    event.hint = severity == SEVERITY_NONE ? NULL : "mend it";
    return event;
}

static inline struct webhook_queue *open_queue(const struct webhook_codec *codec, enum severity min_severity) {
    const struct webhook_queue_options options = {
        .name = "oncall", .codec = codec, .min_severity = min_severity, .seed = 42};
    struct webhook_queue *queue = webhook_queue_new(&options);
    CHECK_NOT_NULL(queue);
    return queue;
}

static inline void push(struct webhook_queue *queue, const char *alarm, enum severity severity, const char *reason,
                        usec_t after) {
    struct event event = alarm_event(alarm, NULL, severity, reason);
    webhook_queue_push(queue, &event, NOW + after, SAMPLE_REALTIME + after);
}

static inline void settle(struct webhook_queue *queue, enum webhook_result result, usec_t now) {
    webhook_queue_settle(queue, &(struct webhook_answer){.result = result}, now);
}

static inline void settle_status(struct webhook_queue *queue, long status, usec_t now) {
    webhook_queue_settle(queue, &(struct webhook_answer){.result = webhook_result_of_status(status), .status = status},
                         now);
}

// Takes the message that must be due at `now`; the caller frees it.
static inline char *take(struct webhook_queue *queue, usec_t now) {
    struct strbuf body = STRBUF_EMPTY;
    CHECK_LE(webhook_queue_due(queue), now);
    CHECK_EQ(webhook_queue_take(queue, now, SAMPLE_REALTIME + now - NOW, &body), 0);
    CHECK_EQ(webhook_queue_due(queue), USEC_INFINITY); // one at a time
    return strbuf_take(&body);
}

static inline void check_take(struct webhook_queue *queue, usec_t now, const char *expected) {
    CLEANUP(freep) char *body = take(queue, now);
    CHECK_STR(body, expected);
}

static inline void deliver(struct webhook_queue *queue, usec_t now, const char *holds) {
    CLEANUP(freep) char *body = take(queue, now);
    CHECK_CONTAINS(body, holds);
    settle(queue, WEBHOOK_SENT, now);
}

static inline void check_tells(struct webhook_queue *queue, const char *expected) {
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY, all = STRBUF_EMPTY;
    struct event event;
    while (webhook_queue_tell(queue, &detail, &event)) {
        CHECK_EQ(event.kind, EVENT_NOTIFICATION_FAILED);
        CHECK_STR(event.output, "oncall");
        strbuf_addf(&all, "%s|", event.reason);
        event_render(&event, &all);
        strbuf_add(&all, "\n");
    }
    CHECK_STR(strbuf_str(&all), expected);
}
