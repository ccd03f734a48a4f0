// SPDX-License-Identifier: PostgreSQL
#include "timeout.h"

#include <stdlib.h>

#include "guard.h"
#include "util/array.h"
#include "util/macro.h"

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

// All four ages of a session: rules are many, and each asks for one of them.
struct ages {
    bool known[N_SESSION_TIMES_];
    usec_t age[N_SESSION_TIMES_];
};

static struct ages timeout_ages(const struct snapshot *snapshot, const struct session *session) {
    struct ages ages = {0};

    for (unsigned i = 0; i < N_SESSION_TIMES; i++) {
        ages.known[i] = session_age(snapshot, session, (enum session_time)i, &ages.age[i]);
    }
    return ages;
}

static int timeout_find_of(const struct snapshot *snapshot, const uint64_t *asleep, struct session *session,
                           struct candidate_list *list) {
    const struct origin_table *origins = &snapshot->origins;
    const struct ages ages = timeout_ages(snapshot, session);

    for (size_t i = origin_next_rule(origins, session->origin, session->state, 0); i != ORIGIN_NO_RULE;
         i = origin_next_rule(origins, session->origin, session->state, i + 1)) {
        const struct timeout *timeout = &origins->policy->timeouts[i];
        enum session_time time = timeout_time(timeout, session->state);
        if (!ages.known[time] || ages.age[time] < timeout->after || ((asleep[i / 64] >> (i % 64)) & 1) ||
            session->n_blocks < (size_t)timeout->when.blocks) {
            continue;
        }
        int r = origin_covers(origins, session->origin, i, session->query_matches);
        if (r == 0) {
            continue;
        }
        if (r > 0) {
            r = ARRAY_RESERVE(list->items, list->capacity, list->n_items);
        }
        if (r < 0) {
            return r;
        }
        list->items[list->n_items++] =
            (struct candidate){.rule = i, .session = session, .age = ages.age[time], .time = time};
    }
    return 0;
}

int timeout_find(const struct snapshot *snapshot, const uint64_t *asleep, usec_t now, struct candidate_list *list) {
    list->n_items = 0;
    for (struct session *session = snapshot->sessions; session; session = session->hh.next) {
        // Rows of earlier scans are not exact any more: nothing is decided on them (P3).
        if (session->generation != snapshot->generation || session->dying || session->hold_until > now) {
            continue;
        }
        int r = timeout_find_of(snapshot, asleep, session, list);
        if (r < 0) {
            return r;
        }
    }
    if (list->n_items > 1) {
        qsort(list->items, list->n_items, sizeof(*list->items), candidate_compare);
    }
    return 0;
}

bool timeout_has_when(const struct timeout *timeout) {
    return timeout->when.has_usage || timeout->when.blocks > 0;
}

static bool timeout_may_escalate(const struct session *session) {
    return session->escalate_at != USEC_INFINITY && session->state == SESSION_STATE_ACTIVE &&
           session->times[SESSION_TIME_QUERY_START] == session->cancelled;
}

bool timeout_escalates(const struct session *session, size_t rule, usec_t now) {
    return timeout_may_escalate(session) && session->escalate_rule == rule && now >= session->escalate_at;
}

int64_t timeout_observed_as(const struct timeout *timeout, const struct session *session) {
    return timeout->action == ACTION_CANCEL ? session->times[SESSION_TIME_QUERY_START] : TIMESTAMP_NONE;
}

usec_t timeout_due_at(const struct snapshot *snapshot, const struct session *session) {
    const struct origin_table *origins = &snapshot->origins;
    const struct protect *protect = &origins->policy->protect;
    usec_t next[N_SESSION_TIMES_]; // the nearest limit ahead for each of its ages
    bool is_over = false;

    if (guard_is_protected_for_good(snapshot, protect, session)) {
        return USEC_INFINITY;
    }
    const struct ages ages = timeout_ages(snapshot, session);
    for (unsigned i = 0; i < N_SESSION_TIMES; i++) {
        next[i] = USEC_INFINITY;
    }
    for (size_t i = origin_next_rule(origins, session->origin, session->state, 0); i != ORIGIN_NO_RULE;
         i = origin_next_rule(origins, session->origin, session->state, i + 1)) {
        const struct timeout *timeout = &origins->policy->timeouts[i];
        enum session_time time = timeout_time(timeout, session->state);
        if (timeout_has_when(timeout) || session_has_note(session, i, timeout_observed_as(timeout, session), true)) {
            continue;
        }
        if (ages.age[time] < timeout->after) {
            next[time] = MIN(next[time], timeout->after);
        } else {
            is_over = is_over || ages.known[time];
        }
    }
    usec_t adult_at = session_age_at(snapshot, session, SESSION_TIME_BACKEND_START, protect->min_age);
    // Over a limit already: then only its youth protects it, or what held it back decides.
    usec_t earliest = is_over && adult_at > snapshot->received_at ? adult_at : USEC_INFINITY;
    for (unsigned i = 0; i < N_SESSION_TIMES; i++) {
        if (next[i] != USEC_INFINITY) {
            usec_t at = session_age_at(snapshot, session, (enum session_time)i, next[i]);
            earliest = MIN(earliest, MAX(at, adult_at));
        }
    }
    if (timeout_may_escalate(session) && session->escalate_at > snapshot->received_at) {
        earliest = MIN(earliest, session->escalate_at);
    }
    return earliest;
}
