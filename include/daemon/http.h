// SPDX-License-Identifier: PostgreSQL
#pragma once

// A small HTTP server on the loop, over TCP and Unix sockets, made of libevent's evhttp: bounded in connections, bytes
// and time, so that no client, slow or hostile, costs a poll more than a few system calls. It is read only over TCP,
// and on a loopback address it answers to no name but localhost. One request a connection.
//
// Every connection has until HTTP_REQUEST_WITHIN after it was accepted to have sent its request whole, and
// HTTP_READ_WITHIN to take the answer: deadlines, which no byte puts off. SIGPIPE is to be ignored.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/loop.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

#define HTTP_MAX_CONNECTIONS 64 // of one listener; who comes then waits in the kernel's queue
#define HTTP_REQUEST_WITHIN (10 * USEC_PER_SEC)
#define HTTP_ANSWER_WITHIN (10 * USEC_PER_SEC) // unless http_wait() says otherwise
#define HTTP_READ_WITHIN (10 * USEC_PER_SEC)
#define HTTP_LINGER USEC_PER_SEC // for the client to see the end, before unread bytes of its would cut off the answer

#define HTTP_LOCAL_ONLY "commands are taken on the control socket only" // what is said over TCP

struct http;
struct http_body; // of an answer: bytes that several may share
struct http_listener;
struct http_exchange; // a request that has no answer yet

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST };

struct http_request {
    enum http_method method;
    const char *path;   // as sent, "/metrics"
    const char *query;  // what follows the '?'; "": nothing
    const char *host;   // "": not said
    const char *accept; // "": not said
    const char *body;   // NUL-terminated
    size_t body_len;
    bool is_local;    // over a Unix socket
    int64_t peer_uid; // ... whose; -1: not known
    int64_t peer_pid; // ... of which process; -1: not known
    bool may_command; // ... by root, our own user, or a member of the socket's group
};

// The value of a query's parameter, decoded ("%20", '+'), "" when it has none; free() it. 0; -ENOENT: not there;
// -EINVAL: badly encoded; -ENOMEM.
int http_query_get(const char *query, const char *name, char **ret);
// The first parameter that http_query_get() finds by none of these names (NULL after the last): another one, or one
// that comes again. *ret_len: of its name, as it is written. NULL: there is none.
const char *http_query_unread(const char *query, const char *const *names, size_t *ret_len);

// `handle` answers now, or keeps the exchange for http_answer() later; see http_wait().
struct http *http_new(struct loop *loop,
                      void (*handle)(void *userdata, struct http_exchange *exchange, const struct http_request *request,
                                     usec_t now),
                      void *userdata);     // NULL: out of memory
struct http *http_free(struct http *http); // NULL-safe; closes all that is open; returns NULL
DEFINE_CLEANUP(struct http *, http_free)

// Serves a listening socket, and takes it over when it succeeds. `gid`: the group whose members may command; of Unix
// sockets. 0 or -errno.
int http_listen(struct http *http, int fd, bool is_local, gid_t gid, struct http_listener **ret);
void http_listener_set_gid(struct http_listener *listener, gid_t gid); // for who asks from now on
// Closes the socket; what is under way is finished. NULL-safe, returns NULL.
struct http_listener *http_unlisten(struct http_listener *listener);

// Takes the content over, also when it fails. `n_held`: its bytes are added there while it lives; NULL: nowhere. NULL:
// the text has failed, or out of memory.
struct http_body *http_body_new(struct strbuf *text, size_t *n_held);
struct http_body *http_body_ref(struct http_body *body);
struct http_body *http_body_unref(struct http_body *body); // NULL-safe, returns NULL
DEFINE_CLEANUP(struct http_body *, http_body_unref)

// What a 405 says that is allowed there, instead of "GET, HEAD". A literal.
void http_set_allow(struct http_exchange *exchange, const char *methods);
// The whole answer: a reference is taken to the body. NULL: there was no memory for it, which the status will say.
void http_answer_body(struct http_exchange *exchange, int status, const char *content_type, struct http_body *body,
                      usec_t now);
// The same of a body for this one. Takes its content over.
void http_answer(struct http_exchange *exchange, int status, const char *content_type, struct strbuf *body, usec_t now);
// The answer comes later: until `deadline`. `gone` tells that the exchange has ended before http_answer(): it must not
// be used any more.
void http_wait(struct http_exchange *exchange, usec_t deadline, void (*gone)(void *userdata), void *userdata);
