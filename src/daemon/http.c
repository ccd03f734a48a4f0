// SPDX-License-Identifier: PostgreSQL
//
// HTTP itself is libevent's evhttp. Around it stands what that one (2.1) does not do: it counts no connections, and its
// timeout starts again at each byte.
//
// A connection over its life:
//
//   READING -> ANSWERING -> SENDING -> LINGERING -> (closed)
//      |____________________________^______________^   whatever fails, and each deadline
//
// evhttp asks for the bufferevent of each connection that it accepts (evhttp_set_bevcb), which is where we count it and
// set its deadline. It tells nobody when it lets go of one whose request never became whole. So we hold a reference to
// the bufferevent, and look after each wake-up whether evhttp has taken its callbacks off: it has freed it, then, and
// it is ours alone, socket and all.

#include "daemon/http.h"

#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "endpoint.h"
#include "http_text.h"
#include "util/fd.h"
#include "util/macro.h"

#define HTTP_MAX_HEAD 8192 // bytes of request line and header fields
#define HTTP_MAX_FIELDS 64
#define HTTP_MAX_TARGET 1024
#define HTTP_MAX_BODY 65536
#define HTTP_ACCEPT_AGAIN (100 * USEC_PER_MSEC) // when we are out of file descriptors or memory
#define HTTP_SEND_AT_ONCE 65536

enum http_state {
    HTTP_READING,   // for the request, until HTTP_REQUEST_WITHIN after the accept
    HTTP_ANSWERING, // for the handler
    HTTP_SENDING,   // for the client to take what is there, HTTP_READ_WITHIN
    HTTP_LINGERING, // evhttp has done with it: for the client to close, HTTP_LINGER
};

struct http_body {
    unsigned n_refs;
    char *data; // owned
    size_t len;
    size_t *n_held;
};

struct http_exchange {
    struct http_listener *listener;
    struct http_exchange *previous, *next;
    struct bufferevent *bev; // a reference; closes the socket with the last
    struct loop_timer *deadline;
    enum http_state state;
    struct evhttp_request *request; // in ANSWERING
    const char *allow;              // methods, for a 405
    struct loop_io *lingering;
    void (*gone)(void *userdata);
    void *gone_data;
};

