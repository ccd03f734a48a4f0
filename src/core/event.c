// SPDX-License-Identifier: PostgreSQL
// Names and messages of events. A message is put together from literals of this file, numbers, and text that
// went through escape_text(): nothing else may be appended, or a client could write log lines of its own.
#include "core/event.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "util/escape.h"
#include "util/macro.h"
#include "util/strbuf.h"

static const char *const event_kind_names[] = {
    [EVENT_START] = "start",
    [EVENT_STOP] = "stop",
    [EVENT_CONFIG_LOADED] = "config_loaded",
    [EVENT_CONFIG_REJECTED] = "config_rejected",
    [EVENT_TARGET_UP] = "target_up",
    [EVENT_TARGET_DOWN] = "target_down",
    [EVENT_LOCKED_OUT] = "locked_out",
    [EVENT_SELF_CHECK] = "self_check",
    [EVENT_DECISION] = "decision",
    [EVENT_OUTCOME] = "outcome",
    [EVENT_HELD_BACK] = "held_back",
    [EVENT_ALARM] = "alarm",
    [EVENT_BREAKER] = "breaker",
    [EVENT_PAUSED] = "paused",
    [EVENT_RESUMED] = "resumed",
    [EVENT_LEADERSHIP] = "leadership",
    [EVENT_CLOCK_JUMP] = "clock_jump",
    [EVENT_RECORDS_DROPPED] = "records_dropped",
    [EVENT_NOTIFICATION_FAILED] = "notification_failed",
};
static_assert(ARRAY_SIZE(event_kind_names) == N_EVENT_KINDS, "one name for each kind");

static const char *const event_level_names[] = {
    [EVENT_ERROR] = "error", [EVENT_WARNING] = "warning", [EVENT_NOTICE] = "notice",
    [EVENT_INFO] = "info",   [EVENT_DEBUG] = "debug",
};
static_assert(ARRAY_SIZE(event_level_names) == N_EVENT_LEVELS, "one name for each level");

// How a message says an action; `object` stands between the verb and the session.
static const struct event_verb {
    const char *plain, *going_on, *would, *done, *object;
} event_verbs[] = {
    [ACTION_TERMINATE] = {"terminate", "terminating", "would terminate", "terminated", ""},
    [ACTION_CANCEL] = {"cancel", "cancelling", "would cancel", "cancelled", "the query of "},
    [ACTION_LOG] = {"notice", "noticed", "noticed", "noticed", ""},
};
static_assert(ARRAY_SIZE(event_verbs) == N_ACTIONS, "one set of verbs for each action");

// In the words of a log line: "idle 912s > 600s", "no longer idle since the poll".
static const char *const event_state_words[] = {
    [SESSION_STATE_NONE] = "starting",
    [SESSION_STATE_ACTIVE] = "active",
    [SESSION_STATE_IDLE] = "idle",
    [SESSION_STATE_IDLE_IN_TRANSACTION] = "idle in transaction",
    [SESSION_STATE_IDLE_IN_TRANSACTION_ABORTED] = "idle in aborted transaction",
    [SESSION_STATE_FASTPATH] = "in a fastpath call",
    [SESSION_STATE_DISABLED] = "in an unknown state",
};
static_assert(ARRAY_SIZE(event_state_words) == N_SESSION_STATES, "words for each state");

const char *event_kind_to_string(enum event_kind kind) {
    return event_kind_names[kind];
}

const char *event_level_to_string(enum event_level level) {
    return event_level_names[level];
}

bool event_level_from_string(const char *s, enum event_level *ret) {
    for (unsigned i = 0; i < N_EVENT_LEVELS; i++) {
        if (strcmp(s, event_level_names[i]) == 0) {
            *ret = (enum event_level)i;
            return true;
        }
    }
    return false;
}

