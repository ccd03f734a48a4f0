// SPDX-License-Identifier: PostgreSQL
#include "guard.h"

#include <stdlib.h>
#include <string.h>

#include "util/array.h"

void budget_deinit(struct budget *budget) {
    free(budget->minute);
    *budget = (struct budget){0};
}

void budget_new_poll(struct budget *budget) {
    budget->this_poll = 0;
    budget->poll++;
}

static void budget_drop(struct budget *budget, size_t at, size_t n) {
    for (size_t i = at; i < at + n; i++) {
        budget->n_pressure -= budget->minute[i].pressure;
    }
    memmove(budget->minute + at, budget->minute + at + n, (budget->n_minute - at - n) * sizeof(*budget->minute));
    budget->n_minute -= n;
}

void budget_forget_old(struct budget *budget, usec_t now) {
    size_t n_old = 0;

    while (n_old < budget->n_minute && usec_add(budget->minute[n_old].at, USEC_PER_MINUTE) <= now) {
        n_old++;
    }
    if (n_old > 0) {
        budget_drop(budget, 0, n_old);
    }
}

bool budget_has_room(const struct budget *budget, const struct limits *limits, bool pressure) {
    int64_t spent = (int64_t)(pressure ? budget->n_pressure : budget->n_minute - budget->n_pressure);

    return budget->this_poll < limits->per_poll &&
           spent < (pressure ? limits->pressure_per_minute : limits->per_minute);
}

int64_t budget_spent_by(const struct budget *budget, size_t rule) {
    int64_t n = 0;

    for (size_t i = 0; i < budget->n_minute; i++) {
        n += budget->minute[i].rule == rule;
    }
    return n;
}

int budget_spend(struct budget *budget, uint64_t serial, size_t rule, bool pressure, usec_t now) {
    int r = ARRAY_RESERVE(budget->minute, budget->capacity, budget->n_minute);
    if (r < 0) {
        return r;
    }
    budget->minute[budget->n_minute++] = (struct budget_entry){
        .at = now,
        .serial = serial,
        .poll = budget->poll,
        .rule = rule,
        .pressure = pressure,
    };
    budget->n_pressure += pressure;
    budget->this_poll++;
    return 0;
}

void budget_move_rules(struct budget *budget, const size_t *to) {
    for (size_t i = 0; i < budget->n_minute; i++) {
        struct budget_entry *entry = &budget->minute[i];
        entry->rule = entry->rule == GUARD_NO_RULE ? GUARD_NO_RULE : to[entry->rule];
    }
}

void budget_refund(struct budget *budget, uint64_t serial) {
    for (size_t i = 0; i < budget->n_minute; i++) {
        if (budget->minute[i].serial == serial) {
            // An act answered after the next full scan was spent on an earlier poll: nothing of this one comes back.
            budget->this_poll -= budget->minute[i].poll == budget->poll;
            budget_drop(budget, i, 1);
            return;
        }
    }
}

void covered_add(struct covered *covered, int64_t n, usec_t now) {
    struct covered_sample *samples = covered->samples;

    if (covered->n_samples > 0 && now < usec_add(samples[covered->n_samples - 1].at, COVERED_SAMPLES_APART)) {
        return;
    }
    while (covered->n_samples > 1 &&
           (usec_add(samples[1].at, USEC_PER_MINUTE) <= now || covered->n_samples == COVERED_MAX_SAMPLES)) {
        covered->n_samples--;
        memmove(samples, samples + 1, covered->n_samples * sizeof(*samples));
    }
    samples[covered->n_samples++] = (struct covered_sample){.at = now, .n = n};
}

int64_t covered_share(const struct covered *covered, int64_t percent) {
    if (percent >= 100) {
        return LIMIT_NONE;
    }
    if (covered->n_samples == 0) {
        return 0; // a new rule, and no full scan since
    }
    if (covered->samples[0].n < SHARE_EXEMPT_BELOW) {
        return LIMIT_NONE;
    }
    return covered->samples[0].n * percent / 100;
}

static bool guard_is_running(enum session_state state) {
    return state == SESSION_STATE_ACTIVE || state == SESSION_STATE_FASTPATH;
}

bool guard_is_protected_for_good(const struct snapshot *snapshot, const struct protect *protect,
                                 const struct session *session) {
    const struct origin *origin = session->origin;

    return origin->own || session->id.id == snapshot->facts.own_pid ||
           origin_protects(&snapshot->origins, origin, session->query_matches) ||
           (protect->superusers && origin->key.superuser) || (protect->listeners && session->listener) ||
           (protect->maintenance && session->command == SESSION_COMMAND_MAINTENANCE &&
            guard_is_running(session->state)) ||
           session->waits_sync_rep || !(SESSION_STATES_ANY & SESSION_STATE_BIT(session->state));
}

bool guard_is_protected(const struct snapshot *snapshot, const struct protect *protect, const struct session *session) {
    usec_t lived;

    return guard_is_protected_for_good(snapshot, protect, session) ||
           !session_age(snapshot, session, SESSION_TIME_BACKEND_START, &lived) || lived < protect->min_age;
}

int64_t guard_count_groups(struct snapshot *snapshot) {
    int64_t n = 0;

    for (struct group *group = snapshot->origins.groups; group; group = group->hh.next) {
        group->n_living[PASS_ACTING] = group->n_living[PASS_SHADOW] = 0;
    }
    for (struct origin *origin = snapshot->origins.origins; origin; origin = origin->hh.next) {
        origin->n_living[PASS_ACTING] = origin->n_living[PASS_SHADOW] = 0;
    }
    for (const struct session *session = snapshot->sessions; session; session = session->hh.next) {
        session->origin->n_living[PASS_ACTING] += !session->dying;
    }
    for (struct origin *origin = snapshot->origins.origins; origin; origin = origin->hh.next) {
        n += origin->n_living[PASS_SHADOW] = origin->n_living[PASS_ACTING];
        origin->group->n_living[PASS_ACTING] += origin->n_living[PASS_ACTING];
        origin->group->n_living[PASS_SHADOW] += origin->n_living[PASS_ACTING];
    }
    return n;
}
