// SPDX-License-Identifier: PostgreSQL
#pragma once

// Files, environment and command line to something that runs: the one way for every command. Also checks each conninfo
// with libpq's parser and reports mistakes at their position in the file.

#include <stdbool.h>

#include "config/config.h"
#include "pg/conninfo.h"
#include "util/cleanup.h"

struct settings_options {
    const char *file;     // NULL: PGVIGIL_CONFIG_FILE if it exists
    const char *conninfo; // --conninfo, or PGVIGIL_CONNINFO when no file is given and none exists; NULL: none
                          // PGVIGIL_ENFORCE, PGVIGIL_IDLE_TIMEOUT, PGVIGIL_IDLE_IN_TRANSACTION_TIMEOUT,
                          // PGVIGIL_LISTEN and PGVIGIL_CONTROL_SOCKET go with it
    bool observe;         // --observe: nothing is enforced, whatever the file says
};

struct settings {
    char *file; // what was read; NULL: none, built-in defaults
    struct config *config;
    struct conninfo **conninfos; // one for each of config->targets
};

// 0; -EINVAL with the mistakes in diags; -ENOENT: neither file nor conninfo (a diagnostic says what to do); -ENOMEM.
int settings_load(const struct settings_options *options, struct diag_list *diags, struct settings **ret);
struct settings *settings_free(struct settings *settings); // NULL-safe, returns NULL
DEFINE_CLEANUP(struct settings *, settings_free)
