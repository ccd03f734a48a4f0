// SPDX-License-Identifier: PostgreSQL
#pragma once

// Counts and remembers what is said, and fills a view for whoever renders one.

#include <stdbool.h>
#include <stddef.h>

#include "daemon/settings.h"
#include "daemon/sinks.h"
#include "daemon/target.h"
#include "output/view.h"
#include "util/cleanup.h"

struct view_source;

// Taps the sinks. NULL: out of memory.
struct view_source *view_source_new(struct sinks *sinks);
struct view_source *view_source_free(struct view_source *source); // NULL-safe, returns NULL; before the sinks or after
DEFINE_CLEANUP(struct view_source *, view_source_free)

// The file was read again, and taken or refused.
void view_source_note_reload(struct view_source *source, bool ok);
struct tally *view_source_tally(struct view_source *source);
// Another one whenever something was said, or there was news of a target.
uint64_t view_source_version(const struct view_source *source);
void view_source_note_news(struct view_source *source);

struct pauses;
// 0 or -ENOMEM. A summary that memory is short for is left out, the rest is there.
int view_fill(const struct view_source *source, const struct settings *settings, struct target *const *targets,
              size_t n_targets, const struct pauses *pauses, usec_t now, struct view *ret);
void view_deinit(struct view *view); // also for CLEANUP()
