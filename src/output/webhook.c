// SPDX-License-Identifier: PostgreSQL
//
// The list is in the order of the last changes, so that what is owed is told in the order in which it happened. One
// message is under way at a time: a receiver never sees an older change after a newer one of the same alarm.
//
// `told` gathers the severities that an alarm has had since the receiver last heard that all is over: each of them is
// taken out only by a message which the receiver has acknowledged, so that an attempt that may or may not have reached
// it cannot leave an alert behind.
#include "output/webhook.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "util/macro.h"
#include "util/strbuf.h"

// What is due within this time is told with what is due now.
#define WEBHOOK_REPEAT_SLACK (15 * USEC_PER_SEC)
// Failures in a row before it is worth a line; a receiver that restarts is not.
#define WEBHOOK_TOLERATED 1

// How a result is called, said, and whether waiting alone may mend it.
static const struct webhook_result_row {
    const char *name;
    const char *words;
    bool is_temporary; // one failure is not worth a line
} webhook_results[] = {
    [WEBHOOK_SENT] = {"sent", "sent", false},
    [WEBHOOK_SETTINGS] = {"settings", "its settings cannot be used", false},
    [WEBHOOK_UNRESOLVED] = {"unresolved", "its name cannot be resolved", true},
    [WEBHOOK_UNREACHABLE] = {"unreachable", "it cannot be connected to, or the connection broke", true},
    [WEBHOOK_TIMEOUT] = {"timeout", "it did not answer in time", true},
    [WEBHOOK_TLS] = {"tls", "its certificate or the TLS handshake was refused", false},
    [WEBHOOK_PROTOCOL] = {"protocol", "its answer is not HTTP, or too long", true},
    [WEBHOOK_SERVER_ERROR] = {"server_error", "it failed", true},
    [WEBHOOK_BUSY] = {"busy", "it asks to wait", true},
    [WEBHOOK_REFUSED] = {"refused", "it refuses us", false},
    [WEBHOOK_REJECTED] = {"rejected", "it refuses the message", false},
    [WEBHOOK_MEMORY] = {"memory", "out of memory", true},
};
static_assert(ARRAY_SIZE(webhook_results) == N_WEBHOOK_RESULTS, "one row for each result");

const char *webhook_result_to_string(enum webhook_result result) {
    return webhook_results[result].name;
}

enum webhook_result webhook_result_of_status(long status) {
    switch (status) {
    case 408:
    case 425:
    case 429:
        return WEBHOOK_BUSY;
    case 400:
    case 413:
    case 422:
        return WEBHOOK_REJECTED;
    default:
        return status < 200 || status > 599 ? WEBHOOK_PROTOCOL
               : status < 300               ? WEBHOOK_SENT
               : status < 500               ? WEBHOOK_REFUSED
                                            : WEBHOOK_SERVER_ERROR;
    }
}

struct webhook_queue {
    char *name;
    const struct webhook_codec *codec;
    enum severity min_severity;
    uint64_t random; // state of the jitter, never 0
    struct webhook_alert *alerts;
    size_t n_alerts;
    bool is_under_way;
    usec_t retry_at;     // not before
    unsigned n_failures; // in a row
    struct webhook_counts counts;
    // What is to be said.
    bool tells_failing;
    bool tells_delivered;
    uint64_t n_tells_given_up;
    uint64_t n_tells_dropped;
    uint64_t n_tells_discarded;
    bool told_failing; // it has been said, and not that it is well again
    unsigned n_failures_told;
    struct webhook_answer answer; // the last one that failed
};

// --- alerts ----------------------------------------------------------------------------------------------------------

static const size_t webhook_event_strings[] = {
    offsetof(struct event, target), offsetof(struct event, rule),    offsetof(struct event, reason),
    offsetof(struct event, detail), offsetof(struct event, hint),    offsetof(struct event, sqlstate),
    offsetof(struct event, app),    offsetof(struct event, alarm),   offsetof(struct event, group),
    offsetof(struct event, output), offsetof(struct event, holders), offsetof(struct event, blocked),
};

static const char **webhook_event_string(struct event *event, size_t i) {
    return (const char **)((char *)event + webhook_event_strings[i]);
}