struct event event_make(enum event_kind kind, enum event_level level, const char *target) {
    return (struct event){
        .kind = kind,
        .level = level,
        .target = target,
        .age = USEC_INFINITY,
        .limit = USEC_INFINITY,
        .took = USEC_INFINITY,
        .used = EVENT_NUMBER_NONE,
        .usable = EVENT_NUMBER_NONE,
        .value = EVENT_NUMBER_NONE,
        .threshold = EVENT_NUMBER_NONE,
        .held = EVENT_NUMBER_NONE,
        .allowed = EVENT_NUMBER_NONE,
        .n_blocked = EVENT_NUMBER_NONE,
        .count = EVENT_NUMBER_NONE,
        .asker = EVENT_NOBODY,
    };
}

// `before`, the text made safe, `after`; nothing at all when there is no text.
static void event_add(struct strbuf *sb, const char *before, const char *text, const char *after) {
    if (text) {
        strbuf_add(sb, before);
        escape_text(sb, text);
        strbuf_add(sb, after);
    }
}

static void event_add_duration(struct strbuf *sb, const char *before, usec_t duration) {
    if (duration != USEC_INFINITY) {
        strbuf_add(sb, before);
        usec_render(sb, duration);
    }
}

// For text that is printable by contract.
static void event_add_printable(struct strbuf *sb, const char *text) {
    escape_printable(sb, text, strlen(text));
}

// The label of a session that no app claims comes quoted and escaped, an app's name as it is.
static void event_add_app(struct strbuf *sb, const char *app) {
    if (app[0] == '"') {
        event_add_printable(sb, app);
    } else {
        escape_text(sb, app);
    }
}

// What the rule measures: "idle", "in transaction for".
static const char *event_measure(const struct event *event) {
    enum session_state state = event->session->state;
    switch (event->time) {
    case SESSION_TIME_STATE_CHANGE:
        return event_state_words[state];
    case SESSION_TIME_QUERY_START:
        return state == SESSION_STATE_ACTIVE ? "active" : "since its last query began";
    case SESSION_TIME_XACT_START:
        return "in transaction for";
    case SESSION_TIME_BACKEND_START:
        return "connected";
    case N_SESSION_TIMES_:
        break;
    }
    return "";
}

// Why a session was spared: what was measured has changed, unless the detail says something else.
static void event_add_changed(const struct event *event, struct strbuf *sb) {
    const char *what = NULL;
    if (event->detail) {
        event_add_printable(sb, event->detail);
        return;
    }
    switch (event->time) {
    case SESSION_TIME_STATE_CHANGE:
        what = event->session ? event_state_words[event->session->state] : NULL;
        break;
    case SESSION_TIME_QUERY_START:
        what = "in the same query";
        break;
    case SESSION_TIME_XACT_START:
        what = "in the same transaction";
        break;
    case SESSION_TIME_BACKEND_START:
    case N_SESSION_TIMES_:
        break;
    }
    strbuf_add(sb, what ? "no longer " : "moved on");
    strbuf_add(sb, what ? what : "");
    strbuf_add(sb, " since the poll");
}

static bool event_has_slots(const struct event *event) {
    return event->used != EVENT_NUMBER_NONE && event->usable != EVENT_NUMBER_NONE;
}

static bool event_is_by_quota(const struct event *event) {
    return event->held != EVENT_NUMBER_NONE && event->allowed != EVENT_NUMBER_NONE;
}

