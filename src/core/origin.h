// SPDX-License-Identifier: PostgreSQL
#pragma once

// Who connects: one entry for each distinct (application_name, user, database, address, superuser), with what the
// policy says of it worked out once. Counted by the sessions that use it and freed with the last.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/policy.h"
#include "core/session.h"
#include "hash.h"
#include "util/intern.h"
#include "util/macro.h"

// The rules speak twice, see engine_rules.c: once to act, once as if every rule were enforced.
enum pass { PASS_ACTING, PASS_SHADOW, N_PASSES };

// Whom `keep` counts together: the sessions of one app or, where no app claims them, of one application_name.
struct group {
    struct {
        int64_t app;      // index in the policy; -1: none
        const char *name; // interned application_name when there is no app, else NULL
    } key;
    char *label; // printable: the app's name, or the quoted application_name
    size_t n_origins;
    int64_t n_living[N_PASSES]; // sessions that live on, as each pass counts them down
    int64_t n_counted;          // sessions, when an alarm tells who holds the slots
    UT_hash_handle hh;
};

struct origin_key {
    const char *application_name; // interned, all three
    const char *user;
    const char *database;
    struct address client;
    bool superuser;
};

struct origin {
    struct origin_key key; // padding is zero: it is hashed as bytes
    size_t n_sessions;
    struct group *group;
    bool own;            // pgvigil itself: our role with our name
    bool protected_name; // a built-in name or protect.match
    bool may_protect;    // protect.match asks for the query and may cover it: session by session
    uint64_t *covers;    // bit i: the match of rule i covers it; where that asks for the query, it may
    uint64_t n_arrived;  // sessions that came, ever
    size_t n_holds;      // of those who watch that number
    int64_t n_living[N_PASSES];
    size_t slot;                 // its group in the quota at hand
    struct alarm_origin *alarms; // what the alarms know of it, one block; NULL: not worked out for this policy
    UT_hash_handle hh;
};

// Rules are the policy's timeouts and then its quotas.
struct origin_table {
    const char *target;    // borrowed
    struct policy *policy; // reference; NULL before the first
    uint64_t *named;       // N_SESSION_STATES rows of n_words: bit i of a state's row: timeout i names that state
    size_t n_words;        // of such a row, and of an origin's covers
    uint64_t *asks_query;  // bit i: rule i asks for the query: covers is not the whole answer
    char *own_user;        // NULL: not known yet
    struct pattern *builtin[PROTECT_N_BUILTIN]; // protect_builtin_names, compiled
    struct interner *interner;
    struct origin *origins;
    struct group *groups;
};

int origin_table_init(struct origin_table *table, const char *target);
void origin_table_deinit(struct origin_table *table); // its sessions must have released theirs

// Works everything out again. On -ENOMEM nothing has changed.
int origin_table_set_policy(struct origin_table *table, struct policy *policy);
int origin_table_set_own_user(struct origin_table *table, const char *user);

// The row's origin, with one more session. 0 or -ENOMEM. Needs a policy.
int origin_acquire(struct origin_table *table, const struct session_row *row, struct origin **ret);
void origin_release(struct origin_table *table, struct origin *origin); // NULL-safe
// It stays while held, without sessions too: its arrivals are counted on.
void origin_hold(struct origin *origin);
void origin_unhold(struct origin_table *table, struct origin *origin); // NULL-safe
bool origin_is_of(const struct origin *origin, const struct session_row *row);

#define ORIGIN_NO_RULE SIZE_MAX

// The first timeout from `from` on that covers the origin and names the state; ORIGIN_NO_RULE: none is left. Most rules
// do not speak of most sessions, and every session is asked in every scan.
static inline size_t origin_next_rule(const struct origin_table *table, const struct origin *origin,
                                      enum session_state state, size_t from) {
    uint64_t mask = ~UINT64_C(0) << (from % 64);
    for (size_t word = from / 64; word < table->n_words; word++) {
        uint64_t bits = origin->covers[word] & table->named[(size_t)state * table->n_words + word] & mask;
        if (bits) {
            return word * 64 + bit_lowest(bits);
        }
        mask = ~UINT64_C(0);
    }
    return ORIGIN_NO_RULE;
}

static inline bool origin_is_covered(const struct origin *origin, size_t rule) {
    return (origin->covers[rule / 64] >> (rule % 64)) & 1;
}

static inline bool origin_asks_query(const struct origin_table *table, size_t rule) {
    return (table->asks_query[rule / 64] >> (rule % 64)) & 1;
}

// Whether the rule covers a session of this origin whose query matches these patterns: 1, 0, or -ENOMEM: not known.
int origin_covers(const struct origin_table *table, const struct origin *origin, size_t rule, uint32_t query_matches);
// Whether protect.match covers it. What cannot be told is protected.
bool origin_protects(const struct origin_table *table, const struct origin *origin, uint32_t query_matches);
