// SPDX-License-Identifier: PostgreSQL
//
// What receivers are sent, and a simulation: whatever gets lost on the way, in either direction, a receiver ends up
// with what is true.
#include "output/webhook.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sample_event.h"
#include "support/check.h"
#include "support/oom.h"
#include "util/strbuf.h"

#define NOW (1000 * USEC_PER_SEC)

static struct event alarm_event(const char *alarm, const char *group, enum severity severity, const char *reason) {
    struct event event = event_make(EVENT_ALARM, EVENT_WARNING, "db");
    event.alarm = alarm;
    event.group = group;
    event.severity = severity;
    event.reason = reason;
    event.detail = severity == SEVERITY_NONE ? "over" : "a & b <!channel>";
    event.hint = severity == SEVERITY_NONE ? NULL : "mend it";
    return event;
}

static struct webhook_queue *open_queue(const struct webhook_codec *codec, enum severity min_severity) {
    const struct webhook_queue_options options = {
        .name = "oncall", .codec = codec, .min_severity = min_severity, .seed = 42};
    struct webhook_queue *queue = webhook_queue_new(&options);
    CHECK_NOT_NULL(queue);
    return queue;
}

static void push(struct webhook_queue *queue, const char *alarm, enum severity severity, const char *reason,
                 usec_t after) {
    struct event event = alarm_event(alarm, NULL, severity, reason);
    webhook_queue_push(queue, &event, NOW + after, SAMPLE_REALTIME + after);
}

static void settle(struct webhook_queue *queue, enum webhook_result result, usec_t now) {
    webhook_queue_settle(queue, &(struct webhook_answer){.result = result}, now);
}

static void settle_status(struct webhook_queue *queue, long status, usec_t now) {
    webhook_queue_settle(queue, &(struct webhook_answer){.result = webhook_result_of_status(status), .status = status},
                         now);
}

// Takes the message that must be due at `now`; the caller frees it.
static char *take(struct webhook_queue *queue, usec_t now) {
    struct strbuf body = STRBUF_EMPTY;
    CHECK_LE(webhook_queue_due(queue), now);
    CHECK_EQ(webhook_queue_take(queue, now, SAMPLE_REALTIME + now - NOW, &body), 0);
    CHECK_EQ(webhook_queue_due(queue), USEC_INFINITY); // one at a time
    return strbuf_take(&body);
}

static void check_take(struct webhook_queue *queue, usec_t now, const char *expected) {
    CLEANUP(freep) char *body = take(queue, now);
    CHECK_STR(body, expected);
}

static void deliver(struct webhook_queue *queue, usec_t now, const char *holds) {
    CLEANUP(freep) char *body = take(queue, now);
    CHECK_CONTAINS(body, holds);
    settle(queue, WEBHOOK_SENT, now);
}

