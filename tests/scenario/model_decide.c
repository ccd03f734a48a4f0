// SPDX-License-Identifier: PostgreSQL
//
// What must be decided: rule after rule, session after session, everything counted anew each time.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model_impl.h"
#include "util/macro.h"

// The rule or quota whose turn it is.
struct turn {
    size_t all;
    bool is_quota;
    const struct model_rule *rule;
    const struct model_quota *quota;
    enum action action;
    bool pressure; // spends the budget of pressure now
    char name[32];
    int64_t share;  // how many more it may end; INT64_MAX: no share
    int64_t wanted; // how many more it wants
    int64_t held;   // quotas: what the group holds and may hold
    int64_t allowed;
};

// --- What is left to spend ------------------------------------------------------------------------------------------

static int64_t spent_in_poll(const struct model *model) {
    int64_t n = 0;
    for (size_t i = 0; i < model->n_intents; i++) {
        n += !model->intents[i].refunded && model->intents[i].poll == model->poll;
    }
    return n;
}

static int64_t spent_in_minute(const struct model *model, bool pressure, usec_t now) {
    int64_t n = 0;
    for (size_t i = 0; i < model->n_intents; i++) {
        const struct intent *intent = &model->intents[i];
        n += !intent->refunded && intent->pressure == pressure && now < intent->decided_at + USEC_PER_MINUTE;
    }
    return n;
}

static int64_t spent_by(const struct model *model, size_t all, usec_t now) {
    int64_t n = 0;
    for (size_t i = 0; i < model->n_intents; i++) {
        const struct intent *intent = &model->intents[i];
        n += !intent->refunded && intent->spender == (int)all && now < intent->decided_at + USEC_PER_MINUTE;
    }
    return n;
}

static bool budget_is_left(const struct model *model, const struct turn *turn, usec_t now) {
    const struct model_policy *policy = &model->policy;
    return spent_in_poll(model) < policy->per_poll &&
           spent_in_minute(model, turn->pressure, now) <
               (turn->pressure ? policy->pressure_per_minute : policy->per_minute);
}

void model_watch_shares(struct model *model, usec_t now) {
    for (size_t all = 0; all < MODEL_ALL && model->policy.share < 100; all++) {
        struct model_samples *samples = &model->samples[all];
        int64_t n = 0;
        if (all < MODEL_MAX_RULES ? all >= model->policy.n_rules : all - MODEL_MAX_RULES >= model->policy.n_quotas) {
            continue;
        }
        if (samples->n > 0 && now < samples->items[samples->n - 1].at + 5 * USEC_PER_SEC) {
            continue;
        }
        for (size_t i = 0; i < model->n_sessions; i++) {
            n += model_covers(&model->policy, all, &model->sessions[i].row);
        }
        // Of those at least a minute old the last one counts.
        while (samples->n > 1 && samples->items[1].at + USEC_PER_MINUTE <= now) {
            memmove(samples->items, samples->items + 1, --samples->n * sizeof(samples->items[0]));
        }
        HOLDS(P5_SHARES_ARE_NEVER_EXCEEDED, samples->n < MODEL_MAX_SAMPLES);
        samples->items[samples->n].at = now;
        samples->items[samples->n++].n = n;
    }
}

static int64_t share_of(const struct model *model, size_t all, usec_t now) {
    const struct model_samples *samples = &model->samples[all];
    if (model->policy.share >= 100) {
        return INT64_MAX;
    }
    if (samples->n == 0) {
        return 0;
    }
    int64_t covered = samples->items[0].n;
    return covered < 4 ? INT64_MAX : covered * model->policy.share / 100 - spent_by(model, all, now);
}

int64_t model_living(const struct model *model) {
    int64_t n = 0;
    for (size_t i = 0; i < model->n_sessions; i++) {
        n += !model->sessions[i].dying;
    }
    return n;
}

int64_t model_living_beside(const struct model *model, const struct model_session *of) {
    int64_t n = 0;
    for (size_t i = 0; i < model->n_sessions; i++) {
        n += !model->sessions[i].dying && model_same_group(&model->policy, &model->sessions[i].row, &of->row);
    }
    return n;
}

// --- One decision ---------------------------------------------------------------------------------------------------

