// SPDX-License-Identifier: PostgreSQL
//
// The rules speak in two passes over the same candidates. The first acts: only enforcing rules, their claims and their
// budgets. The second tells what observe mode reports: every rule counts as enforced, with claims and budgets of its
// own. A rule that only observes thus never disarms one that acts, and what it reports is what it would have done.
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "engine_impl.h"
#include "util/array.h"

// The states that the guard still tests; 0: none. What is measured from the start of the query is that query: it must
// still run, whatever else the rule names.
static unsigned engine_tested_states(const struct timeout *timeout, const struct session *session) {
    if (!timeout->has_since && timeout_time(timeout, session->state) == SESSION_TIME_QUERY_START) {
        return SESSION_STATE_BIT(session->state);
    }
    return timeout->any ? 0 : timeout->state;
}

static struct decision engine_make_decision(const struct engine *engine, const struct candidate *candidate) {
    const struct policy *policy = engine_policy(engine);
    const struct timeout *timeout = &policy->timeouts[candidate->rule];
    const struct session *session = candidate->session;
    struct decision decision = {
        .action = timeout->action,
        .rule = timeout->name,
        .rule_index = candidate->rule,
        .app = session->origin->group->label,
        .session = session_to_row(session),
        .observed = candidate->age,
        .limit = timeout->after,
    };

    decision.test = (struct guard_test){
        .id = session->id,
        .user_oid = session->user_oid,
        .database_oid = session->database_oid,
        .application_name = decision.session.application_name,
        .states = engine_tested_states(timeout, session),
        .time = candidate->time,
        .at = session->times[candidate->time],
        .spare_listeners = policy->protect.listeners,
        .spare_maintenance = policy->protect.maintenance,
    };
    return decision;
}

// A would-be decision, or one of an `action: log` rule: an event and nothing else.
static int engine_report(struct engine *engine, const struct candidate *candidate, bool observe) {
    struct decision decision = engine_make_decision(engine, candidate);
    struct event event = event_make(EVENT_DECISION, EVENT_NOTICE, engine->target);

    // The rows were reserved before the passes began: events point to them.
    assert(engine->n_rows < engine->rows_capacity);
    struct session_row *row = &engine->rows[engine->n_rows++];
    *row = decision.session;
    event.rule = decision.rule;
    event.has_action = true;
    event.action = decision.action;
    event.observe = observe;
    event.session = row;
    event.app = decision.app;
    event.time = decision.test.time;
    event.age = decision.observed;
    event.limit = decision.limit;
    engine->rules[candidate->rule].counts.n_decided++;
    return engine_say(engine, event);
}

static int engine_act(struct engine *engine, const struct candidate *candidate, usec_t now) {
    struct decision decision = engine_make_decision(engine, candidate);
    struct session *session = candidate->session;
    struct pending *pending;
    size_t n = engine->result.n_decisions;

    decision.serial = engine->next_serial;
    decision.enforce = true;
    int r = ARRAY_RESERVE(engine->decisions, engine->decisions_capacity, n);
    if (r == 0) {
        r = ARRAY_RESERVE(engine->intents, engine->intents_capacity, n);
    }
    if (r == 0) {
        r = pending_list_add(&engine->pendings, &decision, engine->snapshot.origins.policy, &pending);
    }
    if (r < 0) {
        return r;
    }
    engine->next_serial++;
    r = budget_spend(&engine->budget, decision.serial, now);
    if (r < 0) {
        return r;
    }
    session->hold_until = USEC_INFINITY;
    if (decision.action == ACTION_TERMINATE) {
        session->dying = true;
        session->origin->group->n_living--;
    } else {
        session->cancelled = decision.session.query_start;
    }
    engine->decisions[n] = pending->decision;
    engine->intents[n] = pending_event(pending, EVENT_DECISION, engine->target, OUTCOME_NONE);
    engine->intents[n].used = (int64_t)snapshot_n_sessions(&engine->snapshot);
    engine->intents[n].usable = server_facts_usable(&engine->snapshot.facts);
    engine->result.n_decisions++;
    engine->rules[candidate->rule].counts.n_decided++;
    return 0;
}

// What is counted is the state as of the last full scan: a look sees only some of the sessions.
static void engine_count_held(struct engine *engine, const struct candidate *candidate, enum held_reason reason) {
    engine->rules[candidate->rule].counts.n_held[reason] += engine->counting;
}

// An `action: log` rule says so once for what it measured.
static int engine_log(struct engine *engine, const struct candidate *candidate) {
    struct session *session = candidate->session;
    int64_t at = session->times[candidate->time];

    if (guard_is_protected(&engine->snapshot, &engine_policy(engine)->protect, session)) {
        engine_count_held(engine, candidate, HELD_PROTECTED);
        return 0;
    }
    if (session_has_note(session, candidate->rule, at, false)) {
        return 0;
    }
    const struct note note = {.rule = candidate->rule, .at = at, .step = engine->step};
    int r = session_add_note(session, &note);
    return r < 0 ? r : engine_report(engine, candidate, false);
}

// The first thing that forbids it, in the order of DESIGN 4.3. N_HELD_REASONS_: nothing does.
static enum held_reason engine_hold(struct engine *engine, const struct candidate *candidate, bool shadow, usec_t now) {
    const struct policy *policy = engine_policy(engine);
    const struct timeout *timeout = &policy->timeouts[candidate->rule];
    const struct group *group = candidate->session->origin->group;
    int64_t n_living = shadow ? group->n_living_shadow : group->n_living;

