// SPDX-License-Identifier: PostgreSQL
#include "model_impl.h"

#include <string.h>

#include "util/macro.h"

#define OWN_USER "pgvigil"

// --- Who ------------------------------------------------------------------------------------------------------------

struct model_session *model_find(struct model *model, const struct session_id *id) {
    for (size_t i = 0; i < model->n_sessions; i++) {
        if (model->sessions[i].row.id.id == id->id && model->sessions[i].row.id.since == id->since) {
            return &model->sessions[i];
        }
    }
    return NULL;
}

static bool spec_matches(const struct spec *spec, const struct session_row *row, int app) {
    switch (spec->kind) {
    case SPEC_ABSENT:
    case SPEC_NOBODY:
        return false;
    case SPEC_USERS:
        return row->user[0] == 'u' && ((spec->users >> (row->user[1] - '0')) & 1);
    case SPEC_PREFIX:
        return row->application_name[0] == spec->prefix;
    case SPEC_APP:
        return app >= 0 && (size_t)app == spec->app;
    }
    return false;
}

static int model_app(const struct model_policy *policy, const struct session_row *row) {
    for (size_t i = 0; i < policy->n_apps; i++) {
        if (spec_matches(&policy->apps[i], row, -1)) {
            return (int)i;
        }
    }
    return -1;
}

static bool model_same_group(const struct model_policy *policy, const struct session_row *a,
                             const struct session_row *b) {
    int app = model_app(policy, a);
    return app == model_app(policy, b) && (app >= 0 || strcmp(a->application_name, b->application_name) == 0);
}

static bool model_covers(const struct model_policy *policy, const struct model_rule *rule,
                         const struct session_row *row) {
    int app = model_app(policy, row);
    return (rule->match.kind == SPEC_ABSENT || spec_matches(&rule->match, row, app)) &&
           !spec_matches(&rule->ignore, row, app);
}

// --- How long -------------------------------------------------------------------------------------------------------

static bool model_age(const struct model *model, const struct model_session *session, enum session_time which,
                      usec_t *ret) {
    int64_t at = session_row_time(&session->row, which);
    if (at == TIMESTAMP_NONE) {
        return false;
    }
    *ret = model->server_now > at ? (usec_t)(model->server_now - at) : 0;
    if (model->stepped && (at <= model->stepped_at || session->row.state_change <= model->stepped_at)) {
        *ret = MIN(*ret, model->received_at - session->seen_at[which]);
    }
    return true;
}

static enum session_time model_measures(const struct model_rule *rule, const struct session_row *row) {
    return rule->has_since                      ? rule->since
           : row->state == SESSION_STATE_ACTIVE ? SESSION_TIME_QUERY_START
                                                : SESSION_TIME_STATE_CHANGE;
}

static bool model_is_over(const struct model *model, const struct model_rule *rule, const struct model_session *session,
                          usec_t *ret_age) {
    const struct session_row *row = &session->row;
    return row->state != SESSION_STATE_NONE && row->state != SESSION_STATE_DISABLED &&
           (rule->states & SESSION_STATE_BIT(row->state)) && model_covers(&model->policy, rule, row) &&
           model_age(model, session, model_measures(rule, row), ret_age) && *ret_age >= rule->after;
}

// --- Protections, floors, budgets -----------------------------------------------------------------------------------

static bool model_protected(const struct model *model, const struct model_session *session, bool for_good) {
    const struct model_policy *policy = &model->policy;
    const struct session_row *row = &session->row;
    bool running = row->state == SESSION_STATE_ACTIVE || row->state == SESSION_STATE_FASTPATH;
    bool own = strcmp(row->user, OWN_USER) == 0 && strcmp(row->application_name, OWN_USER) == 0;
    bool builtin = strcmp(row->application_name, "pg_dump") == 0 || strncmp(row->application_name, "Patroni", 7) == 0;
    usec_t lived = 0;

    return own || row->id.id == 1 || (policy->superusers && row->superuser) ||
           (policy->listeners && session->listener) ||
           (policy->maintenance && running && row->command == SESSION_COMMAND_MAINTENANCE) || row->waits_sync_rep ||
           (policy->builtin && builtin) || spec_matches(&policy->protect, row, model_app(policy, row)) ||
           row->state == SESSION_STATE_NONE || row->state == SESSION_STATE_DISABLED ||
           (!for_good && (!model_age(model, session, SESSION_TIME_BACKEND_START, &lived) || lived < policy->min_age));
}

