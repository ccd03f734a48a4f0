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

#include "pg/connection.h"
#include "target_impl.h"
#include "target_say.h"

// When the engine had no memory to take a result, it is offered again after this.
#define TARGET_RETRY_STEP (100 * USEC_PER_MSEC)
// Who leads by its own lock does so until it lets go, whoever comes: it asks for nothing but to find out, should it
// ever have lost it. That costs the server as much as a tenth of a poll.
#define TARGET_LEAD_EVERY (60 * USEC_PER_SEC)

static_assert(CONNECTION_WANTS_READ == LOOP_READ && CONNECTION_WANTS_WRITE == LOOP_WRITE, "wants are the loop's");

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

// ---- up and down

// Counts the failure and tells it if it is news.
static void target_note_failure(struct target *target, enum outage_stage stage, const struct pg_error *error,
                                usec_t now) {
    int64_t count = 0;
    target->error = *error;
    target->owes_failed = true;
    enum outage_verdict verdict = outage_add(&target->outage, stage, error, now, &count);
    target_note_trouble(target, stage, error, now);
    switch (verdict) {
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
    target->used = (int64_t)scan->n_rows;
    target->usable = server_facts_usable(&scan->facts);
    target->outage.active = false;
    target->error = (struct pg_error){.kind = PG_ERROR_NONE};
    backoff_reset(&target->backoff);
    target_note_sight(target, scan);
}

static void target_close(struct target *target, usec_t now) {
    loop_io_disarm(target->io);
    target->server->kind->close(target->server);
    dial_release(target->dial, now);
    executor_lost(target->executor);
    target->is_visit_out = false;
    if (target->visit) {
        visit_lost(target->visit, now);
    }
    if (target->is_polling) {
        target_count_poll(target, POLL_LOST);
    }
    target->is_polling = target->is_looking = target->is_asking = target->is_checking = target->is_up = false;
    target->is_stale_poll = target->is_stale_look = false;
    target->is_settled = false;
    target->has_asked = target->leads = false; // the lock went with the session
    target->owes_reconnect = false;
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

// For another server, or other ways to it: what is known of the troubles with the last is of no use.
static void target_start_over(struct target *target, usec_t now) {
    target->outage = (struct outage){0};
    target->backoff = (struct backoff){0};
    target_enter(target, TARGET_WAITING, now);
}

// ---- work for the server

usec_t target_interval(const struct target *target) {
    const struct target_config *config = target->config;
    return target->is_pressed ? MIN(config->pressure_poll_interval, config->poll_interval) : config->poll_interval;
}

void target_set_tick(struct target *target, usec_t now) {
    target->tick = schedule_next_tick(now, target_interval(target));
    if (target->state == TARGET_WATCHING && !target->is_hurried) {
        loop_timer_set(target->timer, target->tick);
    }
}

// Asks who acts, if we mean to or did: told before the poll that follows.
static void target_lead(struct target *target, usec_t now) {
    bool wants = target_wants_lead(target);
    if (wants && target->is_settled && now < usec_add(target->asked_at, TARGET_LEAD_EVERY)) {
        return;
    }
    if ((wants || target->has_asked) && !target->is_asking && target->server->kind->lead(target->server, wants) == 0) {
        target->is_asking = true;
        target->has_asked = wants;
        target->asked_at = now;
    }
}

static void target_poll(struct target *target, usec_t now) {
    struct pg_error error;
    if (target->is_polling) {
        target_count_poll(target, POLL_SKIPPED);
    }
    if (target->is_polling || target->owes_reconnect) {
        return; // slower than the interval: this tick is skipped
    }
    target_lead(target, now);
    target->server->policy = target->policy;
    if (target->server->kind->poll(target->server) < 0) {
        target_out_of_memory(&error);
        target_count_failed_poll(target, &error);
        target_note_failure(target, OUTAGE_POLL, &error, now);
        return;
    }
    target->is_polling = true;
}

static void target_look(struct target *target) {
    // One at a time: when it comes back the engine says again who is due.
    if (target->is_looking || target->n_look == 0 || target->owes_reconnect) {
        return;
    }
    target->server->policy = target->policy;
    target->is_looking = target->server->kind->look(target->server, target->look, target->n_look) == 0;
}

// Sends the next chunk if there is one. True: there is something new to dispatch. Not behind a poll that may take its
// time: from there it could not be taken back, and a pause has said that nothing is ended any more.
static bool target_act(struct target *target) {
    const struct decision *decisions;
    struct executor *executor = target->executor;
    if (target->state != TARGET_WATCHING || target->is_visit_out || target->server->kind->is_busy(target->server)) {
        return false;
    }
    size_t n = executor_take_chunk(executor, &decisions);
    if (n == 0 && target->visit && !executor_is_out(executor)) {
        executor = target->visit->executor;
        n = executor_take_chunk(executor, &decisions);
    }
    if (n == 0) {
        return false;
    }
    target->is_visit_out = executor != target->executor;
    if (target->server->kind->act(target->server, decisions, n) < 0) {
        executor_return_chunk(executor);
        target->is_visit_out = false;
    }
    return true;
}

// After our own engine, so that it knows whom that is ending; and that leaves alone whom it ends.
static void target_show_visit(struct target *target, const struct scan *scan, usec_t now) {
    CLEANUP(freep) struct session_id *held = NULL;
    size_t n_held = 0;
    if (!target->visit) {
        return;
    }
    if (visit_take_scan(target->visit, target->engine, scan, now, &held, &n_held) < 0) {
        visit_stop(target->visit, now);
    }
    if (n_held > 0) {
        const struct engine_input input = {
            .kind = ENGINE_INPUT_HOLD,
            .hold = {.ids = held, .n_ids = n_held, .until = usec_add(now, ENGINE_LINGERING_AFTER)},
        };
        (void)target_step(target, &input, now); // else both may name one: the guard sees to it
    }
}

static void target_take_scan(struct target *target, const struct scan *scan, usec_t now) {
    struct pg_error error;
    if (scan->kind == SCAN_FULL) {
        target_note_success(target, scan, now);
        target_check_power(target, scan);
    }
    const struct engine_input input = {.kind = ENGINE_INPUT_SCAN, .scan = scan};
    if (target_settle_debts(target, now) < 0 || target_step(target, &input, now) < 0) {
        target_out_of_memory(&error);
        target_count_failed_poll(target, &error);
        target_note_failure(target, OUTAGE_POLL, &error, now);
        return;
    }
    target_count_scan(target, scan, now);
    target_show_visit(target, scan, now);
    target->owes_polled = target->owes_polled || scan->kind == SCAN_FULL;
}

static void target_scanned(struct target *target, const struct server_report *report, usec_t now) {
    bool is_full = report->scanned == SCAN_FULL;
    bool *is_stale = is_full ? &target->is_stale_poll : &target->is_stale_look;
    bool was_stale = *is_stale;
    *(is_full ? &target->is_polling : &target->is_looking) = *is_stale = false;
    if (was_stale) {
        // What it says of queries is about those of a policy before.
        if (is_full) {
            target_count_poll(target, POLL_SKIPPED);
            target_poll(target, now);
        }
    } else if (report->scan) {
        target_take_scan(target, report->scan, now);
    } else if (is_full) {
        // A look that failed is made good by the next poll, and if that fails too it is told.
        target_count_failed_poll(target, report->error);
        target_note_failure(target, OUTAGE_POLL, report->error, now);
    }
}

static void target_ready(struct target *target, usec_t now) {
    if (findings_replace(&target->findings, target->context->sinks, target_name(target), target->server) < 0) {
        struct pg_error error;
        target_out_of_memory(&error);
        target_lose(target, OUTAGE_CONNECT, &error, now);
        return;
    }
    target->is_pooled = target->server->observe_only;
    target_note_findings(target);
    target->is_hurried = false;
    target->tick = schedule_next_tick(now, target_interval(target));
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
        case SERVER_CHECKED:
            target_note_check(target);
            break;
        case SERVER_LED:
            target_note_leader(target, &report);
            break;
        case SERVER_ACTED:
            executor_report(target->is_visit_out ? target->visit->executor : target->executor, report.acts,
                            report.n_acts);
            target->is_visit_out = false;
            break;
        case SERVER_LOST:
            target_lose(target, OUTAGE_CONNECT, report.error, now);
            break;
        }
        ready = 0;
    }
}

