// SPDX-License-Identifier: PostgreSQL
#include "model_impl.h"

#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/escape.h"
#include "util/macro.h"
#include "util/strbuf.h"

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
    if (spec->query && !(spec->query & row->query_matches)) {
        return false;
    }
    switch (spec->kind) {
    case SPEC_ABSENT:
    case SPEC_NOBODY:
        return false;
    case SPEC_USERS:
        return row->user[0] == 'u' && ((spec->users >> (row->user[1] - '0')) & 1);
    case SPEC_PREFIX:
        return row->application_name[0] == spec->prefix;
    case SPEC_SUPERUSER:
        return row->superuser == spec->superuser;
    case SPEC_QUERY:
        return spec->query != 0;
    case SPEC_APP:
        return app >= 0 && (size_t)app == spec->app;
    }
    return false;
}

int model_app(const struct model_policy *policy, const struct session_row *row) {
    for (size_t i = 0; i < policy->n_apps; i++) {
        if (spec_matches(&policy->apps[i], row, -1)) {
            return (int)i;
        }
    }
    return -1;
}

bool model_same_group(const struct model_policy *policy, const struct session_row *a, const struct session_row *b) {
    int app = model_app(policy, a);
    return app == model_app(policy, b) && (app >= 0 || strcmp(a->application_name, b->application_name) == 0);
}

static void model_scope(const struct model_policy *policy, size_t all, const struct spec **match,
                        const struct spec **ignore) {
    bool is_quota = all >= MODEL_MAX_RULES;
    *match = is_quota ? &policy->quotas[all - MODEL_MAX_RULES].match : &policy->rules[all].match;
    *ignore = is_quota ? &policy->quotas[all - MODEL_MAX_RULES].ignore : &policy->rules[all].ignore;
}

bool model_covers(const struct model_policy *policy, size_t all, const struct session_row *row) {
    const struct spec *match, *ignore;
    int app = model_app(policy, row);

    model_scope(policy, all, &match, &ignore);
    return (match->kind == SPEC_ABSENT || spec_matches(match, row, app)) && !spec_matches(ignore, row, app);
}

bool model_alarm_covers(const struct model_policy *policy, const struct model_alarm *alarm,
                        const struct session_row *row) {
    return alarm->match.kind == SPEC_ABSENT || spec_matches(&alarm->match, row, model_app(policy, row));
}

bool model_asks_query(const struct model_policy *policy, size_t all) {
    const struct spec *match, *ignore;
    model_scope(policy, all, &match, &ignore);
    return match->query || ignore->query;
}

bool model_asks_blockers(const struct model_policy *policy) {
    bool asks = false;
    for (size_t i = 0; i < policy->n_rules; i++) {
        asks |= policy->rules[i].blocks > 0;
    }
    return asks; // no alarm of the simulation does
}

void model_rule_name(const struct model *model, size_t all, char text[static 32]) {
    bool is_quota = all >= MODEL_MAX_RULES;
    (void)snprintf(text, 32, "%c%zug%u", is_quota ? 'q' : 'r', is_quota ? all - MODEL_MAX_RULES : all,
                   model->policy.generation);
}

// Apps and application names are told apart, as the order of groups does it: "aNAME" and "nQUOTED".
void model_group_name(const struct model_policy *policy, const struct session_row *row, char text[static MODEL_KEY]) {
    CLEANUP(strbuf_deinit) struct strbuf quoted = STRBUF_EMPTY;
    int app = model_app(policy, row);

    escape_quoted(&quoted, row->application_name);
    (void)(app >= 0 ? snprintf(text, MODEL_KEY, "aapp%d", app) : snprintf(text, MODEL_KEY, "n%s", strbuf_str(&quoted)));
}

bool model_enforces(const struct model *model, bool rule_enforce) {
    return model->leads && model->policy.enforce && model->policy.target_enforce && rule_enforce;
}

// --- How long -------------------------------------------------------------------------------------------------------

bool model_age(const struct model *model, const struct model_session *session, enum session_time which, usec_t *ret) {
    int64_t at = session_row_time(&session->row, which);
    if (at == TIMESTAMP_NONE) {
        return false;
    }
    *ret = session->exact_at > at ? (usec_t)(session->exact_at - at) : 0;
    if (model->stepped && (at <= model->stepped_at || session->row.state_change <= model->stepped_at)) {
        *ret = MIN(*ret, model->received_at - session->seen_at[which]);
    }
    return true;
}

enum session_time model_measures(const struct model_rule *rule, const struct session_row *row) {
    return rule->has_since                      ? rule->since
           : row->state == SESSION_STATE_ACTIVE ? SESSION_TIME_QUERY_START
                                                : SESSION_TIME_STATE_CHANGE;
}

