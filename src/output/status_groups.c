// SPDX-License-Identifier: PostgreSQL
#include "status_groups.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/macro.h"

#define STATUS_OTHER "other"

static void status_add_group(struct status_app *app, const struct summary_group *group) {
    app->n_sessions += group->n_sessions;
    switch (group->state) {
    case SESSION_STATE_ACTIVE:
    case SESSION_STATE_FASTPATH:
        app->n_active += group->n_sessions;
        break;
    case SESSION_STATE_IDLE:
        app->n_idle += group->n_sessions;
        app->longest_idle =
            app->longest_idle == USEC_INFINITY ? group->longest : MAX(app->longest_idle, group->longest);
        break;
    case SESSION_STATE_IDLE_IN_TRANSACTION:
    case SESSION_STATE_IDLE_IN_TRANSACTION_ABORTED:
        app->n_idle_in_transaction += group->n_sessions;
        break;
    case SESSION_STATE_NONE:
    case SESSION_STATE_DISABLED:
    case N_SESSION_STATES_:
        break;
    }
}

static int status_compare_labels(const void *pa, const void *pb) {
    const struct summary_group *a = *(const struct summary_group *const *)pa;
    const struct summary_group *b = *(const struct summary_group *const *)pb;
    int c = strcmp(a->app, b->app);
    return c ? c : a->is_app - b->is_app;
}

static int status_compare_apps(const void *pa, const void *pb) {
    const struct status_app *a = pa, *b = pb;
    if (a->n_sessions != b->n_sessions) {
        return a->n_sessions > b->n_sessions ? -1 : 1;
    }
    int c = strcmp(a->name, b->name);
    return c ? c : a->is_app - b->is_app;
}

static void status_merge_apps(struct status_app *into, const struct status_app *app) {
    into->n_sessions += app->n_sessions;
    into->n_active += app->n_active;
    into->n_idle += app->n_idle;
    into->n_idle_in_transaction += app->n_idle_in_transaction;
    if (app->longest_idle != USEC_INFINITY) {
        into->longest_idle =
            into->longest_idle == USEC_INFINITY ? app->longest_idle : MAX(into->longest_idle, app->longest_idle);
    }
}

int status_count_apps(const struct summary *summary, size_t max, struct status_app **ret, size_t *ret_n) {
    const struct summary_group **sorted = calloc(summary->n_groups + 1, sizeof(struct summary_group *));
    struct status_app *apps = calloc(summary->n_groups + 1, sizeof(*apps));
    size_t n = 0;
    if (!sorted || !apps) {
        free(sorted);
        free(apps);
        return -ENOMEM;
    }
    for (size_t i = 0; i < summary->n_groups; i++) {
        sorted[i] = &summary->groups[i];
    }
    if (summary->n_groups > 1) {
        qsort(sorted, summary->n_groups, sizeof(struct summary_group *), status_compare_labels);
    }
    for (size_t i = 0; i < summary->n_groups; i++) {
        if (i == 0 || status_compare_labels(&sorted[i - 1], &sorted[i]) != 0) {
            apps[n++] =
                (struct status_app){.name = sorted[i]->app, .is_app = sorted[i]->is_app, .longest_idle = USEC_INFINITY};
        }
        status_add_group(&apps[n - 1], sorted[i]);
    }
    free(sorted);
    if (n > 1) {
        qsort(apps, n, sizeof(*apps), status_compare_apps);
    }
    if (n > max) {
        for (size_t i = max + 1; i < n; i++) {
            status_merge_apps(&apps[max], &apps[i]);
        }
        apps[max].name = STATUS_OTHER;
        apps[max].is_app = false;
        n = max + 1;
    }
    *ret = apps;
    *ret_n = n;
    return 0;
}

int status_fold_groups(const struct summary *summary, size_t max, struct summary_group **ret, size_t *ret_n) {
    struct summary_group other[N_SESSION_STATES_] = {0};
    size_t n = MIN(summary->n_groups, max);
    struct summary_group *groups = calloc(n + N_SESSION_STATES, sizeof(*groups));
    if (!groups) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        groups[i] = summary->groups[i];
    }
    for (size_t i = n; i < summary->n_groups; i++) {
        const struct summary_group *group = &summary->groups[i];
        other[group->state].n_sessions += group->n_sessions;
        other[group->state].longest = MAX(other[group->state].longest, group->longest);
    }
    for (unsigned state = 0; state < N_SESSION_STATES; state++) {
        if (other[state].n_sessions > 0) {
            groups[n] = other[state];
            groups[n].app = groups[n].user = groups[n].database = STATUS_OTHER;
            groups[n++].state = (enum session_state)state;
        }
    }
    *ret = groups;
    *ret_n = n;
    return 0;
}
