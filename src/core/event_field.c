// SPDX-License-Identifier: PostgreSQL
//
// The fields of an event, one table for all encoders.
#include <assert.h>

#include "core/event.h"
#include "util/macro.h"

static const char *const event_field_names[] = {
    [EVENT_FIELD_EVENT] = "event",
    [EVENT_FIELD_TARGET] = "target",
    [EVENT_FIELD_RULE] = "rule",
    [EVENT_FIELD_ACTION] = "action",
    [EVENT_FIELD_OUTCOME] = "outcome",
    [EVENT_FIELD_REASON] = "reason",
    [EVENT_FIELD_PID] = "pid",
    [EVENT_FIELD_BACKEND_START] = "backend_start",
    [EVENT_FIELD_APP] = "app",
    [EVENT_FIELD_USER] = "user",
    [EVENT_FIELD_DATABASE] = "database",
    [EVENT_FIELD_APPLICATION_NAME] = "application_name",
    [EVENT_FIELD_CLIENT] = "client",
    [EVENT_FIELD_STATE] = "state",
    [EVENT_FIELD_AGE_USEC] = "age_usec",
    [EVENT_FIELD_LIMIT_USEC] = "limit_usec",
    [EVENT_FIELD_TOOK_USEC] = "took_usec",
    [EVENT_FIELD_USED] = "used",
    [EVENT_FIELD_USABLE] = "usable",
    [EVENT_FIELD_COUNT] = "count",
    [EVENT_FIELD_ALARM] = "alarm",
    [EVENT_FIELD_SEVERITY] = "severity",
    [EVENT_FIELD_GROUP] = "group",
    [EVENT_FIELD_METRIC] = "metric",
    [EVENT_FIELD_VALUE] = "value",
    [EVENT_FIELD_THRESHOLD] = "threshold",
    [EVENT_FIELD_HOLDERS] = "holders",
    [EVENT_FIELD_HELD] = "held",
    [EVENT_FIELD_ALLOWED] = "allowed",
    [EVENT_FIELD_N_BLOCKED] = "n_blocked",
    [EVENT_FIELD_BLOCKED] = "blocked",
    [EVENT_FIELD_OUTPUT] = "output",
    [EVENT_FIELD_SQLSTATE] = "sqlstate",
    [EVENT_FIELD_OBSERVE] = "observe",
    [EVENT_FIELD_ASKER_UID] = "asker_uid",
    [EVENT_FIELD_ASKER_PID] = "asker_pid",
    [EVENT_FIELD_DETAIL] = "detail",
    [EVENT_FIELD_HINT] = "hint",
    [EVENT_FIELD_QUERY] = "query",
};
static_assert(ARRAY_SIZE(event_field_names) == N_EVENT_FIELDS, "one name for each field");

const char *event_field_to_string(enum event_field field) {
    return event_field_names[field];
}

static void event_value_string(struct event_value *value, const char *s) {
    if (s) {
        value->kind = EVENT_VALUE_STRING;
        value->string = s;
    }
}

static void event_value_number(struct event_value *value, int64_t number) {
    if (number != EVENT_NUMBER_NONE) {
        value->kind = EVENT_VALUE_NUMBER;
        value->number = number;
    }
}

static void event_value_duration(struct event_value *value, usec_t duration) {
    if (duration != USEC_INFINITY) {
        event_value_number(value, (int64_t)MIN(duration, (usec_t)INT64_MAX));
    }
}

static_assert(TIMESTAMP_NONE == EVENT_NUMBER_NONE, "both are the number that is none");
static_assert(sizeof(((struct event_value *)NULL)->storage) >= MAX(ADDRESS_TEXT_SIZE, TIMESTAMP_TEXT_SIZE),
              "what is formatted must fit");

static void event_get_session(const struct session_row *session, enum event_field field, struct event_value *ret) {
    switch ((unsigned)field) {
    case EVENT_FIELD_PID:
        event_value_number(ret, session->id.id);
        break;
    case EVENT_FIELD_BACKEND_START:
        if (session->id.since != TIMESTAMP_NONE) {
            timestamp_format(session->id.since, ret->storage);
            event_value_string(ret, ret->storage);
        }
        break;
    case EVENT_FIELD_USER:
        event_value_string(ret, session->user);
        break;
    case EVENT_FIELD_DATABASE:
        event_value_string(ret, session->database);
        break;
    case EVENT_FIELD_APPLICATION_NAME:
        event_value_string(ret, session->application_name);
        break;
    case EVENT_FIELD_CLIENT:
        address_format(&session->client, ret->storage);
        event_value_string(ret, ret->storage);
        break;
    case EVENT_FIELD_STATE:
        event_value_string(ret, session_state_to_string(session->state));
        break;
    case EVENT_FIELD_QUERY:
        event_value_string(ret, session->query);
        break;
    default:
        break;
    }
}

