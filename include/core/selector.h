// SPDX-License-Identifier: PostgreSQL
#pragma once

// Who a rule speaks of: `match` and `ignore`. A selector is an any-of list of clauses; a clause holds keys that must
// all match; a key holds an any-of list of strings. A selector without clauses, and a clause without keys, match
// nobody: an empty filter never widens.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/address.h"

enum selector_key {
    SELECTOR_APP, // names of apps; a session that no app claims has none, and never matches
    SELECTOR_USER,
    SELECTOR_DATABASE,
    SELECTOR_APPLICATION_NAME,
    SELECTOR_CLIENT_ADDR, // a network, see network_parse()
    SELECTOR_TARGET,
    SELECTOR_SUPERUSER, // "true" or "false"
    SELECTOR_QUERY,     // added by selector_add_query(), not by selector_add()
    N_SELECTOR_KEYS,
};

const char *selector_key_to_string(enum selector_key key); // as the configuration writes it

struct selector_subject {
    const char *app; // NULL: no app claims it
    const char *user;
    const char *database;
    const char *application_name;
    struct address client;
    const char *target;
    bool superuser;
    uint32_t query_matches; // bits of the policy's `queries` that match the session's current or last statement
};

#define SELECTOR_MAX_QUERIES 32 // bits of query_matches

struct selector;

struct selector *selector_new(void);                       // NULL: out of memory
struct selector *selector_free(struct selector *selector); // NULL-safe, returns NULL

// Starts the next clause; selector_add() adds to the newest one. 0 or -ENOMEM.
int selector_add_clause(struct selector *selector);
// 0, -ENOMEM, or -EINVAL with *ret_why (free it): a broken pattern or network.
int selector_add(struct selector *selector, enum selector_key key, const char *text, char **ret_why);

// 1, 0 (a NULL selector: nobody), or -ENOMEM: not known. A caller that takes "not known" for either answer may end a
// session that is protected.
int selector_matches(const struct selector *selector, const struct selector_subject *subject);

size_t selector_n_strings(const struct selector *selector); // of all clauses, without queries; NULL: 0

// Adds a query of the policy, by its bit, to the newest clause. 0 or -ENOMEM.
int selector_add_query(struct selector *selector, unsigned bit);
// It depends on the statement, not on who connects alone.
bool selector_asks_query(const struct selector *selector);
uint32_t selector_queries(const struct selector *selector); // bits of those that it asks for
// Some clause names this app: 1, 0, or -ENOMEM: not known.
int selector_names_app(const struct selector *selector, const char *app);
// Written alike: the same clauses with the same strings in the same order. queries[i] has the bit, in b's policy, of
// what is bit i in a's; 0: b's has none.
bool selector_is_equal(const struct selector *a, const struct selector *b,
                       const uint32_t queries[static SELECTOR_MAX_QUERIES]);
