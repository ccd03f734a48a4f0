// SPDX-License-Identifier: PostgreSQL
#include "core/histogram.h"

#include <assert.h>

#define MSEC(n) ((n)*USEC_PER_MSEC)
#define SEC(n) ((n)*USEC_PER_SEC)

// A poll of 100 sessions takes the server about 1 ms, one of 5,000 about 60; what is above a second is trouble, up to
// query_timeout.
const struct histogram_bounds histogram_of_polls = {{500, MSEC(1), MSEC(2), MSEC(5), MSEC(10), MSEC(25), MSEC(50),
                                                     MSEC(100), MSEC(250), MSEC(500), SEC(1), SEC(2), SEC(5), SEC(15)}};

// A backend that idles is gone within milliseconds of its signal, a thousand of them within seconds; what is there
// after ENGINE_LINGERING_AFTER lingers.
const struct histogram_bounds histogram_of_deaths = {{MSEC(5), MSEC(10), MSEC(25), MSEC(50), MSEC(100), MSEC(250),
                                                      MSEC(500), SEC(1), MSEC(2500), SEC(5), SEC(10), SEC(20), SEC(30),
                                                      SEC(60)}};

void histogram_add(struct histogram *histogram, usec_t duration) {
    size_t i = 0;

    assert(histogram->bounds);
    while (i < HISTOGRAM_N_BOUNDS && duration > histogram->bounds->at[i]) {
        i++;
    }
    histogram->counts[i]++;
    histogram->count++;
    histogram->sum = usec_add(histogram->sum, duration);
}