static void check_tells(struct webhook_queue *queue, const char *expected) {
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

// --- what is sent ----------------------------------------------------------------------------------------------------

#define LABELS(severity)                                                                                               \
    "{\"labels\":{\"alertname\":\"PgvigilWorkerLeak\",\"alarm\":\"worker-leak\",\"target\":\"db\",\"severity\":"       \
    "\"" severity "\"},"
#define RAISED(words)                                                                                                  \
    "\"annotations\":{\"summary\":\"db: " words ": a & b <!channel>; hint: mend it\","                                 \
    "\"description\":\"a & b <!channel>\",\"hint\":\"mend it\"},"

static void alertmanager(void) {
    CLEANUP(webhook_queue_freep) struct webhook_queue *queue = open_queue(&webhook_alertmanager, SEVERITY_WARNING);
    push(queue, "worker-leak", SEVERITY_WARNING, "raised", 0);
    check_take(queue, NOW,
               "[" LABELS("warning") RAISED("WARNING worker-leak") "\"startsAt\":\"2025-01-02T03:04:05.678Z\","
                                                                   "\"endsAt\":\"2025-01-02T03:08:05.678Z\"}]");
    settle(queue, WEBHOOK_SENT, NOW);
    // Another severity is another alert; the one before ended.
    push(queue, "worker-leak", SEVERITY_CRITICAL, "escalated", USEC_PER_SEC);
    check_take(
        queue, NOW + USEC_PER_SEC,
        "[" LABELS("warning") RAISED(
            "CRITICAL worker-leak, was WARNING") "\"startsAt\":\"2025-01-02T03:04:05.678Z\","
                                                 "\"endsAt\":\"2025-01-02T03:04:06.678Z\"}," LABELS("critical") RAISED(
                                                     "CRITICAL worker-leak, was WARNING") "\"startsAt\":\"2025-01-"
                                                                                          "02T03:04:06.678Z\","
                                                                                          "\"endsAt\":\"2025-01-02T03:"
                                                                                          "08:06.678Z\"}]");
    settle(queue, WEBHOOK_SENT, NOW + USEC_PER_SEC);
    push(queue, "worker-leak", SEVERITY_NONE, "cleared", 2 * USEC_PER_SEC);
    check_take(queue, NOW + 2 * USEC_PER_SEC,
               "[" LABELS("critical") "\"annotations\":{\"summary\":\"db: cleared worker-leak: over\","
                                      "\"description\":\"over\"},\"startsAt\":\"2025-01-02T03:04:06.678Z\","
                                      "\"endsAt\":\"2025-01-02T03:04:07.678Z\"}]");
    settle(queue, WEBHOOK_SENT, NOW + 2 * USEC_PER_SEC);
    CHECK_EQ(webhook_queue_n_alerts(queue), 0);
    CHECK_EQ(webhook_queue_counts(queue)->sent, 3);
}

// Nobody knows whether the message that failed arrived.
static void alertmanager_leaves_nothing_behind(void) {
    CLEANUP(webhook_queue_freep) struct webhook_queue *queue = open_queue(&webhook_alertmanager, SEVERITY_WARNING);
    push(queue, "a", SEVERITY_WARNING, "raised", 0);
    free(take(queue, NOW));
    push(queue, "a", SEVERITY_CRITICAL, "escalated", 1);
    settle(queue, WEBHOOK_TIMEOUT, NOW);
    push(queue, "a", SEVERITY_NONE, "cleared", 2);
    CLEANUP(freep) char *body = take(queue, NOW + USEC_PER_MINUTE);
    CHECK_CONTAINS(body, "\"severity\":\"warning\"");
    CHECK_CONTAINS(body, "\"severity\":\"critical\"");
    CHECK_LACKS(body, "03:08"); // neither stands
    settle(queue, WEBHOOK_SENT, NOW + USEC_PER_MINUTE);
    CHECK_EQ(webhook_queue_n_alerts(queue), 0);
    CHECK_EQ(webhook_queue_counts(queue)->superseded, 2);
}

static void alertmanager_repeats(void) {
    CLEANUP(webhook_queue_freep) struct webhook_queue *queue = open_queue(&webhook_alertmanager, SEVERITY_WARNING);
    push(queue, "a", SEVERITY_WARNING, "raised", 0);
    deliver(queue, NOW, "\"a\"");
    push(queue, "b", SEVERITY_WARNING, "raised", 10 * USEC_PER_SEC);
    deliver(queue, NOW + 10 * USEC_PER_SEC, "\"b\"");
    usec_t due = webhook_queue_due(queue);
    CHECK_EQ(due, NOW + WEBHOOK_ALERTMANAGER_REPEAT);
    static_assert(WEBHOOK_ALERTMANAGER_EXPIRES >= 3 * WEBHOOK_ALERTMANAGER_REPEAT, "two may get lost");
    CLEANUP(freep) char *body = take(queue, due);
    CHECK_CONTAINS(body, "\"alarm\":\"a\"");
    CHECK_CONTAINS(body, "\"alarm\":\"b\""); // soon due, too
    settle(queue, WEBHOOK_SENT, due);
    CHECK_EQ(webhook_queue_due(queue), due + WEBHOOK_ALERTMANAGER_REPEAT);
    CHECK_EQ(webhook_queue_counts(queue)->sent, 2); // changes, not messages
}

static void slack(void) {
    CLEANUP(webhook_queue_freep) struct webhook_queue *queue = open_queue(&webhook_slack, SEVERITY_WARNING);
    push(queue, "a", SEVERITY_WARNING, "raised", 0);
    push(queue, "b", SEVERITY_CRITICAL, "raised", 0);
    check_take(queue, NOW,
               "{\"text\":\"db: WARNING a: a &amp; b &lt;!channel&gt;; hint: mend it\",\"mrkdwn\":false,"
               "\"unfurl_links\":false,\"unfurl_media\":false}");
    settle(queue, WEBHOOK_SENT, NOW);
    deliver(queue, NOW, "db: CRITICAL b");
    CHECK_EQ(webhook_queue_due(queue), USEC_INFINITY); // told once
    push(queue, "a", SEVERITY_NONE, "cleared", 1);
    deliver(queue, NOW, "db: cleared a: over");
}

static void json(void) {
    CLEANUP(webhook_queue_freep) struct webhook_queue *queue = open_queue(&webhook_json, SEVERITY_WARNING);
    push(queue, "a", SEVERITY_WARNING, "raised", 0);
    check_take(queue, NOW + USEC_PER_MINUTE, // the time is that of the change
               "{\"ts\":\"2025-01-02T03:04:05.678Z\",\"level\":\"warning\","
               "\"message\":\"db: WARNING a: a & b <!channel>; hint: mend it\",\"event\":\"alarm\",\"target\":\"db\","
               "\"reason\":\"raised\",\"alarm\":\"a\",\"severity\":\"warning\",\"detail\":\"a & b <!channel>\","
               "\"hint\":\"mend it\"}\n");
    settle(queue, WEBHOOK_SENT, NOW);
}

static const struct webhook_codec *const codecs[] = {&webhook_alertmanager, &webhook_slack, &webhook_json};

static void check_hostile_node(const json_t *node) {
    const char *key;
    json_t *value;
    size_t i;
    json_object_foreach((json_t *)(uintptr_t)node, key, value) {
        CHECK_NE(strcmp(key, "forged"), 0);
        check_hostile_node(value);
    }
    json_array_foreach(node, i, value) {
        check_hostile_node(value);
    }
}

// Names that strangers chose: valid JSON in ASCII, whatever they hold, and no key of theirs.
static void hostile(void) {
    static const char *const texts[] = {"\",\"forged\":\"x",
                                        "\\",
                                        "\x01\x1b[2J\x7f",
                                        "\xff\xc0\xaf\x80",
                                        "\xe2\x80\xae\xc2\x9b",
                                        "<!everyone> <http://x|y> &amp; *b* `c`",
                                        "\n\r\t",
                                        ""};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(codecs); j++) {
            CLEANUP(webhook_queue_freep) struct webhook_queue *queue = open_queue(codecs[j], SEVERITY_WARNING);
            struct event event = alarm_event(texts[i], texts[i], SEVERITY_CRITICAL, "raised");
            event.target = event.detail = event.hint = event.holders = texts[i];
            event.used = event.usable = 1;
            webhook_queue_push(queue, &event, NOW, SAMPLE_REALTIME);
            CLEANUP(freep) char *body = take(queue, NOW);
            check_context("text %zu, codec %zu", i, j);
            for (const char *s = body; *s; s++) {
                CHECK((*s >= 0x20 && *s < 0x7f) || (*s == '\n' && s[1] == '\0'));
            }
            if (codecs[j] == &webhook_slack) {
                CHECK(!strpbrk(body, "<>"));
            }
            json_error_t error;
            json_t *node = json_loads(body, JSON_REJECT_DUPLICATES, &error);
            CHECK_NOT_NULL(node);
            check_hostile_node(node);
            json_decref(node);
        }
    }
}

