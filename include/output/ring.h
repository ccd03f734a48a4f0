// SPDX-License-Identifier: PostgreSQL
#pragma once

// The last events, rendered when they happened: what events borrow is gone soon after.

#include <stddef.h>
#include <stdint.h>

#include "core/event.h"
#include "util/cleanup.h"
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
// The i-th, 0: the oldest. One JSON object without a newline, as json_encode() writes it; borrowed until the next add.
const char *ring_get(const struct ring *ring, size_t i);
uint64_t ring_n_missed(const struct ring *ring);
