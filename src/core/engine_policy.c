// SPDX-License-Identifier: PostgreSQL
//
// Another policy: what is equal to before keeps its memory.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine_impl.h"

void engine_free_rules(struct rule *rules, size_t n) {
    for (size_t i = 0; rules && i < n; i++) {
        quota_groups_free(&rules[i].groups);
    }
    free(rules);
}

// Where the rules of the one policy are in the other; GUARD_NO_RULE: nowhere.
struct moves {
    size_t *same;  // equal: its memory goes along
    size_t *named; // of the same name, whatever it says now: what it has spent is not forgotten
};

static void engine_find_moves(const struct policy *from, const struct policy *to, struct moves *moves) {
    for (size_t i = 0; i < from->n_timeouts + from->n_quotas; i++) {
        moves->same[i] = moves->named[i] = GUARD_NO_RULE;
    }
    for (size_t i = 0; i < from->n_timeouts; i++) {
        for (size_t j = 0; j < to->n_timeouts; j++) {
            if (strcmp(from->timeouts[i].name, to->timeouts[j].name) == 0) {
                moves->named[i] = j;
                moves->same[i] = policy_timeout_is_same(from, i, to, j) ? j : GUARD_NO_RULE;
            }
        }
    }
    for (size_t i = 0; i < from->n_quotas; i++) {
        for (size_t j = 0; j < to->n_quotas; j++) {
            if (strcmp(from->quotas[i].name, to->quotas[j].name) == 0) {
                moves->named[from->n_timeouts + i] = to->n_timeouts + j;
                moves->same[from->n_timeouts + i] =
                    policy_quota_is_same(from, i, to, j) ? to->n_timeouts + j : GUARD_NO_RULE;
            }
        }
    }
}

static void engine_move_rules(struct engine *engine, struct rule *rules, size_t n_old, const struct moves *moves) {
    for (size_t i = 0; engine->rules && i < n_old; i++) {
        if (moves->same[i] != GUARD_NO_RULE) {
            rules[moves->same[i]] = engine->rules[i];
            engine->rules[i].groups = NULL;
        }
    }
    snapshot_move_rules(&engine->snapshot, moves->same);
    budget_move_rules(&engine->budget, moves->named);
    budget_move_rules(&engine->budget_shadow, moves->named);
    if (engine->rules) {
        engine_free_rules(engine->rules, n_old);
    }
    engine->rules = rules;
}

// --- What is paused -------------------------------------------------------------------------------------------------

static void engine_mark_paused(struct engine *engine) {
    const struct policy *policy = engine_policy(engine);

    for (size_t i = 0; engine->rules && i < engine_n_rules(engine); i++) {
        const char *name =
            i < policy->n_timeouts ? policy->timeouts[i].name : policy->quotas[i - policy->n_timeouts].name;
        engine->rules[i].paused = false;
        for (size_t j = 0; j < engine->n_paused_rules; j++) {
            engine->rules[i].paused |= strcmp(engine->paused_rules[j], name) == 0;
        }
    }
}

void engine_free_names(char **names, size_t n) {
    for (size_t i = 0; names && i < n; i++) {
        free(names[i]);
    }
    free(names);
}

int engine_take_pause(struct engine *engine, const struct engine_input *input) {
    size_t n = input->pause.n_rules, n_copied = 0;
    char **names = calloc(n + 1, sizeof(*names));

    while (names && n_copied < n && (names[n_copied] = strdup(input->pause.rules[n_copied]))) {
        n_copied++;
    }
    if (!names || n_copied < n) {
        engine_free_names(names, n_copied);
        return -ENOMEM;
    }
    engine_free_names(engine->paused_rules, engine->n_paused_rules);
    engine->paused_rules = names;
    engine->n_paused_rules = n;
    engine->paused = input->pause.all;
    engine_mark_paused(engine);
    return 0;
}

// --- The rules ------------------------------------------------------------------------------------------------------

void engine_translate_queries(struct engine *engine, const struct policy *policy, uint32_t known_queries) {
    uint32_t bits[POLICY_MAX_QUERIES];

    policy_translate_queries(policy, engine_policy(engine), bits);
    snapshot_translate_queries(&engine->snapshot, bits);
    engine->known_queries = policy_translate_matches(known_queries, bits);
}

int engine_set_rules(struct engine *engine, struct policy *policy) {
    size_t n_old = engine_n_rules(engine), n = policy->n_timeouts + policy->n_quotas;
    CLEANUP(freep) size_t *same = calloc(n_old + 1, sizeof(*same));
    CLEANUP(freep) size_t *named = calloc(n_old + 1, sizeof(*named));
    CLEANUP(freep) uint64_t *asleep = calloc(n / 64 + 1, sizeof(*asleep));
    CLEANUP(freep) int64_t *n_covered = calloc(n + 1, sizeof(*n_covered));
    CLEANUP(freep) struct rule *rules = calloc(n + 1, sizeof(*rules));
    CLEANUP(policy_unrefp) struct policy *before = policy_ref(engine->snapshot.origins.policy);
    struct moves moves = {same, named};

    if (!same || !named || !asleep || !n_covered || !rules) {
        return -ENOMEM;
    }
    engine_find_moves(engine_policy(engine), policy, &moves);
    int r = origin_table_set_policy(&engine->snapshot.origins, policy);
    if (r < 0) {
        return r;
    }
    engine_translate_queries(engine, before, engine->known_queries);
    engine_move_rules(engine, TAKE_PTR(rules), n_old, &moves);
    engine_mark_paused(engine);
    free(engine->asleep);
    engine->asleep = TAKE_PTR(asleep);
    free(engine->n_covered);
    engine->n_covered = TAKE_PTR(n_covered);
    for (struct session *s = engine->snapshot.sessions; s; s = s->hh.next) {
        s->due_at = USEC_INFINITY; // the next full scan tells
    }
    return 0;
}

int engine_take_policy(struct engine *engine, const struct engine_input *input) {
    struct policy *policy = input->policy.policy;

    // A reconnect brings the same again.
    if (policy != engine_policy(engine)) {
        int r = engine_set_rules(engine, policy);
        if (r < 0) {
            return r;
        }
    }
    engine->enforce = input->policy.enforce;
    engine->pressure_at = input->policy.pressure_at;
    engine->poll_interval = input->policy.poll_interval;
    usec_t gap = engine_gap_after(engine);
    if (policy == engine->alarms.policy && gap == engine->alarms.gap_after) {
        return 0;
    }
    return alarms_set_policy(&engine->alarms, policy, gap);
}