// --- when ------------------------------------------------------------------------------------------------------------

static void other_events_are_not_told(void) {
    CLEANUP(webhook_queue_freep) struct webhook_queue *queue = open_queue(&webhook_json, SEVERITY_WARNING);
    for (unsigned kind = 0; kind < N_EVENT_KINDS; kind++) {
        struct event event = event_make((enum event_kind)kind, EVENT_ERROR, "db");
        event.alarm = kind == EVENT_ALARM ? NULL : "a";
        event.severity = SEVERITY_CRITICAL;
        webhook_queue_push(queue, &event, NOW, SAMPLE_REALTIME);
    }
    push(queue, "never-raised", SEVERITY_NONE, "cleared", 0);
    CHECK_EQ(webhook_queue_n_alerts(queue), 0);
    CHECK_EQ(webhook_queue_due(queue), USEC_INFINITY);
}

static void min_severity(void) {
    CLEANUP(webhook_queue_freep) struct webhook_queue *queue = open_queue(&webhook_json, SEVERITY_CRITICAL);
    push(queue, "a", SEVERITY_WARNING, "raised", 0);
    push(queue, "a", SEVERITY_NONE, "cleared", 1);
    CHECK_EQ(webhook_queue_n_alerts(queue), 0);
    push(queue, "a", SEVERITY_WARNING, "raised", 2);
    push(queue, "a", SEVERITY_CRITICAL, "escalated", 3);
    deliver(queue, NOW, "CRITICAL a, was WARNING");
    // It is over for this receiver, which hears so, and once.
    push(queue, "a", SEVERITY_WARNING, "eased", 4);
    deliver(queue, NOW, "WARNING a, was CRITICAL");
    push(queue, "a", SEVERITY_NONE, "cleared", 5);
    CHECK_EQ(webhook_queue_n_alerts(queue), 0);
    CHECK_EQ(webhook_queue_counts(queue)->sent, 2);
}

