// SPDX-License-Identifier: PostgreSQL
#pragma once

// What Prometheus and its like read.

#include "output/view.h"

struct strbuf;

enum metrics_format {
    METRICS_PROMETHEUS,  // the text format 0.0.4
    METRICS_OPENMETRICS, // 1.0
};

// Of one target, with the largest groups first; what is beyond is summed up in groups named "other".
#define METRICS_MAX_CONNECTIONS 1000
#define METRICS_MAX_STRANGERS 300 // of these, of application names that no app of the file claims
#define METRICS_MAX_ALARMS 500 // raised ones of one target; the highest severity of the rest is told as group "other"

// By the request's Accept header (NULL: none): the text format unless OpenMetrics is wanted at least as much.
enum metrics_format metrics_choose(const char *accept);
const char *metrics_content_type(enum metrics_format format);

// The whole answer, appended. Always valid in its format, whatever the names hold. 0 or -ENOMEM.
int metrics_render(const struct view *view, enum metrics_format format, struct strbuf *sb);

// Names of what is emitted, as in the text format, in their order. NULL beyond the last.
const char *metrics_name(size_t i);
