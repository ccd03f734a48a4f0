// SPDX-License-Identifier: PostgreSQL
#include "pending.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine.h"
#include "util/array.h"

struct pending *pending_free(struct pending *pending) {
    if (pending) {
        policy_unref(pending->policy);
        free(pending->strings);
        free(pending);
    }
    return NULL;
}

void pending_list_deinit(struct pending_list *list) {
    for (size_t i = 0; i < list->n_items; i++) {
        pending_free(list->items[i]);
    }
    free(list->items);
    *list = (struct pending_list){0};
}

// Moves the strings of a decision into one block.
static int pending_own_strings(struct pending *pending) {
    struct decision *decision = &pending->decision;
    const char **strings[] = {&decision->app,           &decision->session.application_name,
                              &decision->session.user,  &decision->session.database,
                              &decision->session.query, &decision->group,
                              &decision->blocked};
    size_t need = 0;

    for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
        need += *strings[i] ? strlen(*strings[i]) + 1 : 0;
    }
    char *to = pending->strings = malloc(need);
    if (!to) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
        if (*strings[i]) {
            size_t n = strlen(*strings[i]) + 1;
            memcpy(to, *strings[i], n);
            *strings[i] = to;
            to += n;
        }
    }
    decision->test.application_name = decision->session.application_name;
    return 0;
}

int pending_list_add(struct pending_list *list, const struct decision *decision, struct policy *policy,
                     struct pending **ret) {
    struct pending *pending = calloc(1, sizeof(*pending));
    if (!pending) {
        return -ENOMEM;
    }
    pending->decision = *decision;
    pending->policy = policy_ref(policy);
    pending->verify_at = USEC_INFINITY;
    if (pending_own_strings(pending) < 0 || ARRAY_RESERVE(list->items, list->capacity, list->n_items) < 0) {
        pending_free(pending);
        return -ENOMEM;
    }
    list->items[list->n_items++] = pending;
    *ret = pending;
    return 0;
}

struct pending *pending_list_find(const struct pending_list *list, uint64_t serial) {
    for (size_t i = 0; i < list->n_items; i++) {
        if (list->items[i]->decision.serial == serial) {
            return list->items[i];
        }
    }
    return NULL;
}

void pending_list_remove(struct pending_list *list, size_t at) {
    memmove(list->items + at, list->items + at + 1, (list->n_items - at - 1) * sizeof(struct pending *));
    list->n_items--;
}

static enum event_level pending_level(enum outcome outcome) {
    switch (outcome) {
    case OUTCOME_NONE:
    case OUTCOME_GONE:
    case OUTCOME_CANCELLED:
        return EVENT_NOTICE;
    case OUTCOME_CHANGED:
    case OUTCOME_LEFT:
        return EVENT_INFO;
    case OUTCOME_LINGERING:
    case OUTCOME_DENIED:
    case OUTCOME_FAILED:
    case OUTCOME_STILL_RUNNING:
    case OUTCOME_UNKNOWN:
    case OUTCOME_UNVERIFIED:
    case N_OUTCOMES_:
        break;
    }
    return EVENT_WARNING;
}

struct event pending_event(const struct pending *pending, enum event_kind kind, const char *target,
                           enum outcome outcome) {
    struct event event = event_make(kind, pending_level(outcome), target);
    const struct decision *decision = &pending->decision;

    event.rule = decision->rule;
    event.has_action = true;
    event.action = decision->action;
    event.observe = !decision->enforce;
    event.outcome = outcome;
    event.session = &decision->session;
    event.app = decision->app;
    event.time = decision->test.time;
    event.age = decision->observed;
    event.limit = decision->limit;
    event.group = decision->group;
    event.held = decision->held;
    event.allowed = decision->allowed;
    event.n_blocked = decision->n_blocked;
    if (decision->by_usage) {
        // Why it was ended is told by the slots of then, not by what ending it has changed.
        event.reason = EVENT_REASON_PRESSURE;
        event.used = decision->used;
        event.usable = decision->usable;
    }
    event.blocked = decision->blocked;
    return event;
}

void pending_signalled(struct pending *pending, usec_t now) {
    pending->state = pending->decision.action == ACTION_CANCEL ? PENDING_CANCELLING : PENDING_DYING;
    pending->signalled_at = now;
    pending->verify_gap = ENGINE_VERIFY_FIRST;
    pending->verify_at = usec_add(now, pending->verify_gap);
}

static void pending_verify_later(struct pending *pending, usec_t now) {
    pending->verify_gap *= 2;
    pending->verify_at = usec_add(now, pending->verify_gap);
}

static struct pending_verdict pending_look_dying(struct pending *pending, bool present, usec_t now) {
    if (!present) {
        return (struct pending_verdict){.outcome = OUTCOME_GONE, .settled = true};
    }
    if (now < usec_add(pending->signalled_at, ENGINE_LINGERING_AFTER)) {
        pending_verify_later(pending, now);
        return (struct pending_verdict){.outcome = OUTCOME_NONE};
    }
    if (pending->unsure) {
        // It lives, so most likely the statement never arrived: free to be judged again.
        return (struct pending_verdict){.outcome = OUTCOME_UNKNOWN, .settled = true, .release = true};
    }
    pending->state = PENDING_LINGERING;
    pending->verify_at = USEC_INFINITY;
    return (struct pending_verdict){.outcome = OUTCOME_LINGERING};
}

static struct pending_verdict pending_look_cancelling(struct pending *pending, const struct session *session,
                                                      usec_t now) {
    if (!session || session->state != SESSION_STATE_ACTIVE ||
        session->times[SESSION_TIME_QUERY_START] != pending->decision.session.query_start) {
        return (struct pending_verdict){.outcome = OUTCOME_CANCELLED, .settled = true};
    }
    if (now < usec_add(pending->signalled_at, ENGINE_CANCEL_SETTLES)) {
        pending_verify_later(pending, now);
        return (struct pending_verdict){.outcome = OUTCOME_NONE};
    }
    return (struct pending_verdict){
        .outcome = pending->unsure ? OUTCOME_UNKNOWN : OUTCOME_STILL_RUNNING,
        .settled = true,
    };
}

struct pending_verdict pending_look(struct pending *pending, const struct snapshot *snapshot, bool full, usec_t now) {
    const struct session *session = snapshot_find(snapshot, &pending->decision.session.id);

    // A row that this scan did not bring says nothing new.
    if (session && session->generation != snapshot->generation) {
        return (struct pending_verdict){.outcome = OUTCOME_NONE};
    }
    switch (pending->state) {
    case PENDING_ACT:
        break;
    case PENDING_UNKNOWN:
        if (full) {
            pending_signalled(pending, pending->signalled_at);
            return pending_look(pending, snapshot, full, now);
        }
        break;
    case PENDING_DYING:
        return pending_look_dying(pending, session, now);
    case PENDING_LINGERING:
        if (!session) {
            return (struct pending_verdict){.outcome = OUTCOME_GONE, .settled = true};
        }
        if (now >= usec_add(pending->signalled_at, ENGINE_RETRY_AFTER)) {
            return (struct pending_verdict){.outcome = OUTCOME_NONE, .settled = true, .release = true};
        }
        break;
    case PENDING_CANCELLING:
        return pending_look_cancelling(pending, session, now);
    }
    return (struct pending_verdict){.outcome = OUTCOME_NONE};
}