// Which rule, and what it had to say beside the age: "rule idle", "quota per-host of 10.0.0.7: 64 of 60 allowed",
// "blocks 2 sessions: 4711, 4712, rule blocker", "rule squeeze at 88 of 97 usable slots".
static void event_add_cause(const struct event *event, const char *before, struct strbuf *sb) {
    if (event->n_blocked != EVENT_NUMBER_NONE) {
        strbuf_addf(sb, "%sblocks %" PRId64 " %s", before, event->n_blocked,
                    event->n_blocked == 1 ? "session" : "sessions");
        event_add(sb, ": ", event->blocked, "");
        before = ", ";
    }
    if (!event->rule) {
        return;
    }
    event_add(sb, before, event_is_by_quota(event) ? "quota " : "rule ", "");
    escape_text(sb, event->rule);
    if (event->group) {
        strbuf_add(sb, " of ");
        event_add_printable(sb, event->group);
    }
    if (event_is_by_quota(event)) {
        strbuf_addf(sb, ": %" PRId64 " of %" PRId64 " allowed", event->held, event->allowed);
    } else if (event_has_slots(event) && event->reason && strcmp(event->reason, EVENT_REASON_PRESSURE) == 0) {
        strbuf_addf(sb, " at %" PRId64 " of %" PRId64 " usable slots", event->used, event->usable);
    }
}

// "worker session 4711 (worker@app from 172.18.0.7, idle 912s > 600s, rule idle)"
static void event_add_session(const struct event *event, struct strbuf *sb) {
    const struct session_row *session = event->session;
    if (event->app) {
        event_add_app(sb, event->app);
        strbuf_add_char(sb, ' ');
    }
    if (!session && event_is_by_quota(event)) {
        strbuf_add(sb, "too many sessions (");
        event_add_cause(event, "", sb);
        strbuf_add_char(sb, ')');
        return;
    }
    if (!session) {
        strbuf_add(sb, "session");
        event_add(sb, " (rule ", event->rule, ")");
        return;
    }
    strbuf_addf(sb, "session %" PRId64, session->id.id);
    event_add(sb, " (", session->user ? session->user : "", "");
    event_add(sb, "@", session->database ? session->database : "", " from ");
    address_render(sb, &session->client);
    if (event->age != USEC_INFINITY) {
        strbuf_addf(sb, ", %s", event_measure(event));
        event_add_duration(sb, " ", event->age);
        event_add_duration(sb, " > ", event->limit);
    }
    event_add_cause(event, ", ", sb);
    strbuf_add_char(sb, ')');
}

// What stands at the end of many messages.
static void event_add_detail(const struct event *event, struct strbuf *sb) {
    event_add(sb, ": ", event->detail, "");
    event_add(sb, " (SQLSTATE ", event->sqlstate, ")");
}

static void event_add_hint(const struct event *event, struct strbuf *sb) {
    event_add(sb, "; hint: ", event->hint, "");
}

static void event_add_query(const struct event *event, struct strbuf *sb) {
    if (event->session && event->session->query) {
        strbuf_add(sb, "; query ");
        escape_quoted(sb, event->session->query);
    }
}

static const struct event_verb *event_verb(const struct event *event) {
    return &event_verbs[event->has_action ? event->action : ACTION_LOG];
}

static void event_render_decision(const struct event *event, struct strbuf *sb) {
    const struct event_verb *verb = event_verb(event);
    strbuf_addf(sb, "%s %s", event->observe ? verb->would : verb->going_on, verb->object);
    event_add_session(event, sb);
    strbuf_add(sb, event->observe ? " (observe)" : "");
    event_add_detail(event, sb);
    event_add_query(event, sb);
}

// "4712", for what needs no more than that.
static void event_add_pid(const struct event *event, struct strbuf *sb) {
    if (event->session) {
        strbuf_addf(sb, "%" PRId64, event->session->id.id);
    } else {
        strbuf_add(sb, "a session");
    }
}

static void event_render_done(const struct event *event, const char *verb, const char *then, const char *took,
                              struct strbuf *sb) {
    strbuf_addf(sb, "%s %s", verb, event_verb(event)->object);
    event_add_session(event, sb);
    strbuf_add(sb, then);
    event_add_duration(sb, took, event->took);
}

