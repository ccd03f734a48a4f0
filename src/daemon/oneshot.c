// SPDX-License-Identifier: PostgreSQL
#include "daemon/oneshot.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/clock.h"
#include "daemon/loop.h"
#include "daemon/resolver.h"
#include "daemon/sinks.h"
#include "daemon/target.h"
#include "util/array.h"
#include "util/strbuf.h"

// How often victims are looked for after they were signalled.
#define ONESHOT_SETTLE_INTERVAL (200 * USEC_PER_MSEC)
// How long they are waited for after the last one was: time enough for the engine to call them lingering.
#define ONESHOT_SETTLE_FOR (ENGINE_LINGERING_AFTER + 5 * USEC_PER_SEC)
// Clients that come back and come due again must not hold a round for ever. Below the minute of limits.per_minute, so
// that what the policy says there holds for the whole round.
#define ONESHOT_ROUND_MAX (50 * USEC_PER_SEC)

struct oneshot_target {
    struct oneshot *oneshot;
    struct target_config config; // the settings' with our own `enforce`; members are borrowed from there
    struct target *target;
    struct oneshot_verdict verdict;
    bool waiting; // for the verdict of this round
    usec_t deadline;
    struct session_id *unsettled; // acts that were announced and have no outcome yet
    size_t n_unsettled, capacity;
};

struct oneshot {
    struct target_context context;
    struct oneshot_target *targets;
    size_t n_targets;
    bool started;
    bool enforce;
    bool compare;
    bool is_only; // the file names no other server
    usec_t timeout;
    struct loop_timer *timer;
    struct loop_signal *signals[2];
    bool (*fn)(void *userdata, const struct event *event);
    void *userdata;
    bool in_round;
    usec_t until; // end of the round at the latest, or of the wait
    usec_t last_act;
    int error; // -EINTR after a signal, -ENOMEM
};

void oneshot_result_deinit(struct oneshot_result *result) {
    for (size_t i = 0; i < result->n_verdicts; i++) {
        summary_deinit(&result->verdicts[i].summary);
        comparison_deinit(&result->verdicts[i].comparison);
    }
    free(result->verdicts);
    *result = (struct oneshot_result){0};
}

static struct oneshot_target *oneshot_find(struct oneshot *oneshot, const char *name) {
    for (size_t i = 0; name && i < oneshot->n_targets; i++) {
        if (strcmp(oneshot->targets[i].config.name, name) == 0) {
            return &oneshot->targets[i];
        }
    }
    return NULL;
}

static int oneshot_add_unsettled(struct oneshot_target *target, const struct session_id *id) {
    int r = ARRAY_RESERVE(target->unsettled, target->capacity, target->n_unsettled);

    if (r < 0) {
        return r;
    }
    target->unsettled[target->n_unsettled++] = *id;
    return 0;
}

static void oneshot_remove_unsettled(struct oneshot_target *target, const struct session_id *id) {
    for (size_t i = 0; i < target->n_unsettled; i++) {
        if (session_id_is_equal(&target->unsettled[i], id)) {
            target->unsettled[i] = target->unsettled[--target->n_unsettled];
            return;
        }
    }
}

static bool oneshot_tee(void *userdata, const struct event *event) {
    struct oneshot *oneshot = userdata;
    struct oneshot_target *target = oneshot_find(oneshot, event->target);

    if (target && event->session) {
        const struct session_id *id = &event->session->id;
        if (event->kind == EVENT_DECISION && !event->observe && event->action != ACTION_LOG) {
            oneshot->last_act = loop_now(oneshot->context.loop);
            if (oneshot_add_unsettled(target, id) < 0) {
                oneshot->error = -ENOMEM;
            }
        } else if (event->kind == EVENT_OUTCOME && event->outcome != OUTCOME_UNKNOWN) {
            // After UNKNOWN another one follows, once we see again who is there.
            oneshot_remove_unsettled(target, id);
        }
    }
    return oneshot->fn(oneshot->userdata, event);
}

static bool oneshot_is_settled(const struct oneshot *oneshot) {
    for (size_t i = 0; i < oneshot->n_targets; i++) {
        if (oneshot->targets[i].n_unsettled > 0) {
            return false;
        }
    }
    return true;
}

// What is left to wait for? Sets the timer for it, or ends the loop.
static void oneshot_reconsider(struct oneshot *oneshot, usec_t now) {
    usec_t next = USEC_INFINITY;

    if (oneshot->error < 0 || now >= oneshot->until) {
        loop_stop(oneshot->context.loop);
        return;
    }
    for (size_t i = 0; oneshot->in_round && i < oneshot->n_targets; i++) {
        if (oneshot->targets[i].waiting) {
            next = MIN(next, oneshot->targets[i].deadline);
        }
    }
    if (oneshot->in_round && oneshot->enforce && !oneshot_is_settled(oneshot) &&
        now < usec_add(oneshot->last_act, ONESHOT_SETTLE_FOR)) {
        next = MIN(next, usec_add(now, ONESHOT_SETTLE_INTERVAL));
    }
    if (oneshot->in_round && next == USEC_INFINITY) {
        loop_stop(oneshot->context.loop);
        return;
    }
    loop_timer_set(oneshot->timer, MIN(next, oneshot->until));
}

