// SPDX-License-Identifier: PostgreSQL
//
// One rule and one candidate at a time: what forbids it, what it becomes (a decision, a report, nothing), and what each
// of the two passes of engine_decide.c makes of that.
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "engine_turn.h"
#include "util/array.h"
#include "util/macro.h"

struct terms engine_terms(const struct engine *engine, size_t rule) {
    const struct policy *policy = engine_policy(engine);

    if (rule >= policy->n_timeouts) {
        const struct quota *quota = &policy->quotas[rule - policy->n_timeouts];
        return (struct terms){
            .rule = rule,
            .name = quota->name,
            .action = quota->action,
            .is_quota = true,
            .acts = quota->action != ACTION_LOG && engine_enforces(engine, quota->enforce),
            .pressure = true,
        };
    }
    const struct timeout *timeout = &policy->timeouts[rule];
    return (struct terms){
        .rule = rule,
        .name = timeout->name,
        .action = timeout->action,
        .acts = timeout->action != ACTION_LOG && engine_enforces(engine, timeout->enforce),
        .pressure = timeout->when.has_usage,
        .keep = timeout->keep,
    };
}

void turn_begin_rule(const struct engine *engine, struct turn *turn, size_t rule) {
    const struct policy *policy = engine_policy(engine);
    const struct when *when = rule < policy->n_timeouts ? &policy->timeouts[rule].when : NULL;

    turn->terms = engine_terms(engine, rule);
    turn->over = NULL;
    turn->share_left = covered_share(&engine->rules[rule].covered, policy->limits.share);
    if (turn->share_left != LIMIT_NONE) {
        turn->share_left -= budget_spent_by(turn->budget, rule);
    }
    turn->wanted = LIMIT_NONE;
    if (when && when->has_usage) {
        turn->wanted = turn->n_living - server_facts_usable(&engine->snapshot.facts) * when->until / 100;
    }
}

static bool turn_has_pressure(const struct engine *engine, const struct turn *turn) {
    return turn->terms.pressure && engine->pressed;
}

// The states that the guard still tests; 0: none. What is measured from the start of the query is that query: it must
// still run, whatever else the rule names. A victim of a quota was chosen for its state.
static unsigned engine_tested_states(const struct engine *engine, const struct candidate *candidate) {
    const struct policy *policy = engine_policy(engine);
    const struct session *session = candidate->session;

    if (candidate->rule >= policy->n_timeouts) {
        return SESSION_STATE_BIT(session->state);
    }
    const struct timeout *timeout = &policy->timeouts[candidate->rule];
    if (!timeout->has_since && timeout_time(timeout, session->state) == SESSION_TIME_QUERY_START) {
        return SESSION_STATE_BIT(session->state);
    }
    return timeout->any ? 0 : timeout->state;
}

// A cancel, and what follows it, is for that query alone; and what was decided by the query's text is for that text.
static bool engine_tests_query(const struct engine *engine, const struct candidate *candidate) {
    const struct policy *policy = engine_policy(engine);

    return (candidate->rule < policy->n_timeouts && policy->timeouts[candidate->rule].action == ACTION_CANCEL) ||
           origin_asks_query(&engine->snapshot.origins, candidate->rule) || candidate->session->origin->may_protect;
}

static int engine_make_decision(struct engine *engine, const struct turn *turn, const struct candidate *candidate,
                                enum action action, struct decision *ret) {
    const struct policy *policy = engine_policy(engine);
    const struct timeout *timeout = turn->terms.is_quota ? NULL : &policy->timeouts[candidate->rule];
    const struct session *session = candidate->session;
    struct decision decision = {
        .action = action,
        .rule = turn->terms.name,
        .rule_index = candidate->rule,
        .app = session->origin->group->label,
        .session = session_to_row(session),
        .observed = candidate->age,
        .limit = timeout ? timeout->after : USEC_INFINITY,
        .group = turn->over ? turn->over->group->label : NULL,
        .held = turn->over ? turn->over->held : EVENT_NUMBER_NONE,
        .allowed = turn->over
                       ? quota_allowed(&policy->quotas[candidate->rule - policy->n_timeouts], &engine->snapshot.facts)
                       : EVENT_NUMBER_NONE,
        .n_blocked = EVENT_NUMBER_NONE,
        .by_usage = timeout && timeout->when.has_usage,
        .used = (int64_t)snapshot_n_sessions(&engine->snapshot),
        .usable = server_facts_usable(&engine->snapshot.facts),
    };

    if (timeout && timeout->when.blocks > 0) {
        decision.n_blocked = (int64_t)session->n_blocks;
        int r = engine_blocked_text(engine, session, &decision.blocked);
        if (r < 0) {
            return r;
        }
    }
    decision.test = (struct guard_test){
        .id = session->id,
        .user_oid = session->user_oid,
        .database_oid = session->database_oid,
        .application_name = decision.session.application_name,
        .states = engine_tested_states(engine, candidate),
        .time = candidate->time,
        .at = session->times[candidate->time],
        .query_start =
            engine_tests_query(engine, candidate) ? session->times[SESSION_TIME_QUERY_START] : TIMESTAMP_NONE,
        .spare_listeners = policy->protect.listeners,
        .spare_maintenance = policy->protect.maintenance,
        .spare_superusers = policy->protect.superusers,
    };
    if (timeout && timeout->when.blocks > 0) {
        struct guard_test *test = &decision.test;
        test->n_waiters = engine_waiters(engine, session, test->waiters, GUARD_MAX_WAITERS);
        test->n_waiting = MIN((size_t)timeout->when.blocks, test->n_waiters);
    }
    *ret = decision;
    return 0;
}

