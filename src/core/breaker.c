// SPDX-License-Identifier: PostgreSQL
#include "breaker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/macro.h"

static void breaker_close_round(struct breaker *breaker, struct origin_table *origins) {
    for (size_t i = 0; i < breaker->n_origins; i++) {
        origin_unhold(origins, breaker->origins[i].origin);
    }
    breaker->n_origins = 0;
    breaker->n_victims = 0;
}

static struct breaker *breaker_free(struct breaker *breaker, struct origin_table *origins) {
    if (breaker) {
        breaker_close_round(breaker, origins);
        free(breaker->rule);
        free(breaker->group);
        free(breaker);
    }
    return NULL;
}

void breakers_deinit(struct breakers *breakers, struct origin_table *origins) {
    for (size_t i = 0; i < breakers->n_items; i++) {
        breaker_free(breakers->items[i], origins);
    }
    breakers->n_items = 0;
}

void breakers_forget_rounds(struct breakers *breakers, struct origin_table *origins) {
    for (size_t i = 0; i < breakers->n_items; i++) {
        breaker_close_round(breakers->items[i], origins);
    }
}

static struct breaker *breakers_find(const struct breakers *breakers, const char *rule, const char *group) {
    for (size_t i = 0; i < breakers->n_items; i++) {
        struct breaker *breaker = breakers->items[i];
        if (strcmp(breaker->rule, rule) == 0 && strcmp(breaker->group, group) == 0) {
            return breaker;
        }
    }
    return NULL;
}

bool breakers_is_tripped(const struct breakers *breakers, const char *rule, const char *group) {
    const struct breaker *breaker = breakers_find(breakers, rule, group);
    return breaker && breaker->tripped;
}

// Makes room: the one that has been idle for longest goes. false: all are in use.
static bool breakers_evict(struct breakers *breakers, struct origin_table *origins) {
    size_t oldest = breakers->n_items;

    for (size_t i = 0; i < breakers->n_items; i++) {
        const struct breaker *breaker = breakers->items[i];
        if (!breaker->tripped && !breaker->told && breaker->n_victims == 0 &&
            (oldest == breakers->n_items || breaker->last_at < breakers->items[oldest]->last_at)) {
            oldest = i;
        }
    }
    if (oldest == breakers->n_items) {
        return false;
    }
    breaker_free(breakers->items[oldest], origins);
    breakers->items[oldest] = breakers->items[--breakers->n_items];
    return true;
}

static int breakers_make(struct breakers *breakers, const char *rule, const char *group, struct breaker **ret) {
    struct breaker *breaker = calloc(1, sizeof(*breaker));
    if (!breaker) {
        return -ENOMEM;
    }
    breaker->rule = strdup(rule);
    breaker->group = strdup(group);
    if (!breaker->rule || !breaker->group) {
        breaker_free(breaker, NULL); // holds no origin yet
        return -ENOMEM;
    }
    breakers->items[breakers->n_items++] = breaker;
    *ret = breaker;
    return 0;
}

int breakers_add_victim(struct breakers *breakers, struct origin_table *origins, const char *rule,
                        struct origin *origin, usec_t now) {
    struct breaker *breaker = breakers_find(breakers, rule, origin->group->label);
    size_t i = 0;

    if (!breaker) {
        if (breakers->n_items == BREAKER_MAX && !breakers_evict(breakers, origins)) {
            return 0;
        }
        int r = breakers_make(breakers, rule, origin->group->label, &breaker);
        if (r < 0) {
            return r;
        }
    }
    if (breaker->n_victims == 0) {
        breaker->opened_at = now;
    } else if (now >= usec_add(breaker->opened_at, BREAKER_BURST)) {
        return 0;
    }
    while (i < breaker->n_origins && breaker->origins[i].origin != origin) {
        i++;
    }
    if (i == BREAKER_MAX_ORIGINS) {
        return 0;
    }
    if (i == breaker->n_origins) {
        origin_hold(origin);
        breaker->origins[breaker->n_origins++] =
            (struct breaker_origin){.origin = origin, .arrived_before = origin->n_arrived};
    }
    breaker->origins[i].n_victims++;
    breaker->n_victims++;
    breaker->last_at = now;
    return 0;
}

