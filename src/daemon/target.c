// SPDX-License-Identifier: PostgreSQL

// One watched server over its life:
//
//   IDLE -> WAITING -> DIALLING -> CONNECTING -> WATCHING
//              ^___________|____________|____________|   whatever fails, with back-off
//
// All that happens comes through one of the entries on the loop (the timers, the socket, the dial, the sinks), and each
// ends in target_pump(): it lets the server go on until it would wait, hands results to the engine, sends what may be
// sent, and re-arms the socket and the timers from scratch.

#include "daemon/target.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "dial.h"
#include "executor.h"
#include "pg/connection.h"
#include "schedule.h"
#include "target_kind.h"
#include "target_say.h"

// When the engine had no memory to take a result, it is offered again after this.
#define TARGET_RETRY_STEP (100 * USEC_PER_MSEC)

static_assert(CONNECTION_WANTS_READ == LOOP_READ && CONNECTION_WANTS_WRITE == LOOP_WRITE, "wants are the loop's");

enum target_state {
    TARGET_IDLE,       // not started, or stopped
    TARGET_WAITING,    // for the next try, until `timer`. Then DIALLING
    TARGET_DIALLING,   // for the gate, the password and the names; bounded by the dial. Then CONNECTING or WAITING
    TARGET_CONNECTING, // for login, set-up and self-check; bounded by the server. Then WATCHING or WAITING
    TARGET_WATCHING,   // polls at each tick of `timer`. Then WAITING
};

struct target {
    struct target_context *context;
    const struct target_config *config;
    struct conninfo *conninfo;
    struct policy *policy;
    bool enforce; // the owner's part
    void (*fn)(void *userdata, struct target *target, enum target_news news, usec_t now);
    void *userdata;

    enum target_state state;
    struct server *server;
    struct dial *dial;
    struct engine *engine;
    struct executor *executor;
    struct loop_io *io;
    struct loop_timer *timer;      // the next try, or the next tick
    struct loop_timer *look_timer; // when a session comes due
    struct loop_timer *work_timer; // deadlines of records, results that the engine could not take
    struct sinks_listener *listener;

    struct session_id *look; // whom to look at when look_timer fires
    size_t n_look;
    bool is_polling; // a poll, a look is with the server
    bool is_looking;
    bool is_up;  // the current connection has brought a complete poll
    usec_t tick; // the next one

    bool owes_loss;   // the engine has not been told of a loss yet
    bool owes_policy; // ... of the policy
    bool enforces;    // as the engine was told
    bool owes_polled; // news for the owner: TARGET_POLLED, as soon as nothing is under way
    bool owes_failed; // TARGET_FAILED

    struct pg_error error;
    struct outage outage;
    struct backoff backoff;
    struct findings findings;
};

static uint32_t target_random(void) {
    uint32_t random = UINT32_MAX / 2;
    // Short of entropy early in a boot: no jitter then, rather than no watch.
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0) {
        return UINT32_MAX / 2;
    }
    return random;
}

// The only writer of state; `at` is when `timer` fires.
static void target_enter(struct target *target, enum target_state state, usec_t at) {
    target->state = state;
    loop_timer_set(target->timer, at);
}

static void target_enter_waiting(struct target *target, enum pg_error_kind kind, usec_t now) {
    usec_t wait = backoff_next(&target->backoff, kind, target_random());
    target_enter(target, TARGET_WAITING, usec_add(now, wait));
}

static void target_out_of_memory(struct pg_error *ret) {
    pg_error_set(ret, PG_ERROR_OTHER, "", "out of memory");
}

// ---- the engine

static void target_set_look(struct target *target, const struct engine_result *result) {
    usec_t at = result->look_at;
    target->n_look = 0;
    if (result->n_look > 0) {
        struct session_id *look = reallocarray(target->look, result->n_look, sizeof(*look));
        if (look) {
            memcpy(look, result->look, result->n_look * sizeof(*look));
            target->look = look;
            target->n_look = result->n_look;
        } else {
            at = USEC_INFINITY; // the next poll sees them
        }
    }
    loop_timer_set(target->look_timer, target->n_look > 0 ? at : USEC_INFINITY);
}

