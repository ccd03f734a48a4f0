// SPDX-License-Identifier: PostgreSQL
#pragma once

// The daemon: owns the loop, the sinks, the resolver and the targets, and the order in which they start and stop.

#include "daemon/settings.h"
#include "util/strbuf.h"

struct app_options {
    struct settings_options source; // what the settings were loaded with, for SIGHUP; strings are borrowed
    int log_fd;                     // where text and JSON lines go; the caller's, not closed
    struct strbuf *why;             // appended to when app_run() fails: a sentence; NULL: not wanted
};

// Runs until SIGTERM or SIGINT; SIGHUP reads the file again. Takes the settings over, and the diagnostics that they
// point into. 0 after a clean stop; -errno when the daemon could not be set up or its loop broke: nothing has been
// logged then, *options->why says what failed.
int app_run(struct settings *settings, struct diag_list *diags, const struct app_options *options);