static void event_render_outcome(const struct event *event, struct strbuf *sb) {
    const struct event_verb *verb = event_verb(event);
    switch (event->outcome) {
    case OUTCOME_NONE:
    case N_OUTCOMES_:
        event_render_done(event, verb->done, "", "", sb);
        break;
    case OUTCOME_GONE:
        event_render_done(event, verb->done, "; gone", " in ", sb);
        break;
    case OUTCOME_LINGERING:
        strbuf_add(sb, "tried to ");
        event_render_done(event, verb->plain, "; still there", " after ", sb);
        break;
    case OUTCOME_CANCELLED:
        event_render_done(event, verb->done, "; it ended", " in ", sb);
        break;
    case OUTCOME_STILL_RUNNING:
        strbuf_add(sb, "tried to ");
        event_render_done(event, verb->plain, "; still running", " after ", sb);
        break;
    case OUTCOME_UNVERIFIED:
        strbuf_add(sb, "tried to ");
        event_render_done(event, verb->plain, "; not verified: the watch ended first", " after ", sb);
        break;
    case OUTCOME_UNKNOWN:
        strbuf_add(sb, "tried to ");
        event_render_done(event, verb->plain, "; outcome unknown: the connection broke", " after ", sb);
        break;
    case OUTCOME_DENIED:
        strbuf_add(sb, "not allowed to ");
        event_render_done(event, verb->plain, "", " after ", sb);
        break;
    case OUTCOME_FAILED:
        strbuf_add(sb, "failed to ");
        event_render_done(event, verb->plain, "", " after ", sb);
        break;
    case OUTCOME_CHANGED:
        strbuf_add(sb, "spared ");
        event_add_pid(event, sb);
        strbuf_add(sb, ": ");
        event_add_changed(event, sb);
        event_add(sb, " (rule ", event->rule, ")");
        event_add_query(event, sb);
        return;
    case OUTCOME_LEFT:
        event_add_pid(event, sb);
        strbuf_add(sb, " had left by itself");
        event_add(sb, " (rule ", event->rule, ")");
        break;
    }
    event_add_detail(event, sb);
    event_add_hint(event, sb);
    event_add_query(event, sb);
}

static void event_render_held_back(const struct event *event, struct strbuf *sb) {
    strbuf_add(sb, "held back ");
    if (event->count != EVENT_NUMBER_NONE) {
        strbuf_addf(sb, "%" PRId64 " ", event->count);
    }
    strbuf_add(sb, event->count == 1 ? "session" : "sessions");
    if (event->rule) {
        strbuf_add(sb, " (");
        event_add_cause(event, "", sb);
        strbuf_add_char(sb, ')');
    }
    event_add(sb, ": ", event->reason, "");
    event_add(sb, event->reason ? ", " : ": ", event->detail, "");
    event_add_hint(event, sb);
}

// All that is not about sessions: "LEAD: detail (41 of 97 usable slots, 3 times); hint: ...".
static void event_render_state(const struct event *event, const char *lead, struct strbuf *sb) {
    // Of a rule, and of what the self-check finds, it is a number of sessions.
    bool repeated =
        event->count != EVENT_NUMBER_NONE && event->count > 1 && !event->rule && event->kind != EVENT_SELF_CHECK;
    strbuf_add(sb, lead);
    if (!event->detail) {
        event_add(sb, ": ", event->reason, "");
    }
    event_add_detail(event, sb);
    if (event_has_slots(event)) {
        strbuf_addf(sb, " (%" PRId64 " of %" PRId64 " usable slots)", event->used, event->usable);
    }
    if (repeated) {
        strbuf_addf(sb, " (%" PRId64 " times)", event->count);
    }
    event_add_hint(event, sb);
}

// "configuration loaded: ..."; what came of an address in it is a sentence of its own.
static void event_render_loaded(const struct event *event, struct strbuf *sb) {
    if (event->reason && event->detail && strcmp(event->reason, EVENT_REASON_NOT_LISTENING) == 0) {
        event_add(sb, "", event->detail, "");
        event_add_hint(event, sb);
    } else {
        event_render_state(event, "configuration loaded", sb);
    }
}

