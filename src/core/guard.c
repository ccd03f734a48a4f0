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
    memmove(budget->minute + at, budget->minute + at + n, (budget->n_minute - at - n) * sizeof(*budget->minute));
    budget->n_minute -= n;
}

bool budget_has_room(struct budget *budget, const struct limits *limits, usec_t now) {
    size_t n_old = 0;

    while (n_old < budget->n_minute && usec_add(budget->minute[n_old].at, USEC_PER_MINUTE) <= now) {
        n_old++;
    }
    if (n_old > 0) {
        budget_drop(budget, 0, n_old);
    }
    return budget->this_poll < limits->per_poll && (int64_t)budget->n_minute < limits->per_minute;
}

int budget_spend(struct budget *budget, uint64_t serial, usec_t now) {
    int r = ARRAY_RESERVE(budget->minute, budget->capacity, budget->n_minute);
    if (r < 0) {
        return r;
    }
    budget->minute[budget->n_minute++] = (struct budget_entry){.at = now, .serial = serial, .poll = budget->poll};
    budget->this_poll++;
    return 0;
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

static bool guard_is_running(enum session_state state) {
    return state == SESSION_STATE_ACTIVE || state == SESSION_STATE_FASTPATH;
}

bool guard_is_protected_for_good(const struct snapshot *snapshot, const struct protect *protect,
                                 const struct session *session) {
    const struct origin *origin = session->origin;

    return origin->own || session->id.id == snapshot->facts.own_pid || origin->protected_name ||
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

void guard_count_groups(struct snapshot *snapshot) {
    for (struct group *group = snapshot->origins.groups; group; group = group->hh.next) {
        group->n_living = 0;
    }
    for (const struct session *session = snapshot->sessions; session; session = session->hh.next) {
        session->origin->group->n_living += !session->dying;
    }
    for (struct group *group = snapshot->origins.groups; group; group = group->hh.next) {
        group->n_living_shadow = group->n_living;
    }
}
