// SPDX-License-Identifier: PostgreSQL
#pragma once

// How long a pause may last: one answer for the command, which asks before it looks for a daemon, and for the daemon.

#include <stdbool.h>

#include "util/usec.h"

struct strbuf;

#define PAUSE_DEFAULT USEC_PER_HOUR
#define PAUSE_MIN USEC_PER_SEC
#define PAUSE_LONGEST (7 * USEC_PER_DAY) // what is off for longer belongs into the file

// False: `why` was added, a sentence.
bool pause_range_has(usec_t duration, struct strbuf *why);
