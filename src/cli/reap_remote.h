// SPDX-License-Identifier: PostgreSQL
#pragma once

// Reap by a running daemon.

#include "core/event.h"
#include "daemon/oneshot.h"
#include "daemon/reap_rules.h"
#include "daemon/settings.h"

enum reap_remote_result {
    REAP_REMOTE_DONE,
    REAP_REMOTE_FAILED, // told on stderr; it may have been done in part
    REAP_REMOTE_CANNOT, // told as a warning; nothing was done
};

// `fn` gets decisions and outcomes, with their messages; of the events kind, target, rule, action, observe, outcome,
// session, app and age are set. *ret: verdicts with what was held back.
enum reap_remote_result reap_remote(const struct settings *settings, const char *target, const struct reap_spec *spec,
                                    void (*fn)(void *userdata, const struct event *event, const char *message),
                                    void *userdata, struct oneshot_result *ret);
