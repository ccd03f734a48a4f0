// SPDX-License-Identifier: PostgreSQL
#pragma once

// The daemon: owns the loop, the sinks, the resolver and the targets, and the order in which they start and stop.

#include "daemon/settings.h"

struct app_options {
    int log_fd;           // where text and JSON lines go; the caller's, not closed
    const char **ret_why; // NULL: not wanted. Set to a static text when app_run() fails
};

// Runs until SIGTERM or SIGINT. 0 after a clean stop; -errno when the daemon could not be set up or its loop broke:
// nothing has been logged then, *options->ret_why says what failed.
int app_run(const struct settings *settings, const struct app_options *options);