static int64_t model_living(const struct model *model, const struct model_session *of) {
    int64_t n = 0;
    for (size_t i = 0; i < model->n_sessions; i++) {
        n += !model->sessions[i].dying && model_same_group(&model->policy, &model->sessions[i].row, &of->row);
    }
    return n;
}

static int64_t model_spent(const struct model *model, bool this_poll, usec_t now) {
    int64_t n = 0;
    for (size_t i = 0; i < model->n_intents; i++) {
        const struct intent *intent = &model->intents[i];
        n +=
            !intent->refunded && (this_poll ? intent->poll == model->poll : now < intent->decided_at + USEC_PER_MINUTE);
    }
    return n;
}

// --- Decisions ------------------------------------------------------------------------------------------------------

void model_hash(struct model *model, uint64_t value) {
    model->hash = (model->hash ^ value) * UINT64_C(1099511628211);
}

static bool row_is_equal(const struct session_row *a, const struct session_row *b) {
    return a->id.id == b->id.id && a->id.since == b->id.since && a->state == b->state &&
           a->state_change == b->state_change && a->query_start == b->query_start && a->xact_start == b->xact_start &&
           strcmp(a->user, b->user) == 0 && strcmp(a->application_name, b->application_name) == 0 &&
           strcmp(a->database, b->database) == 0 && a->user_oid == b->user_oid && a->database_oid == b->database_oid &&
           a->superuser == b->superuser;
}

static void model_check_decision(struct model *model, const struct decision *decision, size_t rule_index,
                                 struct model_session *session, usec_t age, usec_t now) {
    const struct model_rule *rule = &model->policy.rules[rule_index];
    const struct guard_test *test = &decision->test;
    enum session_time time = model_measures(rule, &session->row);

    HOLDS(P8_OBSERVING_DECIDES_NOTHING,
          decision->enforce && rule->enforce && model->policy.enforce && model->policy.target_enforce);
    HOLDS(P3_ONLY_ROWS_OF_THIS_SCAN, session->fed);
    HOLDS(P3_NOTHING_BEFORE_A_FULL_SCAN, model->complete);
    HOLDS(P2_EMPTY_FILTERS_MATCH_NOBODY, rule->match.kind != SPEC_NOBODY);
    HOLDS(P4_NEVER_THE_PROTECTED, !model_protected(model, session, false));
    HOLDS(P5_KEEP_IS_NEVER_CROSSED, rule->action != ACTION_TERMINATE || model_living(model, session) > rule->keep);
    HOLDS(P5_BUDGETS_ARE_NEVER_EXCEEDED, model_spent(model, true, now) < model->policy.per_poll);
    HOLDS(P5_BUDGETS_ARE_NEVER_EXCEEDED, model_spent(model, false, now) < model->policy.per_minute);
    HOLDS(NOT_SIGNALLED_AGAIN_TOO_SOON, !session->dying && session->hold_until <= now);
    HOLDS(CANCELLED_ONCE_PER_QUERY, rule->action != ACTION_CANCEL || session->cancelled != session->row.query_start);
    HOLDS(P1_THE_TEST_IS_THE_ROW, row_is_equal(&decision->session, &session->row));
    HOLDS(P1_THE_TEST_IS_THE_ROW, test->id.id == session->row.id.id && test->id.since == session->row.id.since);
    HOLDS(P1_THE_TEST_IS_THE_ROW, test->user_oid == session->row.user_oid &&
                                      test->database_oid == session->row.database_oid &&
                                      strcmp(test->application_name, session->row.application_name) == 0);
    HOLDS(P1_THE_TEST_IS_THE_ROW, test->time == time && test->at == session_row_time(&session->row, time));
    HOLDS(P1_THE_TEST_IS_THE_ROW, test->states == 0 ? rule->any : !(test->states & ~rule->states));
    HOLDS(P1_THE_TEST_IS_THE_ROW, rule->has_since || session->row.state != SESSION_STATE_ACTIVE ||
                                      test->states == SESSION_STATE_BIT(SESSION_STATE_ACTIVE));
    HOLDS(DECISIONS_ARE_THOSE_OF_THE_MODEL, decision->rule_index == rule_index && decision->action == rule->action &&
                                                decision->observed == age && decision->limit == rule->after);
    for (size_t i = 0; i < model->n_intents; i++) {
        const struct intent *other = &model->intents[i];
        HOLDS(ONE_ACT_IN_FLIGHT, other->state != INTENT_ACT || !session_id_is_equal(&other->id, &session->row.id));
        HOLDS(P6_EACH_INTENT_HAS_ONE_FINAL_OUTCOME, other->serial < decision->serial);
    }
}

