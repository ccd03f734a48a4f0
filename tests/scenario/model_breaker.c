// SPDX-License-Identifier: PostgreSQL
//
// Whether ending sessions helps: rounds, rows of them, pauses.
#include <stdio.h>
#include <string.h>

#include "model_impl.h"
#include "util/macro.h"

static bool same_origin(const struct session_row *a, const struct session_row *b) {
    return strcmp(a->application_name, b->application_name) == 0 && strcmp(a->user, b->user) == 0 &&
           strcmp(a->database, b->database) == 0 && a->client.family == b->client.family &&
           a->superuser == b->superuser;
}

static struct model_breaker *breaker_find(const struct model *model, const char *rule, const struct session_row *row) {
    char group[MODEL_KEY];

    model_group_name(&model->policy, row, group);
    for (size_t i = 0; i < model->n_breakers; i++) {
        if (strcmp(model->breakers[i].rule, rule) == 0 && strcmp(model->breakers[i].group, group) == 0) {
            return (struct model_breaker *)(uintptr_t)&model->breakers[i];
        }
    }
    return NULL;
}

bool model_breaker_holds(const struct model *model, const char *rule, const struct session_row *row) {
    const struct model_breaker *breaker = breaker_find(model, rule, row);
    return breaker && breaker->tripped;
}

// When all are taken, the one that has rested for longest goes; false: none rests.
static bool breaker_make_room(struct model *model) {
    struct model_breaker *oldest = NULL;

    if (model->n_breakers < MODEL_MAX_BREAKERS) {
        return true;
    }
    for (size_t i = 0; i < model->n_breakers; i++) {
        struct model_breaker *breaker = &model->breakers[i];
        if (!breaker->tripped && breaker->n_victims == 0 && (!oldest || breaker->last_at < oldest->last_at)) {
            oldest = breaker;
        }
    }
    if (oldest) {
        *oldest = model->breakers[--model->n_breakers];
    }
    return oldest != NULL;
}

void model_breaker_victim(struct model *model, const char *rule, const struct session_row *row, usec_t now) {
    struct model_breaker *breaker = breaker_find(model, rule, row);
    size_t i = 0;

    if (!breaker) {
        if (!breaker_make_room(model)) {
            return;
        }
        breaker = &model->breakers[model->n_breakers++];
        *breaker = (struct model_breaker){0};
        (void)snprintf(breaker->rule, sizeof(breaker->rule), "%s", rule);
        model_group_name(&model->policy, row, breaker->group);
    }
    if (breaker->n_victims == 0) {
        breaker->opened_at = now;
    } else if (now >= breaker->opened_at + 5 * USEC_PER_SEC) {
        return;
    }
    while (i < breaker->n_origins && !same_origin(&breaker->origins[i].row, row)) {
        i++;
    }
    if (i == breaker->n_origins) {
        breaker->n_origins++;
        breaker->origins[i].row = *row;
        breaker->origins[i].n_victims = breaker->origins[i].n_arrived = 0;
    }
    breaker->origins[i].n_victims++;
    breaker->n_victims++;
    breaker->last_at = now;
}

void model_breaker_arrived(struct model *model, const struct session_row *row, usec_t at) {
    for (size_t i = 0; i < model->n_breakers; i++) {
        struct model_breaker *breaker = &model->breakers[i];
        for (size_t k = 0; k < breaker->n_origins; k++) {
            breaker->origins[k].n_arrived +=
                at <= breaker->last_at + 30 * USEC_PER_SEC && same_origin(&breaker->origins[k].row, row);
        }
    }
}

void model_breaker_forget(struct model *model) {
    for (size_t i = 0; i < model->n_breakers; i++) {
        model->breakers[i].n_origins = 0;
        model->breakers[i].n_victims = 0;
    }
}

static void breaker_judge(const struct model *model, struct model_breaker *breaker, usec_t now) {
    int64_t replaced = 0;

    for (size_t i = 0; i < breaker->n_origins; i++) {
        replaced += MIN(breaker->origins[i].n_arrived, breaker->origins[i].n_victims);
    }
    bool enough = breaker->n_victims >= 3, counts = enough && 10 * replaced >= 8 * breaker->n_victims;
    if (now < breaker->opened_at + 5 * USEC_PER_SEC || (!counts && now < breaker->last_at + 30 * USEC_PER_SEC)) {
        return;
    }
    breaker->n_in_a_row = counts ? breaker->n_in_a_row + 1 : enough ? 0 : breaker->n_in_a_row;
    breaker->counted_at = counts ? now : breaker->counted_at;
    breaker->n_origins = 0;
    breaker->n_victims = 0;
    if (counts && model->policy.rounds > 0 && breaker->n_in_a_row >= model->policy.rounds) {
        usec_t pause = model->policy.pause;
        for (unsigned i = 0; i < breaker->n_doubled; i++) {
            pause = MIN(2 * pause, USEC_PER_HOUR);
        }
        breaker->n_doubled++;
        breaker->n_in_a_row = 0;
        breaker->tripped = true;
        breaker->until = now + pause;
    }
}

void model_breaker_judge(struct model *model, usec_t now) {
    for (size_t i = 0; i < model->n_breakers; i++) {
        struct model_breaker *breaker = &model->breakers[i];
        if (breaker->tripped && now >= breaker->until) {
            breaker->tripped = false;
            breaker->counted_at = now;
        }
        if (!breaker->tripped && now >= breaker->counted_at + 10 * USEC_PER_MINUTE) {
            breaker->n_doubled = 0;
        }
        if (breaker->n_victims > 0) {
            breaker_judge(model, breaker, now);
        }
    }
}
