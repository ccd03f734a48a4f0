// SPDX-License-Identifier: PostgreSQL
#pragma once

// Answers that cost something to make: rendered once for all who ask at the same time, and shared by them.
//
// An answer is kept for KEPT_FOR, until what it tells has changed. From the network it may be asked for as often as
// anybody likes, and with many servers something changes all the time; so there an answer is also kept for KEPT_REST
// times what it took to make, up to KEPT_LONGEST: at most a part of the loop's time goes into them, whoever asks. What
// a command has changed shows at once, to everybody: see kept_drop().

#include <stddef.h>
#include <stdint.h>

#include "daemon/http.h"
#include "daemon/loop.h"

#define KEPT_FOR (100 * USEC_PER_MSEC)
#define KEPT_REST 10
#define KEPT_LONGEST USEC_PER_SEC
// Bytes of answers that clients have not read to their end yet. Beyond, those on the network get none: each of them may
// hold up another one for as long as HTTP_READ_WITHIN.
#define KEPT_MAX_HELD ((size_t)16 << 20)

enum kept_kind { KEPT_STATUS, KEPT_METRICS, KEPT_OPENMETRICS, N_KEPT_KINDS_ };
#define N_KEPT_KINDS ((unsigned)N_KEPT_KINDS_)

struct kept;

struct kept_options {
    struct loop *loop;
    usec_t (*clock)(void); // monotonic
    // Appends one. 0 or -ENOMEM.
    int (*render)(void *userdata, enum kept_kind kind, usec_t now, struct strbuf *text);
    void *userdata;
};

struct kept *kept_new(const struct kept_options *options); // NULL: out of memory
struct kept *kept_free(struct kept *kept);                 // NULL-safe, returns NULL; after the server of what it gave
DEFINE_CLEANUP(struct kept *, kept_free)

// `version`: another whenever what would be told has changed. 0 with a reference to it; -EBUSY: too much is held (only
// if !is_local); -ENOMEM.
int kept_get(struct kept *kept, enum kept_kind kind, bool is_local, uint64_t version, usec_t now,
             struct http_body **ret);
// Nobody is given what was rendered before.
void kept_drop(struct kept *kept);
