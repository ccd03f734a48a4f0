// SPDX-License-Identifier: PostgreSQL
#pragma once

// The file that remembers pauses over a restart: {"version": 1, "pauses": [{"scope", "name", "until"}]}, "until" in
// microseconds since 1970.

#include <stddef.h>

#include "util/usec.h"

#define PAUSE_MAX 100 // at once

enum pause_scope { PAUSE_ALL, PAUSE_TARGET, PAUSE_RULE, N_PAUSE_SCOPES };

struct pause {
    enum pause_scope scope;
    char *name;            // "" with PAUSE_ALL; owned
    usec_t until;          // monotonic
    usec_t until_realtime; // the same as it was by the clock on the wall when it began
};

const char *pause_scope_to_string(enum pause_scope scope); // "all", "target", "rule"

#define PAUSE_FILE_MAX ((size_t)64 << 10) // bytes

// 0 with *ret_n items in `items` (room for PAUSE_MAX, `until` is not set; free their names), none when there is no
// file; -EBADMSG: it is damaged; another -errno: it cannot be read.
int pause_file_load(const char *path, struct pause *items, size_t *ret_n);
// Replaces it as a whole; without pauses it is removed. 0 or -errno.
int pause_file_save(const char *path, const struct pause *items, size_t n_items);