    if (guard_is_protected(&engine->snapshot, &policy->protect, candidate->session)) {
        return HELD_PROTECTED;
    }
    if (timeout->action == ACTION_TERMINATE && n_living - 1 < timeout->keep) {
        return HELD_KEEP;
    }
    if (!budget_has_room(shadow ? &engine->budget_shadow : &engine->budget, &policy->limits, now)) {
        return HELD_BUDGET;
    }
    return N_HELD_REASONS_;
}

static void engine_claim_shadow(struct engine *engine, const struct candidate *candidate) {
    if (engine_policy(engine)->timeouts[candidate->rule].action == ACTION_TERMINATE) {
        candidate->session->claimed_shadow = engine->step;
        candidate->session->origin->group->n_living_shadow--;
    }
}

static int engine_pass_acting(struct engine *engine, const struct candidate *candidate, usec_t now) {
    const struct timeout *timeout = &engine_policy(engine)->timeouts[candidate->rule];
    struct session *session = candidate->session;

    if (session->dying) {
        return 0; // claimed by an earlier rule
    }
    if (timeout->action == ACTION_LOG) {
        return engine_log(engine, candidate);
    }
    // One act at a time: a query that an earlier rule cancels in this step is judged again when the answer is there.
    if (!engine_enforces(engine, timeout) || session->hold_until == USEC_INFINITY ||
        (timeout->action == ACTION_CANCEL && session->cancelled == session->times[SESSION_TIME_QUERY_START])) {
        return 0;
    }
    enum held_reason held = engine_hold(engine, candidate, false, now);
    if (held != N_HELD_REASONS_) {
        engine_count_held(engine, candidate, held);
        return 0;
    }
    return engine_act(engine, candidate, now);
}

static int engine_pass_shadow(struct engine *engine, const struct candidate *candidate, usec_t now) {
    const struct timeout *timeout = &engine_policy(engine)->timeouts[candidate->rule];
    struct session *session = candidate->session;
    bool observes = !engine_enforces(engine, timeout);

    if (timeout->action == ACTION_LOG || session->claimed_shadow == engine->step) {
        return 0;
    }
    int64_t at = timeout_observed_as(timeout, session);
    if (!observes && timeout->action == ACTION_CANCEL &&
        session->cancelled == session->times[SESSION_TIME_QUERY_START]) {
        return 0; // done, and counted when it was
    }
    if (session_has_note(session, candidate->rule, at, true)) {
        engine_count_held(engine, candidate, HELD_OBSERVE);
        engine_claim_shadow(engine, candidate);
        return 0;
    }
    enum held_reason held = engine_hold(engine, candidate, true, now);
    if (held != N_HELD_REASONS_) {
        if (observes) {
            engine_count_held(engine, candidate, held);
        }
        return 0;
    }
    int r = budget_spend(&engine->budget_shadow, 0, now);
    if (r < 0) {
        return r;
    }
    engine_claim_shadow(engine, candidate);
    if (!observes) {
        return 0; // the acting pass has spoken for it
    }
    const struct note note = {.rule = candidate->rule, .at = at, .observe = true, .step = engine->step};
    r = session_add_note(session, &note);
    if (r < 0) {
        return r;
    }
    engine_count_held(engine, candidate, HELD_OBSERVE);
    return engine_report(engine, candidate, true);
}

static bool engine_observes_any(const struct engine *engine) {
    const struct policy *policy = engine_policy(engine);

    for (size_t i = 0; i < policy->n_timeouts; i++) {
        if (policy->timeouts[i].action != ACTION_LOG && !engine_enforces(engine, &policy->timeouts[i])) {
            return true;
        }
    }
    return false;
}

// Each reason on its edge, then when its number has changed, at most once a minute.
static int engine_say_held(struct engine *engine, usec_t now) {
    const struct policy *policy = engine_policy(engine);

    for (size_t i = 0; i < policy->n_timeouts; i++) {
        struct rule *rule = &engine->rules[i];
        for (unsigned reason = 0; reason < N_HELD_REASONS; reason++) {
            int64_t n = rule->counts.n_held[reason];
            if (reason == HELD_OBSERVE || reason == HELD_UNRECORDED) {
                continue; // these are told session by session
            }
            if (n == rule->held_said[reason] || n == 0) {
                rule->held_said[reason] = n;
                continue;
            }
            if (rule->held_ever[reason] && now < usec_add(rule->held_said_at[reason], ENGINE_HELD_REPEAT)) {
                continue;
            }
            struct event event = event_make(EVENT_HELD_BACK, EVENT_INFO, engine->target);
            event.rule = policy->timeouts[i].name;
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
    const struct policy *policy = engine_policy(engine);
    bool observes = engine_observes_any(engine);

    int r = timeout_find(&engine->snapshot, now, &engine->candidates);
    if (r == 0) {
        // One report for each pass at most.
        r = engine_reserve_rows(engine, 2 * engine->candidates.n_items);
    }
    if (r < 0) {
        return r;
    }
    if (full) {
        budget_new_poll(&engine->budget);
        budget_new_poll(&engine->budget_shadow);
        for (size_t i = 0; i < policy->n_timeouts; i++) {
            rule_counts_new_poll(&engine->rules[i].counts);
        }
    }
    engine->counting = full;
    guard_count_groups(&engine->snapshot);
    for (size_t i = 0; r == 0 && i < engine->candidates.n_items; i++) {
        engine->rules[engine->candidates.items[i].rule].counts.n_matches += full;
        r = engine_pass_acting(engine, &engine->candidates.items[i], now);
    }
    for (size_t i = 0; observes && r == 0 && i < engine->candidates.n_items; i++) {
        r = engine_pass_shadow(engine, &engine->candidates.items[i], now);
    }
    if (r == 0 && full) {
        r = engine_say_held(engine, now);
    }
    return r;
}
