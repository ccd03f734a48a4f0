// SPDX-License-Identifier: PostgreSQL
#pragma once

// The last events. What an event borrows is gone soon after, so its message and its fields are kept as they were; they
// become JSON only for whoever asks, as thousands may come at once and a few are asked for.

#include <stddef.h>
#include <stdint.h>

#include "core/event.h"
#include "util/cleanup.h"
#include "util/strbuf.h"
#include "util/usec.h"

#define RING_MAX_EVENTS 200
#define RING_MAX_BYTES ((size_t)512 << 10) // of them together: the oldest make room
#define RING_MAX_EVENT ((size_t)16 << 10)  // one that is longer is kept without its query, or not at all

struct ring;

struct ring *ring_new(void);               // NULL: out of memory
struct ring *ring_free(struct ring *ring); // NULL-safe, returns NULL
DEFINE_CLEANUP(struct ring *, ring_free)

// Without memory for it, it is counted as missed.
void ring_add(struct ring *ring, const struct event *event, usec_t realtime);

size_t ring_n(const struct ring *ring);
size_t ring_n_bytes(const struct ring *ring); // what they take
uint64_t ring_n_missed(const struct ring *ring);

// The i-th, 0: the oldest. `get` is called for each field that it has; strings are borrowed until the next add.
struct ring_event {
    usec_t realtime;
    enum event_level level;
    const char *message;
};
struct ring_event ring_get(const struct ring *ring, size_t i,
                           void (*get)(void *userdata, enum event_field field, const struct event_value *value),
                           void *userdata);