void event_get(const struct event *event, enum event_field field, struct event_value *ret) {
    ret->kind = EVENT_VALUE_NONE;
    ret->string = NULL;
    ret->number = 0;
    switch (field) {
    case EVENT_FIELD_EVENT:
        event_value_string(ret, event_kind_to_string(event->kind));
        break;
    case EVENT_FIELD_TARGET:
        event_value_string(ret, event->target);
        break;
    case EVENT_FIELD_RULE:
        event_value_string(ret, event->rule);
        break;
    case EVENT_FIELD_ACTION:
        event_value_string(ret, event->has_action ? action_to_string(event->action) : NULL);
        break;
    case EVENT_FIELD_OUTCOME:
        event_value_string(ret, event->outcome != OUTCOME_NONE ? outcome_to_string(event->outcome) : NULL);
        break;
    case EVENT_FIELD_REASON:
        event_value_string(ret, event->reason);
        break;
    case EVENT_FIELD_APP:
        event_value_string(ret, event->app);
        break;
    case EVENT_FIELD_AGE_USEC:
        event_value_duration(ret, event->age);
        break;
    case EVENT_FIELD_LIMIT_USEC:
        event_value_duration(ret, event->limit);
        break;
    case EVENT_FIELD_TOOK_USEC:
        event_value_duration(ret, event->took);
        break;
    case EVENT_FIELD_USED:
        event_value_number(ret, event->used);
        break;
    case EVENT_FIELD_USABLE:
        event_value_number(ret, event->usable);
        break;
    case EVENT_FIELD_COUNT:
        event_value_number(ret, event->count);
        break;
    case EVENT_FIELD_ALARM:
        event_value_string(ret, event->alarm);
        break;
    case EVENT_FIELD_SEVERITY:
        event_value_string(ret, event->alarm ? severity_to_string(event->severity) : NULL);
        break;
    case EVENT_FIELD_GROUP:
        event_value_string(ret, event->group);
        break;
    case EVENT_FIELD_METRIC:
        event_value_string(ret, event->has_metric ? metric_to_string(event->metric) : NULL);
        break;
    case EVENT_FIELD_VALUE:
        event_value_number(ret, event->value);
        break;
    case EVENT_FIELD_THRESHOLD:
        event_value_number(ret, event->threshold);
        break;
    case EVENT_FIELD_HOLDERS:
        event_value_string(ret, event->holders);
        break;
    case EVENT_FIELD_HELD:
        event_value_number(ret, event->held);
        break;
    case EVENT_FIELD_ALLOWED:
        event_value_number(ret, event->allowed);
        break;
    case EVENT_FIELD_N_BLOCKED:
        event_value_number(ret, event->n_blocked);
        break;
    case EVENT_FIELD_BLOCKED:
        event_value_string(ret, event->blocked);
        break;
    case EVENT_FIELD_OUTPUT:
        event_value_string(ret, event->output);
        break;
    case EVENT_FIELD_SQLSTATE:
        event_value_string(ret, event->sqlstate);
        break;
    case EVENT_FIELD_OBSERVE:
        if (event->has_action) {
            ret->kind = EVENT_VALUE_BOOL;
            ret->number = event->observe;
        }
        break;
    case EVENT_FIELD_ASKER_UID:
        event_value_number(ret, event->asker.uid);
        break;
    case EVENT_FIELD_ASKER_PID:
        event_value_number(ret, event->asker.pid);
        break;
    case EVENT_FIELD_DETAIL:
        event_value_string(ret, event->detail);
        break;
    case EVENT_FIELD_HINT:
        event_value_string(ret, event->hint);
        break;
    case EVENT_FIELD_PID:
    case EVENT_FIELD_BACKEND_START:
    case EVENT_FIELD_USER:
    case EVENT_FIELD_DATABASE:
    case EVENT_FIELD_APPLICATION_NAME:
    case EVENT_FIELD_CLIENT:
    case EVENT_FIELD_STATE:
    case EVENT_FIELD_QUERY:
        if (event->session) {
            event_get_session(event->session, field, ret);
        }
        break;
    case N_EVENT_FIELDS_:
        break;
    }
}