static void oneshot_fail(struct oneshot_target *target, const struct pg_error *error) {
    target->waiting = false;
    target->verdict.ok = false;
    target->verdict.error = *error;
}

static void oneshot_time_out(struct oneshot_target *target, usec_t timeout) {
    CLEANUP(strbuf_deinit) struct strbuf message = STRBUF_EMPTY;
    struct pg_error error;

    strbuf_add(&message, "no answer within ");
    usec_render_exact(&message, timeout);
    pg_error_set(&error, PG_ERROR_TIMEOUT, NULL, strbuf_str(&message));
    oneshot_fail(target, &error);
}

static usec_t oneshot_timeout(const struct oneshot *oneshot, const struct oneshot_target *target) {
    usec_t timeout = oneshot->timeout != USEC_INFINITY
                         ? oneshot->timeout
                         : usec_add(target->config.connect_timeout, target->config.query_timeout);
    return MIN(timeout, ONESHOT_ROUND_MAX);
}

static void oneshot_on_timer(void *userdata, usec_t now) {
    struct oneshot *oneshot = userdata;

    for (size_t i = 0; oneshot->in_round && i < oneshot->n_targets; i++) {
        struct oneshot_target *target = &oneshot->targets[i];
        if (target->waiting && now >= target->deadline) {
            oneshot_time_out(target, oneshot_timeout(oneshot, target));
        } else if (target->n_unsettled > 0) {
            target_poll_soon(target->target, now);
        }
    }
    oneshot_reconsider(oneshot, now);
}

static int oneshot_compare(struct oneshot *oneshot, const struct target *target, struct oneshot_verdict *verdict) {
    const struct pg_error *error = NULL;

    comparison_deinit(&verdict->comparison);
    verdict->compare_error = (struct pg_error){.kind = PG_ERROR_NONE};
    int r = oneshot->compare ? target_compare(target, oneshot->is_only, &verdict->comparison, &error) : 0;
    if (r == -EAGAIN && error) {
        verdict->compare_error = *error;
        return 0;
    }
    return r;
}

static void oneshot_on_news(void *userdata, struct target *target, enum target_news news, usec_t now) {
    struct oneshot_target *entry = userdata;
    struct oneshot *oneshot = entry->oneshot;

    if (!oneshot->in_round || !entry->waiting) {
        return;
    }
    switch (news) {
    case TARGET_POLLED:
        if (engine_summarize(target_engine(target), &entry->verdict.summary) < 0 ||
            oneshot_compare(oneshot, target, &entry->verdict) < 0) {
            oneshot->error = -ENOMEM;
        } else {
            entry->verdict.findings = target_findings(target, &entry->verdict.n_findings);
            entry->verdict.ok = true;
            entry->waiting = false;
        }
        break;
    case TARGET_FAILED:
        oneshot_fail(entry, target_error(target));
        break;
    }
    oneshot_reconsider(oneshot, now);
}

void oneshot_interrupt(struct oneshot *oneshot) {
    oneshot->error = -EINTR;
    loop_stop(oneshot->context.loop);
}

static void oneshot_on_signal(void *userdata, usec_t now) {
    (void)now;
    oneshot_interrupt(userdata);
}

static int oneshot_init_loop(struct oneshot *oneshot) {
    static const int signos[] = {SIGINT, SIGTERM};
    struct target_context *context = &oneshot->context;

    context->loop = loop_new();
    if (!context->loop) {
        return -ENOMEM;
    }
    context->resolver = resolver_new(context->loop);
    oneshot->timer = loop_timer_new(context->loop, oneshot_on_timer, oneshot);
    for (size_t i = 0; i < ARRAY_SIZE(signos); i++) {
        oneshot->signals[i] = loop_signal_new(context->loop, signos[i], oneshot_on_signal, oneshot);
        if (!oneshot->signals[i]) {
            return -ENOMEM;
        }
    }
    if (!context->resolver || !oneshot->timer) {
        return -ENOMEM;
    }
    // A person's look is no event of the journal's, an end of sessions is.
    const struct sinks_options sinks = {
        .level = EVENT_NOTICE,
        .format = oneshot->enforce ? LOG_FORMAT_AUTO : LOG_FORMAT_TEXT,
        .fd = -1,
        .tee = oneshot_tee,
        .tee_data = oneshot,
        .realtime = clock_realtime,
    };
    const char *why;
    return sinks_new(context->loop, &sinks, &context->sinks, &why);
}

