// SPDX-License-Identifier: PostgreSQL
//
// Each family is an array of series, found through a hash of their labels. Where a series cannot be had, its labels are
// folded step by step: first the app, then everything that is not one of our own enumerations (of those there can be
// only so many, and room for them is kept). The last resort, folded throughout, needs no memory.
#include "core/tally.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "util/macro.h"
#include "util/strbuf.h"

#define TALLY_MAX_FOLDED 64 // more than N_ACTIONS * N_OUTCOMES, and than N_HELD_REASONS
static_assert(TALLY_MAX_FOLDED >= N_ACTIONS_ * N_OUTCOMES_, "room for every folded outcome");

static const struct tally_shape {
    size_t n_labels;
    struct tally_shape_label {
        const char *name;
        bool is_enum; // one of our own words, never folded but by the last resort
    } labels[TALLY_MAX_LABELS];
} tally_shapes[] = {
    [TALLY_DECISIONS] = {3, {{"target", false}, {"rule", false}, {"action", true}}},
    [TALLY_OUTCOMES] = {5, {{"target", false}, {"rule", false}, {"app", false}, {"action", true}, {"outcome", true}}},
    [TALLY_HELD_BACK] = {3, {{"target", false}, {"rule", false}, {"reason", true}}},
    [TALLY_NOTIFICATIONS] = {2, {{"output", false}, {"result", true}}},
};
static_assert(ARRAY_SIZE(tally_shapes) == N_TALLY_FAMILIES, "one shape for each family");

#define TALLY_APP 2 // its place among the labels of TALLY_OUTCOMES

// One series in the index. The key is its labels, each with its NUL.
struct tally_entry {
    size_t place; // in the array
    UT_hash_handle hh;
    char key[];
};

struct tally_list {
    struct tally_series *series; // strings point into the entries' keys; room for all that there can be
    size_t n;
    size_t n_strangers;
    struct tally_entry *index;
    size_t last_resort; // its place + 1; 0: not there yet
};

struct tally {
    struct tally_list lists[N_TALLY_FAMILIES_];
    struct strbuf key;          // the last one looked for
    struct tally_death *deaths; // names are owned, but for the first's
    size_t n_deaths;
    uint64_t n_events[N_EVENT_KINDS_];
    uint64_t n_gone;
};

size_t tally_n_labels(enum tally_family family) {
    return tally_shapes[family].n_labels;
}

const char *tally_label(enum tally_family family, size_t i) {
    assert(i < tally_shapes[family].n_labels);
    return tally_shapes[family].labels[i].name;
}

struct tally *tally_new(void) {
    CLEANUP(tally_freep) struct tally *tally = calloc(1, sizeof(*tally));
    if (!tally) {
        return NULL;
    }
    tally->deaths = calloc(TALLY_MAX_TARGETS + 1, sizeof(*tally->deaths));
    bool complete = tally->deaths != NULL;
    if (complete) {
        tally->deaths[0] = (struct tally_death){.target = TALLY_OTHER, .took = {.bounds = &histogram_of_deaths}};
        tally->n_deaths = 1;
    }
    for (unsigned i = 0; i < N_TALLY_FAMILIES; i++) {
        struct tally_list *list = &tally->lists[i];
        list->series = calloc(TALLY_MAX_SERIES + TALLY_MAX_FOLDED + 1, sizeof(*list->series));
        complete = complete && list->series;
    }
    return complete ? TAKE_PTR(tally) : NULL;
}

static void tally_list_deinit(struct tally_list *list) {
    struct tally_entry *entry, *next;
    HASH_ITER(hh, list->index, entry, next) {
        HASH_DEL(list->index, entry);
        free(entry);
    }
    free(list->series);
}