// Of those that the latest scan was the first to bring, who came too late to replace anybody.
static int64_t breaker_count_late(const struct breaker *breaker, const struct snapshot *snapshot,
                                  const struct origin *origin) {
    usec_t until = usec_add(breaker->last_at, BREAKER_REPLACED), age;
    int64_t n = 0;

    for (const struct session *session = snapshot->sessions; session; session = session->hh.next) {
        n += session->origin == origin && session->born == snapshot->generation &&
             session_age(snapshot, session, SESSION_TIME_BACKEND_START, &age) &&
             usec_sub(snapshot->received_at, age) > until;
    }
    return n;
}

static int64_t breaker_count_replaced(const struct breaker *breaker, const struct snapshot *snapshot) {
    bool ends = snapshot->received_at > usec_add(breaker->last_at, BREAKER_REPLACED);
    int64_t n = 0;

    for (size_t i = 0; i < breaker->n_origins; i++) {
        const struct breaker_origin *of = &breaker->origins[i];
        int64_t n_late = ends ? breaker_count_late(breaker, snapshot, of->origin) : 0;
        n += MIN(of->n_victims, (int64_t)(of->origin->n_arrived - of->arrived_before) - n_late);
    }
    return n;
}

static void breaker_trip(struct breaker *breaker, const struct limits *limits, usec_t now) {
    breaker->pause = limits->breaker_pause;
    for (unsigned i = 0; i < breaker->n_doubled && breaker->pause < BREAKER_MAX_PAUSE; i++) {
        breaker->pause = MIN(2 * breaker->pause, BREAKER_MAX_PAUSE);
    }
    breaker->n_doubled++;
    breaker->n_in_a_row = 0;
    breaker->tripped = true;
    breaker->paused_until = usec_add(now, breaker->pause);
}

static void breaker_judge_round(struct breaker *breaker, struct snapshot *snapshot, const struct limits *limits,
                                usec_t now) {
    int64_t replaced = breaker_count_replaced(breaker, snapshot);
    bool counts = breaker->n_victims >= BREAKER_MIN_VICTIMS && replaced * 100 >= breaker->n_victims * BREAKER_PERCENT;

    if (now < usec_add(breaker->opened_at, BREAKER_BURST) ||
        (!counts && now < usec_add(breaker->last_at, BREAKER_REPLACED))) {
        return;
    }
    if (counts) {
        breaker->ended = breaker->n_victims;
        breaker->replaced = replaced;
        breaker->n_in_a_row++;
        breaker->counted_at = now;
    } else if (breaker->n_victims >= BREAKER_MIN_VICTIMS) {
        breaker->n_in_a_row = 0;
    }
    breaker_close_round(breaker, &snapshot->origins);
    if (counts && limits->breaker_rounds > 0 && breaker->n_in_a_row >= limits->breaker_rounds) {
        breaker_trip(breaker, limits, now);
    }
}

void breakers_judge(struct breakers *breakers, struct snapshot *snapshot, const struct limits *limits, usec_t now) {
    for (size_t i = 0; i < breakers->n_items; i++) {
        struct breaker *breaker = breakers->items[i];
        if (breaker->tripped && now >= breaker->paused_until) {
            breaker->tripped = false;
            breaker->counted_at = now;
        }
        if (!breaker->tripped && now >= usec_add(breaker->counted_at, BREAKER_QUIET)) {
            breaker->n_doubled = 0;
        }
        if (breaker->n_victims > 0) {
            breaker_judge_round(breaker, snapshot, limits, now);
        }
    }
}
