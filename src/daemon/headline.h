// SPDX-License-Identifier: PostgreSQL
#pragma once

// How things are, in one line: "2 targets, 61 % / 34 %, 3 ended in the last hour". Pure.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/strbuf.h"
#include "util/usec.h"

#define RECENT_MINUTES 60

// How often something happened in the last hour, by minutes.
struct recent {
    uint64_t minute; // of the clock that `now` is of: the latest counted
    uint32_t counts[RECENT_MINUTES];
    uint32_t total;
};
void recent_add(struct recent *recent, usec_t now);
uint32_t recent_count(struct recent *recent, usec_t now);

struct headline_target {
    bool has_verdict;
    bool is_up;
    bool is_locked_out;
    int64_t used;
    int64_t usable;
};

#define HEADLINE_TARGETS 4 // that are told one by one; of more, the fullest

struct headline {
    const struct headline_target *targets;
    size_t n_targets;
    bool is_observing;
    bool is_refused; // the last reload
    bool is_paused;  // all of it
    bool is_partly_paused;
    uint32_t n_ended;
};
void headline_render(const struct headline *headline, struct strbuf *sb);
