// SPDX-License-Identifier: PostgreSQL
//
// Another engine beside this one, under another policy, which begins with what this one has seen last: to tell what the
// policy would do, or to do it once.
#include <errno.h>

#include "engine_impl.h"

int engine_rehearse(const struct engine *engine, struct policy *policy, struct engine **ret) {
    if (!engine->snapshot.complete) {
        return -EAGAIN;
    }
    CLEANUP(engine_freep) struct engine *scratch = engine_new(engine->target);
    if (!scratch) {
        return -ENOMEM;
    }
    scratch->preview = true;
    scratch->step++; // sessions remember steps; 0 is none
    int r = engine_set_rules(scratch, policy);
    if (r == 0) {
        r = snapshot_copy(&scratch->snapshot, &engine->snapshot);
    }
    if (r == 0) {
        engine_translate_queries(scratch, engine_policy(engine), engine->known_queries);
        scratch->knows_blockers = engine->knows_blockers;
        engine_arm(scratch, true);
        r = engine_decide(scratch, true, engine->snapshot.received_at);
    }
    if (r == 0) {
        *ret = TAKE_PTR(scratch);
    }
    return r;
}

// The rule goes by something that no poll has asked for yet.
static bool engine_lacks(const struct engine *engine, size_t rule) {
    const struct policy *policy = engine_policy(engine);
    uint32_t asked = selector_queries(policy->protect.match);

    if (rule < policy->n_timeouts) {
        const struct timeout *timeout = &policy->timeouts[rule];
        asked |= selector_queries(timeout->match) | selector_queries(timeout->ignore);
        return (asked & ~engine->known_queries) || (timeout->when.blocks > 0 && !engine->knows_blockers);
    }
    const struct quota *quota = &policy->quotas[rule - policy->n_timeouts];
    asked |= selector_queries(quota->match) | selector_queries(quota->ignore);
    return asked & ~engine->known_queries;
}

int engine_preview(const struct engine *engine, struct policy *policy, int64_t *ret_counts) {
    CLEANUP(engine_freep) struct engine *scratch = NULL;
    int r = engine_rehearse(engine, policy, &scratch);

    for (size_t i = 0; r == 0 && i < engine_n_rules(scratch); i++) {
        ret_counts[i] = engine_lacks(scratch, i) ? ENGINE_PREVIEW_UNKNOWN : scratch->rules[i].counts.n_decided;
    }
    return r;
}

int engine_fork(const struct engine *engine, struct policy *policy, bool enforce, struct engine **ret) {
    if (!engine->snapshot.complete) {
        return -EAGAIN;
    }
    CLEANUP(engine_freep) struct engine *fork = engine_new(engine->target);
    if (!fork) {
        return -ENOMEM;
    }
    const struct engine_input input = {
        .kind = ENGINE_INPUT_POLICY,
        .policy = {.policy = policy, .enforce = enforce, .poll_interval = engine->poll_interval},
    };
    const struct engine_result *result;
    int r = engine_step(fork, &input, engine->snapshot.received_at, &result);
    if (r == 0) {
        r = snapshot_copy(&fork->snapshot, &engine->snapshot);
    }
    if (r == 0) {
        engine_translate_queries(fork, engine_policy(engine), engine->known_queries);
        fork->knows_blockers = engine->knows_blockers;
        *ret = TAKE_PTR(fork);
    }
    return r;
}