// A copy with strings of its own. NULL: out of memory.
static char *webhook_copy_event(const struct event *event, struct event *ret) {
    size_t size = 1;
    *ret = *event;
    ret->session = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(webhook_event_strings); i++) {
        const char *s = *webhook_event_string(ret, i);
        size += s ? strlen(s) + 1 : 0;
    }
    char *strings = malloc(size);
    if (!strings) {
        return NULL;
    }
    char *at = strings;
    for (size_t i = 0; i < ARRAY_SIZE(webhook_event_strings); i++) {
        const char **s = webhook_event_string(ret, i);
        if (*s) {
            size_t len = strlen(*s) + 1;
            memcpy(at, *s, len);
            *s = at;
            at += len;
        }
    }
    return strings;
}

// The change without its words, under the identity that the alert has already: what matters must not need memory.
static void webhook_strip_event(const struct webhook_alert *alert, const struct event *event, struct event *ret) {
    static const char *const reasons[] = {"cleared", "raised"};
    *ret = *event;
    ret->session = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(webhook_event_strings); i++) {
        *webhook_event_string(ret, i) = NULL;
    }
    ret->target = alert->event.target;
    ret->alarm = alert->event.alarm;
    ret->group = alert->event.group;
    ret->reason = reasons[event->severity != SEVERITY_NONE];
}

