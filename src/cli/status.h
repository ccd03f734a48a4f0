// SPDX-License-Identifier: PostgreSQL
#pragma once

// /api/v1/status of the daemon, for people.

#include <jansson.h>
#include <stdbool.h>

#include "table.h"
#include "util/strbuf.h"

#define STATUS_MAX_HOLDERS 8 // apps of one target
#define STATUS_MAX_LINES 20  // rules, alarms of one target
#define STATUS_MAX_EVENTS 10

// Appends it; lines of events are cut to the screen's width. What is missing in the document, or of another kind, is
// shown as if it were nothing. 0 or -ENOMEM.
int status_text(json_t *status, const struct screen *screen, struct strbuf *sb) MUST_CHECK;
