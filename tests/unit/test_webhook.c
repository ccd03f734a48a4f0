// SPDX-License-Identifier: PostgreSQL

// What receivers are sent.

#include "output/webhook.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "support/oom.h"
#include "webhook_world.h"

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

// Alertmanager holds an alert that ends in the future for one that stands.
static void alertmanager_after_a_step_of_the_clock(void) {
    CLEANUP(webhook_queue_freep) struct webhook_queue *queue = open_queue(&webhook_alertmanager, SEVERITY_WARNING);
    CLEANUP(strbuf_deinit) struct strbuf ended = STRBUF_EMPTY, stands = STRBUF_EMPTY;
    const usec_t back = SAMPLE_REALTIME - USEC_PER_HOUR;
    push(queue, "a", SEVERITY_WARNING, "raised", 0);
    push(queue, "a", SEVERITY_NONE, "cleared", USEC_PER_SEC);
    CHECK_EQ(webhook_queue_take(queue, NOW + USEC_PER_MINUTE, back, &ended), 0);
    CHECK_CONTAINS(strbuf_str(&ended), "\"startsAt\":\"2025-01-02T02:04:05.678Z\"");
    CHECK_CONTAINS(strbuf_str(&ended), "\"endsAt\":\"2025-01-02T02:04:05.678Z\"");
    settle(queue, WEBHOOK_SENT, NOW + USEC_PER_MINUTE);
    push(queue, "b", SEVERITY_WARNING, "raised", 0);
    CHECK_EQ(webhook_queue_take(queue, NOW + USEC_PER_MINUTE, back, &stands), 0);
    CHECK_CONTAINS(strbuf_str(&stands), "\"startsAt\":\"2025-01-02T02:04:05.678Z\"");
    CHECK_CONTAINS(strbuf_str(&stands), "\"endsAt\":\"2025-01-02T02:08:05.678Z\"");
    settle(queue, WEBHOOK_SENT, NOW + USEC_PER_MINUTE);
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

CHECK_MAIN({"alertmanager", alertmanager}, {"alertmanager_leaves_nothing_behind", alertmanager_leaves_nothing_behind},
           {"alertmanager_repeats", alertmanager_repeats},
           {"alertmanager_after_a_step_of_the_clock", alertmanager_after_a_step_of_the_clock}, {"slack", slack},
           {"json", json}, {"hostile", hostile}, {"out_of_memory", out_of_memory})
