// SPDX-License-Identifier: PostgreSQL
#include "status_totals.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/macro.h"

static int status_totals_order(const struct tally_series *series, const char *target, const char *rule) {
    int c = strcmp(series->values[0], target);
    return c ? c : strcmp(series->values[1], rule);
}

static int status_totals_compare(const void *pa, const void *pb) {
    const struct tally_series *a = *(const struct tally_series *const *)pa;
    const struct tally_series *b = *(const struct tally_series *const *)pb;
    int c = status_totals_order(a, b->values[0], b->values[1]);
    return c ? c : (a > b) - (a < b); // they are of one array
}

int status_totals_init(struct status_totals *totals, const struct tally *tally) {
    static const enum tally_family families[] = {TALLY_DECISIONS, TALLY_OUTCOMES, TALLY_HELD_BACK};
    *totals = (struct status_totals){0};
    for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
        enum tally_family family = families[i];
        size_t n;
        const struct tally_series *series = tally_list(tally, family, &n);
        const struct tally_series **items = calloc(n + 1, sizeof(*items));
        if (!items) {
            status_totals_deinit(totals);
            return -ENOMEM;
        }
        totals->items[family] = items;
        for (size_t j = 0; j < n; j++) {
            if (series[j].count > 0) {
                items[totals->n_items[family]++] = &series[j];
            }
        }
        qsort(items, totals->n_items[family], sizeof(*items), status_totals_compare);
    }
    return 0;
}

void status_totals_deinit(struct status_totals *totals) {
    for (unsigned i = 0; i < N_TALLY_FAMILIES; i++) {
        free(totals->items[i]);
    }
    *totals = (struct status_totals){0};
}

const struct tally_series *const *status_totals_of(const struct status_totals *totals, enum tally_family family,
                                                   const char *target, const char *rule, size_t *ret_n) {
    const struct tally_series *const *items = totals->items[family];
    size_t first = 0, end = totals->n_items[family], n = 0;
    while (first < end) {
        size_t middle = first + (end - first) / 2;
        if (status_totals_order(items[middle], target, rule) < 0) {
            first = middle + 1;
        } else {
            end = middle;
        }
    }
    while (first + n < totals->n_items[family] && status_totals_order(items[first + n], target, rule) == 0) {
        n++;
    }
    *ret_n = n;
    return items + first;
}