static bool row_is_equal(const struct session_row *a, const struct session_row *b) {
    return a->id.id == b->id.id && a->id.since == b->id.since && a->state == b->state &&
           a->state_change == b->state_change && a->query_start == b->query_start && a->xact_start == b->xact_start &&
           strcmp(a->user, b->user) == 0 && strcmp(a->application_name, b->application_name) == 0 &&
           strcmp(a->database, b->database) == 0 && a->user_oid == b->user_oid && a->database_oid == b->database_oid &&
           a->superuser == b->superuser;
}

static void check_test(const struct model *model, const struct turn *turn, const struct guard_test *test,
                       const struct session_row *row) {
    const struct model_rule *rule = turn->rule;
    enum session_time time = turn->is_quota ? SESSION_TIME_STATE_CHANGE : model_measures(rule, row);

    HOLDS(P1_THE_TEST_IS_THE_ROW, test->id.id == row->id.id && test->id.since == row->id.since);
    HOLDS(P1_THE_TEST_IS_THE_ROW, test->user_oid == row->user_oid && test->database_oid == row->database_oid &&
                                      strcmp(test->application_name, row->application_name) == 0);
    HOLDS(P1_THE_TEST_IS_THE_ROW, test->time == time && test->at == session_row_time(row, time));
    if (turn->is_quota) {
        HOLDS(P1_THE_TEST_IS_THE_ROW, test->states == SESSION_STATE_BIT(row->state));
    } else {
        HOLDS(P1_THE_TEST_IS_THE_ROW, test->states == 0 ? rule->any : !(test->states & ~rule->states));
        HOLDS(P1_THE_TEST_IS_THE_ROW, rule->has_since || row->state != SESSION_STATE_ACTIVE ||
                                          test->states == SESSION_STATE_BIT(SESSION_STATE_ACTIVE));
    }
    HOLDS(P4_NEVER_THE_PROTECTED, test->spare_superusers == model->policy.superusers &&
                                      test->spare_listeners == model->policy.listeners &&
                                      test->spare_maintenance == model->policy.maintenance);
    size_t blocks = turn->is_quota ? 0 : (size_t)rule->blocks;
    HOLDS(P1_THE_TEST_IS_THE_ROW, test->n_waiting == MIN(blocks, (size_t)GUARD_MAX_WAITERS) &&
                                      (blocks > 0 || test->n_waiters == 0) && test->n_waiters >= test->n_waiting);
    if (turn->action == ACTION_CANCEL || model_asks_query(&model->policy, turn->all)) {
        HOLDS(P1_THE_TEST_IS_THE_ROW, test->query_start == row->query_start);
    }
}

static void check_decision(const struct model *model, const struct turn *turn, const struct decision *decision,
                           const struct model_session *session, usec_t age, bool escalates, usec_t now) {
    int64_t keep = turn->is_quota ? 0 : turn->rule->keep;
    enum action action = escalates ? ACTION_TERMINATE : turn->action;

    HOLDS(P8_OBSERVING_DECIDES_NOTHING,
          decision->enforce && model_enforces(model, turn->is_quota ? turn->quota->enforce : turn->rule->enforce));
    HOLDS(P8_OBSERVING_DECIDES_NOTHING, !model->paused && strcmp(model->paused_name, turn->name) != 0);
    HOLDS(P3_ONLY_ROWS_OF_THIS_SCAN, session->fed);
    HOLDS(P3_NOTHING_BEFORE_A_FULL_SCAN, model->complete);
    HOLDS(P2_EMPTY_FILTERS_MATCH_NOBODY,
          (turn->is_quota ? turn->quota->match.kind : turn->rule->match.kind) != SPEC_NOBODY);
    HOLDS(P4_NEVER_THE_PROTECTED, !model_protected(model, session, false));
    HOLDS(P5_KEEP_IS_NEVER_CROSSED, action != ACTION_TERMINATE || model_living_beside(model, session) > keep);
    HOLDS(P5_BUDGETS_ARE_NEVER_EXCEEDED, budget_is_left(model, turn, now));
    HOLDS(P5_SHARES_ARE_NEVER_EXCEEDED, turn->share > 0);
    HOLDS(P5_A_TRIPPED_BREAKER_HOLDS, turn->pressure || !model_breaker_holds(model, turn->name, &session->row));
    HOLDS(NOT_SIGNALLED_AGAIN_TOO_SOON, !session->dying && session->hold_until <= now);
    HOLDS(CANCELLED_ONCE_PER_QUERY, action != ACTION_CANCEL || session->cancelled != session->row.query_start);
    HOLDS(P1_THE_TEST_IS_THE_ROW, row_is_equal(&decision->session, &session->row));
    check_test(model, turn, &decision->test, &session->row);
    HOLDS(DECISIONS_ARE_THOSE_OF_THE_MODEL,
          strcmp(decision->rule, turn->name) == 0 && decision->action == action && decision->observed == age);
    HOLDS(DECISIONS_ARE_THOSE_OF_THE_MODEL,
          decision->rule_index == (turn->is_quota ? turn->all - MODEL_MAX_RULES + model->policy.n_rules : turn->all));
    HOLDS(QUOTAS_ARE_MET_AND_NO_MORE,
          !turn->is_quota || (decision->held == turn->held && decision->allowed == turn->allowed));
    HOLDS(WHO_BLOCKS_IS_COUNTED, turn->is_quota || turn->rule->blocks == 0 ||
                                     (decision->n_blocked == session->n_blocks && decision->blocked &&
                                      session->n_blocks >= turn->rule->blocks));
    for (size_t i = 0; i < model->n_intents; i++) {
        const struct intent *other = &model->intents[i];
        HOLDS(ONE_ACT_IN_FLIGHT, other->state != INTENT_ACT || !session_id_is_equal(&other->id, &session->row.id));
        HOLDS(P6_EACH_INTENT_HAS_ONE_FINAL_OUTCOME, other->serial < decision->serial);
    }
}

