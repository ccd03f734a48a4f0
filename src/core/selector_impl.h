// SPDX-License-Identifier: PostgreSQL
#pragma once

// What a selector is made of, shared by selector.c (whom it matches) and selector_within.c (whom it can match).

#include <stddef.h>

#include "core/pattern.h"
#include "core/selector.h"

// What one key accepts: patterns, networks for SELECTOR_CLIENT_ADDR, bits for SELECTOR_QUERY.
struct selector_list {
    bool present; // the key was named: when nothing stands in it, it matches nobody
    struct pattern **patterns;
    struct network *networks;
    size_t n; // patterns or networks
    uint32_t queries;
};

struct selector_clause {
    struct selector_list lists[N_SELECTOR_KEYS];
};

struct selector {
    struct selector_clause *clauses;
    size_t n_clauses;
};
