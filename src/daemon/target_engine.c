// SPDX-License-Identifier: PostgreSQL

// What the engine is told, and what becomes of what it wants.

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pause.h"
#include "target_engine.h"

static void target_set_look(struct target *target, const struct engine_result *result) {
    usec_t at = result->look_at;
    target->n_look = 0;
    if (result->n_look > 0) {
        struct session_id *look = reallocarray(target->look, result->n_look, sizeof(*look));
        if (look) {
            memcpy(look, result->look, result->n_look * sizeof(*look));
            target->look = look;
            target->n_look = result->n_look;
        } else {
            at = USEC_INFINITY; // the next poll sees them
        }
    }
    loop_timer_set(target->look_timer, target->n_look > 0 ? at : USEC_INFINITY);
}

int target_step(struct target *target, const struct engine_input *input, usec_t now) {
    const struct engine_result *result;
    int r = engine_step(target->engine, input, now, &result);
    if (r < 0) {
        return r;
    }
    for (size_t i = 0; i < result->n_events; i++) {
        (void)sinks_emit(target->context->sinks, &result->events[i]);
    }
    executor_add(target->executor, result, now);
    target_set_look(target, result);
    if (input->kind == ENGINE_INPUT_SCAN && result->pressed != target->is_pressed) {
        target->is_pressed = result->pressed;
        target_set_tick(target, now);
    }
    return 0;
}

static int target_settle_loss(struct target *target, usec_t now) {
    int r = 0;
    if (target->owes_loss) {
        r = target_step(target, &(struct engine_input){.kind = ENGINE_INPUT_LOST}, now);
        target->owes_loss = r < 0;
    }
    return r;
}

static int target_settle_policy(struct target *target, usec_t now) {
    bool enforces = target->enforce && target->config->enforce && !target->is_pooled;
    // Not at each reconnect: a policy is new to the engine, and makes it report anew what it reported.
    if (!target->owes_policy && enforces == target->enforces) {
        return 0;
    }
    const struct engine_input input = {
        .kind = ENGINE_INPUT_POLICY,
        .policy = {.policy = target->policy,
                   .enforce = enforces,
                   .pressure_at = target->config->pressure_at,
                   .poll_interval = target->config->poll_interval},
    };
    int r = target_step(target, &input, now);
    if (r == 0) {
        target->owes_policy = false;
        target->enforces = enforces;
    }
    return r;
}

static int target_settle_pause(struct target *target, usec_t now) {
    const struct pauses *pauses = target->context->pauses;
    const char *names[PAUSE_MAX];
    size_t n = 0;
    if (!pauses || pauses->version == target->pauses_version) {
        return 0;
    }
    bool all = pauses_of(pauses, target_name(target), names, &n);
    const struct engine_input input = {
        .kind = ENGINE_INPUT_PAUSE,
        .pause = {.all = all, .rules = names, .n_rules = n},
    };
    int r = target_step(target, &input, now);
    if (r == 0) {
        target->pauses_version = pauses->version;
    }
    return r;
}

static int target_settle_leadership(struct target *target, usec_t now) {
    bool leads = !target->competes || (target_wants_lead(target) && target->leads);
    if (target->has_told_leads && leads == target->told_leads) {
        return 0;
    }
    int r = target_step(target, &(struct engine_input){.kind = ENGINE_INPUT_LEADERSHIP, .leads = leads}, now);
    if (r == 0) {
        target->has_told_leads = true;
        target->told_leads = leads;
    }
    return r;
}

static int target_settle_conditions(struct target *target, usec_t now) {
    struct engine_input input;
    int r = 0;
    while (r == 0 && conditions_peek(&target->conditions, &input)) {
        r = target_step(target, &input, now);
        if (r == 0) {
            conditions_told(&target->conditions, &input);
        }
    }
    return r;
}

int target_settle_debts(struct target *target, usec_t now) {
    int r = target_settle_loss(target, now);
    if (r == 0) {
        r = target_settle_policy(target, now);
    }
    if (r == 0) {
        r = target_settle_pause(target, now);
    }
    if (r == 0) {
        r = target_settle_leadership(target, now);
    }
    return r < 0 ? r : target_settle_conditions(target, now);
}

int target_settle_acts(struct target *target, usec_t now) {
    struct engine_input input;
    executor_check(target->executor, now);
    while (executor_peek(target->executor, &input)) {
        int r = target_step(target, &input, now);
        if (r < 0) {
            return r;
        }
        executor_pop(target->executor);
    }
    return target->visit ? visit_settle(target->visit, now) : 0;
}

// ---- who acts

bool target_means_to_act(const struct target *target) {
    return target->enforce && target->config->enforce && target->policy->enforce;
}

bool target_wants_lead(const struct target *target) {
    return target->competes && target_means_to_act(target) && !target->is_pooled;
}

static void target_tell_standing(struct target *target, enum standing standing, int64_t pid, const char *detail) {
    if (standing != target->standing || (pid != target->standing_pid && standing == STANDING_FOLLOWS)) {
        target_say_standing(target->context->sinks, target_name(target), target->standing, standing, pid, detail);
    }
    target->standing = standing;
    target->standing_pid = pid;
}

