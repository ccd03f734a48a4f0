// SPDX-License-Identifier: PostgreSQL
#pragma once

// All that the daemon knows of its targets and itself, as one JSON document: /api/v1/status.

#include "output/view.h"

struct strbuf;

// Of one target, the largest first; what is beyond is summed up under "other".
#define STATUS_MAX_APPS 200
#define STATUS_MAX_GROUPS 1000
#define STATUS_MAX_ALARMS 500 // raised ones of one target; n_alarms tells how many there are

// One object and a newline, appended; valid JSON, ASCII only. pgvigil-metrics(7) describes it. 0 or -ENOMEM.
int status_render(const struct view *view, struct strbuf *sb);