static void retries(void) {
    CLEANUP(webhook_queue_freep) struct webhook_queue *queue = open_queue(&webhook_json, SEVERITY_WARNING);
    usec_t now = NOW, longest = 0;
    push(queue, "a", SEVERITY_WARNING, "raised", 0);
    for (unsigned i = 0; i < 20; i++) {
        free(take(queue, now));
        settle_status(queue, 500, now);
        usec_t wait = webhook_queue_due(queue) - now;
        usec_t wanted = MIN(WEBHOOK_FIRST_RETRY << i, WEBHOOK_LAST_RETRY);
        CHECK_GE(wait, wanted - wanted / 4);
        CHECK_LE(wait, wanted + wanted / 4);
        longest = MAX(longest, wait);
        now += wait;
    }
    CHECK_GT(longest, WEBHOOK_LAST_RETRY / 2);
    // What comes meanwhile does not make it hurry; a hand does.
    free(take(queue, now));
    settle_status(queue, 503, now);
    push(queue, "b", SEVERITY_WARNING, "raised", now - NOW);
    CHECK_GT(webhook_queue_due(queue), now + WEBHOOK_LAST_RETRY / 2);
    webhook_queue_hurry(queue);
    deliver(queue, now, "\"a\"");
    deliver(queue, now, "\"b\"");
    check_tells(queue, "server_error|cannot notify oncall: it failed (HTTP status 503); trying again\n"
                       "delivered|notifying oncall again: after 21 failed attempts\n");
    check_tells(queue, "");
    CHECK_EQ(webhook_queue_counts(queue)->retried, 21);
    CHECK_EQ(webhook_queue_counts(queue)->failed, 0);
}

// A receiver that restarts is not worth a line.
static void one_failure_is_not_told(void) {
    CLEANUP(webhook_queue_freep) struct webhook_queue *queue = open_queue(&webhook_json, SEVERITY_WARNING);
    push(queue, "a", SEVERITY_WARNING, "raised", 0);
    free(take(queue, NOW));
    settle_status(queue, 500, NOW);
    check_tells(queue, "");
    deliver(queue, NOW + 2 * USEC_PER_SEC, "\"a\"");
    check_tells(queue, "");
    push(queue, "a", SEVERITY_NONE, "cleared", 1);
    free(take(queue, NOW));
    settle(queue, WEBHOOK_TLS, NOW); // this one does not mend itself
    check_tells(queue, "tls|cannot notify oncall: its certificate or the TLS handshake was refused; trying again\n");
}

static void retry_after(void) {
    CLEANUP(webhook_queue_freep) struct webhook_queue *queue = open_queue(&webhook_json, SEVERITY_WARNING);
    static const struct {
        usec_t asked, waits;
    } cases[] = {{30 * USEC_PER_SEC, 30 * USEC_PER_SEC}, {USEC_PER_DAY, WEBHOOK_MAX_RETRY_AFTER}, {1, 0}};
    push(queue, "a", SEVERITY_WARNING, "raised", 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        webhook_queue_hurry(queue);
        free(take(queue, NOW));
        webhook_queue_settle(
            queue, &(struct webhook_answer){.result = WEBHOOK_BUSY, .status = 429, .retry_after = cases[i].asked}, NOW);
        if (cases[i].waits > 0) {
            CHECK_EQ(webhook_queue_due(queue), NOW + cases[i].waits);
        } else {
            CHECK_GE(webhook_queue_due(queue), NOW + WEBHOOK_FIRST_RETRY / 2);
        }
    }
}