struct tally *tally_free(struct tally *tally) {
    if (!tally) {
        return NULL;
    }
    for (unsigned i = 0; i < N_TALLY_FAMILIES; i++) {
        tally_list_deinit(&tally->lists[i]);
    }
    for (size_t i = 1; i < tally->n_deaths; i++) {
        free(tally->deaths[i].owned);
    }
    free(tally->deaths);
    strbuf_deinit(&tally->key);
    free(tally);
    return NULL;
}

// ---- series

static void tally_set_key(struct strbuf *key, const struct tally_shape *shape, const char *const *values) {
    strbuf_clear(key);
    for (size_t i = 0; i < shape->n_labels; i++) {
        strbuf_add_bytes(key, values[i], strlen(values[i]) + 1);
    }
}

static struct tally_series *tally_add_series(struct tally_list *list, const struct tally_shape *shape,
                                             const struct strbuf *key) {
    struct tally_entry *entry = malloc(sizeof(*entry) + key->len);
    struct tally_series *series = &list->series[list->n];
    if (!entry) {
        return NULL;
    }
    *entry = (struct tally_entry){.place = list->n};
    memcpy(entry->key, key->data, key->len);
    HASH_ADD_KEYPTR(hh, list->index, entry->key, key->len, entry);
    if (!entry->hh.tbl) {
        free(entry);
        return NULL;
    }
    const char *value = entry->key;
    *series = (struct tally_series){0};
    for (size_t i = 0; i < shape->n_labels; i++) {
        series->values[i] = value;
        value += strlen(value) + 1;
    }
    list->n++;
    return series;
}

// The series of these labels, made if there is none and there are fewer than `max`. NULL: no room, or no memory.
static struct tally_series *tally_get(struct tally *tally, enum tally_family family, const char *const *values,
                                      size_t max) {
    struct tally_list *list = &tally->lists[family];
    struct tally_entry *entry;
    tally_set_key(&tally->key, &tally_shapes[family], values);
    if (strbuf_error(&tally->key) < 0) {
        return NULL;
    }
    HASH_FIND(hh, list->index, tally->key.data, tally->key.len, entry);
    if (entry) {
        return &list->series[entry->place];
    }
    return list->n < max ? tally_add_series(list, &tally_shapes[family], &tally->key) : NULL;
}

static struct tally_series *tally_last_resort(struct tally_list *list, const struct tally_shape *shape) {
    if (list->last_resort == 0) {
        struct tally_series *series = &list->series[list->n++];
        *series = (struct tally_series){0};
        for (size_t i = 0; i < shape->n_labels; i++) {
            series->values[i] = TALLY_OTHER;
        }
        list->last_resort = list->n;
    }
    return &list->series[list->last_resort - 1];
}

// What no app of the file claims has a label between quotation marks.
static bool tally_is_stranger(enum tally_family family, const char *const *values) {
    return family == TALLY_OUTCOMES && values[TALLY_APP][0] == '"';
}

static struct tally_series *tally_find(struct tally *tally, enum tally_family family, const char **values) {
    const struct tally_shape *shape = &tally_shapes[family];
    struct tally_list *list = &tally->lists[family];
    struct tally_series *series = NULL;
    if (tally_is_stranger(family, values)) {
        size_t n = list->n;
        series = tally_get(tally, family, values, list->n_strangers < TALLY_MAX_STRANGERS ? TALLY_MAX_SERIES : 0);
        list->n_strangers += list->n > n;
        values[TALLY_APP] = TALLY_OTHER;
    }
    if (!series) {
        series = tally_get(tally, family, values, TALLY_MAX_SERIES);
    }
    if (!series) {
        for (size_t i = 0; i < shape->n_labels; i++) {
            values[i] = shape->labels[i].is_enum ? values[i] : TALLY_OTHER;
        }
        series = tally_get(tally, family, values, TALLY_MAX_SERIES + TALLY_MAX_FOLDED);
    }
    return series ? series : tally_last_resort(list, shape);
}

