// SPDX-License-Identifier: PostgreSQL
#include "../../src/core/forecast.h"

#include "support/check.h"

#define START (1000 * USEC_PER_SEC)
#define POLL (5 * USEC_PER_SEC)
#define USABLE 97

// Repeatable noise in -n..n.
static int64_t noise(unsigned *state, int64_t n) {
    *state = *state * 1103515245u + 12345u;
    return (int64_t)((*state >> 16) % (unsigned)(2 * n + 1)) - n;
}

struct feed {
    struct forecast forecast;
    usec_t at;
};

static void feed_add(struct feed *feed, int64_t used) {
    forecast_add(&feed->forecast, START + feed->at, used, USABLE);
    feed->at += POLL;
}

// `used` for that long.
static void feed_flat(struct feed *feed, int64_t used, usec_t duration) {
    for (usec_t end = feed->at + duration; feed->at < end;) {
        feed_add(feed, used);
    }
}

// From `from` on, one more slot each `each`.
static int64_t feed_rise(struct feed *feed, int64_t from, usec_t each, usec_t duration) {
    int64_t used = from;
    for (usec_t start = feed->at; feed->at < start + duration;) {
        used = from + (int64_t)((feed->at - start) / each);
        feed_add(feed, used);
    }
    return used;
}

static bool is_known(const struct feed *feed, usec_t *left) {
    return forecast_time_to_full(&feed->forecast, USABLE, left);
}

static void check_never(const struct feed *feed) {
    usec_t left = 0;
    CHECK(is_known(feed, &left));
    CHECK_EQ(left, USEC_INFINITY);
}

static void silent_without_data(void) {
    struct feed feed = {0};
    usec_t left;
    CHECK(!is_known(&feed, &left));
    feed_rise(&feed, 20, 10 * USEC_PER_SEC, 115 * USEC_PER_SEC);
    CHECK(!is_known(&feed, &left)); // not two minutes yet
    feed_rise(&feed, 32, 10 * USEC_PER_SEC, 30 * USEC_PER_SEC);
    CHECK(is_known(&feed, &left));
    // Two minutes, but too few readings.
    feed = (struct feed){0};
    for (unsigned i = 0; i + 1 < FORECAST_MIN_SAMPLES; i++) {
        forecast_add(&feed.forecast, START + i * USEC_PER_MINUTE, 20 + i, USABLE);
    }
    CHECK(!is_known(&feed, &left));
}

static void follows_a_leak(void) {
    struct feed feed = {0};
    usec_t left;
    int64_t used = feed_rise(&feed, 20, 10 * USEC_PER_SEC, 5 * USEC_PER_MINUTE);
    CHECK(is_known(&feed, &left));
    usec_t exact = (usec_t)(USABLE - used) * 10 * USEC_PER_SEC;
    CHECK_GT(left, exact * 9 / 10);
    CHECK_LT(left, exact * 11 / 10);
}

static void follows_a_leak_through_noise(void) {
    struct feed feed = {0};
    unsigned state = 1;
    usec_t left;
    for (int64_t i = 0; i < 120; i++) {
        feed_add(&feed, 20 + i / 3 + noise(&state, 3)); // one each 15 s
    }
    CHECK(is_known(&feed, &left));
    CHECK_GT(left, 8 * USEC_PER_MINUTE); // about 37 are left: 9 min
    CHECK_LT(left, 11 * USEC_PER_MINUTE);
}

static void sees_a_slow_leak(void) {
    struct feed feed = {0};
    usec_t left;
    feed_rise(&feed, 40, USEC_PER_MINUTE, 12 * USEC_PER_MINUTE);
    CHECK(is_known(&feed, &left));
    CHECK_GT(left, 35 * USEC_PER_MINUTE);
    CHECK_LT(left, 60 * USEC_PER_MINUTE);
}

static void never_for_what_does_not_rise(void) {
    struct feed feed = {0};
    feed_flat(&feed, 50, 5 * USEC_PER_MINUTE);
    check_never(&feed);
    feed = (struct feed){0};
    for (int64_t i = 0; i < 60; i++) {
        feed_add(&feed, 90 - i / 2);
    }
    check_never(&feed);
}

// Readings that go up and down without a trend, many times: chance makes a trend of few.
static void noise_is_no_trend(void) {
    unsigned state = 7, n_wrong = 0, n = 0;
    for (unsigned run = 0; run < 200; run++) {
        struct feed feed = {0};
        for (unsigned i = 0; i < 120; i++) {
            feed_add(&feed, 50 + noise(&state, 6));
        }
        usec_t left = 0;
        bool known = is_known(&feed, &left); // rarely such noise looks like a step
        n_wrong += known && left != USEC_INFINITY;
        n += known;
    }
    CHECK_GT(n, 150);
    CHECK_LE(n_wrong * 50, n);
}

// A restart of an application gives its connections back and takes them again, faster or slower.
static void a_restart_is_no_leak(void) {
    static const usec_t paces[] = {USEC_PER_SEC, 2 * USEC_PER_SEC, 4 * USEC_PER_SEC, 6 * USEC_PER_SEC};
    for (size_t i = 0; i < ARRAY_SIZE(paces); i++) {
        struct feed feed = {0};
        check_context("one connection each %u s", (unsigned)(paces[i] / USEC_PER_SEC));
        feed_flat(&feed, 60, 6 * USEC_PER_MINUTE);
        for (int64_t used = 30; used < 60; used++) {
            usec_t left = USEC_INFINITY;
            forecast_add(&feed.forecast, START + feed.at, used, USABLE);
            feed.at += paces[i];
            CHECK(!is_known(&feed, &left));
        }
        for (usec_t end = feed.at + 10 * USEC_PER_MINUTE; feed.at < end;) {
            usec_t left = USEC_INFINITY;
            feed_add(&feed, 60);
            CHECK(!is_known(&feed, &left) || left == USEC_INFINITY);
        }
        check_never(&feed);
    }
}