// The names are constants of the simulation: they outlive every row.
static void take_decision(struct model *model, const struct turn *turn, const struct decision *decision,
                          struct model_session *session, bool escalates, usec_t now) {
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
        .rule = (int)turn->all,
        .spender = (int)turn->all,
        .pressure = turn->pressure,
        .escalates = escalates,
        .rule_states = turn->is_quota ? SESSION_STATE_BIT(session->row.state) : turn->rule->states,
        .rule_any = !turn->is_quota && turn->rule->any,
    };
    intent->test.application_name = session->row.application_name;
    (void)snprintf(intent->rule_name, sizeof(intent->rule_name), "%s", turn->name);
    session->hold_until = USEC_INFINITY;
    if (decision->action == ACTION_TERMINATE) {
        session->dying = true;
    } else {
        session->cancelled = decision->session.query_start;
        session->escalate_at = USEC_INFINITY;
    }
    model->n_decisions++;
    model_hash(model, decision->serial * 31 + (uint64_t)decision->session.id.id);
    model_hash(model, decision->rule_index);
}

// Whether the rule acts on the session now; what it wants and may do is counted on.
static void judge(struct model *model, struct turn *turn, struct model_session *session, usec_t age, usec_t now,
                  const struct engine_result *result, size_t *n) {
    bool escalates = false;

    if (turn->action == ACTION_CANCEL && session->cancelled == session->row.query_start) {
        escalates = turn->rule->has_then && session->escalate_at <= now && session->escalate_rule == (int)turn->all &&
                    session->row.state == SESSION_STATE_ACTIVE;
        if (!escalates) {
            return;
        }
    }
    bool ends = turn->action == ACTION_TERMINATE || escalates;
    if (model_protected(model, session, false) ||
        (ends && !turn->is_quota && model_living_beside(model, session) - 1 < turn->rule->keep)) {
        return;
    }
    if (model->paused || strcmp(model->paused_name, turn->name) == 0) {
        turn->wanted -= turn->wanted != INT64_MAX;
        return;
    }
    if (!turn->pressure && model_breaker_holds(model, turn->name, &session->row)) {
        turn->wanted -= turn->is_quota;
        return;
    }
    if (turn->wanted != INT64_MAX) {
        turn->wanted--;
    }
    if (turn->share <= 0 || !budget_is_left(model, turn, now)) {
        return;
    }
    HOLDS(DECISIONS_ARE_THOSE_OF_THE_MODEL, *n < result->n_decisions);
    const struct decision *decision = &result->decisions[*n];
    HOLDS(DECISIONS_ARE_SORTED, session_id_is_equal(&decision->session.id, &session->row.id));
    check_decision(model, turn, decision, session, age, escalates, now);
    take_decision(model, turn, decision, session, escalates, now);
    turn->share -= turn->share != INT64_MAX;
    (*n)++;
}

// --- Rules ----------------------------------------------------------------------------------------------------------