// The names are constants of the simulation: they outlive every row.
static void model_take_decision(struct model *model, const struct decision *decision, struct model_session *session,
                                usec_t now) {
    const struct model_rule *rule = &model->policy.rules[decision->rule_index];

    HOLDS(DECISIONS_ARE_THOSE_OF_THE_MODEL, model->n_intents < MODEL_MAX_INTENTS);
    struct intent *intent = &model->intents[model->n_intents++];
    *intent = (struct intent){
        .serial = decision->serial,
        .id = decision->session.id,
        .action = decision->action,
        .query_start = decision->session.query_start,
        .decided_at = now,
        .poll = model->poll,
        .test = decision->test,
        .rule_states = rule->states,
        .rule_any = rule->any,
    };
    intent->test.application_name = session->row.application_name;
    session->hold_until = USEC_INFINITY;
    if (decision->action == ACTION_TERMINATE) {
        session->dying = true;
    } else {
        session->cancelled = decision->session.query_start;
    }
    model->n_decisions++;
    model_hash(model, decision->serial * 31 + (uint64_t)decision->session.id.id);
    model_hash(model, decision->rule_index);
}

// Longest first, then the smaller pid; NULL when all have had their turn.
static struct model_session *model_next(const struct model *model, size_t rule, bool *had, usec_t now,
                                        usec_t *ret_age) {
    size_t best = model->n_sessions;
    usec_t age;

    for (size_t i = 0; i < model->n_sessions; i++) {
        const struct model_session *session = &model->sessions[i];
        if (had[i] || !session->fed || session->dying || session->hold_until > now ||
            !model_is_over(model, &model->policy.rules[rule], session, &age)) {
            continue;
        }
        if (best == model->n_sessions || age > *ret_age ||
            (age == *ret_age && session->row.id.id < model->sessions[best].row.id.id)) {
            best = i;
            *ret_age = age;
        }
    }
    if (best == model->n_sessions) {
        return NULL;
    }
    had[best] = true;
    return (struct model_session *)(uintptr_t)&model->sessions[best];
}

// Every decision that there must be, in its order, against those that came.
static void model_decide(struct model *model, usec_t now, const struct engine_result *result) {
    const struct model_policy *policy = &model->policy;
    size_t n = 0;

    for (size_t rule = 0; rule < policy->n_rules; rule++) {
        const struct model_rule *r = &policy->rules[rule];
        bool had[MODEL_MAX_SESSIONS] = {0};
        struct model_session *session;
        usec_t age = 0;
        if (r->action == ACTION_LOG || !(policy->enforce && policy->target_enforce && r->enforce)) {
            continue;
        }
        while ((session = model_next(model, rule, had, now, &age)) != NULL) {
            if ((r->action == ACTION_CANCEL && session->cancelled == session->row.query_start) ||
                model_protected(model, session, false) ||
                (r->action == ACTION_TERMINATE && model_living(model, session) - 1 < r->keep) ||
                model_spent(model, true, now) >= policy->per_poll ||
                model_spent(model, false, now) >= policy->per_minute) {
                continue;
            }
            HOLDS(DECISIONS_ARE_THOSE_OF_THE_MODEL, n < result->n_decisions);
            const struct decision *decision = &result->decisions[n];
            HOLDS(DECISIONS_ARE_SORTED, session_id_is_equal(&decision->session.id, &session->row.id));
            model_check_decision(model, decision, rule, session, age, now);
            model_take_decision(model, decision, session, now);
            n++;
        }
    }
    HOLDS(DECISIONS_ARE_THOSE_OF_THE_MODEL, n == result->n_decisions);
}

// --- Would-be decisions, and those of rules that log ----------------------------------------------------------------

