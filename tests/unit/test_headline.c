// SPDX-License-Identifier: PostgreSQL

// The line for the service manager, and what an hour is.

#include "../../src/daemon/headline.h"

#include "support/check.h"
#include "util/cleanup.h"

#define UP(used_slots, usable_slots)                                                                                   \
    { .has_verdict = true, .is_up = true, .used = (used_slots), .usable = (usable_slots) }

static void check_line(const struct headline_target *targets, size_t n, const struct headline *more, const char *text) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    struct headline headline = *more;
    headline.targets = targets;
    headline.n_targets = n;
    headline_render(&headline, &sb);
    CHECK_STR(strbuf_str(&sb), text);
}

static void tells_each_of_a_few(void) {
    static const struct headline_target targets[] = {UP(61, 100), UP(33, 97)};
    check_line(targets, 2, &(struct headline){.n_ended = 3}, "2 targets, 61 % / 35 %, 3 ended in the last hour");
    check_line(targets, 1, &(struct headline){0}, "1 target, 61 %, 0 ended in the last hour");
    check_line(targets, 0, &(struct headline){0}, "0 targets, 0 ended in the last hour");
}

static void tells_who_is_not_there(void) {
    static const struct headline_target targets[] = {
        {.has_verdict = true}, {.has_verdict = true, .is_locked_out = true}, {.has_verdict = false}, UP(5, 0)};
    check_line(targets, 4, &(struct headline){0},
               "4 targets, down / locked out / connecting / 0 %, 0 ended in the last hour");
}

static void tells_the_fullest_of_many(void) {
    const struct headline_target targets[] = {
        UP(10, 100), UP(93, 100), UP(20, 100), {.has_verdict = true}, {.has_verdict = true, .is_locked_out = true},
        UP(1, 100)};
    check_line(targets, 6, &(struct headline){0},
               "6 targets, at most 93 %, 1 locked out, 1 down, 0 ended in the last hour");
    check_line(targets + 3, 1, &(struct headline){0}, "1 target, down, 0 ended in the last hour");
}

static void tells_what_to_know(void) {
    static const struct headline_target targets[] = {UP(61, 100)};
    check_line(targets, 1, &(struct headline){.is_observing = true}, "1 target, 61 %, observing");
    check_line(targets, 1, &(struct headline){.is_observing = true, .n_ended = 1},
               "1 target, 61 %, observing, 1 ended in the last hour");
    check_line(targets, 1, &(struct headline){.is_paused = true, .is_partly_paused = true},
               "1 target, 61 %, paused, 0 ended in the last hour");
    check_line(targets, 1, &(struct headline){.is_partly_paused = true},
               "1 target, 61 %, partly paused, 0 ended in the last hour");
    check_line(targets, 1, &(struct headline){.is_refused = true, .is_observing = true},
               "1 target, 61 %, observing; the last reload was refused, and nothing has changed");
}

static void an_hour_slides(void) {
    struct recent recent = {0};
    usec_t now = 1000 * USEC_PER_HOUR;
    CHECK_EQ(recent_count(&recent, now), 0);
    for (unsigned i = 0; i < 10 * RECENT_MINUTES; i++) {
        recent_add(&recent, now);
        recent_add(&recent, now + USEC_PER_SEC);
        CHECK_EQ(recent_count(&recent, now), 2 * (i < RECENT_MINUTES ? i + 1 : RECENT_MINUTES));
        now += USEC_PER_MINUTE;
    }
    CHECK_EQ(recent_count(&recent, now), 2 * (RECENT_MINUTES - 1));
    CHECK_EQ(recent_count(&recent, now + 58 * USEC_PER_MINUTE), 2);
    CHECK_EQ(recent_count(&recent, now + 59 * USEC_PER_MINUTE), 0);
    recent_add(&recent, now + 59 * USEC_PER_MINUTE);
    CHECK_EQ(recent_count(&recent, now + 500 * USEC_PER_HOUR), 0);
    // Never back.
    recent_add(&recent, now);
    CHECK_EQ(recent_count(&recent, now), 1);
}

CHECK_MAIN({"tells_each_of_a_few", tells_each_of_a_few}, {"tells_who_is_not_there", tells_who_is_not_there},
           {"tells_the_fullest_of_many", tells_the_fullest_of_many}, {"tells_what_to_know", tells_what_to_know},
           {"an_hour_slides", an_hour_slides})
