// SPDX-License-Identifier: PostgreSQL
#pragma once

// Something a person should know: the entries of `alarms`, and the always-on ones. An alarm has one state for each
// group that it counts by. What is found goes into the states; alarms_tell() makes events of how they differ from what
// was said last, so that an event that was lost with a step that ran out of memory is said by the next one.

#include <stdbool.h>
#include <stdint.h>

#include "alarm_state.h"

// The snapshot stays the caller's. 0 or -ENOMEM; to be deinited in either case, before the snapshot.
int alarms_init(struct alarms *alarms, const char *target, struct snapshot *snapshot);
void alarms_deinit(struct alarms *alarms);

void alarms_begin(struct alarms *alarms); // a new step of the engine
// Alarms that are equal keep their states; removed ones that were raised clear. After `gap_after` without a full scan
// timers start again. 0, or -ENOMEM: nothing has changed.
int alarms_set_policy(struct alarms *alarms, struct policy *policy, usec_t gap_after);
// Judges the full scan that the snapshot has just taken in. 0 or -ENOMEM.
int alarms_step(struct alarms *alarms, int64_t n_lingering, usec_t now);
// Raises or clears an always-on alarm, at once; saying the same again changes nothing. `group` tells apart what can
// hold several times (printable; NULL: once). detail and hint may be NULL; all are copied. 0 or -ENOMEM.
int alarms_set_builtin(struct alarms *alarms, unsigned builtin, const char *group, bool holds, const char *detail,
                       const char *hint);

// alarm_tell.c
int alarms_tell(struct alarms *alarms);   // 0 or -ENOMEM
void alarms_abort(struct alarms *alarms); // what was made since alarms_begin() reaches nobody