static void statuses(void) {
    static const struct {
        long status;
        enum webhook_result result;
    } cases[] = {
        {200, WEBHOOK_SENT},     {204, WEBHOOK_SENT},     {301, WEBHOOK_REFUSED},      {400, WEBHOOK_REJECTED},
        {401, WEBHOOK_REFUSED},  {404, WEBHOOK_REFUSED},  {408, WEBHOOK_BUSY},         {413, WEBHOOK_REJECTED},
        {422, WEBHOOK_REJECTED}, {429, WEBHOOK_BUSY},     {500, WEBHOOK_SERVER_ERROR}, {503, WEBHOOK_SERVER_ERROR},
        {0, WEBHOOK_PROTOCOL},   {999, WEBHOOK_PROTOCOL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        check_context("%ld", cases[i].status);
        CHECK_EQ(webhook_result_of_status(cases[i].status), cases[i].result);
    }
    for (unsigned i = 0; i < N_WEBHOOK_RESULTS; i++) {
        CHECK_NOT_NULL(webhook_result_to_string((enum webhook_result)i));
    }
}

// A message that is refused three times does not stand in the way of the others.
static void rejected(void) {
    CLEANUP(webhook_queue_freep) struct webhook_queue *queue = open_queue(&webhook_json, SEVERITY_WARNING);
    push(queue, "a", SEVERITY_WARNING, "raised", 0);
    push(queue, "b", SEVERITY_WARNING, "raised", 0);
    for (unsigned i = 0; i < WEBHOOK_MAX_REJECTIONS; i++) {
        CHECK_EQ(webhook_queue_counts(queue)->failed, 0);
        webhook_queue_hurry(queue);
        CLEANUP(freep) char *body = take(queue, NOW);
        CHECK_CONTAINS(body, "\"a\"");
        settle_status(queue, 400, NOW);
    }
    webhook_queue_hurry(queue);
    deliver(queue, NOW, "\"b\"");
    CHECK_EQ(webhook_queue_counts(queue)->failed, 1);
    check_tells(queue,
                "rejected|cannot notify oncall: it refuses the message (HTTP status 400); trying again\n"
                "given_up|cannot notify oncall: it refuses the message (HTTP status 400); gave up to tell of 1 alarm\n"
                "delivered|notifying oncall again: after 3 failed attempts\n");
    // Its end is told all the same: perhaps that is what it takes.
    push(queue, "a", SEVERITY_NONE, "cleared", 1);
    deliver(queue, NOW, "cleared a");
}

static usec_t fail_until_given_up(struct webhook_queue *queue, usec_t now, long status) {
    uint64_t before = webhook_queue_counts(queue)->failed;
    for (unsigned i = 0; i < 10000 && webhook_queue_counts(queue)->failed == before; i++) {
        now = MAX(now, webhook_queue_due(queue));
        free(take(queue, now));
        settle_status(queue, status, now);
    }
    return now;
}

static void refused(void) {
    CLEANUP(webhook_queue_freep) struct webhook_queue *queue = open_queue(&webhook_slack, SEVERITY_WARNING);
    push(queue, "a", SEVERITY_WARNING, "raised", 0);
    usec_t now = fail_until_given_up(queue, NOW, 404);
    CHECK_GE(now - NOW, WEBHOOK_REFUSED_FOR);
    CHECK_LE(now - NOW, WEBHOOK_REFUSED_FOR + 2 * WEBHOOK_LAST_RETRY);
    CHECK_EQ(webhook_queue_due(queue), USEC_INFINITY);
    CHECK_EQ(webhook_queue_n_alerts(queue), 1);
    check_tells(queue, "refused|cannot notify oncall: it refuses us (HTTP status 404); trying again\n"
                       "given_up|cannot notify oncall: it refuses us (HTTP status 404); gave up to tell of 1 alarm\n");
    webhook_queue_hurry(queue);
    push(queue, "a", SEVERITY_NONE, "cleared", now - NOW);
    deliver(queue, now, "cleared a");
}

// A server that fails is tried for as long as the alarm stands, and a day longer.
static void unanswered(void) {
    CLEANUP(webhook_queue_freep) struct webhook_queue *queue = open_queue(&webhook_slack, SEVERITY_WARNING);
    usec_t now = NOW;
    push(queue, "a", SEVERITY_WARNING, "raised", 0);
    while (now < NOW + 3 * USEC_PER_DAY) {
        now = MAX(now, webhook_queue_due(queue));
        free(take(queue, now));
        settle(queue, WEBHOOK_UNREACHABLE, now);
    }
    CHECK_EQ(webhook_queue_counts(queue)->failed, 0);
    usec_t ended = now;
    push(queue, "a", SEVERITY_NONE, "cleared", now - NOW);
    now = fail_until_given_up(queue, now, 500);
    CHECK_GE(now - ended, WEBHOOK_ENDED_FOR);
    CHECK_LE(now - ended, WEBHOOK_ENDED_FOR + 2 * WEBHOOK_LAST_RETRY);
    CHECK_EQ(webhook_queue_n_alerts(queue), 0);
    CHECK_EQ(webhook_queue_counts(queue)->superseded, 1);
}

static void coalesces(void) {
    CLEANUP(webhook_queue_freep) struct webhook_queue *queue = open_queue(&webhook_slack, SEVERITY_WARNING);
    push(queue, "a", SEVERITY_WARNING, "raised", 0);
    push(queue, "b", SEVERITY_WARNING, "raised", 0);
    push(queue, "a", SEVERITY_CRITICAL, "escalated", 1);
    push(queue, "a", SEVERITY_NONE, "cleared", 2);
    CHECK_EQ(webhook_queue_n_owed(queue), 2);
    deliver(queue, NOW, "WARNING b"); // in the order of the last changes
    deliver(queue, NOW, "cleared a"); // a pair is never lost without a trace
    CHECK_EQ(webhook_queue_counts(queue)->superseded, 2);
    CHECK_EQ(webhook_queue_counts(queue)->sent, 2);
    CHECK_EQ(webhook_queue_n_alerts(queue), 1);
}

static void same_name_elsewhere_is_another(void) {
    CLEANUP(webhook_queue_freep) struct webhook_queue *queue = open_queue(&webhook_json, SEVERITY_WARNING);
    static const char *const places[][2] = {{"db", NULL}, {"db", "x"},  {"db", "y"},
                                            {"b", NULL},  {NULL, NULL}, {NULL, "x"}};
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        struct event event = alarm_event("a", places[i][1], SEVERITY_WARNING, "raised");
        event.target = places[i][0];
        webhook_queue_push(queue, &event, NOW, SAMPLE_REALTIME);
        webhook_queue_push(queue, &event, NOW, SAMPLE_REALTIME);
        CHECK_EQ(webhook_queue_n_alerts(queue), i + 1);
    }
}

