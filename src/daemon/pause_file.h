// SPDX-License-Identifier: PostgreSQL
#pragma once

// The file that remembers pauses over a restart: {"version": 1, "pauses": [{"scope", "name", "until"}]}, "until" in
// microseconds since 1970.

#include "pause.h"

#define PAUSE_FILE_MAX ((size_t)64 << 10) // bytes

// 0 with *ret_n items in `items` (room for PAUSE_MAX, `until` is not set; free their names), none when there is no
// file; -EBADMSG: it is damaged; another -errno: it cannot be read.
int pause_file_load(const char *path, struct pause *items, size_t *ret_n);
// Replaces it as a whole; without pauses it is removed. 0 or -errno.
int pause_file_save(const char *path, const struct pause *items, size_t n_items);
