// SPDX-License-Identifier: PostgreSQL
#include "timeout.h"

#include <stdlib.h>

#include "guard.h"
#include "util/array.h"
#include "util/macro.h"

static bool timeout_names_state(const struct timeout *timeout, enum session_state state) {
    return (timeout->any ? SESSION_STATES_ANY : timeout->state) & SESSION_STATE_BIT(state);
}

static int candidate_compare(const void *pa, const void *pb) {
    const struct candidate *a = pa, *b = pb;

    if (a->rule != b->rule) {
        return a->rule < b->rule ? -1 : 1;
    }
    if (a->age != b->age) {
        return a->age > b->age ? -1 : 1;
    }
    if (a->session->id.id != b->session->id.id) {
        return a->session->id.id < b->session->id.id ? -1 : 1;
    }
    return a->session->id.since < b->session->id.since ? -1 : a->session->id.since > b->session->id.since;
}

static int timeout_find_of(const struct snapshot *snapshot, struct session *session, struct candidate_list *list) {
    const struct policy *policy = snapshot->origins.policy;

    for (size_t i = 0; i < policy->n_timeouts; i++) {
        const struct timeout *timeout = &policy->timeouts[i];
        usec_t age;

        if (!origin_is_covered(session->origin, i) || !timeout_names_state(timeout, session->state)) {
            continue;
        }
        enum session_time time = timeout_time(timeout, session->state);
        if (!session_age(snapshot, session, time, &age) || age < timeout->after) {
            continue;
        }
        int r = ARRAY_RESERVE(list->items, list->capacity, list->n_items);
        if (r < 0) {
            return r;
        }
        list->items[list->n_items++] = (struct candidate){.rule = i, .session = session, .age = age, .time = time};
    }
    return 0;
}

int timeout_find(const struct snapshot *snapshot, usec_t now, struct candidate_list *list) {
    list->n_items = 0;
    for (struct session *session = snapshot->sessions; session; session = session->hh.next) {
        // Rows of earlier scans are not exact any more: nothing is decided on them (P3).
        if (session->generation != snapshot->generation || session->dying || session->hold_until > now) {
            continue;
        }
        int r = timeout_find_of(snapshot, session, list);
        if (r < 0) {
            return r;
        }
    }
    if (list->n_items > 1) {
        qsort(list->items, list->n_items, sizeof(*list->items), candidate_compare);
    }
    return 0;
}

int64_t timeout_observed_as(const struct timeout *timeout, const struct session *session) {
    return timeout->action == ACTION_CANCEL ? session->times[SESSION_TIME_QUERY_START] : TIMESTAMP_NONE;
}

usec_t timeout_due_at(const struct snapshot *snapshot, const struct session *session) {
    const struct policy *policy = snapshot->origins.policy;
    usec_t earliest = USEC_INFINITY;

    if (guard_is_protected_for_good(snapshot, &policy->protect, session)) {
        return USEC_INFINITY;
    }
    usec_t adult_at = session_age_at(snapshot, session, SESSION_TIME_BACKEND_START, policy->protect.min_age);
    for (size_t i = 0; i < policy->n_timeouts; i++) {
        const struct timeout *timeout = &policy->timeouts[i];
        if (!origin_is_covered(session->origin, i) || !timeout_names_state(timeout, session->state) ||
            session_has_note(session, i, timeout_observed_as(timeout, session), true)) {
            continue;
        }
        usec_t at = session_age_at(snapshot, session, timeout_time(timeout, session->state), timeout->after);
        at = MAX(at, adult_at);
        if (at > snapshot->received_at) {
            earliest = MIN(earliest, at);
        }
    }
    return earliest;
}
