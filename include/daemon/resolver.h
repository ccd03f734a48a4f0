// SPDX-License-Identifier: PostgreSQL
#pragma once

// Host names to addresses off the loop (getaddrinfo on threads): a name server that never answers delays nobody.

#include <stddef.h>

#include "daemon/loop.h"
#include "util/usec.h"

struct resolver;
struct resolver_query;

struct resolver *resolver_new(struct loop *loop);
struct resolver *
resolver_free(struct resolver *resolver); // after its queries; look-ups still under way are orphaned safely

struct resolver_answer {
    const char *const *addresses; // numeric
    size_t n_addresses;           // 0: failed
    const char *error;            // getaddrinfo's words, or "timed out"; NULL when there are addresses
};

// Answers once on the loop, at the deadline at the latest. NULL: out of memory. `name` is copied.
struct resolver_query *resolver_query_new(struct resolver *resolver, const char *name, usec_t deadline,
                                          void (*fn)(void *userdata, const struct resolver_answer *answer, usec_t now),
                                          void *userdata);
struct resolver_query *
resolver_query_free(struct resolver_query *query); // NULL-safe; also cancels: fn is not called any more
