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

const char *target_hint(enum outage_stage stage, const struct pg_error *error); // NULL: none

// Among several watchdogs of one server.
enum standing {
    STANDING_NONE, // we do not ask to act
    STANDING_LEADS,
    STANDING_FOLLOWS, // another one acts
    STANDING_UNKNOWN, // our lock is held under another role; we act
    STANDING_FAILED,  // it could not be asked
};
#define TARGET_LEAD_HINT                                                                                               \
    "SELECT a.* FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND "                \
    "l.classid = 1885828713 AND l.objid = 1734962225"
// pid of the holder; 0: not known. detail: of the last two; else NULL.
void target_say_standing(struct sinks *sinks, const char *target, enum standing before, enum standing now, int64_t pid,
                         const char *detail);
void target_describe_holder(char *text, size_t size, int64_t pid); // of another role

// The findings of the last self-check, kept to be compared with the next one's: a finding is told when it is new or has
// changed, not at each reconnect.
struct findings {
    struct event *events; // strings are owned, but for the target's name
    size_t n_events;
};
void findings_deinit(struct findings *findings);
const struct event *findings_find(const struct findings *findings, const char *reason); // NULL: no such
// 0 or -ENOMEM: then nothing has changed and nothing was told.
int findings_replace(struct findings *findings, struct sinks *sinks, const char *target, const struct server *server);