// A would-be decision, or one of an `action: log` rule: an event and nothing else.
static int engine_report(struct engine *engine, const struct turn *turn, const struct candidate *candidate,
                         bool observe) {
    struct decision decision;
    struct event event = event_make(EVENT_DECISION, EVENT_NOTICE, engine->target);

    int r = engine_make_decision(engine, turn, candidate, turn->terms.action, &decision);
    if (r < 0) {
        return r;
    }
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
    event.group = decision.group;
    event.held = decision.held;
    event.allowed = decision.allowed;
    event.n_blocked = decision.n_blocked;
    event.reason = decision.by_usage ? EVENT_REASON_PRESSURE : NULL;
    event.blocked = decision.blocked;
    engine->rules[candidate->rule].counts.n_decided++;
    return engine_say(engine, event);
}

static int engine_act(struct engine *engine, struct turn *turn, const struct candidate *candidate, enum action action) {
    struct session *session = candidate->session;
    struct decision decision;
    struct pending *pending;
    size_t n = engine->result.n_decisions;

    int r = engine_make_decision(engine, turn, candidate, action, &decision);
    if (r < 0) {
        return r;
    }
    decision.serial = engine->next_serial;
    decision.enforce = true;
    r = ARRAY_RESERVE(engine->decisions, engine->decisions_capacity, n);
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
    r = budget_spend(turn->budget, decision.serial, candidate->rule, turn_has_pressure(engine, turn), turn->now);
    if (r < 0) {
        return r;
    }
    session->hold_until = USEC_INFINITY;
    if (action == ACTION_TERMINATE) {
        session->dying = true;
        session->origin->n_living[PASS_ACTING]--;
        session->origin->group->n_living[PASS_ACTING]--;
        turn->n_living--;
    } else {
        session->cancelled = decision.session.query_start;
        session->escalate_at = USEC_INFINITY;
    }
    turn->share_left -= turn->share_left != LIMIT_NONE;
    engine->decisions[n] = pending->decision;
    engine->intents[n] = pending_event(pending, EVENT_DECISION, engine->target, OUTCOME_NONE);
    engine->intents[n].used = decision.used;
    engine->intents[n].usable = decision.usable;
    engine->result.n_decisions++;
    engine->rules[candidate->rule].counts.n_decided++;
    return 0;
}

// What is counted is the state as of the last full scan: a look sees only some of the sessions.
static void engine_count_held(struct engine *engine, const struct candidate *candidate, enum held_reason reason) {
    engine->rules[candidate->rule].counts.n_held[reason] += engine->counting;
}

// The first thing that forbids it, in the order of docs/DESIGN.md, Guard. N_HELD_REASONS_: nothing does.
static enum held_reason engine_hold(const struct engine *engine, const struct turn *turn,
                                    const struct candidate *candidate, enum action action) {
    const struct policy *policy = engine_policy(engine);
    const struct group *group = candidate->session->origin->group;
    bool pressure = turn_has_pressure(engine, turn);

    if (guard_is_protected(&engine->snapshot, &policy->protect, candidate->session)) {
        return HELD_PROTECTED;
    }
    if (action == ACTION_TERMINATE && group->n_living[turn->kind] - 1 < turn->terms.keep) {
        return HELD_KEEP;
    }
    if (engine->preview) {
        return N_HELD_REASONS_;
    }
    if (engine->paused || engine->rules[candidate->rule].paused) {
        return HELD_PAUSED;
    }
    if (!pressure && breakers_is_tripped(&engine->breakers, turn->terms.name, group->label)) {
        return HELD_BREAKER;
    }
    if (turn->share_left <= 0) {
        return HELD_SHARE;
    }
    return budget_has_room(turn->budget, &policy->limits, pressure) ? N_HELD_REASONS_ : HELD_BUDGET;
}

// --- One candidate. 1: it is one of those that the rule wants, even if it has to wait; 0: it is not; or -ENOMEM ------

