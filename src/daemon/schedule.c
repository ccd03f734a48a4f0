// SPDX-License-Identifier: PostgreSQL
#include "schedule.h"

#include <string.h>

#include "util/macro.h"

usec_t schedule_next_tick(usec_t after, usec_t interval) {
    if (interval == 0 || after == USEC_INFINITY) {
        return after;
    }
    return usec_add(after - after % interval, interval);
}

void backoff_reset(struct backoff *backoff) {
    *backoff = (struct backoff){.skip_first = true};
}

usec_t backoff_next(struct backoff *backoff, enum pg_error_kind kind, uint32_t random) {
    if (backoff->skip_first) {
        backoff->skip_first = false;
        return BACKOFF_AT_ONCE;
    }
    if (kind == PG_ERROR_FULL) {
        return BACKOFF_FULL_MIN + (BACKOFF_FULL_MAX - BACKOFF_FULL_MIN) * random / UINT32_MAX;
    }
    usec_t wait = BACKOFF_FIRST << backoff->n_doubled;
    if (wait < BACKOFF_MAX) {
        backoff->n_doubled++;
    } else {
        wait = BACKOFF_MAX;
    }
    usec_t jitter = wait * BACKOFF_JITTER_PERCENT / 100;
    return wait - jitter + 2 * jitter * random / UINT32_MAX;
}

enum outage_verdict outage_add(struct outage *outage, enum outage_stage stage, const struct pg_error *error,
                               bool is_try, usec_t now, int64_t *ret_count) {
    if (!outage->active) {
        *outage = (struct outage){.active = true, .since = now, .told_at = now};
    }
    outage->n_tries += is_try;
    outage->n_untold++;
    bool *is_told = &outage->told[stage][error->kind].is_told;
    char *sqlstate = outage->told[stage][error->kind].sqlstate;
    bool is_new = !*is_told || strcmp(sqlstate, error->sqlstate) != 0;
    if (!is_new && usec_sub(now, outage->told_at) < OUTAGE_REPEAT_AFTER) {
        return OUTAGE_QUIET;
    }
    *is_told = true;
    memcpy(sqlstate, error->sqlstate, sizeof(error->sqlstate));
    *ret_count = outage->n_untold;
    outage->n_untold = 0;
    outage->told_at = now;
    return is_new ? OUTAGE_EDGE : OUTAGE_REPEAT;
}

bool vitals_are_good(const struct vitals *vitals, usec_t now) {
    if (!vitals->is_started) {
        return true;
    }
    if (vitals->awaits_answer && vitals->answer == USEC_INFINITY) {
        return false;
    }
    const usec_t armed[] = {vitals->wake, vitals->look, vitals->record, vitals->dial, vitals->answer};
    usec_t first = USEC_INFINITY;
    for (size_t i = 0; i < ARRAY_SIZE(armed); i++) {
        first = MIN(first, armed[i]);
    }
    return first == USEC_INFINITY ? vitals->is_queued : usec_sub(now, first) <= VITALS_LATE;
}
