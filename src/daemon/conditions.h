// SPDX-License-Identifier: PostgreSQL
#pragma once

// The always-on alarms that only the shell can see, as they are now and as the engine was told: what differs is owed to
// it. Pure.

#include <stdbool.h>

#include "core/engine.h"

#define CONDITIONS_TEXT_MAX 256 // bytes of each text that are kept; an alarm is one line

struct conditions {
    struct condition_entry {
        bool holds;
        bool told; // as the engine knows it
        bool has_hint;
        char detail[CONDITIONS_TEXT_MAX];
        char hint[CONDITIONS_TEXT_MAX];
    } items[N_CONDITIONS_];
};

// Texts are copied, when it begins; hint may be NULL.
void conditions_raise(struct conditions *conditions, enum condition condition, const char *detail, const char *hint);
void conditions_clear(struct conditions *conditions, enum condition condition);
void conditions_clear_all(struct conditions *conditions);

// The next edge that the engine does not know; false: none. It stays the next one until it is told.
bool conditions_peek(const struct conditions *conditions, struct engine_input *ret);
void conditions_told(struct conditions *conditions, const struct engine_input *input);
