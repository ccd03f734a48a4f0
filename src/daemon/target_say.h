// SPDX-License-Identifier: PostgreSQL
#pragma once

// What a target says of itself: that its server is up or down, and what the self-check found.

#include <stddef.h>

#include "core/event.h"
#include "daemon/sinks.h"
#include "schedule.h"
#include "target_kind.h"

// One failure, and what an operator may do about it. count: repeats that it stands for, or EVENT_NUMBER_NONE.
void target_say_down(struct sinks *sinks, const char *target, enum outage_stage stage, const struct pg_error *error,
                     int64_t count);

// The first complete poll of a connection, or after failed ones. `outage` is the one that ends, if any.
void target_say_up(struct sinks *sinks, const char *target, const struct server *server, const struct scan *scan,
                   const struct outage *outage, usec_t now);

// The findings of the last self-check, kept to be compared with the next one's: a finding is told when it is new or has
// changed, not at each reconnect.
struct findings {
    struct event *events; // strings are owned, but for the target's name
    size_t n_events;
};
void findings_deinit(struct findings *findings);
// 0 or -ENOMEM: then nothing has changed and nothing was told.
int findings_replace(struct findings *findings, struct sinks *sinks, const char *target, const struct server *server);
