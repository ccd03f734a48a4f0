// SPDX-License-Identifier: PostgreSQL

// When a receiver is told, how often it is tried, and what is given up.

#include "output/webhook.h"

#include <stdio.h>
#include <stdlib.h>

#include "support/oom.h"
#include "webhook_world.h"

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

// After a reload: what the output was not told because it did not want to hear it, although its end is still owed, and
// what it would not take.
static void seeds_what_was_not_heard(void) {
    CLEANUP(webhook_queue_freep) struct webhook_queue *standing = open_queue(NULL, SEVERITY_WARNING);
    CLEANUP(webhook_queue_freep) struct webhook_queue *queue = open_queue(&webhook_slack, SEVERITY_CRITICAL);
    push(standing, "a", SEVERITY_CRITICAL, "raised", 0);
    push(queue, "a", SEVERITY_CRITICAL, "raised", 0);
    push(standing, "a", SEVERITY_WARNING, "eased", 1);
    push(queue, "a", SEVERITY_WARNING, "eased", 1);
    webhook_queue_set_min_severity(queue, SEVERITY_WARNING);
    webhook_queue_seed(queue, standing, NOW + 1);
    deliver(queue, NOW + 1, "WARNING a, was CRITICAL");
    CHECK_EQ(webhook_queue_n_alerts(queue), 1);

    push(standing, "b", SEVERITY_WARNING, "raised", 2);
    push(queue, "b", SEVERITY_WARNING, "raised", 2);
    (void)fail_until_given_up(queue, NOW + 2, 400);
    CHECK_EQ(webhook_queue_n_owed(queue), 0);
    webhook_queue_hurry(queue);
    webhook_queue_seed(queue, standing, NOW + 3);
    deliver(queue, NOW + 3, "WARNING b");
    webhook_queue_seed(queue, standing, NOW + 4);
    CHECK_EQ(webhook_queue_n_owed(queue), 0);
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

CHECK_MAIN({"other_events_are_not_told", other_events_are_not_told}, {"min_severity", min_severity},
           {"retries", retries}, {"one_failure_is_not_told", one_failure_is_not_told}, {"retry_after", retry_after},
           {"statuses", statuses}, {"rejected", rejected}, {"refused", refused}, {"unanswered", unanswered},
           {"coalesces", coalesces}, {"same_name_elsewhere_is_another", same_name_elsewhere_is_another},
           {"bounded", bounded}, {"seeds", seeds}, {"seeds_what_was_not_heard", seeds_what_was_not_heard},
           {"discards", discards}, {"settings_say_why", settings_say_why},
           {"out_of_memory_at_the_end", out_of_memory_at_the_end})
