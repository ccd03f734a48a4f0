// SPDX-License-Identifier: PostgreSQL
#pragma once

// Threads for what can block.

#include <pthread.h>
#include <signal.h>

// All signals are masked in it: they are the loop's, and a closed pipe must be an error and no SIGPIPE. 0 or -errno.
static inline int thread_start(pthread_t *ret, void *(*fn)(void *userdata), void *userdata) {
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(ret, NULL, fn, userdata);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -r;
}