// "PAUSED rule idle for 30min: until ...", "resumed: ..."
static void event_render_pause(const struct event *event, const char *lead, struct strbuf *sb) {
    strbuf_add(sb, lead);
    event_add(sb, " rule ", event->rule, "");
    if (event->limit != USEC_INFINITY) {
        strbuf_add(sb, " for ");
        usec_render_exact(sb, event->limit);
    }
    event_render_state(event, "", sb);
}

static void event_render_records_dropped(const struct event *event, struct strbuf *sb) {
    strbuf_add(sb, "dropped ");
    if (event->count != EVENT_NUMBER_NONE) {
        strbuf_addf(sb, "%" PRId64 " ", event->count);
    }
    strbuf_add(sb, event->count == 1 ? "log record" : "log records");
    event_add_detail(event, sb);
    event_add_hint(event, sb);
}

static void event_render_notification(const struct event *event, struct strbuf *sb) {
    bool delivered = event->reason && strcmp(event->reason, EVENT_REASON_DELIVERED) == 0;
    strbuf_add(sb, delivered ? "notifying " : "cannot notify ");
    event_add(sb, "", event->output ? event->output : "a webhook", delivered ? " again" : "");
    event_add(sb, ": ", event->detail ? NULL : event->reason, "");
    event_add_detail(event, sb); // which says how many
    event_add_hint(event, sb);
}

// In the words of a message: "usage 93% > 90%", "longest idle 700s > 600s".
static const char *const event_metric_words[] = {
    [METRIC_USAGE] = "usage",
    [METRIC_CONNECTIONS] = "connections",
    [METRIC_IDLE] = "idle",
    [METRIC_ACTIVE] = "active",
    [METRIC_IDLE_IN_TRANSACTION] = "idle in transaction",
    [METRIC_WAITING] = "waiting",
    [METRIC_BLOCKED] = "blocked",
    [METRIC_LONGEST_IDLE] = "longest idle",
    [METRIC_LONGEST_QUERY] = "longest query",
    [METRIC_LONGEST_TRANSACTION] = "longest transaction",
    [METRIC_LONGEST_IDLE_IN_TRANSACTION] = "longest idle in transaction",
    [METRIC_TIME_TO_FULL] = "time to full",
    [METRIC_ROLE_LIMIT] = "role limit",
    [METRIC_DATABASE_LIMIT] = "database limit",
};
static_assert(ARRAY_SIZE(event_metric_words) == N_METRICS, "words for each metric");

static void event_add_measured(struct strbuf *sb, enum metric metric, int64_t value) {
    switch (metric_unit(metric)) {
    case METRIC_UNIT_PERCENT:
        strbuf_addf(sb, "%" PRId64 "%%", value);
        break;
    case METRIC_UNIT_COUNT:
        strbuf_addf(sb, "%" PRId64, value);
        break;
    case METRIC_UNIT_DURATION:
        usec_render(sb, value < 0 ? 0 : (usec_t)value);
        break;
    }
}

// ": usage 93% > 90% for 15s"
static void event_add_metric(const struct event *event, bool rises, struct strbuf *sb) {
    if (event->value == EVENT_NUMBER_NONE) {
        // time_to_full alone has no value at times.
        strbuf_add(sb, ": the slots do not fill up any more");
        return;
    }
    strbuf_addf(sb, ": %s", event_metric_words[event->metric]);
    // 99.5 % is over 99 % and no full server: shown it is 99 %, and "99% > 99%" would be odd.
    if (!rises || event->value != event->threshold) {
        strbuf_add_char(sb, ' ');
        event_add_measured(sb, event->metric, event->value);
    }
    if (event->threshold != EVENT_NUMBER_NONE) {
        strbuf_add(sb, rises ? (event->below ? " < " : " > ") : (event->below ? " >= " : " <= "));
        event_add_measured(sb, event->metric, event->threshold);
    }
    if (event->age > 0) {
        event_add_duration(sb, " for ", event->age);
    }
}