static bool webhook_is_same_text(const char *a, const char *b) {
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static struct webhook_alert *webhook_find(const struct webhook_queue *queue, const struct event *event) {
    struct webhook_alert *alert;
    DL_FOREACH(queue->alerts, alert) {
        if (webhook_is_same_text(alert->event.alarm, event->alarm) &&
            webhook_is_same_text(alert->event.target, event->target) &&
            webhook_is_same_text(alert->event.group, event->group)) {
            return alert;
        }
    }
    return NULL;
}

static void webhook_remove(struct webhook_queue *queue, struct webhook_alert *alert) {
    DL_DELETE(queue->alerts, alert);
    queue->n_alerts--;
    free(alert->strings);
    free(alert);
}

static bool webhook_stands(const struct webhook_alert *alert) {
    return alert->severity != SEVERITY_NONE;
}

static bool webhook_is_owed(const struct webhook_alert *alert) {
    return alert->serial != alert->acked;
}

// Nothing more will come of it: it ended, and the receiver knows.
static void webhook_settle_alert(struct webhook_queue *queue, struct webhook_alert *alert) {
    if (!webhook_is_owed(alert) && !webhook_stands(alert) && !alert->is_under_way) {
        webhook_remove(queue, alert);
    }
}

static struct webhook_alert *webhook_add(struct webhook_queue *queue) {
    struct webhook_alert *alert = queue->n_alerts < WEBHOOK_MAX_ALERTS ? calloc(1, sizeof(*alert)) : NULL;
    if (alert) {
        alert->refused_since = USEC_INFINITY;
        alert->repeat_at = USEC_INFINITY;
        DL_APPEND(queue->alerts, alert);
        queue->n_alerts++;
    }
    return alert;
}

// The alarm takes another severity.
static void webhook_change(struct webhook_alert *alert, enum severity severity, usec_t realtime) {
    if (alert->severity != severity) {
        alert->ended[alert->severity] = realtime;
        alert->began[severity] = realtime;
    }
    alert->severity = severity;
    alert->told |= WEBHOOK_BIT(severity);
}

// --- queue -----------------------------------------------------------------------------------------------------------

struct webhook_queue *webhook_queue_new(const struct webhook_queue_options *options) {
    struct webhook_queue *queue = calloc(1, sizeof(*queue));
    if (!queue) {
        return NULL;
    }
    assert(!options->codec || options->codec->max_alerts <= WEBHOOK_MAX_BATCH);
    queue->codec = options->codec;
    queue->min_severity = options->min_severity;
    queue->random = options->seed ? options->seed : 1;
    queue->name = strdup(options->name);
    return queue->name ? queue : webhook_queue_free(queue);
}

struct webhook_queue *webhook_queue_free(struct webhook_queue *queue) {
    if (queue) {
        while (queue->alerts) {
            webhook_remove(queue, queue->alerts);
        }
        free(queue->name);
        free(queue);
    }
    return NULL;
}

static void webhook_drop(struct webhook_queue *queue) {
    queue->counts.dropped++;
    queue->n_tells_dropped++;
}

// The change is the alert's last one from now on.
static void webhook_take_change(struct webhook_queue *queue, struct webhook_alert *alert, const struct event *event,
                                enum severity severity, usec_t now, usec_t realtime) {
    struct event copy;
    char *strings = webhook_copy_event(event, &copy);
    if (strings) {
        free(alert->strings);
        alert->strings = strings;
    } else {
        webhook_strip_event(alert, event, &copy);
    }
    if (webhook_is_owed(alert) && !(alert->is_under_way && alert->sent == alert->serial)) {
        queue->counts.superseded++;
    }
    alert->event = copy;
    alert->realtime = realtime;
    alert->changed_at = now;
    alert->serial++;
    alert->n_rejections = 0;
    alert->refused_since = USEC_INFINITY;
    alert->is_given_up = false;
    webhook_change(alert, severity, realtime);
    DL_DELETE(queue->alerts, alert);
    DL_APPEND(queue->alerts, alert);
    if (!queue->codec) {
        alert->acked = alert->serial;
        webhook_settle_alert(queue, alert);
    }
}

// A new entry for the alarm of the event, which has not begun yet. NULL: no place, no memory.
static struct webhook_alert *webhook_open(struct webhook_queue *queue, const struct event *event) {
    struct webhook_alert *alert = webhook_add(queue);
    if (alert && !(alert->strings = webhook_copy_event(event, &alert->event))) {
        webhook_remove(queue, alert); // without its words it has no identity
        return NULL;
    }
    return alert;
}

void webhook_queue_push(struct webhook_queue *queue, const struct event *event, usec_t now, usec_t realtime) {
    if (event->kind != EVENT_ALARM || !event->alarm) {
        return;
    }
    enum severity severity = event->severity < queue->min_severity ? SEVERITY_NONE : event->severity;
    struct webhook_alert *alert = webhook_find(queue, event);
    if (!alert && severity != SEVERITY_NONE) {
        alert = webhook_open(queue, event);
        if (!alert) {
            webhook_drop(queue);
            return;
        }
    }
    // What it has not heard begin it need not hear end.
    if (alert && (webhook_stands(alert) || severity != SEVERITY_NONE)) {
        webhook_take_change(queue, alert, event, severity, now, realtime);
    }
}

// The receiver has heard that the alarm stands, or is owed it.
static bool webhook_is_covered(const struct webhook_queue *queue, const struct event *event) {
    const struct webhook_alert *alert = webhook_find(queue, event);
    return alert && webhook_stands(alert) && !alert->is_given_up;
}

void webhook_queue_seed(struct webhook_queue *queue, const struct webhook_queue *from, usec_t now) {
    const struct webhook_alert *alert;
    DL_FOREACH(from->alerts, alert) {
        if (webhook_stands(alert) && !webhook_is_covered(queue, &alert->event)) {
            webhook_queue_push(queue, &alert->event, now, alert->realtime);
        }
    }
}

void webhook_queue_set_min_severity(struct webhook_queue *queue, enum severity min_severity) {
    queue->min_severity = min_severity;
}

usec_t webhook_queue_due(const struct webhook_queue *queue) {
    usec_t due = USEC_INFINITY;
    const struct webhook_alert *alert;
    if (queue->is_under_way || !queue->codec) {
        return USEC_INFINITY;
    }
    DL_FOREACH(queue->alerts, alert) {
        due = webhook_is_owed(alert) ? 0 : MIN(due, alert->repeat_at);
        if (due == 0) {
            break;
        }
    }
    return MAX(due, queue->retry_at);
}

static bool webhook_is_due(const struct webhook_alert *alert, usec_t until) {
    return webhook_is_owed(alert) || (webhook_stands(alert) && alert->repeat_at <= until);
}

int webhook_queue_take(struct webhook_queue *queue, usec_t now, usec_t realtime, struct strbuf *body) {
    const struct webhook_alert *batch[WEBHOOK_MAX_BATCH];
    struct webhook_alert *alert;
    size_t n = 0;
    assert(!queue->is_under_way && queue->codec);
    DL_FOREACH(queue->alerts, alert) {
        if (n < queue->codec->max_alerts && webhook_is_due(alert, usec_add(now, WEBHOOK_REPEAT_SLACK))) {
            alert->is_under_way = true;
            alert->sent = alert->serial;
            alert->resolved = alert->told & ~WEBHOOK_BIT(alert->severity);
            batch[n++] = alert;
        }
    }
    assert(n > 0);
    queue->is_under_way = true;
    int r = queue->codec->encode(batch, n, realtime, body);
    if (r < 0) {
        webhook_queue_settle(queue, &(struct webhook_answer){.result = WEBHOOK_MEMORY}, now);
    }
    return r;
}

// --- what became of it -----------------------------------------------------------------------------------------------

static void webhook_acknowledge(struct webhook_queue *queue, struct webhook_alert *alert, usec_t now) {
    queue->counts.sent += alert->acked != alert->sent;
    alert->acked = alert->sent;
    alert->told &= ~alert->resolved;
    alert->is_given_up = false;
    alert->refused_since = USEC_INFINITY;
    alert->n_rejections = 0;
    alert->told |= WEBHOOK_BIT(alert->severity);
    if (webhook_stands(alert)) {
        alert->repeat_at = usec_add(now, queue->codec->repeat);
    }
}

static bool webhook_gives_up(const struct webhook_alert *alert, enum webhook_result result, usec_t now) {
    if (result == WEBHOOK_REJECTED && alert->n_rejections >= WEBHOOK_MAX_REJECTIONS) {
        return true;
    }
    if (alert->refused_since != USEC_INFINITY && usec_sub(now, alert->refused_since) >= WEBHOOK_REFUSED_FOR) {
        return true;
    }
    return !webhook_stands(alert) && usec_sub(now, alert->changed_at) >= WEBHOOK_ENDED_FOR;
}

static void webhook_fail(struct webhook_queue *queue, struct webhook_alert *alert, enum webhook_result result,
                         usec_t now) {
    if (alert->sent != alert->serial) {
        queue->counts.superseded += alert->acked != alert->sent;
        return;
    }
    alert->n_rejections += result == WEBHOOK_REJECTED;
    if (result != WEBHOOK_REFUSED && result != WEBHOOK_REJECTED) {
        alert->refused_since = USEC_INFINITY;
    } else if (alert->refused_since == USEC_INFINITY) {
        alert->refused_since = now;
    }
    if (webhook_is_owed(alert) && webhook_gives_up(alert, result, now)) {
        alert->acked = alert->serial;
        alert->is_given_up = true;
        queue->counts.failed++;
        queue->n_tells_given_up++;
    }
    if (!webhook_is_owed(alert) && webhook_stands(alert)) {
        alert->repeat_at = usec_add(now, queue->codec->repeat);
    }
}

// xorshift64: of a sixty-fourth's precision nothing is asked.
static usec_t webhook_jitter(struct webhook_queue *queue, usec_t delay) {
    queue->random ^= queue->random << 13;
    queue->random ^= queue->random >> 7;
    queue->random ^= queue->random << 17;
    return delay - delay / 4 + queue->random % (delay / 2 + 1);
}

static usec_t webhook_delay(struct webhook_queue *queue, const struct webhook_answer *answer) {
    usec_t delay = WEBHOOK_FIRST_RETRY;
    for (unsigned i = 1; i < queue->n_failures && delay < WEBHOOK_LAST_RETRY; i++) {
        delay *= 2;
    }
    delay = webhook_jitter(queue, MIN(delay, WEBHOOK_LAST_RETRY));
    return MAX(delay, MIN(answer->retry_after, WEBHOOK_MAX_RETRY_AFTER));
}

static void webhook_note_failure(struct webhook_queue *queue, const struct webhook_answer *answer, usec_t now) {
    queue->counts.retried++;
    queue->n_failures += queue->n_failures < UINT16_MAX;
    queue->answer = *answer;
    queue->retry_at = usec_add(now, webhook_delay(queue, answer));
    unsigned tolerated = webhook_results[answer->result].is_temporary ? WEBHOOK_TOLERATED : 0;
    if (!queue->told_failing && queue->n_failures > tolerated) {
        queue->tells_failing = true;
        queue->told_failing = true;
    }
}

static void webhook_note_success(struct webhook_queue *queue) {
    if (queue->told_failing) {
        queue->tells_delivered = true;
        queue->told_failing = false;
        queue->n_failures_told = queue->n_failures;
    }
    queue->n_failures = 0;
    queue->retry_at = 0;
}

void webhook_queue_settle(struct webhook_queue *queue, const struct webhook_answer *answer, usec_t now) {
    struct webhook_alert *alert, *next;
    assert(queue->is_under_way);
    queue->is_under_way = false;
    if (answer->result == WEBHOOK_SENT) {
        webhook_note_success(queue);
    } else {
        webhook_note_failure(queue, answer, now);
    }
    DL_FOREACH_SAFE(queue->alerts, alert, next) {
        if (alert->is_under_way) {
            alert->is_under_way = false;
            if (answer->result == WEBHOOK_SENT) {
                webhook_acknowledge(queue, alert, now);
            } else {
                webhook_fail(queue, alert, answer->result, now);
            }
            webhook_settle_alert(queue, alert);
        }
    }
}

void webhook_queue_abandon(struct webhook_queue *queue) {
    struct webhook_alert *alert;
    queue->is_under_way = false;
    DL_FOREACH(queue->alerts, alert) {
        alert->is_under_way = false;
    }
}

void webhook_queue_hurry(struct webhook_queue *queue) {
    queue->retry_at = 0;
}

void webhook_queue_discard(struct webhook_queue *queue) {
    size_t n = webhook_queue_n_owed(queue);
    webhook_queue_abandon(queue);
    while (queue->alerts) {
        webhook_remove(queue, queue->alerts);
    }
    queue->counts.dropped += n;
    queue->n_tells_discarded += n;
}

size_t webhook_queue_n_owed(const struct webhook_queue *queue) {
    const struct webhook_alert *alert;
    size_t n = 0;
    DL_FOREACH(queue->alerts, alert) {
        n += webhook_is_owed(alert);
    }
    return n;
}

size_t webhook_queue_n_alerts(const struct webhook_queue *queue) {
    return queue->n_alerts;
}

const struct webhook_counts *webhook_queue_counts(const struct webhook_queue *queue) {
    return &queue->counts;
}

// --- what is to be said ----------------------------------------------------------------------------------------------

static void webhook_add_answer(const struct webhook_queue *queue, struct strbuf *detail) {
    strbuf_add(detail, webhook_results[queue->answer.result].words);
    if (queue->answer.status > 0) {
        strbuf_addf(detail, " (HTTP status %ld)", queue->answer.status);
    }
    if (queue->answer.why[0]) {
        strbuf_addf(detail, " (%s)", queue->answer.why);
    }
}

static void webhook_add_alarms(struct strbuf *detail, uint64_t n) {
    strbuf_addf(detail, "%" PRIu64 " %s", n, n == 1 ? "alarm" : "alarms");
}

bool webhook_queue_tell(struct webhook_queue *queue, struct strbuf *detail, struct event *ret) {
    struct event event = event_make(EVENT_NOTIFICATION_FAILED, EVENT_WARNING, NULL);
    event.output = queue->name;
    strbuf_clear(detail);
    if (queue->n_tells_dropped > 0) {
        event.level = EVENT_ERROR;
        event.reason = "dropped";
        event.count = (int64_t)queue->n_tells_dropped;
        strbuf_add(detail, "no room or no memory, dropped changes of ");
        webhook_add_alarms(detail, queue->n_tells_dropped);
        queue->n_tells_dropped = 0;
    } else if (queue->tells_failing) {
        event.reason = webhook_results[queue->answer.result].name;
        webhook_add_answer(queue, detail);
        strbuf_add(detail, "; trying again");
        queue->tells_failing = false;
    } else if (queue->n_tells_given_up > 0) {
        event.level = EVENT_ERROR;
        event.reason = "given_up";
        event.count = (int64_t)queue->n_tells_given_up;
        webhook_add_answer(queue, detail);
        strbuf_add(detail, "; gave up to tell of ");
        webhook_add_alarms(detail, queue->n_tells_given_up);
        queue->n_tells_given_up = 0;
    } else if (queue->n_tells_discarded > 0) {
        event.level = EVENT_ERROR;
        event.reason = "dropped";
        event.count = (int64_t)queue->n_tells_discarded;
        strbuf_add(detail, "the output ends and still owed ");
        webhook_add_alarms(detail, queue->n_tells_discarded);
        queue->n_tells_discarded = 0;
    } else if (queue->tells_delivered) {
        event.level = EVENT_NOTICE;
        event.reason = EVENT_REASON_DELIVERED;
        strbuf_addf(detail, "after %u failed %s", queue->n_failures_told,
                    queue->n_failures_told == 1 ? "attempt" : "attempts");
        queue->tells_delivered = false;
    } else {
        return false;
    }
    event.detail = strbuf_str(detail);
    *ret = event;
    return true;
}