// An `action: log` rule says so once for what it measured.
static int engine_log(struct engine *engine, const struct turn *turn, const struct candidate *candidate) {
    struct session *session = candidate->session;
    int64_t at = session->times[candidate->time];

    if (guard_is_protected(&engine->snapshot, &engine_policy(engine)->protect, session)) {
        engine_count_held(engine, candidate, HELD_PROTECTED);
        return 0;
    }
    if (session_has_note(session, candidate->rule, at, false)) {
        return 1;
    }
    const struct note note = {.rule = candidate->rule, .at = at, .step = engine->step};
    int r = session_add_note(session, &note);
    if (r == 0) {
        r = engine_report(engine, turn, candidate, false);
    }
    return r < 0 ? r : 1;
}

// Others would have to wait for the same: the rule does not try more than it wants. A quota that pauses for a group
// does not let others go in its place.
static bool engine_makes_wait(const struct turn *turn, enum held_reason held) {
    return held == HELD_BUDGET || held == HELD_SHARE || held == HELD_PAUSED ||
           (held == HELD_BREAKER && turn->terms.is_quota);
}

static int engine_hold_back(struct engine *engine, const struct turn *turn, const struct candidate *candidate,
                            enum held_reason held) {
    engine_count_held(engine, candidate, held);
    return engine_makes_wait(turn, held);
}

static bool engine_has_cancelled(const struct turn *turn, const struct session *session) {
    return turn->terms.action == ACTION_CANCEL && session->cancelled == session->times[SESSION_TIME_QUERY_START];
}

static int engine_pass_acting(struct engine *engine, struct turn *turn, const struct candidate *candidate) {
    struct session *session = candidate->session;
    enum action action = turn->terms.action;

    if (session->dying) {
        return 0; // claimed by an earlier rule
    }
    if (action == ACTION_LOG) {
        return engine_log(engine, turn, candidate);
    }
    // One act at a time: a query that an earlier rule cancels in this step is judged again when the answer is there.
    if (!turn->terms.acts || session->hold_until == USEC_INFINITY) {
        return 0;
    }
    if (engine_has_cancelled(turn, session)) {
        if (!timeout_escalates(session, candidate->rule, turn->now)) {
            return 0;
        }
        action = ACTION_TERMINATE;
    }
    enum held_reason held = engine_hold(engine, turn, candidate, action);
    if (held != N_HELD_REASONS_) {
        return engine_hold_back(engine, turn, candidate, held);
    }
    int r = engine_act(engine, turn, candidate, action);
    return r < 0 ? r : 1;
}

static void engine_claim_shadow(struct engine *engine, struct turn *turn, const struct candidate *candidate) {
    struct session *session = candidate->session;

    if (turn->terms.action == ACTION_TERMINATE) {
        session->claimed_shadow = engine->step;
        session->origin->n_living[PASS_SHADOW]--;
        session->origin->group->n_living[PASS_SHADOW]--;
        turn->n_living--;
    }
}

static int engine_pass_shadow(struct engine *engine, struct turn *turn, const struct candidate *candidate) {
    struct session *session = candidate->session;
    bool observes = !turn->terms.acts;

    if (turn->terms.action == ACTION_LOG || session->claimed_shadow == engine->step) {
        return 0;
    }
    int64_t at = turn->terms.action == ACTION_CANCEL ? session->times[SESSION_TIME_QUERY_START] : TIMESTAMP_NONE;
    // Done, and counted when it was.
    if ((!observes || engine->preview) && engine_has_cancelled(turn, session)) {
        return 0;
    }
    if (session_has_note(session, candidate->rule, at, true)) {
        engine_count_held(engine, candidate, HELD_OBSERVE);
        engine_claim_shadow(engine, turn, candidate);
        return 1;
    }
    enum held_reason held = engine_hold(engine, turn, candidate, turn->terms.action);
    if (held != N_HELD_REASONS_) {
        return observes ? engine_hold_back(engine, turn, candidate, held) : engine_makes_wait(turn, held);
    }
    int r = budget_spend(turn->budget, 0, candidate->rule, turn_has_pressure(engine, turn), turn->now);
    if (r < 0) {
        return r;
    }
    turn->share_left -= turn->share_left != LIMIT_NONE;
    engine_claim_shadow(engine, turn, candidate);
    if (!observes) {
        return 1; // the acting pass has spoken for it
    }
    const struct note note = {.rule = candidate->rule, .at = at, .observe = true, .step = engine->step};
    r = session_add_note(session, &note);
    if (r == 0) {
        engine_count_held(engine, candidate, HELD_OBSERVE);
        r = engine_report(engine, turn, candidate, true);
    }
    return r < 0 ? r : 1;
}

int engine_judge(struct engine *engine, struct turn *turn, const struct candidate *candidate) {
    if (turn->wanted <= 0) {
        return 0;
    }
    int r = turn->kind == PASS_ACTING ? engine_pass_acting(engine, turn, candidate)
                                      : engine_pass_shadow(engine, turn, candidate);
    turn->wanted -= r > 0 && turn->wanted != LIMIT_NONE;
    return MIN(r, 0);
}
