// SPDX-License-Identifier: PostgreSQL
#pragma once

// Text as a configuration file, and what loading it found.

#include <errno.h>
#include <string.h>

#include "config/config.h"
#include "support/check.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

#define TARGETS "targets: { db: { conninfo: host=db } }\n"

static char *big_value; // what ${BIG} is

static inline const char *lookup(const char *name, void *userdata) {
    (void)userdata;
    if (strcmp(name, "BIG") == 0) {
        return big_value;
    }
    return strcmp(name, "USER") == 0 ? "pgvigil" : NULL;
}

// What the last load found, rendered.
static struct strbuf found;
static struct diag_list diags;

static inline struct config *load_bytes(const char *text, size_t len, int expected) {
    struct config *config = NULL;
    diag_list_deinit(&diags);
    strbuf_clear(&found);
    int r = config_load_buffer("x.yaml", text, len, lookup, NULL, &diags, &config);
    diag_list_render(&diags, &found);
    check_context("%s", strbuf_str(&found));
    CHECK_EQ(r, expected);
    CHECK_EQ(config != NULL, expected == 0);
    return config;
}

static inline struct config *load(const char *text) {
    return load_bytes(text, strlen(text), 0);
}

static inline void refuse(const char *text, const char *why) {
    (void)load_bytes(text, strlen(text), -EINVAL);
    CHECK_CONTAINS(strbuf_str(&found), why);
}

static inline void clean_up(void) {
    diag_list_deinit(&diags);
    strbuf_deinit(&found);
}
