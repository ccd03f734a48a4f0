// SPDX-License-Identifier: PostgreSQL
#include "headline.h"

#include <inttypes.h>
#include <string.h>

#include "core/session.h"
#include "util/macro.h"

// Forgets the minutes that are over.
static void recent_advance(struct recent *recent, usec_t now) {
    uint64_t minute = now / USEC_PER_MINUTE;
    if (minute >= recent->minute + RECENT_MINUTES) {
        memset(recent->counts, 0, sizeof(recent->counts));
        recent->total = 0;
        recent->minute = minute;
    }
    while (recent->minute < minute) {
        uint32_t *count = &recent->counts[++recent->minute % RECENT_MINUTES];
        recent->total -= *count;
        *count = 0;
    }
}

void recent_add(struct recent *recent, usec_t now) {
    recent_advance(recent, now);
    if (recent->total < UINT32_MAX) {
        recent->counts[recent->minute % RECENT_MINUTES]++;
        recent->total++;
    }
}

uint32_t recent_count(struct recent *recent, usec_t now) {
    recent_advance(recent, now);
    return recent->total;
}

static int64_t headline_percent(const struct headline_target *target) {
    return slots_percent(target->used, target->usable);
}

static void headline_add_target(const struct headline_target *target, struct strbuf *sb) {
    if (target->is_up) {
        strbuf_addf(sb, "%" PRId64 " %%", headline_percent(target));
    } else if (target->is_locked_out) {
        strbuf_add(sb, "locked out");
    } else {
        strbuf_add(sb, target->has_verdict ? "down" : "connecting");
    }
}

static void headline_add_fullest(const struct headline *headline, struct strbuf *sb) {
    int64_t fullest = -1;
    size_t n_down = 0;
    size_t n_locked_out = 0;
    for (size_t i = 0; i < headline->n_targets; i++) {
        const struct headline_target *target = &headline->targets[i];
        n_locked_out += target->is_locked_out;
        n_down += !target->is_up && !target->is_locked_out;
        fullest = target->is_up ? MAX(fullest, headline_percent(target)) : fullest;
    }
    if (fullest >= 0) {
        strbuf_addf(sb, ", at most %" PRId64 " %%", fullest);
    }
    if (n_locked_out > 0) {
        strbuf_addf(sb, ", %zu locked out", n_locked_out);
    }
    if (n_down > 0) {
        strbuf_addf(sb, ", %zu down", n_down);
    }
}

void headline_render(const struct headline *headline, struct strbuf *sb) {
    strbuf_addf(sb, "%zu target%s", headline->n_targets, headline->n_targets == 1 ? "" : "s");
    if (headline->n_targets > HEADLINE_TARGETS) {
        headline_add_fullest(headline, sb);
    } else {
        for (size_t i = 0; i < headline->n_targets; i++) {
            strbuf_add(sb, i == 0 ? ", " : " / ");
            headline_add_target(&headline->targets[i], sb);
        }
    }
    if (headline->is_observing) {
        strbuf_add(sb, ", observing");
    }
    if (headline->is_paused || headline->is_partly_paused) {
        strbuf_add(sb, headline->is_paused ? ", paused" : ", partly paused");
    }
    if (headline->n_ended > 0 || !headline->is_observing) {
        strbuf_addf(sb, ", %" PRIu32 " ended in the last hour", headline->n_ended);
    }
    if (headline->is_refused) {
        strbuf_add(sb, "; the last reload was refused, and nothing has changed");
    }
}
