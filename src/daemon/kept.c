// SPDX-License-Identifier: PostgreSQL
#include "kept.h"

#include <errno.h>
#include <stdlib.h>

#include "util/macro.h"

struct kept_answer {
    struct http_body *body; // NULL: none
    uint64_t version;
    usec_t made_at;
    usec_t took;
};

struct kept {
    struct kept_options options;
    struct loop_timer *timer; // the memory goes when nobody is given it any more
    struct kept_answer answers[N_KEPT_KINDS_];
    size_t n_held; // bytes, of all bodies that there are
};

static void kept_forget(struct kept_answer *answer) {
    answer->body = http_body_unref(answer->body);
}

// For how long it is good, whatever has changed meanwhile: over the network.
static usec_t kept_rest(const struct kept_answer *answer) {
    return MIN(KEPT_REST * answer->took, KEPT_LONGEST);
}

static usec_t kept_until(const struct kept_answer *answer) {
    return usec_add(answer->made_at, MAX(kept_rest(answer), KEPT_FOR));
}

static bool kept_is_good(const struct kept_answer *answer, bool is_local, uint64_t version, usec_t now) {
    usec_t rest = is_local ? 0 : kept_rest(answer);
    usec_t good_for = answer->version == version ? MAX(rest, KEPT_FOR) : rest;
    return answer->body && usec_sub(now, answer->made_at) < good_for;
}

static void kept_on_timer(void *userdata, usec_t now) {
    struct kept *kept = userdata;
    usec_t next = USEC_INFINITY;
    for (unsigned i = 0; i < N_KEPT_KINDS; i++) {
        struct kept_answer *answer = &kept->answers[i];
        if (answer->body && kept_until(answer) <= now) {
            kept_forget(answer);
        } else if (answer->body) {
            next = MIN(next, kept_until(answer));
        }
    }
    loop_timer_set(kept->timer, next);
}

static int kept_render(struct kept *kept, enum kept_kind kind, uint64_t version, usec_t now) {
    struct kept_answer *answer = &kept->answers[kind];
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    usec_t began = kept->options.clock();
    kept_forget(answer);
    int r = kept->options.render(kept->options.userdata, kind, now, &text);
    if (r < 0) {
        return r;
    }
    answer->body = http_body_new(&text, &kept->n_held);
    answer->version = version;
    answer->made_at = kept->options.clock();
    answer->took = usec_sub(answer->made_at, began);
    loop_timer_set(kept->timer, MIN(loop_timer_at(kept->timer), kept_until(answer)));
    return answer->body ? 0 : -ENOMEM;
}

int kept_get(struct kept *kept, enum kept_kind kind, bool is_local, uint64_t version, usec_t now,
             struct http_body **ret) {
    struct kept_answer *answer = &kept->answers[kind];
    int r = 0;
    if (!kept_is_good(answer, is_local, version, now)) {
        kept_forget(answer);
        r = !is_local && kept->n_held > KEPT_MAX_HELD ? -EBUSY : kept_render(kept, kind, version, now);
    }
    if (r == 0) {
        *ret = http_body_ref(answer->body);
    }
    return r;
}

void kept_drop(struct kept *kept) {
    for (unsigned i = 0; i < N_KEPT_KINDS; i++) {
        kept_forget(&kept->answers[i]);
    }
}

struct kept *kept_new(const struct kept_options *options) {
    struct kept *kept = calloc(1, sizeof(*kept));
    if (!kept) {
        return NULL;
    }
    kept->options = *options;
    kept->timer = loop_timer_new(options->loop, kept_on_timer, kept);
    return kept->timer ? kept : kept_free(kept);
}

struct kept *kept_free(struct kept *kept) {
    if (!kept) {
        return NULL;
    }
    kept_drop(kept);
    (void)loop_timer_free(kept->timer);
    free(kept);
    return NULL;
}