static int target_step(struct target *target, const struct engine_input *input, usec_t now) {
    const struct engine_result *result;
    int r = engine_step(target->engine, input, now, &result);
    if (r < 0) {
        return r;
    }
    for (size_t i = 0; i < result->n_events; i++) {
        (void)sinks_emit(target->context->sinks, &result->events[i]);
    }
    executor_add(target->executor, result, now);
    target_set_look(target, result);
    return 0;
}

// Tells the engine what it must know before it may take the next scan. 0 or -ENOMEM: later, then.
static int target_settle_debts(struct target *target, usec_t now) {
    if (target->owes_loss) {
        int r = target_step(target, &(struct engine_input){.kind = ENGINE_INPUT_LOST}, now);
        if (r < 0) {
            return r;
        }
        target->owes_loss = false;
    }
    bool enforces = target->enforce && target->config->enforce && !target->server->observe_only;
    // Not at each reconnect: a policy is new to the engine, and makes it report anew what it reported.
    if (target->owes_policy || enforces != target->enforces) {
        const struct engine_input input = {
            .kind = ENGINE_INPUT_POLICY,
            .policy = {.policy = target->policy, .enforce = enforces},
        };
        int r = target_step(target, &input, now);
        if (r < 0) {
            return r;
        }
        target->owes_policy = false;
        target->enforces = enforces;
    }
    return 0;
}

// Hands the executor's results to the engine. 0 or -ENOMEM: the rest is offered again.
static int target_settle_acts(struct target *target, usec_t now) {
    struct engine_input input;
    executor_check(target->executor, now);
    while (executor_peek(target->executor, &input)) {
        int r = target_step(target, &input, now);
        if (r < 0) {
            return r;
        }
        executor_pop(target->executor);
    }
    return 0;
}

// ---- up and down

// Counts the failure and tells it if it is news.
static void target_note_failure(struct target *target, enum outage_stage stage, const struct pg_error *error,
                                usec_t now) {
    int64_t count = 0;
    target->error = *error;
    target->owes_failed = true;
    switch (outage_add(&target->outage, stage, error, now, &count)) {
    case OUTAGE_QUIET:
        return;
    case OUTAGE_EDGE:
        count = EVENT_NUMBER_NONE;
        break;
    case OUTAGE_REPEAT:
        break;
    }
    target_say_down(target->context->sinks, target_name(target), stage, error, count);
}

static void target_note_success(struct target *target, const struct scan *scan, usec_t now) {
    if (!target->is_up || target->outage.active) {
        target_say_up(target->context->sinks, target_name(target), target->server, scan, &target->outage, now);
    }
    target->is_up = true;
    target->outage.active = false;
    target->error = (struct pg_error){.kind = PG_ERROR_NONE};
    backoff_reset(&target->backoff);
}

static void target_close(struct target *target, usec_t now) {
    loop_io_disarm(target->io);
    target->server->kind->close(target->server);
    dial_release(target->dial, now);
    executor_lost(target->executor);
    target->is_polling = target->is_looking = target->is_up = false;
    target->n_look = 0;
    loop_timer_set(target->look_timer, USEC_INFINITY);
}

static void target_lose(struct target *target, enum outage_stage stage, const struct pg_error *error, usec_t now) {
    // Borrowed from the server, most often.
    struct pg_error why = *error;
    bool was_watching = target->state == TARGET_WATCHING;
    target_close(target, now);
    target_note_failure(target, stage, &why, now);
    // In the order of things: first what became of the acts, then the loss.
    int r = target_settle_acts(target, now);
    target->owes_loss = target->owes_loss || was_watching;
    if (r == 0) {
        (void)target_settle_debts(target, now);
    }
    target_enter_waiting(target, why.kind, now);
}