// Longest first, then the smaller pid; NULL when all have had their turn.
struct model_session *model_next_of_rule(struct model *model, size_t rule, bool *had, usec_t now, usec_t *ret_age) {
    struct model_session *best = NULL;
    usec_t age;

    for (size_t i = 0; i < model->n_sessions; i++) {
        struct model_session *session = &model->sessions[i];
        if (had[i] || !session->fed || session->dying || session->hold_until > now ||
            !model_is_over(model, rule, model->policy.rules[rule].after, session, &age)) {
            continue;
        }
        if (!best || age > *ret_age || (age == *ret_age && session->row.id.id < best->row.id.id)) {
            best = session;
            *ret_age = age;
        }
    }
    if (best) {
        had[best - model->sessions] = true;
    }
    return best;
}

static void decide_rule(struct model *model, size_t i, usec_t now, const struct engine_result *result, size_t *n) {
    const struct model_rule *rule = &model->policy.rules[i];
    struct turn turn = {.all = i,
                        .rule = rule,
                        .action = rule->action,
                        .pressure = rule->has_usage && model->pressed,
                        .share = share_of(model, i, now),
                        .wanted = INT64_MAX};
    bool had[MODEL_MAX_SESSIONS] = {0};
    struct model_session *session;
    usec_t age = 0;

    if (rule->action == ACTION_LOG || !model_enforces(model, rule->enforce)) {
        return;
    }
    model_rule_name(model, i, turn.name);
    if (rule->has_usage) {
        turn.wanted = model_living(model) - model->usable * rule->until / 100;
    }
    while (turn.wanted > 0 && (session = model_next_of_rule(model, i, had, now, &age)) != NULL) {
        judge(model, &turn, session, age, now, result, n);
        HOLDS(USAGE_IS_NOT_DRIVEN_BELOW_UNTIL, !rule->has_usage || rule->action != ACTION_TERMINATE ||
                                                   (model_living(model) + 1) * 100 > model->usable * rule->until ||
                                                   !session->dying);
    }
}

// --- Quotas ---------------------------------------------------------------------------------------------------------

static size_t group_key(const struct model_policy *policy, unsigned per, const struct session_row *row,
                        char key[static MODEL_KEY]) {
    char app[MODEL_KEY];
    size_t n = 1;

    key[0] = '.';
    model_group_name(policy, row, app);
    const char *parts[] = {
        [GROUP_APP] = app,
        [GROUP_USER] = row->user,
        [GROUP_DATABASE] = row->database,
        [GROUP_CLIENT_ADDR] = row->client.family == ADDRESS_LOCAL ? "local" : "0.0.0.0",
        [GROUP_APPLICATION_NAME] = row->application_name,
    };
    for (unsigned i = 0; i < N_GROUP_KEYS; i++) {
        if (per & GROUP_KEY_BIT(i)) {
            n += (size_t)snprintf(key + n, MODEL_KEY - n, "%s", parts[i]) + 1;
        }
    }
    return n;
}

static int compare_over(const void *pa, const void *pb) {
    const struct model_found *a = pa, *b = pb;
    if (a->held != b->held) {
        return a->held > b->held ? -1 : 1;
    }
    int c = memcmp(a->memory->key, b->memory->key, MIN(a->memory->n_key, b->memory->n_key));
    return c ? c : a->memory->n_key < b->memory->n_key ? -1 : a->memory->n_key > b->memory->n_key;
}

static bool in_group(const struct model *model, size_t q, const struct session_row *row, const struct model_over *of) {
    char key[MODEL_KEY];
    return model_covers(&model->policy, MODEL_MAX_RULES + q, row) &&
           group_key(&model->policy, model->policy.quotas[q].per, row, key) == of->n_key &&
           memcmp(key, of->key, of->n_key) == 0;
}

static int64_t held_by(const struct model *model, size_t q, const struct model_over *of) {
    int64_t n = 0;
    for (size_t i = 0; i < model->n_sessions; i++) {
        n += !model->sessions[i].dying && in_group(model, q, &model->sessions[i].row, of);
    }
    return n;
}

