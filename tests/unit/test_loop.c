// SPDX-License-Identifier: PostgreSQL
#include "daemon/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "support/check.h"
#include "support/oom.h"
#include "util/cleanup.h"
#include "util/fd.h"

// What the callbacks saw.
struct seen {
    struct loop *loop;
    struct loop_timer *timer;
    struct loop_io *io;
    unsigned n;
    unsigned ready;
    usec_t now;
    usec_t again; // set the timer once more, so much later
};

static void stop_timer(void *userdata, usec_t now) {
    struct seen *seen = userdata;
    seen->n++;
    seen->now = now;
    CHECK_EQ(loop_now(seen->loop), now);
    loop_stop(seen->loop);
}

static void count_timer(void *userdata, usec_t now) {
    struct seen *seen = userdata;
    seen->n++;
    seen->now = now;
    if (seen->again > 0) {
        loop_timer_set(seen->timer, now + seen->again);
    }
}

static void stop_io(void *userdata, unsigned ready, usec_t now) {
    struct seen *seen = userdata;
    seen->n++;
    seen->ready = ready;
    seen->now = now;
    loop_stop(seen->loop);
}

static void timer_fires_once_and_not_early(void) {
    struct loop *loop = loop_new();
    struct seen counted = {.loop = loop}, stopped = {.loop = loop};
    counted.timer = loop_timer_new(loop, count_timer, &counted);
    stopped.timer = loop_timer_new(loop, stop_timer, &stopped);
    usec_t start = loop_now(loop);
    loop_timer_set(counted.timer, start + 1500);
    loop_timer_set(stopped.timer, start + 8 * USEC_PER_MSEC);
    CHECK_EQ(loop_run(loop), 0);
    CHECK_EQ(counted.n, 1);
    CHECK_GE(counted.now, start + 1500);
    CHECK_GE(stopped.now, start + 8 * USEC_PER_MSEC);
    CHECK_LE(counted.now, stopped.now);
    loop_timer_free(counted.timer);
    loop_timer_free(stopped.timer);
    loop_free(loop);
}

// Set anew from its own callback; a time already past fires at the next turn and never from within the call.
static void timer_again(void) {
    struct loop *loop = loop_new();
    struct seen counted = {.loop = loop, .again = 1}, stopped = {.loop = loop};
    counted.timer = loop_timer_new(loop, count_timer, &counted);
    stopped.timer = loop_timer_new(loop, stop_timer, &stopped);
    loop_timer_set(counted.timer, 0);
    CHECK_EQ(counted.n, 0);
    loop_timer_set(stopped.timer, loop_now(loop) + 5 * USEC_PER_MSEC);
    CHECK_EQ(loop_run(loop), 0);
    CHECK_GT(counted.n, 1);
    CHECK_EQ(stopped.n, 1);
    loop_timer_free(counted.timer);
    loop_timer_free(stopped.timer);
    loop_free(loop);
}

static void timer_off(void) {
    struct loop *loop = loop_new();
    struct seen counted = {.loop = loop}, stopped = {.loop = loop};
    counted.timer = loop_timer_new(loop, count_timer, &counted);
    stopped.timer = loop_timer_new(loop, stop_timer, &stopped);
    loop_timer_set(counted.timer, 1);
    loop_timer_set(counted.timer, USEC_INFINITY);
    loop_timer_set(stopped.timer, loop_now(loop) + 2 * USEC_PER_MSEC);
    CHECK_EQ(loop_run(loop), 0);
    CHECK_EQ(counted.n, 0);
    // As far as can be, without an overflow on the way.
    loop_timer_set(counted.timer, USEC_INFINITY - 1);
    loop_timer_set(stopped.timer, 0);
    CHECK_EQ(loop_run(loop), 0);
    CHECK_EQ(counted.n, 0);
    loop_timer_free(counted.timer);
    loop_timer_free(stopped.timer);
    loop_free(loop);
}

// All callbacks of one wake-up see the same time, however long they take.
static void slow_timer(void *userdata, usec_t now) {
    struct seen *seen = userdata;
    seen->now = now;
    while (clock_monotonic() < now + 2 * USEC_PER_MSEC) {
    }
    CHECK_EQ(loop_now(seen->loop), now);
}

