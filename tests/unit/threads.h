// SPDX-License-Identifier: PostgreSQL
#pragma once

// Detached threads cannot be joined: a case waits until there are as many as before, so that no checker sees a leak.

#include <sched.h>
#include <stdio.h>

#include "support/check.h"

// From the process's own counter: a walk over /proc/self/task misses threads while others end.
static inline unsigned threads_count(void) {
    FILE *file = fopen("/proc/self/status", "re");
    CHECK_NOT_NULL(file);
    unsigned n = 0;
    char line[200];
    while (n == 0 && fgets(line, sizeof line, file)) {
        (void)sscanf(line, "Threads: %u", &n);
    }
    (void)fclose(file);
    CHECK_GT(n, 0);
    return n;
}

static inline void threads_wait(unsigned before) {
    while (threads_count() > before) {
        (void)sched_yield();
    }
}
