// SPDX-License-Identifier: PostgreSQL
//
// A connection over its life:
//
//   READING -> ANSWERING -> LINGERING -> (closed)
//      |___________|____________|___________^   whatever fails, and each deadline
//
// It is not libevent's evhttp (2.1): evhttp_set_bevcb() runs at each accept, so that connections could be counted
// there; but nothing tells when one has closed whose request never became whole (evhttp_set_newreqcb() comes with 2.2,
// the callbacks of the bufferevent are evhttp's own, and a filter over it says that output is written before it is on
// the socket: an answer with "Connection: close" would be cut off). Header fields are stored before anybody can count
// them, and the timeout starts again at each byte: there is no deadline over the request as a whole. What is needed of
// HTTP is little, and all of it stands in http_message.c.
//
// Per wake-up a connection costs one read or one write of bounded size, and a listener a bounded number of accepts.

#include "daemon/http.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "endpoint.h"
#include "http_message.h"
#include "util/fd.h"
#include "util/macro.h"

#define HTTP_ACCEPT_AT_ONCE 16
#define HTTP_ACCEPT_AGAIN (100 * USEC_PER_MSEC) // when we are out of file descriptors or memory
#define HTTP_SEND_AT_ONCE 65536

enum http_state {
    HTTP_READING,   // for the request, until HTTP_REQUEST_WITHIN after the accept. Then ANSWERING, or closed
    HTTP_ANSWERING, // for the handler, and for the client to take what is there. Then LINGERING, or closed
    HTTP_LINGERING, // all is sent: for the client to close, for HTTP_LINGER. Then closed
};

struct http_body {
    unsigned n_refs;
    char *data; // owned
    size_t len;
    size_t *n_held;
};

struct http_exchange {
    struct http *http;
    struct http_listener *listener; // NULL: it is closed by now
    struct http_exchange *previous, *next;
    int fd;
    struct loop_io *io;
    enum http_state state;
    usec_t deadline;
    bool is_local;
    bool is_loopback;
    struct endpoint_peer peer; // of a Unix socket
    struct http_reader reader;

    bool is_handling; // inside the handler: what is answered is sent when it has returned
    bool is_head;     // of a HEAD request: no body goes out
    bool is_answered; // everything is in head and body
    struct strbuf head;
    struct http_body *body; // NULL: none goes out
    size_t n_sent;          // of head and body
    usec_t answer_by;       // while it is not answered
    usec_t read_by;         // once it is
    void (*gone)(void *userdata);
    void *gone_data;
};

struct http_listener {
    struct http *http;
    struct http_listener *next;
    int fd;
    struct loop_io *io;
    bool is_local;
    bool is_loopback; // its TCP address
    gid_t gid;
    size_t n_exchanges;
};

struct http {
    struct loop *loop;
    void (*handle)(void *userdata, struct http_exchange *exchange, const struct http_request *request, usec_t now);
    void *userdata;
    struct http_exchange *exchanges;
    struct http_listener *listeners;
};

static void http_arm_listener(struct http_listener *listener, usec_t pause_until);

// ---- bodies

struct http_body *http_body_new(struct strbuf *text, size_t *n_held) {
    struct http_body *body = calloc(1, sizeof(*body));
    size_t len = text->len;
    char *data = strbuf_take(text);
    // It may be large and live for a while: no room beyond what is there.
    char *trimmed = data ? realloc(data, len + 1) : NULL;
    if (!body || !trimmed) {
        free(body);
        free(trimmed ? trimmed : data);
        return NULL;
    }
    *body = (struct http_body){.n_refs = 1, .data = trimmed, .len = len, .n_held = n_held};
    if (n_held) {
        *n_held += len;
    }
    return body;
}

struct http_body *http_body_ref(struct http_body *body) {
    body->n_refs++;
    return body;
}

struct http_body *http_body_unref(struct http_body *body) {
    if (body && --body->n_refs == 0) {
        if (body->n_held) {
            *body->n_held -= body->len;
        }
        free(body->data);
        free(body);
    }
    return NULL;
}

// ---- exchanges

static void http_forget_answer(struct http_exchange *exchange) {
    strbuf_deinit(&exchange->head);
    exchange->body = http_body_unref(exchange->body);
    exchange->n_sent = 0;
}

