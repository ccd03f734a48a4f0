// SPDX-License-Identifier: PostgreSQL
#include "core/tally.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "support/check.h"
#include "support/oom.h"

static struct event of_kind(enum event_kind kind, const char *rule) {
    struct event event = event_make(kind, EVENT_NOTICE, "db");
    event.rule = rule;
    event.has_action = true;
    event.action = ACTION_TERMINATE;
    return event;
}

static struct event outcome(const char *app, enum outcome is) {
    struct event event = of_kind(EVENT_OUTCOME, "idle");
    event.app = app;
    event.outcome = is;
    return event;
}

// The count of the series with these values, "a|b|c"; 0: there is none.
static uint64_t count_of(const struct tally *tally, enum tally_family family, const char *values) {
    size_t n;
    const struct tally_series *series = tally_list(tally, family, &n);
    for (size_t i = 0; i < n; i++) {
        char text[512] = "";
        for (size_t j = 0; j < tally_n_labels(family); j++) {
            size_t len = strlen(text);
            (void)snprintf(text + len, sizeof(text) - len, "%s%s", j ? "|" : "", series[i].values[j]);
        }
        if (strcmp(text, values) == 0) {
            return series[i].count;
        }
    }
    return 0;
}

static uint64_t count_all(const struct tally *tally, enum tally_family family) {
    size_t n;
    const struct tally_series *series = tally_list(tally, family, &n);
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += series[i].count;
    }
    return sum;
}

static void decisions(void) {
    CLEANUP(tally_freep) struct tally *tally = tally_new();
    struct event event = of_kind(EVENT_DECISION, "idle");
    tally_count(tally, &event);
    tally_count(tally, &event);
    event.action = ACTION_LOG;
    tally_count(tally, &event);
    event.action = ACTION_TERMINATE;
    event.observe = true;
    tally_count(tally, &event);
    CHECK_EQ(count_of(tally, TALLY_DECISIONS, "db|idle|terminate"), 2u);
    CHECK_EQ(count_of(tally, TALLY_DECISIONS, "db|idle|log"), 1u);
    // What would have been is no decision: it was held back.
    CHECK_EQ(count_all(tally, TALLY_DECISIONS), 3u);
    CHECK_EQ(count_of(tally, TALLY_HELD_BACK, "db|idle|observe"), 1u);
    CHECK_EQ(tally_n_events(tally, EVENT_DECISION), 4u);
}

static void outcomes(void) {
    CLEANUP(tally_freep) struct tally *tally = tally_new();
    struct event event = outcome("worker", OUTCOME_GONE);
    event.took = 20 * USEC_PER_MSEC;
    tally_count(tally, &event);
    event.took = USEC_INFINITY;
    tally_count(tally, &event);
    event.outcome = OUTCOME_CHANGED;
    tally_count(tally, &event);
    CHECK_EQ(count_of(tally, TALLY_OUTCOMES, "db|idle|worker|terminate|gone"), 2u);
    CHECK_EQ(count_of(tally, TALLY_OUTCOMES, "db|idle|worker|terminate|changed"), 1u);
    CHECK_EQ(tally_n_gone(tally), 2u);

    size_t n;
    const struct tally_death *deaths = tally_deaths(tally, &n);
    CHECK_EQ(n, 1u);
    CHECK_STR(deaths[0].target, "db");
    CHECK_EQ(deaths[0].took.count, 1u);
    CHECK_EQ(deaths[0].took.sum, 20 * USEC_PER_MSEC);
    CHECK_EQ(deaths[0].took.counts[2], 1u); // up to 25 ms
}

static void held_back(void) {
    CLEANUP(tally_freep) struct tally *tally = tally_new();
    struct event event = of_kind(EVENT_HELD_BACK, "idle");
    event.reason = "protected";
    event.count = 7;
    tally_count(tally, &event);
    event.count = 2;
    tally_count(tally, &event);
    event.reason = "unrecorded";
    event.count = EVENT_NUMBER_NONE;
    tally_count(tally, &event);
    CHECK_EQ(count_of(tally, TALLY_HELD_BACK, "db|idle|protected"), 9u);
    CHECK_EQ(count_of(tally, TALLY_HELD_BACK, "db|idle|unrecorded"), 1u);
}