static int oneshot_add_target(struct oneshot *oneshot, const struct oneshot_options *options, size_t index) {
    struct oneshot_target *entry = &oneshot->targets[oneshot->n_targets];
    const struct target_options target = {
        .config = &entry->config,
        .conninfo = options->settings->conninfos[index],
        .policy = options->policy,
        .enforce = options->enforce,
        .surveys = options->compare,
        .fn = oneshot_on_news,
        .userdata = entry,
    };

    entry->oneshot = oneshot;
    entry->config = options->settings->config->targets[index];
    entry->config.enforce = options->enforce;
    entry->verdict.target = entry->config.name;
    entry->verdict.index = index;
    int r = target_new(&oneshot->context, &target, &entry->target);
    if (r == 0) {
        oneshot->n_targets++;
    }
    return r;
}

int oneshot_new(const struct oneshot_options *options, bool (*fn)(void *userdata, const struct event *event),
                void *userdata, struct oneshot **ret) {
    CLEANUP(oneshot_freep) struct oneshot *oneshot = calloc(1, sizeof(*oneshot));
    const struct config *config = options->settings->config;

    if (!oneshot) {
        return -ENOMEM;
    }
    oneshot->enforce = options->enforce;
    oneshot->compare = options->compare;
    oneshot->is_only = config->n_targets == 1;
    oneshot->timeout = options->timeout;
    oneshot->fn = fn;
    oneshot->userdata = userdata;
    oneshot->targets = calloc(config->n_targets + 1, sizeof(*oneshot->targets));
    if (!oneshot->targets) {
        return -ENOMEM;
    }
    int r = oneshot_init_loop(oneshot);
    for (size_t i = 0; r == 0 && i < config->n_targets; i++) {
        if (!options->target || strcmp(options->target, config->targets[i].name) == 0) {
            r = oneshot_add_target(oneshot, options, i);
        }
    }
    if (r < 0) {
        return r;
    }
    assert(oneshot->n_targets > 0);
    *ret = TAKE_PTR(oneshot);
    return 0;
}

struct oneshot *oneshot_free(struct oneshot *oneshot) {
    if (!oneshot) {
        return NULL;
    }
    for (size_t i = 0; i < oneshot->n_targets; i++) {
        struct oneshot_target *target = &oneshot->targets[i];
        if (oneshot->started) {
            target_stop(target->target, clock_monotonic());
        }
        target_free(target->target);
        summary_deinit(&target->verdict.summary);
        comparison_deinit(&target->verdict.comparison);
        free(target->unsettled);
    }
    free(oneshot->targets);
    sinks_free(oneshot->context.sinks);
    for (size_t i = 0; i < ARRAY_SIZE(oneshot->signals); i++) {
        loop_signal_free(oneshot->signals[i]);
    }
    loop_timer_free(oneshot->timer);
    resolver_free(oneshot->context.resolver);
    loop_free(oneshot->context.loop);
    free(oneshot);
    return NULL;
}

static void oneshot_ask(struct oneshot *oneshot, struct oneshot_target *target, usec_t now) {
    summary_deinit(&target->verdict.summary);
    target->verdict.ok = false;
    target->waiting = true;
    target->deadline = usec_add(now, oneshot_timeout(oneshot, target));
    if (!oneshot->started) {
        target_start(target->target, now);
    } else if (target_error(target->target)->kind != PG_ERROR_NONE) {
        // It is down and comes back by its own schedule: no reason to make the others wait.
        oneshot_fail(target, target_error(target->target));
    } else {
        target_poll_soon(target->target, now);
    }
}

static int oneshot_run(struct oneshot *oneshot, usec_t until) {
    if (oneshot->error < 0) {
        return oneshot->error;
    }
    oneshot->until = until;
    loop_timer_set(oneshot->timer, clock_monotonic()); // the timer's function finds out what to wait for
    int r = loop_run(oneshot->context.loop);
    loop_timer_set(oneshot->timer, USEC_INFINITY);
    return r < 0 ? r : oneshot->error;
}

int oneshot_round(struct oneshot *oneshot, struct oneshot_result *ret) {
    CLEANUP(oneshot_result_deinit) struct oneshot_result result = {0};
    usec_t now = clock_monotonic();

    result.verdicts = calloc(oneshot->n_targets, sizeof(*result.verdicts));
    if (!result.verdicts) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < oneshot->n_targets; i++) {
        oneshot_ask(oneshot, &oneshot->targets[i], now);
    }
    oneshot->started = true;
    oneshot->in_round = true;
    int r = oneshot_run(oneshot, usec_add(now, ONESHOT_ROUND_MAX));
    oneshot->in_round = false;
    if (r < 0) {
        return r;
    }
    for (size_t i = 0; i < oneshot->n_targets; i++) {
        struct oneshot_verdict *verdict = &oneshot->targets[i].verdict;
        result.verdicts[result.n_verdicts++] = *verdict;
        verdict->summary = (struct summary){0}; // moved
        verdict->comparison = (struct comparison){0};
    }
    *ret = result;
    result = (struct oneshot_result){0};
    return 0;
}

int oneshot_wait(struct oneshot *oneshot, usec_t duration) {
    return oneshot_run(oneshot, usec_add(clock_monotonic(), duration));
}
