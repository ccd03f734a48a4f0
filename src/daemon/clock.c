// SPDX-License-Identifier: PostgreSQL
#include "daemon/clock.h"

#include <assert.h>
#include <time.h>

static usec_t clock_read(clockid_t clock) {
    struct timespec ts;
    int r = clock_gettime(clock, &ts);
    assert(r == 0); // both clocks exist on every Linux
    return (usec_t)ts.tv_sec * USEC_PER_SEC + (usec_t)ts.tv_nsec / 1000;
}

usec_t clock_monotonic(void) {
    return clock_read(CLOCK_MONOTONIC);
}

usec_t clock_realtime(void) {
    return clock_read(CLOCK_REALTIME);
}
