// SPDX-License-Identifier: PostgreSQL
#pragma once

// From decisions to reports, for one target: the intent is handed to the sinks, and when a log sink has really taken it
// the decision is given out to be sent, in chunks, in the order of deciding. Without a loop and a connection: the
// target asks when to come back, and moves the chunks and the results.

#include <stdbool.h>
#include <stddef.h>

#include "core/engine.h"
#include "daemon/sinks.h"
#include "pg/job.h"

#define EXECUTOR_RECORD_WITHIN USEC_PER_SEC // an intent that is not written by then: not carried out
#define EXECUTOR_MAX 2000                   // under way at once; more are held back as unrecorded, and decided again

struct executor;

struct executor *executor_new(struct sinks *sinks);        // borrowed; NULL: out of memory
struct executor *executor_free(struct executor *executor); // NULL-safe, returns NULL

// Who it is for; before, and for the rules of the file: nobody.
void executor_set_asker(struct executor *executor, struct event_asker asker);

// Emits the intents and copies what is needed of the decisions. Those that there is no room or no memory for are not
// announced, and reported as unrecorded.
void executor_add(struct executor *executor, const struct engine_result *result, usec_t now);

// Looks at the records under way: written, refused, or too late.
void executor_check(struct executor *executor, usec_t now);
usec_t executor_deadline(const struct executor *executor); // of the records; USEC_INFINITY: none under way
bool executor_is_busy(const struct executor *executor);    // anything not reported to the engine yet

// The next chunk to send, all of them recorded; marks them as sent. 0: none, or one is still out. Valid until the next
// call; the strings until they are reported.
size_t executor_take_chunk(struct executor *executor, const struct decision **ret);
bool executor_is_out(const struct executor *executor); // a chunk is with the server
// The chunk could not be sent after all.
void executor_return_chunk(struct executor *executor);
// Results of what was sent.
void executor_report(struct executor *executor, const struct act_report *acts, size_t n_acts);
// Gives up what has not been sent. why: static; NULL: the connection is gone.
void executor_unsend(struct executor *executor, const char *why);
// The connection is gone, and all results of it are in: what was not sent never will be.
void executor_lost(struct executor *executor);

// The next result for the engine; false: none. It stays the next one until it is popped.
bool executor_peek(const struct executor *executor, struct engine_input *ret);
void executor_pop(struct executor *executor);