static void notifications(void) {
    CLEANUP(tally_freep) struct tally *tally = tally_new();
    tally_count_notification(tally, "oncall", "sent", 2);
    tally_count_notification(tally, "oncall", "dropped", 1);
    CHECK_EQ(count_of(tally, TALLY_NOTIFICATIONS, "oncall|sent"), 2u);
    CHECK_EQ(count_of(tally, TALLY_NOTIFICATIONS, "oncall|dropped"), 1u);
}

static void other_events_are_counted_by_kind(void) {
    CLEANUP(tally_freep) struct tally *tally = tally_new();
    for (unsigned kind = 0; kind < N_EVENT_KINDS; kind++) {
        const struct event bare = event_make((enum event_kind)kind, EVENT_INFO, NULL);
        tally_count(tally, &bare);
        CHECK_EQ(tally_n_events(tally, (enum event_kind)kind), 1u);
    }
}

// Labels that run into each other are told apart.
static void labels_do_not_run_together(void) {
    CLEANUP(tally_freep) struct tally *tally = tally_new();
    tally_count_notification(tally, "a", "bc", 1);
    tally_count_notification(tally, "ab", "c", 2);
    CHECK_EQ(count_of(tally, TALLY_NOTIFICATIONS, "a|bc"), 1u);
    CHECK_EQ(count_of(tally, TALLY_NOTIFICATIONS, "ab|c"), 2u);
}

static void strangers_are_bounded(void) {
    CLEANUP(tally_freep) struct tally *tally = tally_new();
    char app[32];
    for (unsigned i = 0; i < 10000; i++) {
        (void)snprintf(app, sizeof(app), "\"%u\"", i);
        const struct event event = outcome(app, OUTCOME_GONE);
        tally_count(tally, &event);
    }
    size_t n;
    (void)tally_list(tally, TALLY_OUTCOMES, &n);
    CHECK_EQ(n, TALLY_MAX_STRANGERS + 1u);
    CHECK_EQ(count_of(tally, TALLY_OUTCOMES, "db|idle|\"0\"|terminate|gone"), 1u);
    CHECK_EQ(count_of(tally, TALLY_OUTCOMES, "db|idle|other|terminate|gone"), 10000u - TALLY_MAX_STRANGERS);
    // They take no place from the apps of the file.
    const struct event named = outcome("worker", OUTCOME_GONE);
    tally_count(tally, &named);
    CHECK_EQ(count_of(tally, TALLY_OUTCOMES, "db|idle|worker|terminate|gone"), 1u);
}

static void series_are_bounded_and_nothing_is_lost(void) {
    CLEANUP(tally_freep) struct tally *tally = tally_new();
    char rule[32];
    enum { N = 5000 };
    for (unsigned i = 0; i < N; i++) {
        (void)snprintf(rule, sizeof(rule), "rule-%u", i);
        struct event event = outcome("worker", i % 2 ? OUTCOME_GONE : OUTCOME_LEFT);
        event.rule = rule;
        tally_count(tally, &event);
    }
    size_t n;
    (void)tally_list(tally, TALLY_OUTCOMES, &n);
    CHECK_EQ(n, TALLY_MAX_SERIES + 2u);
    // What is our own word is kept.
    CHECK_EQ(count_of(tally, TALLY_OUTCOMES, "other|other|other|terminate|gone"), (N - TALLY_MAX_SERIES) / 2u);
    CHECK_EQ(count_of(tally, TALLY_OUTCOMES, "other|other|other|terminate|left"), (N - TALLY_MAX_SERIES) / 2u);
    CHECK_EQ(count_all(tally, TALLY_OUTCOMES), (uint64_t)N);
    // Those that have a place keep it.
    struct event event = outcome("worker", OUTCOME_GONE);
    event.rule = "rule-1";
    tally_count(tally, &event);
    CHECK_EQ(count_of(tally, TALLY_OUTCOMES, "db|rule-1|worker|terminate|gone"), 2u);
}