static void model_check_report(struct model *model, const struct event *event) {
    struct model_session *session = model_find(model, &event->session->id);
    usec_t age = 0;
    size_t rule = (size_t)(event->rule[1] - '0');
    HOLDS(P3_ONLY_ROWS_OF_THIS_SCAN, session && session->fed && rule < model->policy.n_rules);
    const struct model_rule *r = &model->policy.rules[rule];

    HOLDS(P4_NEVER_THE_PROTECTED, !model_protected(model, session, false));
    HOLDS(DECISIONS_ARE_THOSE_OF_THE_MODEL,
          model_is_over(model, r, session, &age) && event->age == age && event->action == r->action);
    if (r->action == ACTION_LOG) {
        int64_t at = session_row_time(&session->row, model_measures(r, &session->row));
        HOLDS(OBSERVED_ONCE_FOR_EACH_SESSION_AND_RULE, !session->logged[rule] || session->logged_at[rule] != at);
        session->logged[rule] = true;
        session->logged_at[rule] = at;
        return;
    }
    HOLDS(P8_OBSERVING_DECIDES_NOTHING,
          event->observe && !(model->policy.enforce && model->policy.target_enforce && r->enforce));
    HOLDS(OBSERVED_ONCE_FOR_EACH_SESSION_AND_RULE,
          !session->would[rule] ||
              (r->action == ACTION_CANCEL && session->would_query[rule] != session->row.query_start));
    session->would[rule] = true;
    session->would_query[rule] = session->row.query_start;
}

static void model_drop_old(struct model *model, usec_t now) {
    size_t n = 0;
    for (size_t i = 0; i < model->n_intents; i++) {
        const struct intent *intent = &model->intents[i];
        if (intent->state != INTENT_FINAL || now < intent->decided_at + USEC_PER_MINUTE ||
            intent->poll == model->poll) {
            model->intents[n++] = *intent;
        }
    }
    model->n_intents = n;
}

// --- Looks ----------------------------------------------------------------------------------------------------------

// When the session will be over the limit of some rule, all else unchanged.
static usec_t model_due(const struct model *model, const struct model_session *session, usec_t now) {
    usec_t due = USEC_INFINITY, age, lived = 0;

    if (session->dying || session->hold_until > now || model_protected(model, session, true) ||
        session->row.id.since > model->server_now || // not before the clock has caught up
        !model_age(model, session, SESSION_TIME_BACKEND_START, &lived)) {
        return due;
    }
    for (size_t i = 0; i < model->policy.n_rules; i++) {
        struct model_rule rule = model->policy.rules[i];
        bool told =
            session->would[i] && (rule.action != ACTION_CANCEL || session->would_query[i] == session->row.query_start);
        usec_t after = rule.after;
        rule.after = 0;
        if (told || !model_is_over(model, &rule, session, &age) ||
            (age == 0 && session_row_time(&session->row, model_measures(&rule, &session->row)) > model->server_now) ||
            (age >= after && lived >= model->policy.min_age)) {
            continue;
        }
        usec_t lacks =
            MAX(after > age ? after - age : 0, model->policy.min_age > lived ? model->policy.min_age - lived : 0);
        due = MIN(due, model->received_at + lacks);
    }
    return due < session->hold_until ? USEC_INFINITY : due;
}

void model_check_looks(struct model *model, usec_t now, const struct engine_result *result) {
    HOLDS(LOOKS_ARE_VALID, model->complete || result->look_at == USEC_INFINITY);
    HOLDS(LOOKS_ARE_VALID, (result->n_look > 0) == (result->look_at != USEC_INFINITY));
    HOLDS(LOOKS_ARE_VALID, result->n_look <= ENGINE_LOOK_MAX);
    HOLDS(LOOKS_ARE_APART, result->look_at >= model->look_not_before);
    for (size_t i = 0; i < result->n_look; i++) {
        const struct session_id *id = &result->look[i];
        const struct model_session *session = model_find(model, id);
        bool acted_on = false;
        for (size_t k = 0; k < i; k++) {
            HOLDS(LOOKS_ARE_VALID, !session_id_is_equal(&result->look[k], id));
        }
        for (size_t k = 0; k < model->n_intents; k++) {
            acted_on |= model->intents[k].state != INTENT_FINAL && session_id_is_equal(&model->intents[k].id, id);
        }
        HOLDS(LOOKS_ARE_VALID, session || acted_on);
        HOLDS(LOOKS_ARE_VALID, acted_on || (!session->dying && session->hold_until <= MAX(now, result->look_at) &&
                                            !model_protected(model, session, true)));
        model_hash(model, (uint64_t)id->id + result->look_at);
    }
    for (size_t i = 0; model->complete && i < model->n_sessions; i++) {
        const struct model_session *session = &model->sessions[i];
        if (session->fed) {
            HOLDS(LOOKS_COME_IN_TIME, result->look_at <= MAX(model_due(model, session, now), model->look_not_before));
        }
    }
}

