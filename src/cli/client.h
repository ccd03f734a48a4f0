// SPDX-License-Identifier: PostgreSQL
#pragma once

// Asks the running daemon over its control socket: one request, one answer, each with a deadline. Blocks.

#include <stdbool.h>
#include <stddef.h>

#include "util/strbuf.h"
#include "util/usec.h"

#define CLIENT_MAX_ANSWER ((size_t)64 << 20) // bytes

struct client_request {
    const char *socket; // path
    const char *method; // "GET"
    const char *target; // path and query
    const char *body;   // NULL: none
    usec_t timeout;     // for the whole
};

struct client_answer {
    int status;
    struct strbuf body;
};
void client_answer_deinit(struct client_answer *answer); // also for CLEANUP()

// 0; -errno with `why` appended, a sentence for people: -ENOENT and -ECONNREFUSED: no daemon is there.
int client_call(const struct client_request *request, struct client_answer *ret, struct strbuf *why) MUST_CHECK;

// Appends `text` as it may stand in a query.
void client_add_parameter(struct strbuf *target, const char *name, const char *text);
