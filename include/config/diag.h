// SPDX-License-Identifier: PostgreSQL
#pragma once

// Findings about configuration, as compilers print theirs. Collected, never printed here.

#include <stdbool.h>
#include <stddef.h>

#include "util/macro.h"

struct strbuf;

struct location {
    const char *file; // borrowed; lives as long as the diagnostics and the configuration made with them
    unsigned line;    // 1-based; 0: the file as a whole
    unsigned column;  // 1-based, in characters
};

enum diag_severity { DIAG_ERROR, DIAG_WARNING };

struct diag {
    enum diag_severity severity;
    struct location at;
    char *path; // "timeouts.idle.after"; "" for the file as a whole
    char *text; // what is wrong (what to write instead); printable text only
};

#define DIAG_MAX 100 // more are counted, not kept

struct diag_list {
    struct diag *items; // sorted by diag_list_sort(): in order of files as they were read, then by position
    size_t n_items;
    size_t n_errors; // all, also those not kept
    size_t n_warnings;
    char **files; // owned file names that locations point to
    size_t n_files;
    bool failed; // out of memory
};

void diag_list_deinit(struct diag_list *list); // also for CLEANUP()

// The list's own copy of a file name, for locations. NULL: out of memory.
const char *diag_list_add_file(struct diag_list *list, const char *name);

// Text from the file that enters `format` must have gone through escape_text(). Out of memory is remembered in
// `failed`.
void diag_add(struct diag_list *list, enum diag_severity severity, struct location at, const char *path,
              const char *format, ...) PRINTF_LIKE(5, 6);
void diag_list_sort(struct diag_list *list);

// "FILE:LINE:COLUMN: error: PATH: what" and a newline, each; then how many more there were.
void diag_list_render(const struct diag_list *list, struct strbuf *sb);
