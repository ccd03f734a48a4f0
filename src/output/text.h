// SPDX-License-Identifier: PostgreSQL
#pragma once

// What the encoders share.

#include "core/event.h"
#include "util/usec.h"

struct strbuf;

// Appends "2025-01-31T12:00:00.123Z". `realtime`: microseconds since 1970 UTC.
void text_add_time(struct strbuf *sb, usec_t realtime);

// syslog's number for a level: 3 (error) to 7 (debug).
unsigned text_priority(enum event_level level);