// Rules with `when` speak on full scans alone.
static bool model_sleeps(const struct model *model, size_t i) {
    const struct model_rule *rule = &model->policy.rules[i];
    return ((rule->has_usage || rule->blocks > 0) && !model->full) || (rule->has_usage && !model->armed[i]);
}

bool model_is_over(const struct model *model, size_t i, usec_t after, const struct model_session *session,
                   usec_t *ret_age) {
    const struct model_rule *rule = &model->policy.rules[i];
    const struct session_row *row = &session->row;
    return row->state != SESSION_STATE_NONE && row->state != SESSION_STATE_DISABLED && !model_sleeps(model, i) &&
           (rule->states & SESSION_STATE_BIT(row->state)) && model_covers(&model->policy, i, row) &&
           session->n_blocks >= rule->blocks && model_age(model, session, model_measures(rule, row), ret_age) &&
           *ret_age >= after;
}

// --- Protections ----------------------------------------------------------------------------------------------------

bool model_protected(const struct model *model, const struct model_session *session, bool for_good) {
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

bool model_is_used(const struct model *model, int64_t percent) {
    return (int64_t)model->n_sessions * 100 >= percent * model->usable;
}

void model_hash(struct model *model, uint64_t value) {
    model->hash = (model->hash ^ value) * UINT64_C(1099511628211);
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
    if (session->escalate_at != USEC_INFINITY && session->row.state == SESSION_STATE_ACTIVE &&
        session->row.query_start == session->cancelled && session->escalate_at > model->received_at) {
        due = session->escalate_at;
    }
    for (size_t i = 0; i < model->policy.n_rules; i++) {
        const struct model_rule rule = model->policy.rules[i];
        bool told =
            session->would[i] && (rule.action != ACTION_CANCEL || session->would_query[i] == session->row.query_start);
        usec_t after = rule.after;
        if (told || rule.has_usage || rule.blocks > 0 || !model_is_over(model, i, 0, session, &age) ||
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

static void model_feed_row(struct model *model, const struct session_row *row, const struct scan *scan) {
    struct model_session *session = model_find(model, &row->id);
    bool fresh = !session;

    if (fresh) {
        session = &model->sessions[model->n_sessions++];
        *session = (struct model_session){.cancelled = TIMESTAMP_NONE, .escalate_at = USEC_INFINITY};
        session->fresh = true;
    }
    for (unsigned i = 0; i < N_SESSION_TIMES; i++) {
        enum session_time which = (enum session_time)i;
        if (fresh || session_row_time(&session->row, which) != session_row_time(row, which)) {
            session->seen_at[i] = scan->received_at;
        }
    }
    session->row = *row;
    session->exact_at = scan->server_now;
    session->fed = true;
    session->listener =
        row->command == SESSION_COMMAND_LISTEN || (session->listener && row->command != SESSION_COMMAND_UNLISTEN);
}

static void model_count_blocked(struct model_session *session, const struct scan *scan) {
    session->n_blocks = 0;
    for (size_t i = 0; i < scan->n_rows; i++) {
        bool waits = false;
        for (size_t k = 0; k < scan->rows[i].n_blocked_by; k++) {
            waits |= scan->rows[i].blocked_by[k] == session->row.id.id;
        }
        session->n_blocks += waits && scan->rows[i].id.id != session->row.id.id;
    }
}

static void model_feed(struct model *model, const struct scan *scan) {
    size_t n = 0;

    for (size_t i = 0; i < model->n_sessions; i++) {
        model->sessions[i].fed = false;
    }
    for (size_t i = 0; i < scan->n_rows; i++) {
        model_feed_row(model, &scan->rows[i], scan);
    }
    for (size_t i = 0; scan->kind == SCAN_FULL && i < model->n_sessions; i++) {
        model_count_blocked(&model->sessions[i], scan);
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
    for (size_t i = 0; i < model->n_sessions; i++) {
        struct model_session *session = &model->sessions[i];
        usec_t age = 0;
        if (session->fresh) {
            model_age(model, session, SESSION_TIME_BACKEND_START, &age);
            model_breaker_arrived(model, &session->row, model->received_at - MIN(age, model->received_at));
            session->fresh = false;
        }
    }
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
    for (size_t i = 0; !model->has_offset && i < scan->n_rows; i++) {
        int64_t late = scan->server_now + (int64_t)ENGINE_CLOCK_STEP;
        jumped |= scan->rows[i].id.since > late || scan->rows[i].state_change > late;
    }
    model->has_offset = true;
    model->offset = offset;
    for (size_t i = 0; i < result->n_events; i++) {
        told |= result->events[i].kind == EVENT_CLOCK_JUMP;
    }
    HOLDS(CLOCK_STEPS_ARE_TOLD, told == jumped);
}

// What rules go by besides single sessions, known on full scans.
static void model_watch(struct model *model, const struct scan *scan, bool fresh, usec_t now) {
    bool gap = model->has_full && model->policy.poll_interval > 0 &&
               now > model->full_at + ENGINE_GAP_POLLS * model->policy.poll_interval;

    model->usable = MAX(scan->facts.max_connections, 1);
    model->knows_blockers = model_asks_blockers(&model->policy);
    if (gap || fresh) {
        memset(model->armed, 0, sizeof(model->armed));
        for (size_t q = 0; q < MODEL_MAX_QUOTAS; q++) {
            for (size_t i = 0; i < model->n_over[q]; i++) {
                model->over[q][i].since = now;
            }
        }
        model_breaker_forget(model);
    }
    model->has_full = true;
    model->full_at = now;
    model->pressed = model->policy.pressure_at > 0 && model_is_used(model, model->policy.pressure_at);
    for (size_t i = 0; i < model->policy.n_rules; i++) {
        const struct model_rule *rule = &model->policy.rules[i];
        model->armed[i] = rule->has_usage && model_is_used(model, model->armed[i] ? rule->until : rule->usage);
    }
    model_watch_shares(model, now);
    model_breaker_judge(model, now);
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
    model->full = full;
    model_settle(model, full, &came, now);
    model_nothing_else(&came);
    if (full) {
        model_watch(model, scan, restarted || promoted, now);
        model_alarms_scan(model, scan, now, result);
    } else {
        model_alarms_silent(result);
    }
    HOLDS(PRESSURE_IS_TOLD, result->pressed || !model->pressed);
    model_check_reports(model, result);
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

// The rule at that place is another one, or gone.
static void model_forget_rule(struct model *model, size_t all, bool named, bool equal) {
    for (size_t i = 0; i < model->n_intents; i++) {
        struct intent *intent = &model->intents[i];
        intent->spender = intent->spender == (int)all && !named ? -1 : intent->spender;
        intent->rule = intent->rule == (int)all && !equal ? -1 : intent->rule;
    }
    if (equal) {
        return;
    }
    model->samples[all].n = 0;
    if (all >= MODEL_MAX_RULES) {
        model->n_over[all - MODEL_MAX_RULES] = 0;
    } else {
        model->armed[all] = false;
    }
    for (size_t i = 0; i < model->n_sessions; i++) {
        struct model_session *session = &model->sessions[i];
        session->would[all] = session->logged[all] = false;
        if (session->escalate_at != USEC_INFINITY && session->escalate_rule == (int)all) {
            session->escalate_at = USEC_INFINITY;
        }
    }
}

void model_policy(struct model *model, const struct model_policy *policy, bool same,
                  const struct engine_result *result) {
    HOLDS(P3_ONLY_ROWS_OF_THIS_SCAN, result->n_decisions == 0);
    const struct model_policy old = model->policy;
    memcpy(&model->policy, policy, sizeof(*policy));
    if (same) {
        model_alarms_silent(result);
        return;
    }
    model_alarms_policy(model, &old, result);
    bool apps = old.generation == policy->generation;
    for (size_t all = 0; all < MODEL_ALL; all++) {
        size_t q = all - MODEL_MAX_RULES;
        bool is_quota = all >= MODEL_MAX_RULES;
        bool named =
            apps && (is_quota ? q < MIN(old.n_quotas, policy->n_quotas) : all < MIN(old.n_rules, policy->n_rules));
        bool equal = named && (is_quota ? model_quota_is_same(&old.quotas[q], &policy->quotas[q])
                                        : model_rule_is_same(&old.rules[all], &policy->rules[all]));
        model_forget_rule(model, all, named, equal);
    }
    for (size_t i = 0; i < model->n_sessions; i++) {
        model->sessions[i].fed = false; // rules that have not judged a row yet set no due time
    }
}

void model_lead(struct model *model, bool leads, const struct engine_result *result) {
    HOLDS(P3_ONLY_ROWS_OF_THIS_SCAN, result->n_decisions == 0);
    model_alarms_silent(result);
    model->leads = leads;
}

void model_pause(struct model *model, bool all, const char *name, const struct engine_result *result) {
    HOLDS(P3_ONLY_ROWS_OF_THIS_SCAN, result->n_decisions == 0);
    model->paused = all;
    (void)snprintf(model->paused_name, sizeof(model->paused_name), "%s", name);
}