static void one_now_a_wake_up(void) {
    struct loop *loop = loop_new();
    struct seen slow = {.loop = loop}, stopped = {.loop = loop};
    slow.timer = loop_timer_new(loop, slow_timer, &slow);
    stopped.timer = loop_timer_new(loop, stop_timer, &stopped);
    loop_timer_set(slow.timer, 1);
    loop_timer_set(stopped.timer, 1);
    CHECK_EQ(loop_run(loop), 0);
    CHECK_EQ(slow.now, stopped.now);
    CHECK_GE(loop_now(loop), slow.now + 2 * USEC_PER_MSEC); // between the wake-ups it is read
    loop_timer_free(slow.timer);
    loop_timer_free(stopped.timer);
    loop_free(loop);
}

static void free_timer(void *userdata, usec_t now) {
    struct seen *seen = userdata;
    (void)now;
    seen->timer = loop_timer_free(seen->timer);
    seen->io = loop_io_free(seen->io); // ready in the same wake-up, or soon after
    loop_stop(seen->loop);
}

static void never_io(void *userdata, unsigned ready, usec_t now) {
    (void)userdata;
    (void)ready;
    (void)now;
    CHECK_FAIL("called after it was freed");
}

static void freed_from_a_callback(void) {
    struct loop *loop = loop_new();
    int fds[2];
    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    struct seen seen = {.loop = loop};
    seen.timer = loop_timer_new(loop, free_timer, &seen);
    seen.io = loop_io_new(loop, never_io, NULL);
    loop_timer_set(seen.timer, 0);
    CHECK_EQ(loop_io_arm(seen.io, fds[0], LOOP_READ, loop_now(loop) + USEC_PER_SEC), 0);
    CHECK_EQ(loop_run(loop), 0);
    fd_close(fds[0]);
    fd_close(fds[1]);
    loop_free(loop);
}

static void io_ready(void) {
    struct loop *loop = loop_new();
    int fds[2];
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    struct seen seen = {.loop = loop};
    struct loop_io *io = loop_io_new(loop, stop_io, &seen);
    CHECK_EQ(loop_io_arm(io, fds[0], LOOP_READ | LOOP_WRITE, USEC_INFINITY), 0);
    CHECK_EQ(seen.n, 0);
    CHECK_EQ(loop_run(loop), 0);
    CHECK_EQ(seen.ready, LOOP_WRITE);
    CHECK_EQ(write(fds[1], "x", 1), 1);
    CHECK_EQ(loop_io_arm(io, fds[0], LOOP_READ, USEC_INFINITY), 0);
    CHECK_EQ(loop_run(loop), 0);
    CHECK_EQ(seen.ready, LOOP_READ);
    CHECK_EQ(seen.n, 2);
    // It fired and is disarmed now: nothing is left to wait for, although the byte is still there.
    CHECK_EQ(loop_run(loop), -EDEADLK);
    loop_io_free(io);
    fd_close(fds[0]);
    fd_close(fds[1]);
    loop_free(loop);
}

static void io_deadline(void) {
    struct loop *loop = loop_new();
    int fds[2];
    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    struct seen seen = {.loop = loop, .ready = 99};
    struct loop_io *io = loop_io_new(loop, stop_io, &seen);
    usec_t deadline = loop_now(loop) + 1500;
    CHECK_EQ(loop_io_arm(io, fds[0], LOOP_READ, deadline), 0);
    CHECK_EQ(loop_run(loop), 0);
    CHECK_EQ(seen.ready, 0);
    CHECK_GE(seen.now, deadline);
    // Only a deadline, no fd.
    seen.ready = 99;
    CHECK_EQ(loop_io_arm(io, -1, 0, 0), 0);
    CHECK_EQ(seen.n, 1);
    CHECK_EQ(loop_run(loop), 0);
    CHECK_EQ(seen.ready, 0);
    loop_io_free(io);
    fd_close(fds[0]);
    fd_close(fds[1]);
    loop_free(loop);
}