static void targets_are_bounded(void) {
    CLEANUP(tally_freep) struct tally *tally = tally_new();
    char target[32];
    enum { N = TALLY_MAX_TARGETS + 10 };
    for (unsigned i = 0; i < N; i++) {
        struct event event = outcome("worker", OUTCOME_GONE);
        (void)snprintf(target, sizeof(target), "db-%u", i);
        event.target = target;
        event.took = USEC_PER_SEC;
        tally_count(tally, &event);
    }
    size_t n;
    const struct tally_death *deaths = tally_deaths(tally, &n);
    CHECK_EQ(n, TALLY_MAX_TARGETS + 1u);
    CHECK_STR(deaths[0].target, TALLY_OTHER);
    CHECK_EQ(deaths[0].took.count, 10u);
}

static void beyond_the_last_bound(void) {
    struct histogram histogram = {.bounds = &histogram_of_deaths};
    histogram_add(&histogram, USEC_PER_HOUR);
    histogram_add(&histogram, histogram_of_deaths.at[0]); // bounds are inclusive
    CHECK_EQ(histogram.counts[HISTOGRAM_N_BOUNDS], 1u);
    CHECK_EQ(histogram.counts[0], 1u);
    for (size_t i = 1; i < HISTOGRAM_N_BOUNDS; i++) {
        CHECK_LT(histogram_of_deaths.at[i - 1], histogram_of_deaths.at[i]);
        CHECK_LT(histogram_of_polls.at[i - 1], histogram_of_polls.at[i]);
    }
}

// Whichever allocation fails while it counts: the sum is right.
static void no_memory_loses_nothing(void) {
    for (unsigned nth = 1;; nth++) {
        CLEANUP(tally_freep) struct tally *tally = tally_new();
        struct event gone = outcome("worker", OUTCOME_GONE), decision = of_kind(EVENT_DECISION, "idle");
        gone.took = USEC_PER_SEC;
        check_context("allocation %u failing", nth);
        oom_arm(nth);
        for (unsigned i = 0; i < 3; i++) {
            tally_count(tally, &gone);
            tally_count(tally, &decision);
        }
        bool fired = oom_disarm();
        size_t n;
        const struct tally_death *deaths = tally_deaths(tally, &n);
        uint64_t n_deaths = 0;
        for (size_t i = 0; i < n; i++) {
            n_deaths += deaths[i].took.count;
        }
        CHECK_EQ(count_all(tally, TALLY_OUTCOMES), 3u);
        CHECK_EQ(count_all(tally, TALLY_DECISIONS), 3u);
        CHECK_EQ(n_deaths, 3u);
        if (!fired) {
            CHECK_GT(nth, 3u);
            return;
        }
    }
}

// Not even the key can be built: all of it goes to the last resort.
static void no_memory_at_all(void) {
    CLEANUP(tally_freep) struct tally *tally = tally_new();
    const struct event gone = outcome("worker", OUTCOME_GONE);
    for (unsigned i = 0; i < 5; i++) {
        oom_arm(1);
        tally_count(tally, &gone);
        (void)oom_disarm();
    }
    CHECK_EQ(count_all(tally, TALLY_OUTCOMES), 5u);
    CHECK_GE(count_of(tally, TALLY_OUTCOMES, "other|other|other|terminate|gone") +
                 count_of(tally, TALLY_OUTCOMES, "other|other|other|other|other"),
             1u);
}

static int make(void *userdata) {
    CLEANUP(tally_freep) struct tally *tally = tally_new();
    (void)userdata;
    return tally ? 0 : -ENOMEM;
}

static void oom_while_made(void) {
    oom_sweep(make, NULL);
    CHECK_NULL(tally_free(NULL));
}

CHECK_MAIN({"decisions", decisions}, {"outcomes", outcomes}, {"held_back", held_back}, {"notifications", notifications},
           {"other_events_are_counted_by_kind", other_events_are_counted_by_kind},
           {"labels_do_not_run_together", labels_do_not_run_together}, {"strangers_are_bounded", strangers_are_bounded},
           {"series_are_bounded_and_nothing_is_lost", series_are_bounded_and_nothing_is_lost},
           {"targets_are_bounded", targets_are_bounded}, {"beyond_the_last_bound", beyond_the_last_bound},
           {"no_memory_loses_nothing", no_memory_loses_nothing}, {"no_memory_at_all", no_memory_at_all},
           {"oom_while_made", oom_while_made})
