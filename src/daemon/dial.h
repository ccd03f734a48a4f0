// SPDX-License-Identifier: PostgreSQL
#pragma once

// What comes before a connect: the gate that bounds how many are under way in the process, the password's file, and
// the names of the hosts. When it has answered, the conninfo is ready and a place in the gate is held.

#include "config/config.h"
#include "daemon/target_context.h"
#include "pg/conninfo.h"
#include "pg/error.h"
#include "schedule.h"

struct dial;

// NULL: all is ready; else why not, and at which stage. `deadline` is that of the connect as a whole: connect_timeout
// from the moment that the gate let us in.
typedef void (*dial_fn)(void *userdata, const struct pg_error *error, enum outage_stage stage, usec_t deadline,
                        usec_t now);

// Everything is borrowed for the dial's life; the conninfo is written to. NULL: out of memory.
struct dial *dial_new(struct target_context *context, const struct target_config *config, struct conninfo *conninfo,
                      dial_fn fn, void *userdata);
struct dial *dial_free(struct dial *dial); // NULL-safe, returns NULL; not from its own callback

// Other ones from now on. What is under way must be over unless they say the same; the conninfo then stays the same
// too.
void dial_configure(struct dial *dial, const struct target_config *config, struct conninfo *conninfo);

// Answers once, later, on the loop.
void dial_start(struct dial *dial, usec_t now);
// When it goes on by itself at the latest. USEC_INFINITY: it is not under way, or waits for the gate, which those
// inside leave in time.
usec_t dial_deadline(const struct dial *dial);
bool dial_is_queued(const struct dial *dial); // waits for the gate
// Leaves the gate to the next one, also before the answer, which then does not come. May be called at any time.
void dial_release(struct dial *dial, usec_t now);