static void bounded(void) {
    CLEANUP(webhook_queue_freep) struct webhook_queue *queue = open_queue(&webhook_json, SEVERITY_WARNING);
    char name[20];
    for (unsigned i = 0; i < WEBHOOK_MAX_ALERTS + 3; i++) {
        (void)snprintf(name, sizeof(name), "a%u", i);
        push(queue, name, SEVERITY_WARNING, "raised", 0);
    }
    CHECK_EQ(webhook_queue_n_alerts(queue), WEBHOOK_MAX_ALERTS);
    CHECK_EQ(webhook_queue_counts(queue)->dropped, 3);
    check_tells(queue, "dropped|cannot notify oncall: no room or no memory, dropped changes of 3 alarms\n");
    push(queue, name, SEVERITY_NONE, "cleared", 1); // of one that was dropped
    push(queue, "a0", SEVERITY_NONE, "cleared", 1);
    CHECK_EQ(webhook_queue_counts(queue)->dropped, 3);
    for (unsigned i = 1; i < WEBHOOK_MAX_ALERTS; i++) {
        deliver(queue, NOW, "WARNING");
    }
    deliver(queue, NOW, "cleared a0");
    push(queue, name, SEVERITY_WARNING, "raised", 2);
    deliver(queue, NOW, name);
}

static void seeds(void) {
    CLEANUP(webhook_queue_freep) struct webhook_queue *standing = open_queue(NULL, SEVERITY_WARNING);
    push(standing, "a", SEVERITY_WARNING, "raised", 0);
    push(standing, "b", SEVERITY_CRITICAL, "raised", 0);
    push(standing, "c", SEVERITY_CRITICAL, "raised", 0);
    push(standing, "c", SEVERITY_NONE, "cleared", 0);
    CHECK_EQ(webhook_queue_n_alerts(standing), 2);
    CHECK_EQ(webhook_queue_n_owed(standing), 0);
    CHECK_EQ(webhook_queue_due(standing), USEC_INFINITY);
    CLEANUP(webhook_queue_freep) struct webhook_queue *queue = open_queue(&webhook_slack, SEVERITY_CRITICAL);
    webhook_queue_seed(queue, standing, NOW);
    webhook_queue_seed(queue, standing, NOW);
    deliver(queue, NOW, "CRITICAL b");
    CHECK_EQ(webhook_queue_due(queue), USEC_INFINITY);
    webhook_queue_set_min_severity(queue, SEVERITY_WARNING);
    webhook_queue_seed(queue, standing, NOW);
    deliver(queue, NOW, "WARNING a");
    CHECK_EQ(webhook_queue_counts(queue)->sent, 2);
}

static void discards(void) {
    CLEANUP(webhook_queue_freep) struct webhook_queue *queue = open_queue(&webhook_slack, SEVERITY_WARNING);
    push(queue, "a", SEVERITY_WARNING, "raised", 0);
    push(queue, "b", SEVERITY_WARNING, "raised", 0);
    push(queue, "c", SEVERITY_WARNING, "raised", 0);
    deliver(queue, NOW, "WARNING a");
    free(take(queue, NOW));
    webhook_queue_discard(queue);
    CHECK_EQ(webhook_queue_n_alerts(queue), 0);
    CHECK_EQ(webhook_queue_counts(queue)->dropped, 2);
    CHECK_EQ(webhook_queue_due(queue), USEC_INFINITY);
    check_tells(queue, "dropped|cannot notify oncall: the output ends and still owed 2 alarms\n");
    webhook_queue_discard(queue);
    check_tells(queue, "");
}

static void settings_say_why(void) {
    CLEANUP(webhook_queue_freep) struct webhook_queue *queue = open_queue(&webhook_slack, SEVERITY_WARNING);
    push(queue, "a", SEVERITY_WARNING, "raised", 0);
    free(take(queue, NOW));
    webhook_queue_settle(
        queue, &(struct webhook_answer){.result = WEBHOOK_SETTINGS, .why = "url_file: No such file or directory"}, NOW);
    check_tells(queue,
                "settings|cannot notify oncall: its settings cannot be used (url_file: No such file or directory); "
                "trying again\n");
}

// --- memory ----------------------------------------------------------------------------------------------------------