// --- Inputs ---------------------------------------------------------------------------------------------------------

static void model_feed_row(struct model *model, const struct session_row *row, usec_t received_at) {
    struct model_session *session = model_find(model, &row->id);
    bool fresh = !session;

    if (fresh) {
        session = &model->sessions[model->n_sessions++];
        *session = (struct model_session){.cancelled = TIMESTAMP_NONE};
    }
    for (unsigned i = 0; i < N_SESSION_TIMES; i++) {
        enum session_time which = (enum session_time)i;
        if (fresh || session_row_time(&session->row, which) != session_row_time(row, which)) {
            session->seen_at[i] = received_at;
        }
    }
    session->row = *row;
    session->fed = true;
    session->listener =
        row->command == SESSION_COMMAND_LISTEN || (session->listener && row->command != SESSION_COMMAND_UNLISTEN);
}

static void model_feed(struct model *model, const struct scan *scan) {
    size_t n = 0;

    for (size_t i = 0; i < model->n_sessions; i++) {
        model->sessions[i].fed = false;
    }
    for (size_t i = 0; i < scan->n_rows; i++) {
        model_feed_row(model, &scan->rows[i], scan->received_at);
    }
    for (size_t i = 0; i < model->n_sessions; i++) {
        const struct model_session *session = &model->sessions[i];
        bool asked = scan->kind == SCAN_FULL;
        for (size_t k = 0; k < scan->n_asked && !asked; k++) {
            asked = session_id_is_equal(&scan->asked[k], &session->row.id);
        }
        if (session->fed || !asked) {
            model->sessions[n++] = *session;
        }
    }
    model->n_sessions = n;
    model->server_now = scan->server_now;
    model->received_at = scan->received_at;
}

static void model_watch_clock(struct model *model, const struct scan *scan, int64_t offset, bool restarted,
                              const struct engine_result *result) {
    bool told = false, jumped;

    if (restarted) {
        model->has_offset = model->stepped = false;
    }
    jumped = model->has_offset && offset != model->offset;
    if (jumped) {
        model->stepped = true;
        model->stepped_at = scan->server_now;
    }
    model->has_offset = true;
    model->offset = offset;
    for (size_t i = 0; i < result->n_events; i++) {
        told |= result->events[i].kind == EVENT_CLOCK_JUMP;
    }
    HOLDS(CLOCK_STEPS_ARE_TOLD, told == jumped);
}

void model_scan(struct model *model, const struct scan *scan, int64_t offset, bool restarted, bool promoted, usec_t now,
                const struct engine_result *result) {
    struct came came = {.result = result};
    bool full = scan->kind == SCAN_FULL;

    if (!full && !model->complete) {
        HOLDS(P3_NOTHING_BEFORE_A_FULL_SCAN, result->n_decisions == 0 && result->n_events == 0);
        return;
    }
    model_watch_clock(model, scan, offset, restarted, result);
    if (restarted || promoted) {
        model->n_sessions = 0;
    }
    model_feed(model, scan);
    model->complete = true;
    model->poll += full;
    model_settle(model, full, &came, now);
    model_nothing_else(&came);
    for (size_t i = 0; i < result->n_events; i++) {
        if (result->events[i].kind == EVENT_DECISION) {
            model_check_report(model, &result->events[i]);
        }
    }
    model_decide(model, now, result);
    model_drop_old(model, now);
    if (!full) {
        usec_t took = scan->received_at - scan->sent_at;
        model->look_not_before = scan->sent_at + MAX(ENGINE_LOOKS_APART, took * ENGINE_LOOK_SHARE);
    }
    model_check_looks(model, now, result);
}

void model_lost(struct model *model, const struct engine_result *result) {
    model->complete = false;
    HOLDS(P3_NOTHING_BEFORE_A_FULL_SCAN,
          result->n_decisions == 0 && result->n_events == 0 && result->look_at == USEC_INFINITY);
}

void model_policy(struct model *model, const struct model_policy *policy, bool same,
                  const struct engine_result *result) {
    HOLDS(P3_ONLY_ROWS_OF_THIS_SCAN, result->n_decisions == 0);
    model->policy = *policy;
    if (same) {
        return;
    }
    for (size_t i = 0; i < model->n_sessions; i++) {
        struct model_session *session = &model->sessions[i];
        session->fed = false; // rules that have not judged a row yet set no due time
        memset(session->would, 0, sizeof(session->would));
        memset(session->logged, 0, sizeof(session->logged));
    }
}
