// SPDX-License-Identifier: PostgreSQL
#pragma once

// Files, environment and command line to something that runs: the one way for every command. Also checks each conninfo
// with libpq's parser and reports mistakes at their position in the file.

#include <stdbool.h>

#include "config/config.h"
#include "pg/conninfo.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

struct settings_options {
    const char *file;     // NULL: PGVIGIL_CONFIG_FILE if it exists
    const char *conninfo; // --conninfo, or PGVIGIL_CONNINFO when no file is given and none exists; NULL: none
                          // PGVIGIL_ENFORCE, PGVIGIL_IDLE_TIMEOUT, PGVIGIL_IDLE_IN_TRANSACTION_TIMEOUT,
                          // PGVIGIL_PASSWORD_FILE, PGVIGIL_LOG_FORMAT, PGVIGIL_LISTEN and
                          // PGVIGIL_CONTROL_SOCKET go with it
    bool observe;         // --observe: nothing is enforced, whatever the file says
};

struct settings {
    char *file;         // what was read; NULL: none, built-in defaults
    const char *source; // as people know it: the file, "command line" or "PGVIGIL_CONNINFO"
    struct config *config;
    struct conninfo **conninfos; // one for each of config->targets
};

// 0; -EINVAL with the mistakes in diags; -ENOENT: neither file nor conninfo (a diagnostic says what to do); -ENOMEM.
int settings_load(const struct settings_options *options, struct diag_list *diags, struct settings **ret);
// The control socket of the daemon that these files configure, even if they are wrong by now in other ways: what is
// spoilt must not keep anybody from asking it. file: NULL: as settings_load() would choose. *ret: NULL: off. 0, with
// the mistakes in `doubts` when the files are so spoilt that it may be another one; -errno with `why`: a file that is
// named cannot be read; -ENOMEM.
int settings_find_socket(const char *file, char **ret, struct strbuf *doubts, struct strbuf *why);

struct settings *settings_free(struct settings *settings); // NULL-safe, returns NULL
DEFINE_CLEANUP(struct settings *, settings_free)
