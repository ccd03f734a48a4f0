// SPDX-License-Identifier: PostgreSQL
#pragma once

// Shared by the two files of the model: model.c (who, how long, what is decided), model_acts.c (what became of it).

#include "model.h"

// The event must be among those that came, once; what remains at the end came without a reason.
struct came {
    const struct engine_result *result;
    bool met[4 * MODEL_MAX_SESSIONS + MODEL_MAX_INTENTS];
};

void model_hash(struct model *model, uint64_t value);
void model_check_looks(struct model *model, usec_t now, const struct engine_result *result);
void model_settle(struct model *model, bool full, struct came *came, usec_t now);
void model_nothing_else(struct came *came);
