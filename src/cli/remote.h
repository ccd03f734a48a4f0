// SPDX-License-Identifier: PostgreSQL
#pragma once

// Verdicts on servers from a running daemon, over the connections that it holds: what report and reap show, when there
// may be no slot for a connection of our own.

#include <jansson.h>
#include <stdbool.h>

#include "client.h"
#include "daemon/oneshot.h"

// Whether a daemon is to be asked at all, and is there. False: it is not (told on stderr, when that is news); ask the
// servers.
bool remote_find(const struct settings *settings, bool direct, const char *conninfo);

// One request to it. 0 with *ret whatever its status; -errno, told as a warning unless no daemon is there.
int remote_call(const struct settings *settings, const char *method, const char *target, const char *body,
                usec_t timeout, struct client_answer *ret);

struct remote_result {
    struct oneshot_result result; // as oneshot_round() would give it
    json_t *document;             // owned: what the result points into
    struct event *findings;       // the same
};
void remote_result_deinit(struct remote_result *remote); // also for CLEANUP()

// Warns when the daemon's status comes from other apps or protections than those of the settings.
void remote_tell_scope(const struct settings *settings, json_t *document);

// What the daemon's status says of the settings' targets, or of the one. 0; -ENOENT: one of them it does not watch, or
// has another server of that name (told as a warning); -EBADMSG: not a status; -ENOMEM. Takes the document over.
int remote_read(const struct settings *settings, const char *target, json_t *document, struct remote_result *ret);

// What holds sessions back, by reason.
void remote_read_held(json_t *object, int64_t held[N_HELD_REASONS_]);

void remote_read_error(json_t *error, struct pg_error *ret); // "kind", "sqlstate", "message"

// A session as the daemon's documents have it; strings are borrowed from the object.
void remote_read_session(json_t *object, struct session_row *ret);
