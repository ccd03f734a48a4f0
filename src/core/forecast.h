// SPDX-License-Identifier: PostgreSQL
#pragma once

// When will the slots be full? A straight line through the used slots of the last minutes, by the median of the slopes
// of all pairs (H. Theil, "A rank-invariant method of linear and polynomial regression analysis", 1950; P. K. Sen,
// "Estimates of the regression coefficient based on Kendall's tau", JASA 63, 1968): a few outliers do not bend it.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/usec.h"

#define FORECAST_WINDOW (10 * USEC_PER_MINUTE)
#define FORECAST_MAX_SAMPLES 60 // in the window, evenly apart
#define FORECAST_MIN_SAMPLES 6  // less says nothing
#define FORECAST_MIN_SPAN (2 * USEC_PER_MINUTE)
#define FORECAST_MAX_RECENT 4 // readings that forecast_fills_fast() goes by

struct forecast_sample {
    usec_t at;
    int64_t used;
    int64_t ended; // n_ended then
};

struct forecast {
    int64_t n_ended; // sessions that we ended: what fills the slots is seen in spite of them
    struct forecast_sample samples[FORECAST_MAX_SAMPLES]; // thinned, oldest first
    size_t n_samples;
    struct forecast_sample recent[FORECAST_MAX_RECENT]; // every reading, oldest first
    size_t n_recent;
    struct forecast_sample latest;
    int64_t refill_level; // used before the latest step down; until `refill_until` what is below is only taken again
    usec_t refill_until;
};

void forecast_clear(struct forecast *forecast); // another server, or it was restarted: what was says nothing any more
void forecast_note_ended(struct forecast *forecast);
void forecast_add(struct forecast *forecast, usec_t at, int64_t used, int64_t usable);

// How long until `usable` slots are used. false: too little data to tell. USEC_INFINITY: they do not fill, or not
// surely.
bool forecast_time_to_full(const struct forecast *forecast, int64_t usable, usec_t *ret);

// Going by the last few readings, no slot is left within a few poll intervals. Poll faster: being wrong costs little.
bool forecast_fills_fast(const struct forecast *forecast, int64_t usable, usec_t poll_interval);
