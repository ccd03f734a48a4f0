// SPDX-License-Identifier: PostgreSQL
//
// One EVLOOP_ONCE at a time, so that the end of each wake-up is known: there the time that was read at its first
// callback is forgotten. libevent works with precise timers (its default clock moves in steps of 4 ms) and keeps no
// time of its own, so that a deadline is never counted from a stale moment and never fires before it is due.
//
// Every wait is one-shot and made anew (event_assign) each time. A libpq that tries the next host may put another
// socket under the same number; a registration kept from before would then never fire, and adding to it not mend that.

#include "daemon/loop.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>

#include "daemon/clock.h"
#include "util/macro.h"

// A longer wait is taken in pieces: no arithmetic with far times in libevent and the kernel.
#define LOOP_LONGEST_WAIT USEC_PER_DAY

struct loop {
    struct event_base *base;
    usec_t now;
    bool is_awake; // `now` holds
    bool is_stopped;
    void (*on_rest)(void *userdata, usec_t now);
    void *on_rest_data;
    int error; // a timer could not be set: without it nothing can be relied on, so the loop ends
};

struct loop_timer {
    struct loop *loop;
    struct event event;
    usec_t at;
    void (*fn)(void *userdata, usec_t now);
    void *userdata;
};

struct loop_io {
    struct loop *loop;
    struct event event;
    usec_t deadline;
    void (*fn)(void *userdata, unsigned ready, usec_t now);
    void *userdata;
};

struct loop_signal {
    struct loop *loop;
    struct event event;
    void (*fn)(void *userdata, usec_t now);
    void *userdata;
};

// Failures come back from the calls and are ours to tell; a warning on stderr would stand between the lines of our log.
// After an error libevent ends the process.
static void loop_log(int severity, const char *message) {
    if (severity == EVENT_LOG_ERR) {
        fprintf(stderr, "libevent: %s\n", message);
    }
}

static struct event_base *loop_new_base(void) {
    event_set_log_callback(loop_log);
    struct event_config *config = event_config_new();
    if (!config) {
        return NULL;
    }
    struct event_base *base = NULL;
    if (event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER | EVENT_BASE_FLAG_NO_CACHE_TIME |
                                          EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV) == 0) {
        base = event_base_new_with_config(config);
    }
    event_config_free(config);
    return base;
}

struct loop *loop_new(void) {
    struct loop *loop = calloc(1, sizeof *loop);
    if (!loop) {
        return NULL;
    }
    loop->base = loop_new_base();
    return loop->base ? loop : loop_free(loop);
}

struct loop *loop_free(struct loop *loop) {
    if (loop) {
        if (loop->base) {
            event_base_free(loop->base);
        }
        free(loop);
    }
    return NULL;
}

static usec_t loop_wake(struct loop *loop) {
    if (!loop->is_awake) {
        loop->now = clock_monotonic();
        loop->is_awake = true;
    }
    return loop->now;
}

int loop_run(struct loop *loop) {
    int r = 0;
    while (!loop->is_stopped && r == 0 && loop->error == 0) {
        r = event_base_loop(loop->base, EVLOOP_ONCE);
        if (loop->on_rest) {
            loop->on_rest(loop->on_rest_data, loop_wake(loop));
        }
        loop->is_awake = false;
    }
    loop->is_stopped = false;
    if (loop->error < 0) {
        return loop->error;
    }
    // 1: nothing is registered, so nobody could ever stop it.
    return r == 0 ? 0 : r == 1 ? -EDEADLK : -EIO;
}

void loop_stop(struct loop *loop) {
    loop->is_stopped = true;
    (void)event_base_loopbreak(loop->base);
}

usec_t loop_now(const struct loop *loop) {
    return loop->is_awake ? loop->now : clock_monotonic();
}

void loop_on_rest(struct loop *loop, void (*fn)(void *userdata, usec_t now), void *userdata) {
    assert(!fn || !loop->on_rest);
    loop->on_rest = fn;
    loop->on_rest_data = userdata;
}

struct event_base *loop_base(struct loop *loop) {
    return loop->base;
}

// Adds an assigned event with its deadline. The present is read here and not taken from `now`: a wake-up may last.
static int loop_add(struct event *event, usec_t at) {
    if (at == USEC_INFINITY) {
        return event_add(event, NULL);
    }
    usec_t wait = MIN(usec_sub(at, clock_monotonic()), LOOP_LONGEST_WAIT);
    struct timeval tv = {
        .tv_sec = (time_t)(wait / USEC_PER_SEC),
        .tv_usec = (suseconds_t)(wait % USEC_PER_SEC),
    };
    return event_add(event, &tv);
}

static void loop_timer_dispatch(evutil_socket_t fd, short what, void *userdata) {
    (void)fd;
    (void)what;
    struct loop_timer *timer = userdata;
    usec_t now = loop_wake(timer->loop);
    if (now < timer->at) { // a piece of a long wait
        loop_timer_set(timer, timer->at);
        return;
    }
    timer->at = USEC_INFINITY;
    timer->fn(timer->userdata, now);
}