static void target_note_unknown_leader(struct target *target, int64_t pid) {
    char detail[CONDITIONS_TEXT_MAX];
    target_describe_holder(detail, sizeof(detail), pid);
    conditions_raise(&target->conditions, CONDITION_LEADER_UNKNOWN, detail, TARGET_LEAD_HINT);
    target_tell_standing(target, STANDING_UNKNOWN, pid, detail);
}

void target_note_leader(struct target *target, const struct server_report *report) {
    target->is_asking = false;
    if (report->error->kind != PG_ERROR_NONE) {
        // On this connection nothing has changed, whatever that is.
        target_tell_standing(target, STANDING_FAILED, 0, report->error->message);
        return;
    }
    if (!target->has_asked) {
        target->leads = false;
        target->is_settled = false;
        conditions_clear(&target->conditions, CONDITION_LEADER_UNKNOWN);
        target_tell_standing(target, STANDING_NONE, 0, NULL);
        return;
    }
    // Strangers who hold the key disarm nobody.
    target->leads = report->leader == LEADER_SELF || report->leader == LEADER_UNKNOWN;
    target->is_settled = report->leader == LEADER_SELF;
    if (report->leader != LEADER_UNKNOWN) {
        conditions_clear(&target->conditions, CONDITION_LEADER_UNKNOWN);
    }
    switch (report->leader) {
    case LEADER_NOBODY:
        break; // who held it has just let go: the next poll takes it
    case LEADER_SELF:
        target_tell_standing(target, STANDING_LEADS, report->leader_pid, NULL);
        break;
    case LEADER_OTHER:
        target_tell_standing(target, STANDING_FOLLOWS, report->leader_pid, NULL);
        break;
    case LEADER_UNKNOWN:
        target_note_unknown_leader(target, report->leader_pid);
        break;
    }
}

// ---- conditions

void target_note_trouble(struct target *target, enum outage_stage stage, const struct pg_error *error, usec_t now) {
    struct conditions *conditions = &target->conditions;
    const char *hint = target_hint(stage, error);
    if (stage == OUTAGE_CONNECT && error->kind == PG_ERROR_FULL) {
        conditions_raise(conditions, CONDITION_LOCKED_OUT, error->message, hint);
    } else if (stage == OUTAGE_CONNECT && error->kind == PG_ERROR_OWN_LIMIT) {
        conditions_raise(conditions, CONDITION_OWN_LIMIT, error->message, hint);
    } else if (stage == OUTAGE_POLL && error->kind == PG_ERROR_DENIED) {
        conditions_raise(conditions, CONDITION_BLIND, error->message, hint);
    } else if (usec_sub(now, target->outage.since) >= ENGINE_GAP_POLLS * target->config->poll_interval) {
        // A restart that is over within the gap is no alarm.
        conditions_raise(conditions, CONDITION_UNREACHABLE, error->message, hint);
    }
}

void target_note_sight(struct target *target, const struct scan *scan) {
    conditions_clear(&target->conditions, CONDITION_LOCKED_OUT);
    conditions_clear(&target->conditions, CONDITION_OWN_LIMIT);
    conditions_clear(&target->conditions, CONDITION_UNREACHABLE);
    // Only a stranger's session proves that we see strangers.
    for (size_t i = 0; i < scan->n_rows; i++) {
        if (scan->rows[i].state != SESSION_STATE_NONE && strcmp(scan->rows[i].user, scan->facts.own_user) != 0) {
            conditions_clear(&target->conditions, CONDITION_BLIND);
            return;
        }
    }
}

static void target_note_finding(struct target *target, enum condition condition, bool applies) {
    const struct event *finding = findings_find(&target->findings, condition_to_string(condition));
    if (applies && finding) {
        conditions_raise(&target->conditions, condition, finding->detail, finding->hint);
    } else {
        conditions_clear(&target->conditions, condition);
    }
}

void target_note_power(struct target *target) {
    // Who only observes has no need to signal.
    target_note_finding(target, CONDITION_POWERLESS, target_means_to_act(target));
}

void target_check_power(struct target *target, const struct scan *scan) {
    bool is_powerless = findings_find(&target->findings, condition_to_string(CONDITION_POWERLESS)) != NULL;
    if (scan->facts.may_signal == is_powerless && !target->is_checking) {
        target->is_checking = target->server->kind->check(target->server) == 0;
    }
}

void target_note_check(struct target *target) {
    target->is_checking = false;
    // Short of memory everything is as before, and the next poll asks again.
    if (findings_replace(&target->findings, target->context->sinks, target_name(target), target->server) == 0) {
        target_note_findings(target);
    }
}

void target_note_findings(struct target *target) {
    target_note_finding(target, CONDITION_BLIND, true);
    target_note_finding(target, CONDITION_POOLED_CONNECTION, true);
    target_note_power(target);
}
