// SPDX-License-Identifier: PostgreSQL
#pragma once

// What all targets of a process share.

#include "daemon/loop.h"
#include "daemon/resolver.h"
#include "daemon/sinks.h"

// The gate: at most so many connects are under way at once.
#define TARGET_MAX_CONNECTING 8

struct pauses;
struct target_context {
    struct loop *loop;
    struct resolver *resolver;
    struct sinks *sinks;
    const struct pauses *pauses; // NULL: nothing is ever paused
    unsigned n_connecting;
    struct dial *waiting; // for the gate, first come first
};