// ---- the loop

static void target_drop_visit(struct target *target) {
    target->visit->is_attached = false;
    target->visit = NULL;
}

static void target_tell_owner(struct target *target, usec_t now) {
    struct visit *visit = target->visit;
    if (visit && visit->has_ended && !target->is_visit_out) {
        target_drop_visit(target);
        visit->options.on_end(visit->options.userdata, now);
    }
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
        .competes = options->competes,
        .fn = options->fn,
        .userdata = options->userdata,
        .owes_policy = true,
        .poll_durations = {.bounds = &histogram_of_polls},
    };
    int r = target_build(target);
    if (r < 0) {
        return r;
    }
    target->server->surveys = options->surveys;
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
        target->started_at = now;
        target_enter(target, TARGET_WAITING, now);
    }
}

void target_stop(struct target *target, usec_t now) {
    if (target->state == TARGET_IDLE) {
        return;
    }
    if (target->visit) {
        visit_stop(target->visit, now);
        target_drop_visit(target);
    }
    executor_unsend(target->executor, "not sent: pgvigil stopped");
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
        target->is_hurried = true;
        loop_timer_set(target->timer, now);
    }
}

// What was read under one of them can be judged under the other.
static bool target_reads_same(const struct policy *a, const struct policy *b) {
    if (a->n_queries != b->n_queries || policy_asks_blockers(a) != policy_asks_blockers(b)) {
        return false;
    }
    for (size_t i = 0; i < a->n_queries; i++) {
        if (a->queries[i].icase != b->queries[i].icase ||
            strcmp(a->queries[i].expression, b->queries[i].expression) != 0) {
            return false;
        }
    }
    return true;
}

