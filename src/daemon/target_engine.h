// SPDX-License-Identifier: PostgreSQL
#pragma once

// What a target's engine is told, and what becomes of what it wants; and what there is to tell it: who acts among
// several watchdogs, and the conditions that only the shell can see.

#include "target_state.h"

// One step: says its events, gives its decisions to the executor, sets the next look. 0 or -ENOMEM.
int target_step(struct target *target, const struct engine_input *input, usec_t now);
// Tells the engine what it must know before it may take the next scan. 0 or -ENOMEM: later, then.
int target_settle_debts(struct target *target, usec_t now);
// Hands the executor's results to the engine. 0 or -ENOMEM: the rest is offered again.
int target_settle_acts(struct target *target, usec_t now);

// As configured, whoever else there may be.
bool target_means_to_act(const struct target *target);
bool target_wants_lead(const struct target *target);
// What came back for it.
void target_note_leader(struct target *target, const struct server_report *report);

// Conditions that the failures, a complete poll and the findings of the self-check tell of.
void target_note_trouble(struct target *target, enum outage_stage stage, const struct pg_error *error, usec_t now);
void target_note_sight(struct target *target, const struct scan *scan);
void target_note_findings(struct target *target);
// A right that was granted or revoked since the self-check: has it made again, to say the statement that mends it.
void target_check_power(struct target *target, const struct scan *scan);
void target_note_check(struct target *target); // it has been
void target_note_power(struct target *target); // again, when what we mean to do has changed
