// SPDX-License-Identifier: PostgreSQL
#pragma once

// Where we are to be reached, as the configuration says: the TCP address and the control socket. What is written and
// cannot be had is an error; a default that cannot be had is a warning.

#include "config/config.h"
#include "daemon/http.h"
#include "daemon/sinks.h"

struct front;

struct front *front_new(struct loop *loop, struct sinks *sinks,
                        void (*handle)(void *userdata, struct http_exchange *exchange,
                                       const struct http_request *request, usec_t now),
                        void *userdata);       // NULL: out of memory
struct front *front_free(struct front *front); // NULL-safe, returns NULL; removes the socket

// Opens what the configuration asks for and is not open yet. 0: front_commit() or front_abort() follows. -errno
// with `why`, a sentence: everything is as it was.
int front_prepare(struct front *front, const struct config *config, struct strbuf *why);
void front_commit(struct front *front); // drops what is not asked for any more; says what could not be had
void front_abort(struct front *front);

// What is served; NULL: nothing.
const char *front_listen(const struct front *front);
const char *front_socket(const struct front *front);