static void target_set_policy(struct target *target, struct policy *policy) {
    if (!target_reads_same(target->policy, policy)) {
        target->is_stale_poll = target->is_polling;
        target->is_stale_look = target->is_looking;
    }
    policy_ref(policy);
    (void)policy_unref(target->policy);
    target->policy = policy;
    target->owes_policy = true;
}

void target_reconfigure(struct target *target, const struct target_options *options, bool reconnect, usec_t now) {
    bool meant_to_act = target_means_to_act(target);
    bool is_watching = target->state == TARGET_WATCHING;
    assert(strcmp(options->config->name, target->config->name) == 0);
    if (reconnect && !is_watching && target->state != TARGET_IDLE) {
        target_close(target, now);
        target_start_over(target, now);
    }
    target_end_visit(target, now); // it was made of the configuration of before
    target->config = options->config;
    target->conninfo = options->conninfo;
    target->enforce = options->enforce;
    target->server->kind->configure(target->server, options->config);
    dial_configure(target->dial, options->config, options->conninfo);
    target_set_policy(target, options->policy);
    target_note_power(target);
    if (meant_to_act && !target_means_to_act(target)) {
        executor_unsend(target->executor, "not sent: nothing is enforced any more");
    }
    if (is_watching) {
        target->owes_reconnect = reconnect || target->owes_reconnect;
        target_set_tick(target, now);
        target_poll_soon(target, now);
    }
    loop_timer_set(target->work_timer, now); // the engine hears of it from the loop
}

int target_visit(struct target *target, struct visit *visit, usec_t now) {
    if (target->visit) {
        return -EBUSY;
    }
    if (target->state != TARGET_WATCHING || !target->is_up || target->is_pooled || target->owes_reconnect) {
        return -ENOTCONN;
    }
    target->visit = visit;
    visit->is_attached = true;
    target_poll_soon(target, now);
    return 0;
}

void target_end_visit(struct target *target, usec_t now) {
    if (target->visit) {
        visit_stop(target->visit, now);
        loop_timer_set(target->work_timer, now);
    }
}

void target_note_pause(struct target *target, usec_t now) {
    executor_unsend(target->executor, "not sent: paused");
    loop_timer_set(target->work_timer, now); // the engine hears of it from the loop, and before the next scan
}

void target_retire(struct target *target, usec_t now) {
    CLEANUP(policy_unrefp) struct policy *none = policy_new();
    target_stop(target, now);
    if (none) {
        target_set_policy(target, none);
        conditions_clear_all(&target->conditions);
        (void)target_settle_debts(target, now);
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

int target_compare(const struct target *target, bool is_only, struct comparison *ret,
                   const struct pg_error **ret_error) {
    const struct server_survey *survey = target->server->kind->survey(target->server, ret_error);
    return survey ? engine_compare(target->engine, survey, is_only, ret) : -EAGAIN;
}

const struct event *target_findings(const struct target *target, size_t *ret_n) {
    *ret_n = target->findings.n_events;
    return target->findings.events;
}