static void target_scanned(struct target *target, const struct server_report *report, usec_t now) {
    bool is_full = report->scanned == SCAN_FULL;
    struct pg_error error;
    *(is_full ? &target->is_polling : &target->is_looking) = false;
    if (!report->scan) {
        // A look that failed is made good by the next poll, and if that fails too it is told.
        if (is_full) {
            target_note_failure(target, OUTAGE_POLL, report->error, now);
        }
        return;
    }
    if (is_full) {
        target_note_success(target, report->scan, now);
    }
    const struct engine_input input = {.kind = ENGINE_INPUT_SCAN, .scan = report->scan};
    if (target_settle_debts(target, now) < 0 || target_step(target, &input, now) < 0) {
        target_out_of_memory(&error);
        target_note_failure(target, OUTAGE_POLL, &error, now);
        return;
    }
    target->owes_polled = target->owes_polled || is_full;
}

// ---- work for the server

static void target_poll(struct target *target, usec_t now) {
    struct pg_error error;
    if (target->is_polling) {
        return; // slower than the interval: this tick is skipped
    }
    target->server->query_text = target->policy->query_text;
    if (target->server->kind->poll(target->server) < 0) {
        target_out_of_memory(&error);
        target_note_failure(target, OUTAGE_POLL, &error, now);
        return;
    }
    target->is_polling = true;
}

static void target_look(struct target *target) {
    // One at a time: when it comes back the engine says again who is due.
    if (target->is_looking || target->n_look == 0) {
        return;
    }
    target->server->query_text = target->policy->query_text;
    target->is_looking = target->server->kind->look(target->server, target->look, target->n_look) == 0;
}

// Sends the next chunk if there is one. True: there is something new to dispatch.
static bool target_act(struct target *target) {
    const struct decision *decisions;
    size_t n = target->state == TARGET_WATCHING ? executor_take_chunk(target->executor, &decisions) : 0;
    if (n == 0) {
        return false;
    }
    if (target->server->kind->act(target->server, decisions, n) < 0) {
        executor_return_chunk(target->executor);
    }
    return true;
}

static void target_ready(struct target *target, usec_t now) {
    if (findings_replace(&target->findings, target->context->sinks, target_name(target), target->server) < 0) {
        struct pg_error error;
        target_out_of_memory(&error);
        target_lose(target, OUTAGE_CONNECT, &error, now);
        return;
    }
    target->tick = schedule_next_tick(now, target->config->poll_interval);
    target_enter(target, TARGET_WATCHING, target->tick);
    target_poll(target, now);
}

// Lets the server go on until it would wait, or is lost.
static void target_dispatch(struct target *target, unsigned ready, usec_t now) {
    while (target->state == TARGET_CONNECTING || target->state == TARGET_WATCHING) {
        struct server_report report;
        switch (target->server->kind->dispatch(target->server, ready, now, &report)) {
        case SERVER_NOTHING:
            return;
        case SERVER_UP:
            dial_release(target->dial, now);
            break;
        case SERVER_READY:
            target_ready(target, now);
            break;
        case SERVER_SCANNED:
            target_scanned(target, &report, now);
            break;
        case SERVER_ACTED:
            executor_report(target->executor, report.acts, report.n_acts);
            break;
        case SERVER_LOST:
            target_lose(target, OUTAGE_CONNECT, report.error, now);
            break;
        }
        ready = 0;
    }
}

// ---- the loop

