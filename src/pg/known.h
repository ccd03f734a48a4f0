// SPDX-License-Identifier: PostgreSQL
#pragma once

// What the last poll of a connection brought, so that the next one need not be sent again what has not changed.

#include <stddef.h>
#include <stdint.h>

#include "core/session.h"
#include "pg/job.h"
#include "util/cleanup.h"

// Rows in the order of the server's slots, with their names; immutable once the poll is complete. Shared by its job and
// by the jobs that build on it.
struct session_list {
    unsigned n_refs;
    struct session_row *rows;
    size_t n_rows;
    char *names; // the rows' application names; neighbours share theirs
};

struct session_list *session_list_new(size_t max_rows); // NULL: out of memory
struct session_list *session_list_ref(struct session_list *list);
struct session_list *session_list_unref(struct session_list *list); // NULL-safe, returns NULL
DEFINE_CLEANUP(struct session_list *, session_list_unref)
// Copies the names, wherever they stand, into the list. 0 or -ENOMEM.
int session_list_own_names(struct session_list *list);
// The row of that pid at or after *at, which moves behind it; NULL: there is none, and *at stays. A session keeps its
// slot as long as it lives, so that one walk finds all that are still there.
const struct session_row *session_list_next(const struct session_list *list, size_t *at, int64_t pid);

struct known {
    struct session_list *list; // NULL: the next poll reads everything
    int64_t mark;              // the server's clock before the rows were read
    unsigned n_polls;          // since everything was read
};

// A complete poll: `all` if it read everything.
void known_note(struct known *known, struct session_list *list, int64_t server_now, bool all);