// "CRITICAL slots: usage 93% > 90% for 15s (90 of 97 usable slots; worker 41, other 49)", "WARNING slots, was CRITICAL:
// ...", "cleared worker-leak of worker: ..."
static void event_render_alarm(const struct event *event, struct strbuf *sb) {
    static const char *const words[] = {
        [SEVERITY_NONE] = "cleared", [SEVERITY_WARNING] = "WARNING", [SEVERITY_CRITICAL] = "CRITICAL"};
    bool escalated = event->reason && strcmp(event->reason, "escalated") == 0;
    bool eased = event->reason && strcmp(event->reason, "eased") == 0;

    strbuf_addf(sb, "%s ", words[event->severity]);
    event_add(sb, "", event->alarm ? event->alarm : "alarm", "");
    if (event->group) {
        strbuf_add(sb, " of ");
        event_add_printable(sb, event->group);
    }
    if (escalated || eased) {
        strbuf_addf(sb, ", was %s", words[escalated ? SEVERITY_WARNING : SEVERITY_CRITICAL]);
    }
    if (event->has_metric) {
        event_add_metric(event, !eased && event->severity != SEVERITY_NONE, sb);
    }
    event_add_detail(event, sb);
    if (event->holders && event_has_slots(event)) {
        strbuf_addf(sb, " (%" PRId64 " of %" PRId64 " usable slots; ", event->used, event->usable);
        event_add_printable(sb, event->holders);
        strbuf_add_char(sb, ')');
    }
    event_add_hint(event, sb);
}

static void event_add_asker(const struct event *event, struct strbuf *sb) {
    if (event->asker.uid != EVENT_NUMBER_NONE) {
        strbuf_addf(sb, " (asked by uid %" PRId64, event->asker.uid);
        if (event->asker.pid != EVENT_NUMBER_NONE) {
            strbuf_addf(sb, ", pid %" PRId64, event->asker.pid);
        }
        strbuf_add_char(sb, ')');
    }
}

void event_render(const struct event *event, struct strbuf *sb) {
    event_add(sb, "", event->target, ": ");
    switch (event->kind) {
    case EVENT_START:
        event_render_state(event, "started", sb);
        break;
    case EVENT_STOP:
        event_render_state(event, "stopped", sb);
        break;
    case EVENT_CONFIG_LOADED:
        event_render_loaded(event, sb);
        break;
    case EVENT_CONFIG_REJECTED:
        event_render_state(event, "configuration rejected", sb);
        break;
    case EVENT_TARGET_UP:
        event_render_state(event, "up", sb);
        break;
    case EVENT_TARGET_DOWN:
        event_render_state(event, "down", sb);
        break;
    case EVENT_LOCKED_OUT:
        event_render_state(event, "LOCKED OUT, no connection slot is left", sb);
        break;
    case EVENT_SELF_CHECK:
        event_render_state(event, "self-check", sb);
        break;
    case EVENT_DECISION:
        event_render_decision(event, sb);
        break;
    case EVENT_OUTCOME:
        event_render_outcome(event, sb);
        break;
    case EVENT_HELD_BACK:
        event_render_held_back(event, sb);
        break;
    case EVENT_ALARM:
        event_render_alarm(event, sb);
        break;
    case EVENT_BREAKER:
        event_render_state(event, "breaker", sb);
        break;
    case EVENT_PAUSED:
        event_render_pause(event, "PAUSED", sb);
        break;
    case EVENT_RESUMED:
        event_render_pause(event, "resumed", sb);
        break;
    case EVENT_LEADERSHIP:
        event_render_state(event, "leadership", sb);
        break;
    case EVENT_CLOCK_JUMP:
        event_render_state(event, "the server's clock stepped", sb);
        break;
    case EVENT_RECORDS_DROPPED:
        event_render_records_dropped(event, sb);
        break;
    case EVENT_NOTIFICATION_FAILED:
        event_render_notification(event, sb);
        break;
    case N_EVENT_KINDS_:
        break;
    }
    event_add_asker(event, sb);
}