size_t model_find_over(struct model *model, size_t q, int64_t allowed, struct model_found *list, usec_t now) {
    struct model_over old[MODEL_MAX_SESSIONS];
    size_t n_old = model->n_over[q], n = 0;

    memcpy(old, model->over[q], sizeof(old));
    for (size_t i = 0; i < model->n_sessions; i++) {
        struct model_over *of = &model->over[q][n];
        bool had = false;
        of->n_key = group_key(&model->policy, model->policy.quotas[q].per, &model->sessions[i].row, of->key);
        for (size_t k = 0; k < n; k++) {
            had |= of->n_key == model->over[q][k].n_key && memcmp(of->key, model->over[q][k].key, of->n_key) == 0;
        }
        if (had || held_by(model, q, of) <= allowed) {
            continue;
        }
        of->since = now;
        of->told = false;
        for (size_t k = 0; k < n_old; k++) {
            if (old[k].n_key == of->n_key && memcmp(old[k].key, of->key, of->n_key) == 0) {
                of->since = old[k].since;
                of->told = old[k].told;
            }
        }
        list[n++] = (struct model_found){.memory = of, .held = held_by(model, q, of)};
    }
    model->n_over[q] = n;
    qsort(list, n, sizeof(*list), compare_over);
    return n;
}

// Whether a goes before b.
static bool goes_before(const struct model *model, const struct model_quota *quota, const struct model_session *a,
                        const struct model_session *b) {
    size_t rank_a = quota->evict[0] == a->row.state ? 0 : 1, rank_b = quota->evict[0] == b->row.state ? 0 : 1;
    usec_t age_a = 0, age_b = 0;

    if (rank_a != rank_b) {
        return rank_a < rank_b;
    }
    model_age(model, a, SESSION_TIME_STATE_CHANGE, &age_a);
    model_age(model, b, SESSION_TIME_STATE_CHANGE, &age_b);
    if (quota->victims == VICTIMS_LONGEST && age_a != age_b) {
        return age_a > age_b;
    }
    if (quota->victims != VICTIMS_LONGEST && a->row.id.since != b->row.id.since) {
        return (a->row.id.since < b->row.id.since) == (quota->victims == VICTIMS_OLDEST);
    }
    return a->row.id.id < b->row.id.id;
}

struct model_session *model_next_of_quota(struct model *model, size_t q, const struct model_over *of, bool *had,
                                          usec_t now, usec_t *ret_age) {
    const struct model_quota *quota = &model->policy.quotas[q];
    struct model_session *best = NULL;

    for (size_t i = 0; i < model->n_sessions; i++) {
        struct model_session *session = &model->sessions[i];
        usec_t age;
        bool evictable =
            session->row.state == quota->evict[0] || (quota->n_evict > 1 && session->row.state == quota->evict[1]);
        if (!had[i] && session->fed && !session->dying && session->hold_until <= now && evictable &&
            in_group(model, q, &session->row, of) && model_age(model, session, SESSION_TIME_STATE_CHANGE, &age) &&
            age >= quota->min_idle && (!best || goes_before(model, quota, session, best))) {
            best = session;
            *ret_age = age;
        }
    }
    if (best) {
        had[best - model->sessions] = true;
    }
    return best;
}

static const struct event *next_log(const struct turn *turn, const struct engine_result *result, size_t *at) {
    while (*at < result->n_events) {
        const struct event *event = &result->events[(*at)++];
        if (event->kind == EVENT_DECISION && strcmp(event->rule, turn->name) == 0) {
            return event;
        }
    }
    return NULL;
}

// What a quota that logs says of the group: nothing, or the next of its events that came.
static void check_log(const struct turn *turn, struct model_found *over, usec_t now, const struct engine_result *result,
                      size_t *at) {
    if (over->memory->told || now < over->memory->since + turn->quota->wait) {
        return;
    }
    over->memory->told = true;
    const struct event *event = next_log(turn, result, at);
    HOLDS(QUOTAS_THAT_LOG_SAY_SO_ONCE, event && event->action == ACTION_LOG && !event->session && !event->observe &&
                                           event->held == over->held && event->allowed == turn->allowed);
}