struct http_listener {
    struct http *http;
    struct http_listener *next;
    int fd;                            // -1: it is closed, and lives for the exchanges that it has
    struct evhttp *server;             // of its own, so that it is known for whom a bufferevent is
    struct evhttp_bound_socket *bound; // NULL: closed
    struct loop_timer *again;
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

// Some accept has failed for want of something. What libevent hands its callback leads to nothing of ours.
static bool http_is_short;

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

static void http_release(const void *data, size_t len, void *body) {
    (void)data;
    (void)len;
    (void)http_body_unref(body);
}

// ---- exchanges

static void http_accept_again(struct http_listener *listener) {
    if (listener->bound && listener->n_exchanges < HTTP_MAX_CONNECTIONS) {
        (void)evconnlistener_enable(evhttp_bound_socket_get_listener(listener->bound));
    }
}

static struct http_exchange *http_exchange_free(struct http_exchange *exchange) {
    struct http_listener *listener = exchange->listener;
    *(exchange->previous ? &exchange->previous->next : &listener->http->exchanges) = exchange->next;
    if (exchange->next) {
        exchange->next->previous = exchange->previous;
    }
    (void)loop_io_free(exchange->lingering);
    (void)loop_timer_free(exchange->deadline);
    // libevent frees it in the next wake-up, or with the loop, when the owner of a shared body may be gone.
    struct evbuffer *unsent = bufferevent_get_output(exchange->bev);
    (void)evbuffer_unfreeze(unsent, 1);
    (void)evbuffer_drain(unsent, evbuffer_get_length(unsent));
    (void)bufferevent_decref(exchange->bev);
    if (exchange->gone) {
        exchange->gone(exchange->gone_data);
    }
    free(exchange);
    listener->n_exchanges--;
    http_accept_again(listener);
    return NULL;
}

// Has evhttp let go of it, if it has not.
static void http_drop(struct http_exchange *exchange) {
    if (exchange->state == HTTP_ANSWERING) {
        // With its request. That evhttp would leave to us if it found the failure itself.
        evhttp_connection_free(evhttp_request_get_connection(exchange->request));
    } else {
        bufferevent_trigger_event(exchange->bev, BEV_EVENT_READING | BEV_EVENT_TIMEOUT, 0);
    }
    (void)http_exchange_free(exchange);
}

static void http_on_deadline(void *userdata, usec_t now) {
    (void)now;
    http_drop(userdata);
}

// Throws away what still comes.
static void http_on_leftover(void *userdata, unsigned ready, usec_t now) {
    struct http_exchange *exchange = userdata;
    int fd = bufferevent_getfd(exchange->bev);
    char bytes[4096];
    (void)ready;
    (void)now;
    ssize_t got = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    bool lives = got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
    if (!lives || loop_io_arm(exchange->lingering, fd, LOOP_READ, USEC_INFINITY) < 0) {
        (void)http_exchange_free(exchange);
    }
}

// evhttp has sent what it had, and shut down its side. Bytes that were never read would have the kernel reset the
// connection when it closes, and the client lose the answer.
static void http_linger(struct http_exchange *exchange, usec_t now) {
    int fd = bufferevent_getfd(exchange->bev);
    exchange->state = HTTP_LINGERING;
    (void)bufferevent_disable(exchange->bev, EV_READ | EV_WRITE);
    loop_timer_set(exchange->deadline, usec_add(now, HTTP_LINGER));
    exchange->lingering = loop_io_new(exchange->listener->http->loop, http_on_leftover, exchange);
    if (!exchange->lingering || loop_io_arm(exchange->lingering, fd, LOOP_READ, USEC_INFINITY) < 0) {
        (void)http_exchange_free(exchange);
    }
}

// evhttp has freed the bufferevent: only our reference is left.
static bool http_is_let_go(const struct http_exchange *exchange) {
    bufferevent_event_cb callback;
    bufferevent_getcb(exchange->bev, NULL, NULL, &callback, NULL);
    return !callback;
}

static void http_listener_free(struct http_listener *listener);

static void http_on_rest(void *userdata, usec_t now) {
    struct http *http = userdata;
    for (struct http_exchange *exchange = http->exchanges, *next; exchange; exchange = next) {
        next = exchange->next;
        if (exchange->state != HTTP_LINGERING && http_is_let_go(exchange)) {
            http_linger(exchange, now);
        }
    }
    for (struct http_listener *listener = http->listeners, *next; listener; listener = next) {
        next = listener->next;
        if (!listener->bound && listener->n_exchanges == 0) {
            http_listener_free(listener);
        } else if (listener->bound && http_is_short) {
            loop_timer_set(listener->again, usec_add(now, HTTP_ACCEPT_AGAIN));
        }
    }
    http_is_short = false;
}

// ---- requests

// What of the header fields means something here. 0, or the status that refuses it.
static int http_take_fields(struct evhttp_request *from, struct http_request *request, const char **ret_why) {
    const struct evkeyval *field;
    unsigned n = 0, n_hosts = 0;
    TAILQ_FOREACH(field, evhttp_request_get_input_headers(from), next) {
        n++;
        if (strcasecmp(field->key, "Host") == 0) {
            request->host = field->value;
            n_hosts++;
        } else if (strcasecmp(field->key, "Accept") == 0 && !*request->accept) {
            request->accept = field->value;
        }
    }
    if (n > HTTP_MAX_FIELDS) {
        *ret_why = "too many header fields";
        return 431;
    }
    if (n_hosts > 1 || (n_hosts == 0 && from->minor > 0)) {
        *ret_why = n_hosts > 1 ? "Host is there twice" : "Host is missing";
        return 400;
    }
    return 0;
}

static int http_take_target(struct evhttp_request *from, struct http_request *request, const char **ret_why) {
    const char *target = evhttp_request_get_uri(from);
    if (strlen(target) > HTTP_MAX_TARGET) {
        *ret_why = "the path is too long";
        return 414;
    }
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(from);
    const char *path = uri ? evhttp_uri_get_path(uri) : NULL, *query = uri ? evhttp_uri_get_query(uri) : NULL;
    if (!path || !http_target_is_path(target)) {
        *ret_why = "not a path";
        return 400;
    }
    request->path = path;
    request->query = query ? query : "";
    return 0;
}

// 0 with `request`, borrowed from evhttp's; or the status that refuses it, and why.
static int http_take(const struct http_exchange *exchange, struct evhttp_request *from, struct http_request *request,
                     const char **ret_why) {
    const struct http_listener *listener = exchange->listener;
    const enum evhttp_cmd_type method = evhttp_request_get_command(from);
    *request = (struct http_request){.path = "",
                                     .query = "",
                                     .host = "",
                                     .accept = "",
                                     .body = "",
                                     .peer_uid = -1,
                                     .peer_pid = -1,
                                     .is_local = listener->is_local};
    if (method != EVHTTP_REQ_GET && method != EVHTTP_REQ_HEAD && method != EVHTTP_REQ_POST) {
        *ret_why = "only GET, HEAD and POST are known";
        return 501;
    }
    request->method = method == EVHTTP_REQ_GET ? HTTP_GET : method == EVHTTP_REQ_HEAD ? HTTP_HEAD : HTTP_POST;
    if (from->major != 1 || from->minor < 0) {
        *ret_why = "not HTTP/1";
        return 505;
    }
    int status = http_take_target(from, request, ret_why);
    if (status == 0) {
        status = http_take_fields(from, request, ret_why);
    }
    if (status != 0) {
        return status;
    }
    // A page from elsewhere, whose name its owner lets lead here, would have a browser read for it what is served to
    // this machine alone. Other addresses are the operator's to name.
    if (listener->is_loopback && *request->host && !http_host_is_numeric(request->host)) {
        *ret_why = "on a loopback address Host must be an IP address or localhost";
        return 421;
    }
    if (request->method == HTTP_POST && !request->is_local) {
        *ret_why = HTTP_LOCAL_ONLY;
        return 405;
    }
    if (request->is_local) {
        struct endpoint_peer peer = endpoint_get_peer(bufferevent_getfd(exchange->bev), listener->gid);
        request->peer_uid = peer.uid;
        request->peer_pid = peer.pid;
        request->may_command = peer.may_command;
    }
    struct evbuffer *body = evhttp_request_get_input_buffer(from);
    request->body_len = evbuffer_get_length(body);
    const char *bytes = evbuffer_add(body, "", 1) == 0 ? (const char *)evbuffer_pullup(body, -1) : NULL;
    if (!bytes) {
        *ret_why = "out of memory";
        return 500;
    }
    request->body = bytes;
    return 0;
}

static struct http_exchange *http_find(struct http *http, struct evhttp_request *request) {
    const struct bufferevent *bev = evhttp_connection_get_bufferevent(evhttp_request_get_connection(request));
    struct http_exchange *exchange = http->exchanges;
    while (exchange && exchange->bev != bev) {
        exchange = exchange->next;
    }
    return exchange;
}

static void http_on_request(struct evhttp_request *from, void *userdata) {
    struct http_listener *listener = userdata;
    struct http *http = listener->http;
    usec_t now = loop_now(http->loop);
    struct http_exchange *exchange = http_find(http, from);
    struct http_request request;
    const char *why;
    if (!exchange) {
        evhttp_send_error(from, 503, NULL); // there was no memory for it when it came
        return;
    }
    // After CONNECT evhttp would keep the connection, whatever the answer says.
    if (exchange->state != HTTP_READING || evhttp_request_get_command(from) == EVHTTP_REQ_CONNECT) {
        evhttp_connection_free(evhttp_request_get_connection(from));
        return;
    }
    exchange->state = HTTP_ANSWERING;
    exchange->allow = "GET, HEAD";
    exchange->request = from;
    loop_timer_set(exchange->deadline, usec_add(now, HTTP_ANSWER_WITHIN));
    int status = http_take(exchange, from, &request, &why);
    if (status == 0) {
        http->handle(http->userdata, exchange, &request, now);
        return;
    }
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    strbuf_addf(&text, "%s\n", why);
    http_answer(exchange, status, "text/plain; charset=utf-8", &text, now);
}

// ---- answers

// 0 or -ENOMEM.
static int http_add_answer(struct evhttp_request *to, int status, const char *allow, const char *content_type,
                           struct http_body *body) {
    struct evkeyvalq *fields = evhttp_request_get_output_headers(to);
    struct evbuffer *output = evhttp_request_get_output_buffer(to);
    char length[24];
    (void)snprintf(length, sizeof(length), "%zu", body ? body->len : 0);
    // Were "keep-alive" found there, a client of HTTP/1.0 would be promised it.
    (void)evhttp_remove_header(evhttp_request_get_input_headers(to), "Connection");
    // Numbers of now, for programs; a browser shall neither keep them nor take them for a page.
    bool failed = evhttp_add_header(fields, "Content-Type", content_type) < 0 ||
                  evhttp_add_header(fields, "Content-Length", length) < 0 ||
                  (status == 405 && evhttp_add_header(fields, "Allow", allow) < 0) ||
                  evhttp_add_header(fields, "Cache-Control", "no-store") < 0 ||
                  evhttp_add_header(fields, "X-Content-Type-Options", "nosniff") < 0 ||
                  evhttp_add_header(fields, "Connection", "close") < 0;
    if (!failed && body && body->len > 0 && evhttp_request_get_command(to) != EVHTTP_REQ_HEAD) {
        failed = evbuffer_add_reference(output, body->data, body->len, http_release, http_body_ref(body)) < 0;
        if (failed) {
            (void)http_body_unref(body);
        }
    }
    return failed ? -ENOMEM : 0;
}

void http_set_allow(struct http_exchange *exchange, const char *methods) {
    exchange->allow = methods;
}

void http_answer_body(struct http_exchange *exchange, int status, const char *content_type, struct http_body *body,
                      usec_t now) {
    assert(exchange->state == HTTP_ANSWERING);
    exchange->gone = NULL;
    if (http_add_answer(exchange->request, body ? status : 500, exchange->allow, content_type, body) < 0) {
        loop_timer_set(exchange->deadline, now); // not here: we may be handling it
        return;
    }
    exchange->state = HTTP_SENDING;
    loop_timer_set(exchange->deadline, usec_add(now, HTTP_READ_WITHIN));
    evhttp_send_reply(TAKE_PTR(exchange->request), body ? status : 500, NULL, NULL);
    // It would take the end of what the client sends for the end of the client, and keep what comes.
    (void)bufferevent_disable(exchange->bev, EV_READ);
}

void http_answer(struct http_exchange *exchange, int status, const char *content_type, struct strbuf *body,
                 usec_t now) {
    CLEANUP(http_body_unrefp) struct http_body *own = http_body_new(body, NULL);
    http_answer_body(exchange, status, content_type, own, now);
}

void http_wait(struct http_exchange *exchange, usec_t deadline, void (*gone)(void *userdata), void *userdata) {
    loop_timer_set(exchange->deadline, deadline);
    exchange->gone = gone;
    exchange->gone_data = userdata;
}

// ---- listeners

// evhttp has accepted one, and puts it into the bufferevent that we give it.
static struct bufferevent *http_on_accept(struct event_base *base, void *userdata) {
    struct http_listener *listener = userdata;
    struct http *http = listener->http;
    struct http_exchange *exchange = calloc(1, sizeof(*exchange));
    struct bufferevent *bev = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    struct loop_timer *deadline = exchange ? loop_timer_new(http->loop, http_on_deadline, exchange) : NULL;
    if (!exchange || !bev || !deadline) {
        // evhttp makes one of its own, if it can. It will be told that there is no memory.
        free(exchange);
        (void)loop_timer_free(deadline);
        if (bev) {
            bufferevent_free(bev);
        }
        return NULL;
    }
    (void)bufferevent_set_max_single_write(bev, HTTP_SEND_AT_ONCE);
    bufferevent_incref(bev);
    *exchange = (struct http_exchange){.listener = listener, .bev = bev, .deadline = deadline, .next = http->exchanges};
    loop_timer_set(deadline, usec_add(loop_now(http->loop), HTTP_REQUEST_WITHIN));
    if (exchange->next) {
        exchange->next->previous = exchange;
    }
    http->exchanges = exchange;
    if (++listener->n_exchanges == HTTP_MAX_CONNECTIONS) {
        // The next that ends has it go on.
        (void)evconnlistener_disable(evhttp_bound_socket_get_listener(listener->bound));
    }
    return bev;
}

static void http_on_accept_error(struct evconnlistener *from, void *server) {
    (void)server;
    (void)evconnlistener_disable(from);
    http_is_short = true;
}

static void http_on_again(void *userdata, usec_t now) {
    (void)now;
    http_accept_again(userdata);
}

// Closes the socket.
static void http_listener_close(struct http_listener *listener) {
    if (listener->bound) {
        evhttp_del_accept_socket(listener->server, listener->bound);
        listener->bound = NULL;
    }
    listener->fd = fd_close(listener->fd);
}

// After its exchanges.
static void http_listener_free(struct http_listener *listener) {
    struct http_listener **at = &listener->http->listeners;
    while (*at && *at != listener) {
        at = &(*at)->next;
    }
    *at = listener->next;
    http_listener_close(listener);
    if (listener->server) {
        evhttp_free(listener->server);
    }
    (void)loop_timer_free(listener->again);
    free(listener);
}

// 0 or -ENOMEM. It does not own the socket.
static int http_bind(struct http_listener *listener, int fd) {
    struct event_base *base = loop_base(listener->http->loop);
    listener->again = loop_timer_new(listener->http->loop, http_on_again, listener);
    listener->server = evhttp_new(base);
    if (!listener->again || !listener->server) {
        return -ENOMEM;
    }
    evhttp_set_max_headers_size(listener->server, HTTP_MAX_HEAD);
    evhttp_set_max_body_size(listener->server, HTTP_MAX_BODY);
    // Each that it knows: what we refuse we say ourselves.
    evhttp_set_allowed_methods(listener->server, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD | EVHTTP_REQ_PUT |
                                                     EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS | EVHTTP_REQ_TRACE |
                                                     EVHTTP_REQ_CONNECT | EVHTTP_REQ_PATCH);
    evhttp_set_bevcb(listener->server, http_on_accept, listener);
    evhttp_set_gencb(listener->server, http_on_request, listener);
    struct evconnlistener *sockets = evconnlistener_new(base, NULL, NULL, LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    if (!sockets) {
        return -ENOMEM;
    }
    evconnlistener_set_error_cb(sockets, http_on_accept_error);
    listener->bound = evhttp_bind_listener(listener->server, sockets);
    if (!listener->bound) {
        evconnlistener_free(sockets);
        return -ENOMEM;
    }
    return 0;
}

int http_listen(struct http *http, int fd, bool is_local, gid_t gid, struct http_listener **ret) {
    struct http_listener *listener = calloc(1, sizeof(*listener));
    if (!listener) {
        return -ENOMEM;
    }
    *listener = (struct http_listener){.http = http,
                                       .next = http->listeners,
                                       .fd = -1,
                                       .is_local = is_local,
                                       .is_loopback = !is_local && endpoint_is_loopback(fd),
                                       .gid = gid};
    http->listeners = listener;
    int r = http_bind(listener, fd);
    if (r < 0) {
        http_listener_free(listener);
        return r;
    }
    listener->fd = fd;
    *ret = listener;
    return 0;
}

void http_listener_set_gid(struct http_listener *listener, gid_t gid) {
    listener->gid = gid;
}

struct http_listener *http_unlisten(struct http_listener *listener) {
    if (listener) {
        http_listener_close(listener);
        if (listener->n_exchanges == 0) {
            http_listener_free(listener);
        }
    }
    return NULL;
}

struct http *http_new(struct loop *loop,
                      void (*handle)(void *userdata, struct http_exchange *exchange, const struct http_request *request,
                                     usec_t now),
                      void *userdata) {
    struct http *http = calloc(1, sizeof(*http));
    if (http) {
        *http = (struct http){.loop = loop, .handle = handle, .userdata = userdata};
        loop_on_rest(loop, http_on_rest, http);
    }
    return http;
}

struct http *http_free(struct http *http) {
    if (!http) {
        return NULL;
    }
    loop_on_rest(http->loop, NULL, NULL);
    while (http->exchanges) {
        http_drop(http->exchanges);
    }
    while (http->listeners) {
        http_listener_free(http->listeners);
    }
    free(http);
    return NULL;
}
