// SPDX-License-Identifier: PostgreSQL
#pragma once

// The thread that log records leave through. An unread pipe or a stopped journald can hold a writer for ever:
// it then holds this thread, and the queue fills up to its bounds, and nobody waits.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "output/encode.h"
#include "util/usec.h"

// Waiting records, whichever bound is met first. A first look at a big server in observe mode brings some thousands.
#define WRITER_MAX_RECORDS 4096
#define WRITER_MAX_BYTES ((size_t)4 << 20) // the records' own memory
// Outcomes that are remembered.
#define WRITER_N_TICKETS 4096

#define WRITER_JOURNAL_SOCKET "/run/systemd/journal/socket"

struct writer;

enum writer_state {
    WRITER_PENDING,
    WRITER_WRITTEN,
    WRITER_FAILED, // also a ticket that was never given or is no longer remembered
};

// fd >= 0: records are written there (a copy of the descriptor is kept). -1: they are sent to the journal.
// 0 or -errno.
int writer_new(int fd, struct writer **ret);
// Gives the thread `timeout` to write what waits. If it is stuck it is left behind with all it needs. Returns NULL.
struct writer *writer_free(struct writer *writer, usec_t timeout);

// Queues a copy; never waits. For the journal the fields point into `bytes`; for a file there are none. Returns a
// ticket, 1 for the first and one more for each; 0: no room or no memory.
uint64_t writer_push(struct writer *writer, const char *bytes, size_t n_bytes, const struct journal_field *fields,
                     size_t n_fields);
enum writer_state writer_ticket_state(struct writer *writer, uint64_t ticket);

// Readable after records left the queue, until acknowledged.
int writer_fd(const struct writer *writer);
void writer_acknowledge(struct writer *writer);

// Less than half full, and the last record went through.
bool writer_has_room(struct writer *writer);
// Less than three quarters full: the rest is for records that must not be lost behind others.
bool writer_has_spare(struct writer *writer);
uint64_t writer_n_failed(struct writer *writer); // records that were refused, ever

// Waits until nothing is queued; false: not within `timeout`.
bool writer_flush(struct writer *writer, usec_t timeout);