static size_t http_unsent(const struct http_exchange *exchange) {
    return exchange->head.len + (exchange->body ? exchange->body->len : 0) - exchange->n_sent;
}

static struct http_exchange *http_exchange_free(struct http_exchange *exchange) {
    struct http_listener *listener = exchange->listener;
    (void)loop_io_free(exchange->io);
    exchange->fd = fd_close(exchange->fd);
    *(exchange->previous ? &exchange->previous->next : &exchange->http->exchanges) = exchange->next;
    if (exchange->next) {
        exchange->next->previous = exchange->previous;
    }
    http_reader_deinit(&exchange->reader);
    http_forget_answer(exchange);
    if (exchange->gone) {
        exchange->gone(exchange->gone_data);
    }
    free(exchange);
    if (listener && listener->n_exchanges-- == HTTP_MAX_CONNECTIONS) {
        http_arm_listener(listener, USEC_INFINITY);
    }
    return NULL;
}

static usec_t http_deadline(const struct http_exchange *exchange) {
    if (exchange->state != HTTP_ANSWERING) {
        return exchange->deadline;
    }
    return exchange->is_answered ? exchange->read_by : exchange->answer_by;
}

// Waits for what the state says; closes when that cannot be had.
static void http_arm(struct http_exchange *exchange) {
    unsigned wants = exchange->state != HTTP_ANSWERING ? LOOP_READ : http_unsent(exchange) > 0 ? LOOP_WRITE : 0;
    if (loop_io_arm(exchange->io, exchange->fd, wants, http_deadline(exchange)) < 0) {
        (void)http_exchange_free(exchange);
    }
}

static void http_linger(struct http_exchange *exchange, usec_t now) {
    (void)shutdown(exchange->fd, SHUT_WR);
    exchange->state = HTTP_LINGERING;
    exchange->deadline = usec_add(now, HTTP_LINGER);
    http_forget_answer(exchange);
}

static void http_refuse(struct http_exchange *exchange, int status, const char *why, usec_t now) {
    CLEANUP(strbuf_deinit) struct strbuf body = STRBUF_EMPTY;
    strbuf_addf(&body, "%s\n", why);
    http_answer(exchange, status, "text/plain; charset=utf-8", &body, now);
}

static void http_call(struct http_exchange *exchange, usec_t now) {
    struct http_request request = http_reader_request(&exchange->reader);
    request.is_local = exchange->is_local;
    request.peer_uid = exchange->peer.uid;
    request.peer_pid = exchange->peer.pid;
    request.may_command = exchange->peer.may_command;
    exchange->is_head = request.method == HTTP_HEAD;
    // A page from elsewhere, whose name its owner lets lead here, would have a browser read for it what is served to
    // this machine alone. Other addresses are the operator's to name.
    if (exchange->is_loopback && *request.host && !http_host_is_numeric(request.host)) {
        http_refuse(exchange, 421, "on a loopback address Host must be an IP address or localhost", now);
        return;
    }
    if (request.method == HTTP_POST && !request.is_local) {
        http_refuse(exchange, 405, "commands are taken on the control socket only", now);
        return;
    }
    exchange->http->handle(exchange->http->userdata, exchange, &request, now);
}

// One read. False: it is closed.
static bool http_read(struct http_exchange *exchange, usec_t now) {
    size_t n;
    int status = 0;
    const char *why = NULL;
    char *room = http_reader_room(&exchange->reader, &n);
    if (!room) {
        (void)http_exchange_free(exchange);
        return false;
    }
    ssize_t got = recv(exchange->fd, room, n, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return true;
    }
    if (got <= 0) {
        (void)http_exchange_free(exchange);
        return false;
    }
    enum http_progress progress = http_reader_take(&exchange->reader, (size_t)got, &status, &why);
    if (progress == HTTP_MORE) {
        return true;
    }
    exchange->state = HTTP_ANSWERING;
    exchange->answer_by = usec_add(now, HTTP_ANSWER_WITHIN);
    exchange->is_handling = true;
    if (progress == HTTP_COMPLETE) {
        http_call(exchange, now);
    } else {
        http_refuse(exchange, status, why, now);
    }
    exchange->is_handling = false;
    return true;
}

