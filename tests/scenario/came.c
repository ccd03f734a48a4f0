// SPDX-License-Identifier: PostgreSQL
#include "came.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/strbuf.h"

static void came_must(bool done) {
    if (!done) {
        (void)fprintf(stderr, "out of memory\n");
        exit(2);
    }
}

void came_add(struct words *came, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    char *text;
    came_must(vasprintf(&text, format, ap) >= 0 && came->n_items < WORDS_MAX);
    va_end(ap);
    came->items[came->n_items++] = text;
}

static void came_add_duration(struct words *came, const char *key, usec_t duration) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    if (duration != USEC_INFINITY) {
        usec_render_exact(&sb, duration);
        came_add(came, "%s=%s", key, strbuf_str(&sb));
    }
}

static void came_add_numbers(struct words *came, const struct event *event) {
    const struct {
        const char *name;
        int64_t number;
    } numbers[] = {{"held", event->held}, {"allowed", event->allowed}, {"n_blocked", event->n_blocked}};

    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        if (numbers[i].number != EVENT_NUMBER_NONE) {
            came_add(came, "%s=%lld", numbers[i].name, (long long)numbers[i].number);
        }
    }
    if (event->group) {
        came_add(came, "group=%s", event->group);
    }
    if (event->blocked) {
        came_add(came, "blocked=%s", event->blocked);
    }
}

static void came_add_metric(struct words *came, const struct event *event) {
    const struct {
        const char *name;
        int64_t number;
    } numbers[] = {{"value", event->value}, {"threshold", event->threshold}};

    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        if (numbers[i].number == EVENT_NUMBER_NONE) {
            came_add(came, "%s=none", numbers[i].name);
        } else if (metric_unit(event->metric) == METRIC_UNIT_DURATION) {
            came_add_duration(came, numbers[i].name, (usec_t)numbers[i].number);
        } else {
            came_add(came, "%s=%lld", numbers[i].name, (long long)numbers[i].number);
        }
    }
    came_add_duration(came, "held_for", event->age);
}

static const char *came_name(const struct event *event, bool is_intent) {
    switch (event->kind) {
    case EVENT_DECISION:
        if (is_intent || event->action == ACTION_LOG) {
            return action_to_string(event->action);
        }
        return event->action == ACTION_CANCEL ? "would-cancel" : "would-terminate";
    case EVENT_OUTCOME:
        return outcome_to_string(event->outcome);
    case EVENT_HELD_BACK:
    case EVENT_ALARM:
    case EVENT_BREAKER:
    case EVENT_LEADERSHIP:
    case EVENT_CLOCK_JUMP:
    case EVENT_START:
    case EVENT_STOP:
    case EVENT_CONFIG_LOADED:
    case EVENT_CONFIG_REJECTED:
    case EVENT_TARGET_UP:
    case EVENT_TARGET_DOWN:
    case EVENT_LOCKED_OUT:
    case EVENT_SELF_CHECK:
    case EVENT_RECORDS_DROPPED:
    case EVENT_NOTIFICATION_FAILED:
    case EVENT_PAUSED:
    case EVENT_RESUMED:
    case N_EVENT_KINDS_:
        break;
    }
    return event_kind_to_string(event->kind);
}

// One event as words, the most telling first.
void came_event(struct words *came, const struct event *event, const struct decision *decision) {
    CLEANUP(strbuf_deinit) struct strbuf message = STRBUF_EMPTY;

    came_add(came, "%s", came_name(event, decision != NULL));
    if (event->alarm) {
        came_add(came, "%s", event->alarm);
    }
    if (event->severity != SEVERITY_NONE) {
        came_add(came, "%s", severity_to_string(event->severity));
    }
    if (event->rule) {
        came_add(came, "%s", event->rule);
    }
    if (event->reason) {
        came_add(came, "%s", event->reason);
    }
    if (event->count != EVENT_NUMBER_NONE) {
        came_add(came, "%lld", (long long)event->count);
    }
    if (event->session) {
        came_add(came, "pid=%lld", (long long)event->session->id.id);
    }
    if (event->app) {
        came_add(came, "app=%s", event->app);
    }
    came_add_numbers(came, event);
    if (decision && decision->test.query_start != TIMESTAMP_NONE) {
        came_add(came, "tests-query");
    }
    came_add_duration(came, "took", event->took);
    if (event->has_metric) {
        came_add_metric(came, event);
    } else if (event->age != USEC_INFINITY) {
        came_add_duration(came, "age", event->age);
        came_add_duration(came, "limit", event->limit);
        came_add(came, "time=%s", session_time_to_string(event->time));
    }
    if (event->sqlstate) {
        came_add(came, "sqlstate=%s", event->sqlstate);
    }
    if (event->hint) {
        came_add(came, "hint=%s", event->hint);
    }
    if (event->detail) {
        came_add(came, "detail=%s", event->detail);
    }
    if (event->observe) {
        came_add(came, "observe");
    }
    came_add(came, "level=%s", event_level_to_string(event->level));
    event_render(event, &message);
    came_must(strbuf_error(&message) == 0);
    if (strpbrk(strbuf_str(&message), "\n\r\t\x1b\x7f")) {
        free(came->items[0]); // so that nothing can expect it
        came->items[0] = strdup("unescaped");
    }
    came_add(came, "message=%s", strbuf_str(&message));
}
