// SPDX-License-Identifier: PostgreSQL
//
// What keeps a restart of one application, which gives its connections back and takes them again, from looking like a
// leak: a step down drops the samples before it, and for a while nothing is told until more is used than before the
// step; the median of slopes follows most of the pairs and not the steepest; and the later half of the window must rise
// by itself, so that a climb that has ended is over.
#include "forecast.h"

#include <stdlib.h>
#include <string.h>

#include "util/macro.h"

#define FORECAST_SAMPLES_APART (FORECAST_WINDOW / FORECAST_MAX_SAMPLES)
#define FORECAST_MAX_PAIRS ((size_t)FORECAST_MAX_SAMPLES * (FORECAST_MAX_SAMPLES - 1) / 2)
// A reading that lies by more than this part of the usable slots below each of the last ones is a step: something was
// ended. What goes up and down by itself has low readings among the last ones.
#define FORECAST_STEP_SHARE 10
#define FORECAST_REFILL (5 * USEC_PER_MINUTE) // applications have their connections again after this long
// Kendall's test, one-sided, 99.5 %: the square of 2.576.
#define FORECAST_Z_SQUARED 6.635
#define FORECAST_FAST_POLLS 6

void forecast_clear(struct forecast *forecast) {
    *forecast = (struct forecast){0};
}

static void forecast_drop(struct forecast_sample *samples, size_t *n, size_t n_dropped) {
    *n -= n_dropped;
    memmove(samples, samples + n_dropped, *n * sizeof(*samples));
}

static bool forecast_is_step(const struct forecast *forecast, int64_t used, int64_t usable) {
    int64_t lowest = INT64_MAX;

    for (size_t i = 0; i < forecast->n_recent; i++) {
        lowest = MIN(lowest, forecast->recent[i].used);
    }
    return forecast->n_recent > 0 && lowest - used > MAX(usable / FORECAST_STEP_SHARE, INT64_C(1));
}

void forecast_note_ended(struct forecast *forecast) {
    forecast->n_ended++;
}

void forecast_add(struct forecast *forecast, usec_t at, int64_t used, int64_t usable) {
    const struct forecast_sample sample = {.at = at, .used = used, .ended = forecast->n_ended};
    size_t n_old = 0;

    if (forecast_is_step(forecast, used, usable)) {
        // Not the recent readings: whatever leaks goes on leaking while we evict.
        forecast->n_samples = 0;
        forecast->refill_level = forecast->latest.used;
        forecast->refill_until = usec_add(at, FORECAST_REFILL);
    }
    while (n_old < forecast->n_samples && usec_add(forecast->samples[n_old].at, FORECAST_WINDOW) < at) {
        n_old++;
    }
    forecast_drop(forecast->samples, &forecast->n_samples, n_old);
    if (forecast->n_samples == 0 ||
        usec_sub(at, forecast->samples[forecast->n_samples - 1].at) >= FORECAST_SAMPLES_APART) {
        if (forecast->n_samples == FORECAST_MAX_SAMPLES) {
            forecast_drop(forecast->samples, &forecast->n_samples, 1);
        }
        forecast->samples[forecast->n_samples++] = sample;
    }
    if (forecast->n_recent == FORECAST_MAX_RECENT) {
        forecast_drop(forecast->recent, &forecast->n_recent, 1);
    }
    forecast->recent[forecast->n_recent++] = sample;
    forecast->latest = sample;
}

static int forecast_compare(const void *pa, const void *pb) {
    double a = *(const double *)pa, b = *(const double *)pb;
    return (a > b) - (a < b);
}

struct trend {
    double slope; // slots a microsecond, the median of all pairs
    int64_t s;    // Kendall's S: pairs that rise minus pairs that fall
};

static struct trend forecast_trend(const struct forecast_sample *samples, size_t n) {
    double slopes[FORECAST_MAX_PAIRS];
    struct trend trend = {0};
    size_t n_slopes = 0;

    for (size_t i = 0; i < n; i++) {
        for (size_t k = i + 1; k < n; k++) {
            int64_t rise = samples[k].used - samples[i].used;
            slopes[n_slopes++] = (double)rise / (double)(samples[k].at - samples[i].at);
            trend.s += (rise > 0) - (rise < 0);
        }
    }
    if (n_slopes > 0) {
        qsort(slopes, n_slopes, sizeof(*slopes), forecast_compare);
        trend.slope = (slopes[(n_slopes - 1) / 2] + slopes[n_slopes / 2]) / 2;
    }
    return trend;
}

// S against what chance makes of n values: its variance is n(n-1)(2n+5)/18, ties make it smaller.
static bool forecast_is_sure(const struct trend *trend, size_t n) {
    double s = (double)trend->s, count = (double)n;
    return s > 0 && s * s > FORECAST_Z_SQUARED * count * (count - 1) * (2 * count + 5) / 18;
}

bool forecast_time_to_full(const struct forecast *forecast, int64_t usable, usec_t *ret) {
    size_t n = forecast->n_samples;

    if (forecast->n_recent > 0 && forecast->latest.used >= usable) {
        *ret = 0;
        return true;
    }
    if (n < FORECAST_MIN_SAMPLES || forecast->samples[n - 1].at - forecast->samples[0].at < FORECAST_MIN_SPAN) {
        return false;
    }
    if (forecast->latest.at < forecast->refill_until && forecast->latest.used <= forecast->refill_level) {
        return false;
    }
    *ret = USEC_INFINITY;
    struct trend later = forecast_trend(forecast->samples + n / 2, n - n / 2);
    if (later.slope <= 0) {
        return true;
    }
    struct trend trend = forecast_trend(forecast->samples, n);
    if (trend.slope <= 0 || !forecast_is_sure(&trend, n)) {
        return true;
    }
    double left = (double)(usable - forecast->latest.used) / trend.slope;
    *ret = left < (double)INT64_MAX ? (usec_t)left : USEC_INFINITY;
    return true;
}

bool forecast_fills_fast(const struct forecast *forecast, int64_t usable, usec_t poll_interval) {
    const struct forecast_sample *first = &forecast->recent[0], *last = &forecast->latest;
    int64_t filled = last->used + last->ended - first->used - first->ended;

    if (forecast->n_recent < 2 || filled <= 0 || last->at <= first->at) {
        return false;
    }
    double rise = (double)filled / (double)(last->at - first->at);
    return (double)(usable - last->used) < rise * (double)poll_interval * FORECAST_FAST_POLLS;
}
