// SPDX-License-Identifier: PostgreSQL
#include "core/selector.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "selector_impl.h"
#include "util/macro.h"

static const char *const selector_key_names[] = {
    [SELECTOR_APP] = "app",
    [SELECTOR_USER] = "user",
    [SELECTOR_DATABASE] = "database",
    [SELECTOR_APPLICATION_NAME] = "application_name",
    [SELECTOR_CLIENT_ADDR] = "client_addr",
    [SELECTOR_TARGET] = "target",
    [SELECTOR_SUPERUSER] = "superuser",
    [SELECTOR_QUERY] = "query",
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
    assert(selector->n_clauses > 0 && key != SELECTOR_QUERY);
    struct selector_list *list = &selector->clauses[selector->n_clauses - 1].lists[key];
    list->present = true;
    if (key == SELECTOR_SUPERUSER && strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
        *ret_why = strdup("not a boolean (write true or false)");
        return *ret_why ? -EINVAL : -ENOMEM;
    }
    return key == SELECTOR_CLIENT_ADDR ? selector_add_network(list, text, ret_why)
                                       : selector_add_pattern(list, text, ret_why);
}

int selector_add_query(struct selector *selector, unsigned bit) {
    assert(selector->n_clauses > 0 && bit < SELECTOR_MAX_QUERIES);
    struct selector_list *list = &selector->clauses[selector->n_clauses - 1].lists[SELECTOR_QUERY];
    list->present = true;
    list->queries |= UINT32_C(1) << bit;
    return 0;
}

size_t selector_n_strings(const struct selector *selector) {
    size_t n = 0;
    for (size_t i = 0; selector && i < selector->n_clauses; i++) {
        for (unsigned key = 0; key < N_SELECTOR_KEYS; key++) {
            n += selector->clauses[i].lists[key].n;
        }
    }
    return n;
}

bool selector_asks_query(const struct selector *selector) {
    for (size_t i = 0; selector && i < selector->n_clauses; i++) {
        if (selector->clauses[i].lists[SELECTOR_QUERY].present) {
            return true;
        }
    }
    return false;
}

uint32_t selector_queries(const struct selector *selector) {
    uint32_t queries = 0;
    for (size_t i = 0; selector && i < selector->n_clauses; i++) {
        queries |= selector->clauses[i].lists[SELECTOR_QUERY].queries;
    }
    return queries;
}

int selector_names_app(const struct selector *selector, const char *app) {
    for (size_t i = 0; selector && i < selector->n_clauses; i++) {
        const struct selector_list *list = &selector->clauses[i].lists[SELECTOR_APP];
        for (size_t j = 0; j < list->n; j++) {
            int r = pattern_matches(list->patterns[j], app);
            if (r != 0) {
                return r;
            }
        }
    }
    return 0;
}

static bool selector_network_is_equal(const struct network *a, const struct network *b) {
    return a->prefix == b->prefix && address_is_equal(&a->address, &b->address);
}

static bool selector_list_is_equal(const struct selector_list *a, const struct selector_list *b,
                                   const uint32_t *queries) {
    if (a->present != b->present || a->n != b->n) {
        return false;
    }
    for (size_t i = 0; i < a->n; i++) {
        if (a->patterns ? strcmp(pattern_text(a->patterns[i]), pattern_text(b->patterns[i])) != 0
                        : !selector_network_is_equal(&a->networks[i], &b->networks[i])) {
            return false;
        }
    }
    uint32_t translated = 0;
    for (unsigned bit = 0; bit < SELECTOR_MAX_QUERIES; bit++) {
        if (a->queries & UINT32_C(1) << bit) {
            if (queries[bit] == 0) {
                return false;
            }
            translated |= queries[bit];
        }
    }
    return translated == b->queries;
}

bool selector_is_equal(const struct selector *a, const struct selector *b,
                       const uint32_t queries[static SELECTOR_MAX_QUERIES]) {
    if (!a || !b) {
        return a == b;
    }
    if (a->n_clauses != b->n_clauses) {
        return false;
    }
    for (size_t i = 0; i < a->n_clauses; i++) {
        for (unsigned key = 0; key < N_SELECTOR_KEYS; key++) {
            if (!selector_list_is_equal(&a->clauses[i].lists[key], &b->clauses[i].lists[key], queries)) {
                return false;
            }
        }
    }
    return true;
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
    case SELECTOR_SUPERUSER:
        return subject->superuser ? "true" : "false";
    case SELECTOR_CLIENT_ADDR:
    case SELECTOR_QUERY:
    case N_SELECTOR_KEYS:
        break;
    }
    return NULL;
}

static int selector_list_matches(const struct selector_list *list, enum selector_key key,
                                 const struct selector_subject *subject) {
    if (key == SELECTOR_QUERY) {
        return (list->queries & subject->query_matches) != 0;
    }
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
