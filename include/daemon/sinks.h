// SPDX-License-Identifier: PostgreSQL
#pragma once

// Fan-out of events to the log sinks and to the taps (counters, status, webhooks). Never blocks: records leave through
// the writer thread and its bounded queue; what does not fit is counted and told with a records_dropped event once
// there is room again.

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "core/event.h"
#include "daemon/loop.h"

struct sinks;

struct sinks_options {
    enum event_level level; // what is less important than this is not logged
    enum log_format format; // AUTO: journal when stderr is connected to it, else text
    int fd;                 // where text and JSON go: the caller's, not closed; -1: no such sink (then AUTO means the
                            // journal if this machine has one, else nothing but the tee)
    // Also handed every event, whatever the level, synchronously from sinks_emit(): one-shot commands print with it.
    // True: it is told, which counts as written. NULL: none.
    bool (*tee)(void *userdata, const struct event *event);
    void *tee_data;
    usec_t (*realtime)(void); // microseconds since 1970
};

// *ret_why (static text) tells why a sink cannot be had, for instance format journal without a journal.
int sinks_new(struct loop *loop, const struct sinks_options *options, struct sinks **ret, const char **ret_why);
// Another level and format from now on; tickets given before stay good. 0, or a negative errno with *ret_why (static
// text): nothing has changed. -EBUSY: records of the format before the last are still waiting.
int sinks_reconfigure(struct sinks *sinks, enum event_level level, enum log_format format, const char **ret_why);
struct sinks *sinks_free(struct sinks *sinks); // gives the writer 2 s to finish, then leaves the rest
DEFINE_CLEANUP(struct sinks *, sinks_free)

// Says it. Returns a ticket: sinks_ticket_state() is SINKS_WRITTEN once a log sink has really taken the record (the
// write or send returned). 0: nobody takes it (queue full). Intents (EVENT_DECISION with observe == false)
// and their outcomes are written whatever the level.
uint64_t sinks_emit(struct sinks *sinks, const struct event *event);

enum sinks_state {
    SINKS_PENDING, // in the queue
    SINKS_WRITTEN,
    SINKS_FAILED, // the sink refused it (no journal, closed pipe, disk full)
};
enum sinks_state sinks_ticket_state(const struct sinks *sinks, uint64_t ticket); // of a recent ticket (the last 4096)

// Called on the loop after records left the queue, so that whoever waits for a ticket may look again. One listener
// list; the handle stays valid until sinks_unlisten().
struct sinks_listener;
struct sinks_listener *sinks_listen(struct sinks *sinks, void (*fn)(void *userdata, usec_t now), void *userdata);
struct sinks_listener *sinks_unlisten(struct sinks_listener *listener);

// Whoever counts or forwards what is said: handed every event, whatever the level and the log, synchronously from
// sinks_emit(). A tap must not emit, add or remove taps from its call. The handle stays valid until sinks_untap().
struct sinks_tap;
struct sinks_tap *sinks_tap(struct sinks *sinks, void (*fn)(void *userdata, const struct event *event), void *userdata);
struct sinks_tap *sinks_untap(struct sinks_tap *tap); // NULL-safe, also after the sinks; returns NULL

// Waits up to `timeout` for the queue to drain (at the end only: it blocks).
bool sinks_flush(struct sinks *sinks, usec_t timeout);
uint64_t sinks_n_dropped(const struct sinks *sinks);