static void target_tell_owner(struct target *target, usec_t now) {
    bool failed = target->owes_failed;
    bool polled = target->owes_polled && !target_is_busy(target);
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

static void target_pump(struct target *target, unsigned ready, usec_t now) {
    int r;
    loop_io_disarm(target->io);
    do {
        target_dispatch(target, ready, now);
        ready = 0;
        r = target_settle_acts(target, now);
    } while (r == 0 && target_act(target));
    loop_timer_set(target->work_timer, r < 0 ? usec_add(now, TARGET_RETRY_STEP) : executor_deadline(target->executor));
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
        if (now >= target->tick) {
            target->tick = schedule_next_tick(now, target->config->poll_interval);
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
    if (executor_deadline(target->executor) != USEC_INFINITY) {
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

// ---- for the owner

static int target_build(struct target *target) {
    struct loop *loop = target->context->loop;
    target->server = target_kind_postgres.new(target->config);
    target->dial = dial_new(target->context, target->config, target->conninfo, target_on_dialled, target);
    target->engine = engine_new(target->config->name);
    target->executor = executor_new(target->context->sinks);
    target->io = loop_io_new(loop, target_on_io, target);
    target->timer = loop_timer_new(loop, target_on_timer, target);
    target->look_timer = loop_timer_new(loop, target_on_look, target);
    target->work_timer = loop_timer_new(loop, target_on_work, target);
    target->listener = sinks_listen(target->context->sinks, target_on_written, target);
    bool complete = target->server && target->dial && target->engine && target->executor && target->io &&
                    target->timer && target->look_timer && target->work_timer && target->listener;
    return complete ? 0 : -ENOMEM;
}

int target_new(struct target_context *context, const struct target_options *options, struct target **ret) {
    CLEANUP(target_freep) struct target *target = calloc(1, sizeof(*target));
    if (!target) {
        return -ENOMEM;
    }
    *target = (struct target){
        .context = context,
        .config = options->config,
        .conninfo = options->conninfo,
        .policy = policy_ref(options->policy),
        .enforce = options->enforce,
        .fn = options->fn,
        .userdata = options->userdata,
        .owes_policy = true,
    };
    int r = target_build(target);
    if (r < 0) {
        return r;
    }
    r = target_settle_debts(target, loop_now(context->loop));
    if (r < 0) {
        return r;
    }
    *ret = TAKE_PTR(target);
    return 0;
}

struct target *target_free(struct target *target) {
    if (!target) {
        return NULL;
    }
    if (target->listener) {
        (void)sinks_unlisten(target->listener);
    }
    // The io goes first: it must not watch a socket that is closed behind it.
    (void)loop_io_free(target->io);
    (void)loop_timer_free(target->timer);
    (void)loop_timer_free(target->look_timer);
    (void)loop_timer_free(target->work_timer);
    (void)dial_free(target->dial);
    (void)target_kind_postgres.free(target->server);
    (void)executor_free(target->executor);
    (void)engine_free(target->engine);
    (void)policy_unref(target->policy);
    findings_deinit(&target->findings);
    free(target->look);
    free(target);
    return NULL;
}

void target_start(struct target *target, usec_t now) {
    if (target->state == TARGET_IDLE) {
        target_enter(target, TARGET_WAITING, now);
    }
}

void target_stop(struct target *target, usec_t now) {
    if (target->state == TARGET_IDLE) {
        return;
    }
    executor_unsend(target->executor);
    (void)target_settle_acts(target, now);
    // What was sent and has not come back is unverified, like what was signalled and not seen gone.
    (void)target_step(target, &(struct engine_input){.kind = ENGINE_INPUT_STOP}, now);
    target_close(target, now);
    (void)target_settle_acts(target, now);
    target_enter(target, TARGET_IDLE, USEC_INFINITY);
    loop_timer_set(target->work_timer, USEC_INFINITY);
}

void target_poll_soon(struct target *target, usec_t now) {
    if (target->state == TARGET_WATCHING) {
        loop_timer_set(target->timer, now);
    }
}

const char *target_name(const struct target *target) {
    return target->config->name;
}

const struct engine *target_engine(const struct target *target) {
    return target->engine;
}

bool target_is_busy(const struct target *target) {
    return executor_is_busy(target->executor);
}

const struct pg_error *target_error(const struct target *target) {
    return &target->error;
}

const struct event *target_findings(const struct target *target, size_t *ret_n) {
    *ret_n = target->findings.n_events;
    return target->findings.events;
}