static struct iovec http_slice(char *data, size_t len, size_t n_sent, size_t n_most) {
    size_t at = MIN(n_sent, len);
    return (struct iovec){.iov_base = data + at, .iov_len = MIN(len - at, n_most)};
}

// One write. False: it is closed.
static bool http_send(struct http_exchange *exchange, usec_t now) {
    const struct strbuf *head = &exchange->head;
    struct iovec parts[2] = {http_slice(head->data, head->len, exchange->n_sent, HTTP_SEND_AT_ONCE)};
    if (exchange->body) {
        parts[1] = http_slice(exchange->body->data, exchange->body->len,
                              exchange->n_sent - MIN(exchange->n_sent, head->len), HTTP_SEND_AT_ONCE);
    }
    const struct msghdr message = {.msg_iov = parts, .msg_iovlen = ARRAY_SIZE(parts)};
    ssize_t sent = sendmsg(exchange->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
        return true;
    }
    if (sent < 0) {
        (void)http_exchange_free(exchange);
        return false;
    }
    exchange->n_sent += (size_t)sent;
    if (http_unsent(exchange) == 0) {
        http_linger(exchange, now);
    }
    return true;
}

// Throws away what still comes. False: it is closed.
static bool http_drain(struct http_exchange *exchange) {
    char bytes[4096];
    ssize_t got = recv(exchange->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR))) {
        return true;
    }
    (void)http_exchange_free(exchange);
    return false;
}

static void http_on_io(void *userdata, unsigned ready, usec_t now) {
    struct http_exchange *exchange = userdata;
    bool lives = true;
    // A byte that comes after the time is no excuse.
    if (ready == 0 || now >= http_deadline(exchange)) {
        (void)http_exchange_free(exchange);
        return;
    }
    switch (exchange->state) {
    case HTTP_READING:
        lives = http_read(exchange, now);
        break;
    case HTTP_ANSWERING:
        lives = http_send(exchange, now);
        break;
    case HTTP_LINGERING:
        lives = http_drain(exchange);
        break;
    }
    if (lives) {
        http_arm(exchange);
    }
}

// ---- answers

void http_answer_body(struct http_exchange *exchange, int status, const char *content_type, struct http_body *body,
                      usec_t now) {
    assert(exchange->state == HTTP_ANSWERING && !exchange->is_answered);
    exchange->is_answered = true;
    exchange->gone = NULL;
    exchange->read_by = usec_add(now, HTTP_READ_WITHIN);
    if (body) {
        http_add_head(&exchange->head, status, content_type, body->len);
    }
    if (body && !exchange->is_head) {
        exchange->body = http_body_ref(body);
    }
    if (!body || strbuf_error(&exchange->head) < 0) {
        exchange->body = http_body_unref(exchange->body);
        strbuf_clear(&exchange->head);
        http_add_head(&exchange->head, 500, "text/plain; charset=utf-8", 0);
    }
    if (strbuf_error(&exchange->head) < 0) {
        exchange->head.len = 0;
        exchange->read_by = 0; // there is not even memory for that: the loop ends it, as we may be handling it
    }
    if (!exchange->is_handling) {
        http_arm(exchange);
    }
}

void http_answer(struct http_exchange *exchange, int status, const char *content_type, struct strbuf *body,
                 usec_t now) {
    CLEANUP(http_body_unrefp) struct http_body *own = http_body_new(body, NULL);
    http_answer_body(exchange, status, content_type, own, now);
}

void http_wait(struct http_exchange *exchange, usec_t deadline, void (*gone)(void *userdata), void *userdata) {
    exchange->answer_by = deadline;
    exchange->gone = gone;
    exchange->gone_data = userdata;
}

// ---- listeners

