// SPDX-License-Identifier: PostgreSQL
#include "output/view.h"

#include <assert.h>

#include "util/macro.h"

static const char *const poll_result_names[] = {
    [POLL_OK] = "ok",     [POLL_TIMEOUT] = "timeout", [POLL_ERROR] = "error",
    [POLL_LOST] = "lost", [POLL_SKIPPED] = "skipped",
};
static_assert(ARRAY_SIZE(poll_result_names) == N_POLL_RESULTS, "one name for each result");

const char *poll_result_to_string(enum poll_result result) {
    return poll_result_names[result];
}

usec_t view_realtime(const struct view *view, usec_t at) {
    return at == 0 ? 0 : usec_sub(view->realtime, usec_sub(view->now, at));
}