struct loop_timer *loop_timer_new(struct loop *loop, void (*fn)(void *userdata, usec_t now), void *userdata) {
    struct loop_timer *timer = calloc(1, sizeof *timer);
    if (!timer) {
        return NULL;
    }
    *timer = (struct loop_timer){.loop = loop, .at = USEC_INFINITY, .fn = fn, .userdata = userdata};
    if (event_assign(&timer->event, loop->base, -1, 0, loop_timer_dispatch, timer) < 0) {
        free(timer);
        return NULL;
    }
    return timer;
}

void loop_timer_set(struct loop_timer *timer, usec_t at) {
    (void)event_del(&timer->event);
    timer->at = at;
    if (at != USEC_INFINITY && loop_add(&timer->event, at) < 0) {
        timer->loop->error = -ENOMEM;
        (void)event_base_loopbreak(timer->loop->base);
    }
}

usec_t loop_timer_at(const struct loop_timer *timer) {
    return timer->at;
}

struct loop_timer *loop_timer_free(struct loop_timer *timer) {
    if (timer) {
        (void)event_del(&timer->event);
        free(timer);
    }
    return NULL;
}

static void loop_io_dispatch(evutil_socket_t fd, short what, void *userdata) {
    struct loop_io *io = userdata;
    usec_t now = loop_wake(io->loop);
    unsigned ready = (what & EV_READ ? LOOP_READ : 0) | (what & EV_WRITE ? LOOP_WRITE : 0);
    if (ready == 0 && now < io->deadline) { // a piece of a long wait
        short events = event_get_events(&io->event) & (EV_READ | EV_WRITE);
        unsigned wants = (events & EV_READ ? LOOP_READ : 0) | (events & EV_WRITE ? LOOP_WRITE : 0);
        if (loop_io_arm(io, fd, wants, io->deadline) == 0) {
            return;
        }
    }
    io->deadline = USEC_INFINITY;
    io->fn(io->userdata, ready, now);
}

struct loop_io *loop_io_new(struct loop *loop, void (*fn)(void *userdata, unsigned ready, usec_t now), void *userdata) {
    struct loop_io *io = calloc(1, sizeof *io);
    if (!io) {
        return NULL;
    }
    *io = (struct loop_io){.loop = loop, .deadline = USEC_INFINITY, .fn = fn, .userdata = userdata};
    if (event_assign(&io->event, loop->base, -1, 0, loop_io_dispatch, io) < 0) {
        free(io);
        return NULL;
    }
    return io;
}

int loop_io_arm(struct loop_io *io, int fd, unsigned wants, usec_t deadline) {
    loop_io_disarm(io);
    io->deadline = deadline;
    if (wants == 0) {
        if (deadline == USEC_INFINITY) {
            return 0;
        }
        fd = -1;
    } else if (fd < 0) {
        return -EBADF;
    }
    short events = (short)((wants & LOOP_READ ? EV_READ : 0) | (wants & LOOP_WRITE ? EV_WRITE : 0));
    errno = 0;
    if (event_assign(&io->event, io->loop->base, fd, events, loop_io_dispatch, io) < 0 ||
        loop_add(&io->event, deadline) < 0) {
        return errno > 0 ? -errno : -ENOMEM;
    }
    return 0;
}

void loop_io_disarm(struct loop_io *io) {
    (void)event_del(&io->event);
    io->deadline = USEC_INFINITY;
}

usec_t loop_io_deadline(const struct loop_io *io) {
    return io->deadline;
}

struct loop_io *loop_io_free(struct loop_io *io) {
    if (io) {
        loop_io_disarm(io);
        free(io);
    }
    return NULL;
}

static void loop_signal_dispatch(evutil_socket_t signo, short what, void *userdata) {
    (void)signo;
    (void)what;
    struct loop_signal *sig = userdata;
    sig->fn(sig->userdata, loop_wake(sig->loop));
}

struct loop_signal *loop_signal_new(struct loop *loop, int signo, void (*fn)(void *userdata, usec_t now),
                                    void *userdata) {
    struct loop_signal *sig = calloc(1, sizeof *sig);
    if (!sig) {
        return NULL;
    }
    *sig = (struct loop_signal){.loop = loop, .fn = fn, .userdata = userdata};
    if (event_assign(&sig->event, loop->base, signo, EV_SIGNAL | EV_PERSIST, loop_signal_dispatch, sig) < 0 ||
        event_add(&sig->event, NULL) < 0) {
        free(sig);
        return NULL;
    }
    return sig;
}

struct loop_signal *loop_signal_free(struct loop_signal *sig) {
    if (sig) {
        (void)event_del(&sig->event);
        free(sig);
    }
    return NULL;
}
