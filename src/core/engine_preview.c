// SPDX-License-Identifier: PostgreSQL
//
// What a policy would do, before it is in force: another engine under that policy judges what this one has seen last.
#include <errno.h>

#include "engine_impl.h"

int engine_rehearse(const struct engine *engine, struct policy *policy, struct engine **ret) {
    if (!engine->snapshot.complete) {
        return -EAGAIN;
    }
    CLEANUP(engine_freep) struct engine *scratch = engine_new(engine->target);
    if (!scratch) {
        return -ENOMEM;
    }
    scratch->preview = true;
    scratch->step++; // sessions remember steps; 0 is none
    int r = engine_set_rules(scratch, policy);
    if (r == 0) {
        r = snapshot_copy(&scratch->snapshot, &engine->snapshot);
    }
    if (r == 0) {
        engine_arm(scratch, true);
        r = engine_decide(scratch, true, engine->snapshot.received_at);
    }
    if (r == 0) {
        *ret = TAKE_PTR(scratch);
    }
    return r;
}

int engine_preview(const struct engine *engine, struct policy *policy, int64_t *ret_counts) {
    CLEANUP(engine_freep) struct engine *scratch = NULL;
    int r = engine_rehearse(engine, policy, &scratch);

    for (size_t i = 0; r == 0 && i < engine_n_rules(scratch); i++) {
        ret_counts[i] = scratch->rules[i].counts.n_decided;
    }
    return r;
}
