// SPDX-License-Identifier: PostgreSQL
#pragma once

// The event loop, over libevent. The monotonic clock is read once per wake-up and handed down as `now`. No callback
// runs from inside the call that registers it.

#include <stdbool.h>

#include "util/cleanup.h"
#include "util/usec.h"

struct event_base;
struct loop;
struct loop_timer;
struct loop_io;
struct loop_signal;

struct loop *loop_new(void);               // NULL: libevent or memory
struct loop *loop_free(struct loop *loop); // after all its timers, ios and signals
DEFINE_CLEANUP(struct loop *, loop_free)
int loop_run(struct loop *loop); // until loop_stop(); 0 or -errno
void loop_stop(struct loop *loop);
usec_t loop_now(const struct loop *loop); // of this wake-up (before the first: read now)
// `fn` is called at the end of each wake-up. One a loop; NULL: none any more.
void loop_on_rest(struct loop *loop, void (*fn)(void *userdata, usec_t now), void *userdata);
struct event_base *loop_base(struct loop *loop); // for what libevent itself does on it

// Fires once at `at`, then waits to be set again. USEC_INFINITY: off.
struct loop_timer *loop_timer_new(struct loop *loop, void (*fn)(void *userdata, usec_t now), void *userdata);
void loop_timer_set(struct loop_timer *timer, usec_t at);
usec_t loop_timer_at(const struct loop_timer *timer); // USEC_INFINITY: off, or it has fired
struct loop_timer *loop_timer_free(struct loop_timer *timer);

// Waits once for an fd and a deadline; disarmed when it fires. `ready`: LOOP_READ | LOOP_WRITE, 0 for the deadline.
// arm() always forgets the earlier registration first, also for the same number: the socket behind it may be another.
// Disarm before any call that may close the fd.
#define LOOP_READ 1u
#define LOOP_WRITE 2u
struct loop_io *loop_io_new(struct loop *loop, void (*fn)(void *userdata, unsigned ready, usec_t now), void *userdata);
int loop_io_arm(struct loop_io *io, int fd, unsigned wants, usec_t deadline); // 0 or -errno
void loop_io_disarm(struct loop_io *io);
usec_t loop_io_deadline(const struct loop_io *io); // USEC_INFINITY: none, or it is disarmed
struct loop_io *loop_io_free(struct loop_io *io);

struct loop_signal *loop_signal_new(struct loop *loop, int signo, void (*fn)(void *userdata, usec_t now),
                                    void *userdata);
struct loop_signal *loop_signal_free(struct loop_signal *signal);
