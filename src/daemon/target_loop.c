// SPDX-License-Identifier: PostgreSQL

// All that happens comes through one of the entries (the timers, the socket, the dial, the sinks), and each ends in
// target_pump(): it lets the server go on until it would wait, hands results to the engine, sends what may be sent, and
// re-arms the socket and the timers from scratch.

#include "target_loop.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "daemon/loop.h"
#include "pg/connection.h"
#include "target_engine.h"
#include "target_link.h"
#include "target_work.h"
#include "util/macro.h"

// When the engine had no memory to take a result, it is offered again after this.
#define TARGET_RETRY_STEP (100 * USEC_PER_MSEC)

static_assert(CONNECTION_WANTS_READ == LOOP_READ && CONNECTION_WANTS_WRITE == LOOP_WRITE, "wants are the loop's");

static void target_tell_owner(struct target *target, usec_t now) {
    struct visit *visit = target->visit;
    if (visit && visit->has_ended && !target->is_visit_out) {
        target_drop_visit(target);
        visit->options.on_end(visit->options.userdata, now);
    }
    bool failed = target->owes_failed;
    bool polled = target->owes_polled && !executor_is_busy(target->executor);
    target->owes_failed = false;
    target->owes_polled = target->owes_polled && !polled;
    if (target->fn && failed) {
        target->fn(target->userdata, target, TARGET_FAILED, now);
    }
    if (target->fn && polled) {
        target->fn(target->userdata, target, TARGET_POLLED, now);
    }
}

static int target_arm(struct target *target) {
    const struct server *server = target->server;
    if (target->state != TARGET_CONNECTING && target->state != TARGET_WATCHING) {
        return 0;
    }
    return loop_io_arm(target->io, server->kind->fd(server), server->kind->wants(server),
                       server->kind->deadline(server));
}

// Acts that are under way are seen through first; each has a deadline. There are no new ones, as nothing is polled.
static void target_check_reconnect(struct target *target, usec_t now) {
    if (target->owes_reconnect && !executor_is_busy(target->executor) && !target->visit) {
        target_close(target, now);
        target->owes_loss = true;
        target_start_over(target, now);
    }
}

static void target_pump(struct target *target, unsigned ready, usec_t now) {
    int r;
    loop_io_disarm(target->io);
    do {
        target_dispatch(target, ready, now);
        ready = 0;
        r = target_settle_acts(target, now);
        if (r == 0) {
            r = target_settle_debts(target, now);
        }
    } while (r == 0 && target_act(target));
    target_check_reconnect(target, now);
    usec_t deadline = executor_deadline(target->executor);
    deadline = target->visit ? MIN(deadline, executor_deadline(target->visit->executor)) : deadline;
    loop_timer_set(target->work_timer, r < 0 ? usec_add(now, TARGET_RETRY_STEP) : deadline);
    r = target_arm(target);
    if (r < 0) {
        struct pg_error error;
        pg_error_set(&error, PG_ERROR_OTHER, "", strerror(-r));
        target_lose(target, OUTAGE_CONNECT, &error, now);
    }
    target_tell_owner(target, now);
}

static void target_on_io(void *userdata, unsigned ready, usec_t now) {
    target_pump(userdata, ready, now);
}

static void target_on_timer(void *userdata, usec_t now) {
    struct target *target = userdata;
    switch (target->state) {
    case TARGET_WAITING:
        target_enter(target, TARGET_DIALLING, USEC_INFINITY);
        dial_start(target->dial, now);
        return;
    case TARGET_WATCHING:
        // Before its time: target_poll_soon(), and the ticks go on as they were.
        target->is_hurried = false;
        if (now >= target->tick) {
            target->tick = schedule_next_tick(now, target_interval(target));
        }
        loop_timer_set(target->timer, target->tick);
        target_poll(target, now);
        target_pump(target, 0, now);
        return;
    case TARGET_IDLE:
    case TARGET_DIALLING:
    case TARGET_CONNECTING:
        return;
    }
}

static void target_on_look(void *userdata, usec_t now) {
    struct target *target = userdata;
    if (target->state == TARGET_WATCHING) {
        target_look(target);
        target_pump(target, 0, now);
    }
}

static void target_on_work(void *userdata, usec_t now) {
    target_pump(userdata, 0, now);
}

static void target_on_written(void *userdata, usec_t now) {
    struct target *target = userdata;
    if (executor_deadline(target->executor) != USEC_INFINITY || target->visit) {
        target_pump(target, 0, now);
    }
}

static void target_on_dialled(void *userdata, const struct pg_error *error, enum outage_stage stage, usec_t deadline,
                              usec_t now) {
    struct target *target = userdata;
    if (error) {
        target_lose(target, stage, error, now);
    } else {
        target->server->kind->start(target->server, target->conninfo, now, deadline);
        target_enter(target, TARGET_CONNECTING, USEC_INFINITY);
    }
    target_pump(target, 0, now);
}

int target_attach(struct target *target) {
    struct loop *loop = target->context->loop;
    target->dial = dial_new(target->context, target->config, target->conninfo, target_on_dialled, target);
    target->io = loop_io_new(loop, target_on_io, target);
    target->timer = loop_timer_new(loop, target_on_timer, target);
    target->look_timer = loop_timer_new(loop, target_on_look, target);
    target->work_timer = loop_timer_new(loop, target_on_work, target);
    target->listener = sinks_listen(target->context->sinks, target_on_written, target);
    bool complete =
        target->dial && target->io && target->timer && target->look_timer && target->work_timer && target->listener;
    return complete ? 0 : -ENOMEM;
}

void target_detach(struct target *target) {
    if (target->listener) {
        (void)sinks_unlisten(target->listener);
    }
    (void)loop_io_free(target->io);
    (void)loop_timer_free(target->timer);
    (void)loop_timer_free(target->look_timer);
    (void)loop_timer_free(target->work_timer);
    (void)dial_free(target->dial);
}
