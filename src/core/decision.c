// SPDX-License-Identifier: PostgreSQL
#include "core/decision.h"

#include <assert.h>

#include "util/macro.h"

static const char *const outcome_names[] = {
    [OUTCOME_NONE] = "none",
    [OUTCOME_GONE] = "gone",
    [OUTCOME_LINGERING] = "lingering",
    [OUTCOME_CHANGED] = "changed",
    [OUTCOME_LEFT] = "left",
    [OUTCOME_DENIED] = "denied",
    [OUTCOME_FAILED] = "failed",
    [OUTCOME_CANCELLED] = "cancelled",
    [OUTCOME_STILL_RUNNING] = "still_running",
    [OUTCOME_UNKNOWN] = "unknown",
    [OUTCOME_UNVERIFIED] = "unverified",
};
static_assert(ARRAY_SIZE(outcome_names) == N_OUTCOMES, "one name for each outcome");

static const char *const held_reason_names[] = {
    [HELD_PROTECTED] = "protected", [HELD_KEEP] = "keep",
    [HELD_SHARE] = "share",         [HELD_BUDGET] = "budget",
    [HELD_OBSERVE] = "observe",     [HELD_PAUSED] = "paused",
    [HELD_BREAKER] = "breaker",     [HELD_UNRECORDED] = "unrecorded",
};
static_assert(ARRAY_SIZE(held_reason_names) == N_HELD_REASONS, "one name for each reason");

const char *outcome_to_string(enum outcome outcome) {
    return outcome_names[outcome];
}

const char *held_reason_to_string(enum held_reason reason) {
    return held_reason_names[reason];
}
