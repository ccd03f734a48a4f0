// SPDX-License-Identifier: PostgreSQL
#include "visit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"

int visit_new(struct sinks *sinks, const struct visit_options *options, struct visit **ret) {
    struct visit *visit = calloc(1, sizeof(*visit));
    if (!visit) {
        return -ENOMEM;
    }
    visit->options = *options;
    visit->options.policy = policy_ref(options->policy);
    visit->sinks = sinks;
    visit->none = policy_new();
    visit->executor = executor_new(sinks);
    if (!visit->none || !visit->executor) {
        (void)visit_free(visit);
        return -ENOMEM;
    }
    executor_set_asker(visit->executor, options->asker);
    *ret = visit;
    return 0;
}

struct visit *visit_free(struct visit *visit) {
    if (visit) {
        (void)executor_free(visit->executor);
        (void)engine_free(visit->engine);
        (void)policy_unref(visit->none);
        (void)policy_unref(visit->options.policy);
        free(visit);
    }
    return NULL;
}

// Acts and what became of them are said like those of the rules; alarms and the like are the target's to say.
static void visit_say(struct visit *visit, const struct event *said) {
    struct event own = *said, *event = &own;
    event->asker = visit->options.asker;
    bool is_decision = event->kind == EVENT_DECISION;
    bool is_unrecorded = event->kind == EVENT_HELD_BACK && event->session;
    if (event->kind == EVENT_OUTCOME || is_unrecorded) {
        (void)sinks_emit(visit->sinks, event);
        // After UNKNOWN another one follows, once we see again who is there.
        visit->n_unsettled -= visit->n_unsettled > 0 && event->outcome != OUTCOME_UNKNOWN;
    }
    if (event->kind == EVENT_OUTCOME || is_unrecorded || is_decision) {
        visit->options.on_event(visit->options.userdata, said); // who asked knows that he did
    }
}

static void visit_check_end(struct visit *visit) {
    visit->has_ended =
        visit->has_ended || (visit->engine && visit->n_unsettled == 0 && !executor_is_busy(visit->executor));
}

static int visit_step(struct visit *visit, const struct engine_input *input, usec_t now,
                      const struct engine_result **ret) {
    int r = engine_step(visit->engine, input, now, ret);
    if (r < 0) {
        return r;
    }
    const struct engine_result *result = *ret;
    visit->n_unsettled += result->n_decisions;
    for (size_t i = 0; i < result->n_decisions; i++) {
        visit_say(visit, &result->intents[i]);
    }
    for (size_t i = 0; i < result->n_events; i++) {
        visit_say(visit, &result->events[i]);
    }
    executor_add(visit->executor, result, now);
    return 0;
}

static int visit_count_held(struct visit *visit) {
    CLEANUP(summary_deinit) struct summary summary = {0};
    int r = engine_summarize(visit->engine, &summary);
    for (size_t i = 0; r == 0 && i < summary.n_rules; i++) {
        for (unsigned reason = 0; reason < N_HELD_REASONS; reason++) {
            visit->n_held[reason] += summary.rules[i].n_held[reason];
        }
    }
    return r;
}

// The one scan that it judges.
static int visit_decide(struct visit *visit, const struct scan *scan, usec_t now, struct session_id **ret_held,
                        size_t *ret_n_held) {
    const struct engine_result *result;
    int r = visit_step(visit, &(struct engine_input){.kind = ENGINE_INPUT_SCAN, .scan = scan}, now, &result);
    if (r < 0) {
        return r;
    }
    CLEANUP(freep) struct session_id *held = calloc(result->n_decisions + 1, sizeof(*held));
    if (!held) {
        return -ENOMEM; // they are ended all the same; the target's own rules may name them, too
    }
    for (size_t i = 0; i < result->n_decisions; i++) {
        held[i] = result->decisions[i].session.id;
    }
    *ret_n_held = result->n_decisions;
    *ret_held = TAKE_PTR(held);
    r = visit_count_held(visit);
    const struct engine_input input = {.kind = ENGINE_INPUT_POLICY, .policy = {.policy = visit->none, .enforce = true}};
    return r < 0 ? r : visit_step(visit, &input, now, &result);
}

int visit_take_scan(struct visit *visit, const struct engine *engine, const struct scan *scan, usec_t now,
                    struct session_id **ret_held, size_t *ret_n_held) {
    const struct engine_result *result;
    int r = 0;
    if (visit->has_ended) {
        return 0;
    }
    if (visit->engine) {
        r = visit_step(visit, &(struct engine_input){.kind = ENGINE_INPUT_SCAN, .scan = scan}, now, &result);
    } else if (scan->kind == SCAN_FULL) {
        r = engine_fork(engine, visit->options.policy, true, &visit->engine);
        r = r < 0 ? r : visit_decide(visit, scan, now, ret_held, ret_n_held);
    }
    visit_check_end(visit);
    return r;
}

int visit_settle(struct visit *visit, usec_t now) {
    struct engine_input input;
    const struct engine_result *result;
    executor_check(visit->executor, now);
    while (visit->engine && executor_peek(visit->executor, &input)) {
        int r = visit_step(visit, &input, now, &result);
        if (r < 0) {
            return r;
        }
        executor_pop(visit->executor);
    }
    visit_check_end(visit);
    return 0;
}

void visit_lost(struct visit *visit, usec_t now) {
    const struct engine_result *result;
    executor_lost(visit->executor);
    (void)visit_settle(visit, now);
    if (visit->engine) {
        (void)visit_step(visit, &(struct engine_input){.kind = ENGINE_INPUT_LOST}, now, &result);
    }
}

void visit_stop(struct visit *visit, usec_t now) {
    const struct engine_result *result;
    executor_unsend(visit->executor, "not sent: the time for it is over");
    (void)visit_settle(visit, now);
    if (visit->engine) {
        (void)visit_step(visit, &(struct engine_input){.kind = ENGINE_INPUT_STOP}, now, &result);
    } else if (!visit->failed) {
        pg_error_set(&visit->error, PG_ERROR_TIMEOUT, NULL, "the server was not polled in time");
        visit->failed = true;
    }
    executor_lost(visit->executor);
    (void)visit_settle(visit, now);
    visit->has_ended = true;
}

void visit_fail(struct visit *visit, const struct pg_error *error) {
    visit->error = *error;
    visit->failed = visit->has_ended = true;
}
