// SPDX-License-Identifier: PostgreSQL
#pragma once

// A target's server is there, or it is not.

#include "target_state.h"

// Counts the failure and tells it if it is news.
void target_note_failure(struct target *target, enum outage_stage stage, const struct pg_error *error, usec_t now);
// A complete poll.
void target_note_success(struct target *target, const struct scan *scan, usec_t now);

// Ends the connection, or the try to get one; the state is the caller's to enter.
void target_close(struct target *target, usec_t now);
// ... for a failure: to be tried again, with back-off.
void target_lose(struct target *target, enum outage_stage stage, const struct pg_error *error, usec_t now);
// For another server, or other ways to it: what is known of the troubles with the last is of no use.
void target_start_over(struct target *target, usec_t now);
