// SPDX-License-Identifier: PostgreSQL

// One watched server over its life:
//
//   IDLE -> WAITING -> DIALLING -> CONNECTING -> WATCHING
//              ^___________|____________|____________|   whatever fails, with back-off
//
// In parts, each of which calls only those below it:
//
//   target.c              what its owner wants of it
//   target_loop           what wakes it, and what it waits for
//   target_work           what the server is asked, and what comes back
//   target_link           up and down
//   target_engine         what the engine is told, and what becomes of what it wants
//   target_state          what it knows of itself, and counts
//
// target_status.c and target_vitals.c only read.

#include "daemon/target.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/loop.h"
#include "pause.h"
#include "target_engine.h"
#include "target_link.h"
#include "target_loop.h"
#include "util/macro.h"

static int target_build(struct target *target) {
    target->server = target_kind_postgres.new(target->config);
    target->engine = engine_new(target->config->name);
    target->executor = executor_new(target->context->sinks);
    bool complete = target->server && target->engine && target->executor;
    return complete ? target_attach(target) : -ENOMEM;
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
    // First: the loop must not watch a socket that is closed behind it.
    target_detach(target);
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
    executor_unsend(target->executor, "not sent: the watch ended");
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
    // By the rules of before, and what they protect. Whom those of now name is decided anew.
    executor_unsend(target->executor, target_means_to_act(target) ? "not sent: the configuration was reloaded"
                                                                  : "not sent: nothing is enforced any more");
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
