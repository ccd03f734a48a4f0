// SPDX-License-Identifier: PostgreSQL
#include "core/selector.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "core/pattern.h"
#include "util/macro.h"

// What one key accepts: patterns, or networks for SELECTOR_CLIENT_ADDR.
struct selector_list {
    bool present; // the key was named: when nothing stands in it, it matches nobody
    struct pattern **patterns;
    struct network *networks;
    size_t n;
};

struct selector_clause {
    struct selector_list lists[N_SELECTOR_KEYS];
};

struct selector {
    struct selector_clause *clauses;
    size_t n_clauses;
};

static const char *const selector_key_names[] = {
    [SELECTOR_APP] = "app",
    [SELECTOR_USER] = "user",
    [SELECTOR_DATABASE] = "database",
    [SELECTOR_APPLICATION_NAME] = "application_name",
    [SELECTOR_CLIENT_ADDR] = "client_addr",
    [SELECTOR_TARGET] = "target",
};
static_assert(ARRAY_SIZE(selector_key_names) == N_SELECTOR_KEYS, "one name for each key");

const char *selector_key_to_string(enum selector_key key) {
    return selector_key_names[key];
}

struct selector *selector_new(void) {
    return calloc(1, sizeof(struct selector));
}

static void selector_list_deinit(struct selector_list *list) {
    if (list->patterns) {
        for (size_t i = 0; i < list->n; i++) {
            list->patterns[i] = pattern_free(list->patterns[i]);
        }
    }
    free(list->patterns);
    free(list->networks);
}

struct selector *selector_free(struct selector *selector) {
    if (selector) {
        for (size_t i = 0; i < selector->n_clauses; i++) {
            for (size_t key = 0; key < N_SELECTOR_KEYS; key++) {
                selector_list_deinit(&selector->clauses[i].lists[key]);
            }
        }
        free(selector->clauses);
        free(selector);
    }
    return NULL;
}

int selector_add_clause(struct selector *selector) {
    struct selector_clause *clauses = reallocarray(selector->clauses, selector->n_clauses + 1, sizeof(*clauses));
    if (!clauses) {
        return -ENOMEM;
    }
    clauses[selector->n_clauses] = (struct selector_clause){0};
    selector->clauses = clauses;
    selector->n_clauses++;
    return 0;
}

static int selector_add_network(struct selector_list *list, const char *text, char **ret_why) {
    struct network network;
    const char *why;
    if (!network_parse(text, &network, &why)) {
        char *copy = strdup(why);
        if (!copy) {
            return -ENOMEM;
        }
        *ret_why = copy;
        return -EINVAL;
    }
    struct network *networks = reallocarray(list->networks, list->n + 1, sizeof(*networks));
    if (!networks) {
        return -ENOMEM;
    }
    networks[list->n++] = network;
    list->networks = networks;
    return 0;
}

static int selector_add_pattern(struct selector_list *list, const char *text, char **ret_why) {
    struct pattern **patterns = reallocarray(list->patterns, list->n + 1, sizeof(struct pattern *));
    if (!patterns) {
        return -ENOMEM;
    }
    list->patterns = patterns;
    int r = pattern_new(text, &patterns[list->n], ret_why);
    if (r < 0) {
        return r;
    }
    list->n++;
    return 0;
}

int selector_add(struct selector *selector, enum selector_key key, const char *text, char **ret_why) {
    assert(selector->n_clauses > 0);
    struct selector_list *list = &selector->clauses[selector->n_clauses - 1].lists[key];
    list->present = true;
    return key == SELECTOR_CLIENT_ADDR ? selector_add_network(list, text, ret_why)
                                       : selector_add_pattern(list, text, ret_why);
}

// NULL: the session has none.
static const char *selector_subject_string(const struct selector_subject *subject, enum selector_key key) {
    switch (key) {
    case SELECTOR_APP:
        return subject->app;
    case SELECTOR_USER:
        return subject->user;
    case SELECTOR_DATABASE:
        return subject->database;
    case SELECTOR_APPLICATION_NAME:
        return subject->application_name;
    case SELECTOR_TARGET:
        return subject->target;
    case SELECTOR_CLIENT_ADDR:
    case N_SELECTOR_KEYS:
        break;
    }
    return NULL;
}

static int selector_list_matches(const struct selector_list *list, enum selector_key key,
                                 const struct selector_subject *subject) {
    if (key == SELECTOR_CLIENT_ADDR) {
        for (size_t i = 0; i < list->n; i++) {
            if (network_contains(&list->networks[i], &subject->client)) {
                return 1;
            }
        }
        return 0;
    }
    const char *s = selector_subject_string(subject, key);
    for (size_t i = 0; s && i < list->n; i++) {
        int r = pattern_matches(list->patterns[i], s);
        if (r != 0) {
            return r;
        }
    }
    return 0;
}

static int selector_clause_matches(const struct selector_clause *clause, const struct selector_subject *subject) {
    bool named = false;
    for (unsigned key = 0; key < N_SELECTOR_KEYS; key++) {
        const struct selector_list *list = &clause->lists[key];
        if (!list->present) {
            continue;
        }
        named = true;
        int r = selector_list_matches(list, (enum selector_key)key, subject);
        if (r <= 0) {
            return r;
        }
    }
    return named; // a clause without keys: nobody
}

int selector_matches(const struct selector *selector, const struct selector_subject *subject) {
    for (size_t i = 0; selector && i < selector->n_clauses; i++) {
        int r = selector_clause_matches(&selector->clauses[i], subject);
        if (r != 0) {
            return r;
        }
    }
    return 0;
}