// A deployment that adds twenty connections at once is a step, not a slope.
static void a_step_up_is_no_leak(void) {
    struct feed feed = {0};
    feed_flat(&feed, 40, 3 * USEC_PER_MINUTE);
    for (usec_t end = feed.at + 12 * USEC_PER_MINUTE; feed.at < end;) {
        feed_add(&feed, 60);
        check_never(&feed);
    }
}

// What was ended in one go is not a trend down: the leak goes on, and is told of when there is data again.
static void a_leak_after_an_eviction(void) {
    struct feed feed = {0};
    usec_t left;
    feed_rise(&feed, 30, 5 * USEC_PER_SEC, 4 * USEC_PER_MINUTE);
    CHECK(is_known(&feed, &left));
    feed_add(&feed, 50);
    CHECK(!is_known(&feed, &left));
    feed_rise(&feed, 50, 5 * USEC_PER_SEC, 150 * USEC_PER_SEC);
    CHECK(is_known(&feed, &left));
    CHECK_LT(left, 2 * USEC_PER_MINUTE);
}

static void full_is_now(void) {
    struct feed feed = {0};
    usec_t left = 1;
    feed_add(&feed, USABLE);
    CHECK(is_known(&feed, &left));
    CHECK_EQ(left, 0);
    feed_add(&feed, USABLE + 3); // superusers and reserved slots
    CHECK(is_known(&feed, &left));
    CHECK_EQ(left, 0);
}

static void old_samples_leave(void) {
    struct feed feed = {0};
    usec_t left;
    feed_rise(&feed, 20, 10 * USEC_PER_SEC, 10 * USEC_PER_MINUTE);
    feed.at += 11 * USEC_PER_MINUTE; // nobody looked
    feed_add(&feed, 80);
    CHECK(!is_known(&feed, &left));
    CHECK_EQ(feed.forecast.n_samples, 1);
    for (unsigned i = 0; i < 1000; i++) {
        feed_add(&feed, 80);
        CHECK_LE(feed.forecast.n_samples, FORECAST_MAX_SAMPLES);
    }
    CHECK_GE(feed.forecast.n_samples, FORECAST_MAX_SAMPLES - 1);
    forecast_clear(&feed.forecast);
    CHECK(!is_known(&feed, &left));
}

static void fills_fast(void) {
    struct feed feed = {0};
    CHECK(!forecast_fills_fast(&feed.forecast, USABLE, POLL));
    feed_add(&feed, 40);
    CHECK(!forecast_fills_fast(&feed.forecast, USABLE, POLL)); // one reading has no slope
    feed_add(&feed, 41);
    CHECK(!forecast_fills_fast(&feed.forecast, USABLE, POLL)); // 56 polls away
    feed_add(&feed, 60);
    CHECK(forecast_fills_fast(&feed.forecast, USABLE, POLL)); // 10 a poll, 37 are left
    feed_flat(&feed, 60, 20 * USEC_PER_SEC);
    CHECK(!forecast_fills_fast(&feed.forecast, USABLE, POLL));
    // Two readings of the same moment.
    feed = (struct feed){0};
    forecast_add(&feed.forecast, START, 10, USABLE);
    forecast_add(&feed.forecast, START, 90, USABLE);
    CHECK(!forecast_fills_fast(&feed.forecast, USABLE, POLL));
}

// A leak of 5 in each second, of which we end as many as come, and more: it fills as fast as before.
static void fills_fast_in_spite_of_us(void) {
    struct feed feed = {0};
    feed_add(&feed, 60);
    feed_add(&feed, 85);
    CHECK(forecast_fills_fast(&feed.forecast, USABLE, POLL));
    for (unsigned i = 0; i < 20; i++) {
        forecast_note_ended(&feed.forecast);
    }
    feed_add(&feed, 70); // a step down for the long forecast
    CHECK(forecast_fills_fast(&feed.forecast, USABLE, POLL));
    feed_flat(&feed, 70, 20 * USEC_PER_SEC);
    CHECK(!forecast_fills_fast(&feed.forecast, USABLE, POLL));
}

CHECK_MAIN({"silent_without_data", silent_without_data}, {"follows_a_leak", follows_a_leak},
           {"follows_a_leak_through_noise", follows_a_leak_through_noise}, {"sees_a_slow_leak", sees_a_slow_leak},
           {"never_for_what_does_not_rise", never_for_what_does_not_rise}, {"noise_is_no_trend", noise_is_no_trend},
           {"a_restart_is_no_leak", a_restart_is_no_leak}, {"a_step_up_is_no_leak", a_step_up_is_no_leak},
           {"a_leak_after_an_eviction", a_leak_after_an_eviction}, {"full_is_now", full_is_now},
           {"old_samples_leave", old_samples_leave}, {"fills_fast", fills_fast},
           {"fills_fast_in_spite_of_us", fills_fast_in_spite_of_us})
