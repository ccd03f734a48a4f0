// SPDX-License-Identifier: PostgreSQL
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "alarm_state.h"

void alarm_group_free(struct interner *interner, struct alarm_group *group); // NULL-safe
// The set's group of that key, made when it is not there; beyond ALARM_MAX_GROUPS the one for all others. 0 or -ENOMEM.
int alarm_set_get(struct alarms *alarms, struct alarm_set *set, const struct alarm_key *key, struct alarm_group **ret);
// Moves the state on by what holds now. true: its severity has changed.
bool alarm_group_judge(struct alarm_group *group, enum severity level, usec_t for_, usec_t clear_after, usec_t now);
int alarm_group_set_text(char **text, const char *value); // *text becomes a copy of `value` (NULL: none). 0 or -ENOMEM
// What to tell of it now: EVENT_NUMBER_NONE while it is not known.
int64_t alarm_shown(const struct alarm *alarm, const struct alarm_group *group);
void alarm_group_restart(struct alarm_group *group); // its timers start again