static void io_refused(void) {
    struct loop *loop = loop_new();
    struct loop_io *io = loop_io_new(loop, stop_io, NULL);
    CHECK_EQ(loop_io_arm(io, -1, LOOP_READ, USEC_INFINITY), -EBADF);
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK_GE(fd, 0);
    CHECK_EQ(loop_io_arm(io, fd, LOOP_READ, USEC_INFINITY), -EPERM); // epoll knows no such files
    CHECK_EQ(loop_io_arm(io, -1, 0, USEC_INFINITY), 0);              // waits for nothing
    CHECK_EQ(loop_run(loop), -EDEADLK);
    fd_close(fd);
    loop_io_free(io);
    loop_free(loop);
}

// libpq does this when it goes on to the next host: another socket, the same number.
static void io_same_number_other_socket(void) {
    struct loop *loop = loop_new();
    struct seen seen = {.loop = loop}, stopped = {.loop = loop};
    struct loop_io *io = loop_io_new(loop, stop_io, &seen);
    stopped.timer = loop_timer_new(loop, stop_timer, &stopped);
    int first[2], second[2];
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, first), 0);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, second), 0);
    CHECK_EQ(loop_io_arm(io, first[0], LOOP_READ, USEC_INFINITY), 0);
    CHECK_EQ(dup3(second[0], first[0], O_CLOEXEC), first[0]); // closes what the loop still waits for
    CHECK_EQ(write(second[1], "x", 1), 1);
    CHECK_EQ(loop_io_arm(io, first[0], LOOP_READ, USEC_INFINITY), 0);
    loop_timer_set(stopped.timer, loop_now(loop) + 10 * USEC_PER_SEC);
    CHECK_EQ(loop_run(loop), 0);
    CHECK_EQ(seen.ready, LOOP_READ);
    CHECK_EQ(stopped.n, 0);
    loop_timer_free(stopped.timer);
    loop_io_free(io);
    for (int i = 0; i < 2; i++) {
        fd_close(first[i]);
        fd_close(second[i]);
    }
    loop_free(loop);
}

static void stop_signal(void *userdata, usec_t now) {
    stop_timer(userdata, now);
}

static void signals(void) {
    struct loop *loop = loop_new();
    struct seen seen = {.loop = loop};
    struct loop_signal *sig = loop_signal_new(loop, SIGHUP, stop_signal, &seen);
    CHECK_NOT_NULL(sig);
    for (unsigned i = 1; i <= 2; i++) {
        CHECK_EQ(raise(SIGHUP), 0);
        CHECK_EQ(seen.n, i - 1);
        CHECK_EQ(loop_run(loop), 0);
        CHECK_EQ(seen.n, i);
    }
    loop_signal_free(sig);
    loop_free(loop);
}

static void stopped_before_it_runs(void) {
    struct loop *loop = loop_new();
    loop_stop(loop);
    CHECK_EQ(loop_run(loop), 0);
    CHECK_EQ(loop_run(loop), -EDEADLK); // once
    loop_free(loop);
    CHECK_NULL(loop_free(NULL));
    CHECK_NULL(loop_timer_free(NULL));
    CHECK_NULL(loop_io_free(NULL));
    CHECK_NULL(loop_signal_free(NULL));
}

static int make(void *userdata) {
    (void)userdata;
    CLEANUP(loop_freep) struct loop *loop = loop_new();
    struct loop_timer *timer = loop ? loop_timer_new(loop, stop_timer, NULL) : NULL;
    struct loop_io *io = timer ? loop_io_new(loop, stop_io, NULL) : NULL;
    struct loop_signal *sig = io ? loop_signal_new(loop, SIGHUP, stop_signal, NULL) : NULL;
    bool is_made = sig != NULL;
    loop_signal_free(sig);
    loop_io_free(io);
    loop_timer_free(timer);
    return is_made ? 0 : -ENOMEM;
}

static void survives_oom(void) {
    oom_sweep(make, NULL);
}

CHECK_MAIN({"timer_fires_once_and_not_early", timer_fires_once_and_not_early}, {"timer_again", timer_again},
           {"timer_off", timer_off}, {"one_now_a_wake_up", one_now_a_wake_up},
           {"freed_from_a_callback", freed_from_a_callback}, {"io_ready", io_ready}, {"io_deadline", io_deadline},
           {"io_refused", io_refused}, {"io_same_number_other_socket", io_same_number_other_socket},
           {"signals", signals}, {"stopped_before_it_runs", stopped_before_it_runs}, {"survives_oom", survives_oom})
