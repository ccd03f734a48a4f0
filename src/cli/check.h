// SPDX-License-Identifier: PostgreSQL
#pragma once

// check --connect: what was found, and how it is shown.

#include <stdbool.h>
#include <stddef.h>

#include "config/diag.h"
#include "core/compare.h"
#include "core/event.h"
#include "core/summary.h"
#include "daemon/settings.h"
#include "table.h"
#include "util/strbuf.h"

struct check_finding {
    struct location at;
    enum event_level level;
    const char *target; // NULL: of all servers alike
    const char *reason; // one word
    char *path;         // "timeouts.idle.match"; raw, as are the next two
    char *detail;
    char *hint; // NULL: none
    size_t order;
};

// One server that answered.
struct check_target {
    const char *name;
    const struct summary *summary;
    const struct comparison *comparison;
};

struct check_findings {
    struct check_finding *items;
    size_t n_items, capacity;
    size_t n_dropped;
    bool failed; // out of memory
};
void check_findings_deinit(struct check_findings *findings); // also for CLEANUP()

// Takes no string over. Out of memory is remembered.
void check_add(struct check_findings *findings, const struct config *config, const char *target,
               const struct remark *remark);
// Of findings that say "nobody": what is so on some of the file's servers only, or not known of all, is dropped; what
// is so on all is said once. Then sorts by place.
void check_findings_finish(struct check_findings *findings, size_t n_targets);

// Each finding as compilers write it, what mends it below; what the rules would do now; the pools. 0 or -ENOMEM.
int check_text(const struct check_findings *findings, const struct check_target *targets, size_t n_targets,
               const struct policy *policy, const struct screen *screen, struct strbuf *sb) MUST_CHECK;

// One object and a newline, ASCII only:
// {"findings": [{"level", "reason", "file", "line", "column", "path", "target", "detail", "hint"}],
//  "targets": [{"target", "version_num", "used", "usable",
//    "rules": [{"name", "kind", "action", "covers", "protected", "over", "would_end"}],
//    "apps": [{"app", "pool", "counted", "sessions"}], "pools", "pools_left_out"}]}
// "file" and "line" are null where no file says it; "target" where a finding is of all; "pool" where the file has none.
// "counted": it is in the sum "pools". 0 or -ENOMEM.
int check_json(const struct check_findings *findings, const struct check_target *targets, size_t n_targets,
               const struct policy *policy, struct strbuf *sb) MUST_CHECK;

const char *check_word(enum event_level level); // "error", "warning", "note"

// Runs it: tells everything and returns the exit status.
int check_connect(const struct settings *settings, bool as_json);