static void decide_quota(struct model *model, size_t q, usec_t now, const struct engine_result *result, size_t *n) {
    const struct model_quota *quota = &model->policy.quotas[q];
    int64_t allowed = quota->is_percent ? model->usable * quota->max / 100 : quota->max;
    struct model_found list[MODEL_MAX_SESSIONS];
    size_t n_over = model_find_over(model, q, allowed, list, now);
    struct turn turn = {.all = MODEL_MAX_RULES + q,
                        .is_quota = true,
                        .quota = quota,
                        .action = quota->action,
                        .pressure = model->pressed,
                        .share = share_of(model, MODEL_MAX_RULES + q, now),
                        .allowed = allowed};

    model_rule_name(model, turn.all, turn.name);
    size_t at = 0;
    for (size_t i = 0; quota->action == ACTION_LOG && i < n_over; i++) {
        check_log(&turn, &list[i], now, result, &at);
    }
    HOLDS(QUOTAS_THAT_LOG_SAY_SO_ONCE, quota->action != ACTION_LOG || !next_log(&turn, result, &at));
    for (size_t i = 0; i < n_over; i++) {
        bool had[MODEL_MAX_SESSIONS] = {0};
        struct model_session *session;
        usec_t age = 0;
        if (quota->action == ACTION_LOG || !model_enforces(model, quota->enforce) ||
            now < list[i].memory->since + quota->wait) {
            continue;
        }
        turn.held = list[i].held;
        turn.wanted = turn.held - allowed;
        while (turn.wanted > 0 && (session = model_next_of_quota(model, q, list[i].memory, had, now, &age)) != NULL) {
            judge(model, &turn, session, age, now, result, n);
        }
        HOLDS(QUOTAS_ARE_MET_AND_NO_MORE, held_by(model, q, list[i].memory) >= allowed);
    }
}

// Every decision that there must be, in its order, against those that came.
void model_decide(struct model *model, usec_t now, const struct engine_result *result) {
    size_t n = 0;

    for (size_t i = 0; i < model->policy.n_rules; i++) {
        decide_rule(model, i, now, result, &n);
    }
    for (size_t i = 0; model->full && i < model->policy.n_quotas; i++) {
        decide_quota(model, i, now, result, &n);
    }
    HOLDS(DECISIONS_ARE_THOSE_OF_THE_MODEL, n == result->n_decisions);
}

// --- Would-be decisions, and those of rules that log ----------------------------------------------------------------

static void check_report(struct model *model, const struct event *event) {
    bool is_quota = event->rule[0] == 'q';
    size_t i = (size_t)(event->rule[1] - '0'), all = is_quota ? MODEL_MAX_RULES + i : i;
    const struct model_policy *policy = &model->policy;
    usec_t age = 0;

    HOLDS(DECISIONS_ARE_THOSE_OF_THE_MODEL, i < (is_quota ? policy->n_quotas : policy->n_rules));
    enum action action = is_quota ? policy->quotas[i].action : policy->rules[i].action;
    bool enforce = is_quota ? policy->quotas[i].enforce : policy->rules[i].enforce;
    HOLDS(DECISIONS_ARE_THOSE_OF_THE_MODEL, event->action == action);
    if (is_quota && action == ACTION_LOG) {
        HOLDS(QUOTAS_ARE_MET_AND_NO_MORE, !event->session && event->held > event->allowed);
        return;
    }
    struct model_session *session = model_find(model, &event->session->id);
    HOLDS(P3_ONLY_ROWS_OF_THIS_SCAN, session && session->fed);
    HOLDS(P4_NEVER_THE_PROTECTED, !model_protected(model, session, false));
    if (is_quota) {
        HOLDS(QUOTAS_ARE_MET_AND_NO_MORE,
              event->held > event->allowed && model_covers(policy, all, &session->row) && model->full);
    } else {
        HOLDS(DECISIONS_ARE_THOSE_OF_THE_MODEL,
              model_is_over(model, i, policy->rules[i].after, session, &age) && event->age == age);
    }
    if (action == ACTION_LOG) {
        int64_t at = session_row_time(&session->row, model_measures(&policy->rules[i], &session->row));
        HOLDS(OBSERVED_ONCE_FOR_EACH_SESSION_AND_RULE, !session->logged[all] || session->logged_at[all] != at);
        session->logged[all] = true;
        session->logged_at[all] = at;
        return;
    }
    HOLDS(P8_OBSERVING_DECIDES_NOTHING, event->observe && !model_enforces(model, enforce));
    HOLDS(OBSERVED_ONCE_FOR_EACH_SESSION_AND_RULE,
          !session->would[all] || (action == ACTION_CANCEL && session->would_query[all] != session->row.query_start));
    session->would[all] = true;
    session->would_query[all] = session->row.query_start;
}

void model_check_reports(struct model *model, const struct engine_result *result) {
    for (size_t i = 0; i < result->n_events; i++) {
        if (result->events[i].kind == EVENT_DECISION) {
            check_report(model, &result->events[i]);
        }
    }
}