// 0, or -ENOMEM: the connection is not taken.
static int http_open(struct http_listener *listener, int fd, usec_t now) {
    struct http *http = listener->http;
    struct http_exchange *exchange = calloc(1, sizeof(*exchange));
    if (!exchange) {
        return -ENOMEM;
    }
    exchange->io = loop_io_new(http->loop, http_on_io, exchange);
    if (!exchange->io) {
        free(exchange);
        return -ENOMEM;
    }
    exchange->http = http;
    exchange->listener = listener;
    exchange->fd = fd;
    exchange->deadline = usec_add(now, HTTP_REQUEST_WITHIN);
    exchange->is_local = listener->is_local;
    exchange->is_loopback = listener->is_loopback;
    exchange->peer =
        listener->is_local ? endpoint_get_peer(fd, listener->gid) : (struct endpoint_peer){.uid = -1, .pid = -1};
    exchange->next = http->exchanges;
    if (exchange->next) {
        exchange->next->previous = exchange;
    }
    http->exchanges = exchange;
    listener->n_exchanges++;
    http_arm(exchange);
    return 0;
}

static void http_on_accept(void *userdata, unsigned ready, usec_t now) {
    struct http_listener *listener = userdata;
    usec_t pause_until = USEC_INFINITY;
    (void)ready;
    for (unsigned i = 0; i < HTTP_ACCEPT_AT_ONCE && listener->n_exchanges < HTTP_MAX_CONNECTIONS; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            // A client that left while it waited is none of ours; for want of resources there may be some later.
            bool is_short = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
            pause_until = is_short ? usec_add(now, HTTP_ACCEPT_AGAIN) : USEC_INFINITY;
            break;
        }
        if (http_open(listener, fd, now) < 0) {
            (void)fd_close(fd);
            pause_until = usec_add(now, HTTP_ACCEPT_AGAIN);
            break;
        }
    }
    http_arm_listener(listener, pause_until);
}

static void http_arm_listener(struct http_listener *listener, usec_t pause_until) {
    bool is_full = listener->n_exchanges >= HTTP_MAX_CONNECTIONS;
    bool pauses = pause_until != USEC_INFINITY;
    // While it is full, the next that ends arms it.
    if (loop_io_arm(listener->io, listener->fd, is_full || pauses ? 0 : LOOP_READ, pause_until) < 0) {
        // Without memory for that much the loop itself is lost.
        loop_io_disarm(listener->io);
    }
}

int http_listen(struct http *http, int fd, bool is_local, gid_t gid, struct http_listener **ret) {
    struct http_listener *listener = calloc(1, sizeof(*listener));
    if (!listener) {
        return -ENOMEM;
    }
    *listener = (struct http_listener){
        .http = http, .fd = -1, .is_local = is_local, .is_loopback = !is_local && endpoint_is_loopback(fd), .gid = gid};
    listener->io = loop_io_new(http->loop, http_on_accept, listener);
    int r = listener->io ? loop_io_arm(listener->io, fd, LOOP_READ, USEC_INFINITY) : -ENOMEM;
    if (r < 0) {
        (void)loop_io_free(listener->io);
        free(listener);
        return r;
    }
    listener->fd = fd;
    listener->next = http->listeners;
    http->listeners = listener;
    *ret = listener;
    return 0;
}

void http_listener_set_gid(struct http_listener *listener, gid_t gid) {
    listener->gid = gid;
}

struct http_listener *http_unlisten(struct http_listener *listener) {
    if (!listener) {
        return NULL;
    }
    struct http *http = listener->http;
    struct http_listener **at = &http->listeners;
    while (*at != listener) {
        at = &(*at)->next;
    }
    *at = listener->next;
    for (struct http_exchange *exchange = http->exchanges; exchange; exchange = exchange->next) {
        exchange->listener = exchange->listener == listener ? NULL : exchange->listener;
    }
    (void)loop_io_free(listener->io);
    listener->fd = fd_close(listener->fd);
    free(listener);
    return NULL;
}

struct http *http_new(struct loop *loop,
                      void (*handle)(void *userdata, struct http_exchange *exchange, const struct http_request *request,
                                     usec_t now),
                      void *userdata) {
    struct http *http = calloc(1, sizeof(*http));
    if (http) {
        *http = (struct http){.loop = loop, .handle = handle, .userdata = userdata};
    }
    return http;
}

struct http *http_free(struct http *http) {
    if (!http) {
        return NULL;
    }
    while (http->exchanges) {
        (void)http_exchange_free(http->exchanges);
    }
    while (http->listeners) {
        (void)http_unlisten(http->listeners);
    }
    free(http);
    return NULL;
}