static void tally_add(struct tally *tally, enum tally_family family, const char **values, uint64_t n) {
    for (size_t i = 0; i < tally_shapes[family].n_labels; i++) {
        values[i] = values[i] ? values[i] : "";
    }
    tally_find(tally, family, values)->count += n;
}

// ---- time to death

// deaths[0] is the last resort, for what has no place of its own.
static struct histogram *tally_find_death(struct tally *tally, const char *target) {
    size_t i = 0;
    while (i < tally->n_deaths && strcmp(tally->deaths[i].target, target) != 0) {
        i++;
    }
    if (i == tally->n_deaths) {
        char *name = i <= TALLY_MAX_TARGETS ? strdup(target) : NULL;
        if (!name) {
            return &tally->deaths[0].took;
        }
        tally->deaths[i] = (struct tally_death){name, name, {.bounds = &histogram_of_deaths}};
        tally->n_deaths++;
    }
    return &tally->deaths[i].took;
}

// ---- events

static void tally_count_outcome(struct tally *tally, const struct event *event) {
    const char *values[] = {event->target, event->rule, event->app,
                            event->has_action ? action_to_string(event->action) : NULL,
                            outcome_to_string(event->outcome)};
    tally_add(tally, TALLY_OUTCOMES, values, 1);
    if (event->outcome == OUTCOME_GONE) {
        tally->n_gone++;
        if (event->took != USEC_INFINITY) {
            histogram_add(tally_find_death(tally, event->target ? event->target : ""), event->took);
        }
    }
}

static void tally_count_decision(struct tally *tally, const struct event *event) {
    const char *acts[] = {event->target, event->rule, event->has_action ? action_to_string(event->action) : NULL};
    const char *would[] = {event->target, event->rule, held_reason_to_string(HELD_OBSERVE)};
    if (event->observe) {
        tally_add(tally, TALLY_HELD_BACK, would, 1);
    } else {
        tally_add(tally, TALLY_DECISIONS, acts, 1);
    }
}

static void tally_count_held(struct tally *tally, const struct event *event) {
    const char *values[] = {event->target, event->rule, event->reason};
    bool has_count = event->count != EVENT_NUMBER_NONE && event->count > 0;
    tally_add(tally, TALLY_HELD_BACK, values, has_count ? (uint64_t)event->count : 1);
}

void tally_count(struct tally *tally, const struct event *event) {
    tally->n_events[event->kind]++;
    if (event->kind == EVENT_DECISION) {
        tally_count_decision(tally, event);
    } else if (event->kind == EVENT_OUTCOME) {
        tally_count_outcome(tally, event);
    } else if (event->kind == EVENT_HELD_BACK) {
        tally_count_held(tally, event);
    }
}

void tally_expect(struct tally *tally, const char *target, const char *rule, enum action action) {
    const char *acts[] = {target, rule, action_to_string(action)};
    const char *would[] = {target, rule, held_reason_to_string(HELD_OBSERVE)};
    tally_add(tally, TALLY_DECISIONS, acts, 0);
    tally_add(tally, TALLY_HELD_BACK, would, 0);
    (void)tally_find_death(tally, target);
}

void tally_count_notification(struct tally *tally, const char *output, const char *result, uint64_t n) {
    const char *values[] = {output, result};
    tally_add(tally, TALLY_NOTIFICATIONS, values, n);
}

const struct tally_series *tally_list(const struct tally *tally, enum tally_family family, size_t *ret_n) {
    *ret_n = tally->lists[family].n;
    return tally->lists[family].series;
}

const struct tally_death *tally_deaths(const struct tally *tally, size_t *ret_n) {
    size_t first = tally->deaths[0].took.count > 0 ? 0 : 1;
    *ret_n = tally->n_deaths - first;
    return tally->deaths + first;
}

uint64_t tally_n_events(const struct tally *tally, enum event_kind kind) {
    return tally->n_events[kind];
}

uint64_t tally_n_gone(const struct tally *tally) {
    return tally->n_gone;
}