static int sweep_take(void *userdata) {
    CLEANUP(strbuf_deinit) struct strbuf body = STRBUF_EMPTY;
    const struct webhook_queue_options options = {
        .name = "oncall", .codec = userdata, .min_severity = SEVERITY_WARNING, .seed = 1};
    CLEANUP(webhook_queue_freep) struct webhook_queue *queue = webhook_queue_new(&options);
    if (!queue) {
        return -ENOMEM;
    }
    push(queue, "a", SEVERITY_WARNING, "raised", 0);
    if (webhook_queue_n_alerts(queue) == 0) {
        CHECK_EQ(webhook_queue_counts(queue)->dropped, 1);
        return -ENOMEM;
    }
    int r = webhook_queue_take(queue, NOW, SAMPLE_REALTIME, &body);
    if (r < 0) {
        CHECK_EQ(webhook_queue_n_owed(queue), 1);
        CHECK_GT(webhook_queue_due(queue), NOW);
    }
    // Words may be missing, what it is about is not.
    return r < 0 ? r : strstr(strbuf_str(&body), "<!channel>") || strstr(strbuf_str(&body), "&lt;!ch") ? 0 : -ENOMEM;
}

static void out_of_memory(void) {
    for (size_t i = 0; i < ARRAY_SIZE(codecs); i++) {
        oom_sweep(sweep_take, (void *)(uintptr_t)codecs[i]);
    }
}

// That it ended is told, if without its words.
static void out_of_memory_at_the_end(void) {
    CLEANUP(webhook_queue_freep) struct webhook_queue *queue = open_queue(&webhook_json, SEVERITY_WARNING);
    push(queue, "a", SEVERITY_WARNING, "raised", 0);
    deliver(queue, NOW, "WARNING a");
    oom_arm(1);
    push(queue, "a", SEVERITY_NONE, "cleared", 1);
    CHECK(oom_disarm());
    deliver(queue, NOW, "\"message\":\"db: cleared a\"");
    CHECK_EQ(webhook_queue_n_alerts(queue), 0);
}

// --- simulation ------------------------------------------------------------------------------------------------------

#define SIM_N_ALARMS 5
#define SIM_STEPS 400
#define SIM_SEEDS 50

struct sim {
    uint64_t random;
    const struct webhook_codec *codec;
    enum severity min_severity;
    struct webhook_queue *queue;
    enum severity truth[SIM_N_ALARMS];
    usec_t now;
    // What the receiver knows. Alertmanager: until when each severity stands; others: the last that they heard.
    usec_t ends_at[SIM_N_ALARMS][SEVERITY_CRITICAL + 1];
    enum severity heard[SIM_N_ALARMS];
    usec_t heard_at[SIM_N_ALARMS];
};

static unsigned sim_random(struct sim *sim, unsigned n) {
    sim->random = sim->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(sim->random >> 33) % n;
}

static usec_t sim_realtime(const struct sim *sim) {
    return SAMPLE_REALTIME / USEC_PER_DAY * USEC_PER_DAY + sim->now;
}

static void sim_change(struct sim *sim) {
    static const char *const names[] = {"a0", "a1", "a2", "a3", "a4"};
    unsigned i = sim_random(sim, SIM_N_ALARMS);
    enum severity before = sim->truth[i], after = (enum severity)sim_random(sim, 3);
    if (before != after) {
        const char *reason = after == SEVERITY_NONE    ? "cleared"
                             : before == SEVERITY_NONE ? "raised"
                             : after > before          ? "escalated"
                                                       : "eased";
        struct event event = alarm_event(names[i], NULL, after, reason);
        sim->truth[i] = after;
        webhook_queue_push(sim->queue, &event, sim->now, sim_realtime(sim));
    }
}

// Of one day: "2025-01-02T03:04:05.678Z".
static usec_t sim_parse_time(const char *text) {
    unsigned day, hour, minute, second, msec;
    CHECK_EQ(sscanf(text, "2025-01-%uT%u:%u:%u.%uZ", &day, &hour, &minute, &second, &msec), 5);
    usec_t base = SAMPLE_REALTIME / USEC_PER_DAY * USEC_PER_DAY;
    return base + (usec_t)(day - 2) * USEC_PER_DAY + hour * USEC_PER_HOUR + minute * USEC_PER_MINUTE +
           second * USEC_PER_SEC + msec * USEC_PER_MSEC;
}

static const char *sim_text(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    CHECK_NOT_NULL(text);
    return text;
}

static unsigned sim_severity(const char *text) {
    return strcmp(text, "critical") == 0 ? SEVERITY_CRITICAL : strcmp(text, "warning") == 0 ? SEVERITY_WARNING : 0;
}

