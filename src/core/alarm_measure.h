// SPDX-License-Identifier: PostgreSQL
#pragma once

#include "alarm_state.h"

// Puts the scan's values into the groups and judges them, of the policy's alarms and of `forged_name`.
int alarms_measure(struct alarms *alarms, usec_t now);
int alarms_judge_names(struct alarms *alarms, usec_t now);
