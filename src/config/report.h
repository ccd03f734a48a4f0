// SPDX-License-Identifier: PostgreSQL
#pragma once

// How the modules of config word what they find: the path of a key, values from the file made safe to quote, and what
// the writer probably meant.

#include <stdbool.h>
#include <stddef.h>

#include "config/diag.h"
#include "util/macro.h"

// "timeouts.idle.after" as a chain on the stack, innermost first. NULL: the file as a whole.
struct path {
    const struct path *parent;
    const char *name; // raw: may hold anything
};

void report_error(struct diag_list *diags, struct location at, const struct path *path, const char *format, ...)
    PRINTF_LIKE(4, 5);
void report_warning(struct diag_list *diags, struct location at, const struct path *path, const char *format, ...)
    PRINTF_LIKE(4, 5);

// A value from the file between double quotes, escaped, and cut after QUOTED_MAX_CHARACTERS. By value, so that
// `report_quote(diags, text).text` can stand among the arguments of a message.
#define QUOTED_MAX_CHARACTERS 40
struct quoted {
    char text[512];
};
struct quoted report_quote(struct diag_list *diags, const char *text);