static void sim_receive(struct sim *sim, const char *body) {
    json_error_t error;
    json_t *node = json_loads(body, 0, &error), *alert;
    size_t at;
    CHECK_NOT_NULL(node);
    json_array_foreach(node, at, alert) {
        const json_t *labels = json_object_get(alert, "labels");
        size_t i = (size_t)(sim_text(labels, "alarm")[1] - '0');
        usec_t starts = sim_parse_time(sim_text(alert, "startsAt")), ends = sim_parse_time(sim_text(alert, "endsAt"));
        CHECK_LE(starts, ends);
        sim->ends_at[i][sim_severity(sim_text(labels, "severity"))] = ends;
    }
    if (sim->codec == &webhook_json) {
        size_t i = (size_t)(sim_text(node, "alarm")[1] - '0');
        usec_t ts = sim_parse_time(sim_text(node, "ts"));
        CHECK_GE(ts, sim->heard_at[i]); // never an older change after a newer one
        sim->heard_at[i] = ts;
        sim->heard[i] = (enum severity)sim_severity(sim_text(node, "severity"));
    }
    json_decref(node);
}

// One attempt: it may be lost on the way there, or its answer on the way back.
static void sim_attempt(struct sim *sim, bool works) {
    CLEANUP(strbuf_deinit) struct strbuf body = STRBUF_EMPTY;
    if (webhook_queue_due(sim->queue) > sim->now) {
        return;
    }
    CHECK_EQ(webhook_queue_take(sim->queue, sim->now, sim_realtime(sim), &body), 0);
    unsigned luck = works ? 0 : sim_random(sim, 4);
    if (sim_random(sim, 3) == 0) {
        sim_change(sim); // while it is under way
    }
    if (luck < 2) {
        sim_receive(sim, strbuf_str(&body));
    }
    settle(sim->queue, luck == 0 ? WEBHOOK_SENT : luck == 1 ? WEBHOOK_TIMEOUT : WEBHOOK_UNREACHABLE, sim->now);
}

static void sim_check(const struct sim *sim) {
    for (unsigned i = 0; i < SIM_N_ALARMS; i++) {
        enum severity truth = sim->truth[i] < sim->min_severity ? SEVERITY_NONE : sim->truth[i];
        check_context("alarm %u", i);
        if (sim->codec == &webhook_alertmanager) {
            for (unsigned s = SEVERITY_WARNING; s <= SEVERITY_CRITICAL; s++) {
                CHECK_EQ(sim->ends_at[i][s] > sim_realtime(sim), s == truth);
            }
        } else {
            CHECK_EQ(sim->heard[i] < sim->min_severity ? SEVERITY_NONE : sim->heard[i], truth);
        }
    }
}

static void sim_run(uint64_t seed, const struct webhook_codec *codec) {
    struct sim sim = {.random = seed, .codec = codec, .now = NOW};
    sim.min_severity = sim_random(&sim, 2) ? SEVERITY_WARNING : SEVERITY_CRITICAL;
    sim.queue = open_queue(codec, sim.min_severity);
    for (unsigned i = 0; i < SIM_STEPS; i++) {
        sim.now += sim_random(&sim, 20000) * USEC_PER_MSEC;
        if (sim_random(&sim, 2)) {
            sim_change(&sim);
        }
        sim_attempt(&sim, false);
    }
    // It works again: soon all is as it should be, and stays so.
    for (unsigned i = 0; i < 100; i++) {
        sim.now += 5 * USEC_PER_SEC;
        sim_attempt(&sim, true);
        if (i > 40 && webhook_queue_n_owed(sim.queue) == 0) {
            sim_check(&sim);
        }
    }
    CHECK_LE(webhook_queue_n_owed(sim.queue), 1);
    webhook_queue_free(sim.queue);
}

static void simulation(void) {
    for (uint64_t seed = 1; seed <= SIM_SEEDS; seed++) {
        check_context("seed %llu", (unsigned long long)seed);
        sim_run(seed, &webhook_alertmanager);
        sim_run(seed, &webhook_json);
    }
}

CHECK_MAIN({"alertmanager", alertmanager}, {"alertmanager_leaves_nothing_behind", alertmanager_leaves_nothing_behind},
           {"alertmanager_repeats", alertmanager_repeats}, {"slack", slack}, {"json", json}, {"hostile", hostile},
           {"other_events_are_not_told", other_events_are_not_told}, {"min_severity", min_severity},
           {"retries", retries}, {"one_failure_is_not_told", one_failure_is_not_told}, {"retry_after", retry_after},
           {"statuses", statuses}, {"rejected", rejected}, {"refused", refused}, {"unanswered", unanswered},
           {"coalesces", coalesces}, {"same_name_elsewhere_is_another", same_name_elsewhere_is_another},
           {"bounded", bounded}, {"seeds", seeds}, {"discards", discards}, {"settings_say_why", settings_say_why},
           {"out_of_memory", out_of_memory}, {"out_of_memory_at_the_end", out_of_memory_at_the_end},
           {"simulation", simulation})
