// SPDX-License-Identifier: PostgreSQL
#pragma once

// What the engine said, as the words of a timeline.

#include "core/event.h"
#include "util/macro.h"
#include "words.h"

void came_add(struct words *came, const char *format, ...) PRINTF_LIKE(2, 3);

// One event, the most telling words first. `decision`: the one whose intent it is; NULL: none.
void came_event(struct words *came, const struct event *event, const struct decision *decision);
