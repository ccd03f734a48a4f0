// SPDX-License-Identifier: PostgreSQL
//
// The rules speak in two passes over the same candidates: timeouts in file order, then quotas. The first acts: only
// enforcing rules, their claims and their budgets. The second tells what observe mode reports: every rule counts as
// enforced, with claims and budgets of its own. A rule that only observes thus never disarms one that acts, and what it
// reports is what it would have done.
#include <errno.h>
#include <stdlib.h>

#include "engine_turn.h"
#include "util/array.h"

// --- The passes -----------------------------------------------------------------------------------------------------

static int engine_run_pass(struct engine *engine, struct turn *turn, bool full) {
    const struct policy *policy = engine_policy(engine);
    int r = 0;

    budget_forget_old(turn->budget, turn->now);
    for (size_t i = 0; r == 0 && i < engine->candidates.n_items; i++) {
        const struct candidate *candidate = &engine->candidates.items[i];
        if (i == 0 || candidate->rule != turn->terms.rule) {
            turn_begin_rule(engine, turn, candidate->rule);
        }
        r = engine_judge(engine, turn, candidate);
    }
    for (size_t i = 0; full && r == 0 && i < policy->n_quotas; i++) {
        r = engine_judge_quota(engine, turn, policy->n_timeouts + i);
    }
    return r;
}

static bool engine_observes_any(const struct engine *engine) {
    for (size_t i = 0; i < engine_n_rules(engine); i++) {
        struct terms terms = engine_terms(engine, i);
        if (terms.action != ACTION_LOG && !terms.acts) {
            return true;
        }
    }
    return false;
}

// Each reason on its edge, then when its number has changed, at most once a minute.
static int engine_say_held(struct engine *engine, usec_t now) {
    for (size_t i = 0; i < engine_n_rules(engine); i++) {
        struct rule *rule = &engine->rules[i];
        const struct terms terms = engine_terms(engine, i);
        for (unsigned reason = 0; reason < N_HELD_REASONS; reason++) {
            int64_t n = rule->counts.n_held[reason];
            if (reason == HELD_OBSERVE || reason == HELD_UNRECORDED || (terms.is_quota && reason == HELD_PROTECTED)) {
                continue; // these are told elsewhere: by session, by group, as they come
            }
            if (n == rule->held_said[reason] || n == 0) {
                rule->held_said[reason] = n;
                continue;
            }
            if (rule->held_ever[reason] && now < usec_add(rule->held_said_at[reason], ENGINE_HELD_REPEAT)) {
                continue;
            }
            struct event event = event_make(EVENT_HELD_BACK, EVENT_INFO, engine->target);
            event.rule = terms.name;
            event.reason = held_reason_to_string((enum held_reason)reason);
            event.count = n;
            int r = engine_say(engine, event);
            if (r < 0) {
                return r;
            }
            rule->held_said[reason] = n;
            rule->held_said_at[reason] = now;
            rule->held_ever[reason] = true;
        }
    }
    return 0;
}

// Rows for as many reports as there can be, so that events may point into the array.
static int engine_reserve_rows(struct engine *engine, size_t n) {
    engine->n_rows = 0;
    if (n <= engine->rows_capacity) {
        return 0;
    }
    struct session_row *rows = reallocarray(engine->rows, n, sizeof(*rows));
    if (!rows) {
        return -ENOMEM;
    }
    engine->rows = rows;
    engine->rows_capacity = n;
    return 0;
}

int engine_decide(struct engine *engine, bool full, usec_t now) {
    struct turn acting = {.kind = PASS_ACTING, .now = now, .budget = &engine->budget};
    struct turn shadow = {.kind = PASS_SHADOW, .now = now, .budget = &engine->budget_shadow};

    int r = timeout_find(&engine->snapshot, engine->asleep, now, &engine->candidates);
    if (r == 0) {
        // One report for each pass at most; what quotas report is claimed, and so reported once.
        size_t n_by_quotas = engine_policy(engine)->n_quotas > 0 ? snapshot_n_sessions(&engine->snapshot) : 0;
        r = engine_reserve_rows(engine, 2 * engine->candidates.n_items + n_by_quotas);
    }
    if (r < 0) {
        return r;
    }
    if (full) {
        budget_new_poll(&engine->budget);
        budget_new_poll(&engine->budget_shadow);
        for (size_t i = 0; i < engine_n_rules(engine); i++) {
            rule_counts_new_poll(&engine->rules[i].counts);
        }
    }
    engine->counting = full;
    acting.n_living = shadow.n_living = guard_count_groups(&engine->snapshot);
    for (size_t i = 0; i < engine->candidates.n_items; i++) {
        engine->rules[engine->candidates.items[i].rule].counts.n_matches += full;
    }
    r = engine_run_pass(engine, &acting, full);
    if (r == 0 && engine_observes_any(engine)) {
        r = engine_run_pass(engine, &shadow, full);
    }
    if (r == 0 && full && !engine->preview) {
        r = engine_say_held(engine, now);
    }
    return r;
}
