// SPDX-License-Identifier: PostgreSQL
#include "front.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "endpoint.h"
#include "util/cleanup.h"
#include "util/fd.h"
#include "util/macro.h"

// One of the two, open or not.
struct door {
    char *name; // address or path as configured; NULL: closed
    char *host; // of TCP
    uint16_t port;
    char *group; // of the socket; NULL: ours
    struct endpoint_socket socket;
    struct http_listener *listener;
};

enum door_kind { DOOR_TCP, DOOR_SOCKET, N_DOORS };
static const struct {
    const char *key;
    const char *without; // it
    const char *hint;
} doors[] = {
    [DOOR_TCP] = {"http.listen", "/metrics, /healthz, /readyz and /api/v1/status are not served",
                  "write http: { listen: ADDRESS:PORT } with one that is free, or http: { listen: off }"},
    [DOOR_SOCKET] = {"control.socket", "status, pause, resume, reload and health do not reach this daemon",
                     "write control: { socket: PATH } with a path that pgvigil may make, or control: { socket: off }"},
};

// What front_prepare() has found for one of them.
struct plan {
    bool keeps;       // what is open stays
    bool is_again;    // what is open is out of reach, as its socket was deleted: it is opened anew
    struct door next; // open, or closed
    bool was_closed;  // the one before had to make way: to be opened again by abort
    bool was_regrouped;
    gid_t gid_before; // of the socket, which abort gives back to it
    char *group_before;
    struct strbuf failure;
};

struct front {
    struct http *http;
    struct sinks *sinks;
    struct door doors[N_DOORS];
    struct plan plans[N_DOORS];
};

static void door_close(struct door *door) {
    door->listener = http_unlisten(door->listener);
    endpoint_socket_remove(&door->socket);
    free(door->name);
    free(door->host);
    free(door->group);
    *door = (struct door){0};
}

// `door` says what; 0, or -errno with `why`.
static int door_open(struct front *front, enum door_kind kind, struct door *door, struct strbuf *why) {
    CLEANUP(fd_closep) int fd = -1;
    int r = kind == DOOR_TCP ? endpoint_listen_tcp(door->host, door->port, &fd, why)
                             : endpoint_listen_unix(door->name, door->group, &fd, &door->socket, why);
    if (r < 0) {
        return r;
    }
    r = http_listen(front->http, fd, kind == DOOR_SOCKET, door->socket.gid, &door->listener);
    if (r < 0) {
        strbuf_add(why, strerror(-r));
        endpoint_socket_remove(&door->socket);
        return r;
    }
    fd = -1;
    return 0;
}

static char *door_copy(const char *text, bool *failed) {
    char *copy = text ? strdup(text) : NULL;
    *failed |= text && !copy;
    return copy;
}

// 0 or -ENOMEM.
static int door_describe(enum door_kind kind, const struct config *config, struct door *ret) {
    bool failed = false;
    struct door door = {0};
    if (kind == DOOR_TCP) {
        door.name = door_copy(config->http.listen, &failed);
        door.host = door_copy(config->http.host, &failed);
        door.port = config->http.port;
    } else {
        door.name = door_copy(config->control.socket, &failed);
        door.group = door_copy(config->control.group, &failed);
    }
    if (failed) {
        door_close(&door);
        return -ENOMEM;
    }
    *ret = door;
    return 0;
}

static bool front_is_same(const char *a, const char *b) {
    return a && b ? strcmp(a, b) == 0 : a == b;
}

// The same path: another group, perhaps. 0 or -errno with `failure`.
static int front_regroup(struct door *door, struct plan *plan) {
    if (front_is_same(door->group, plan->next.group)) {
        return 0;
    }
    gid_t before = door->socket.gid;
    int r = endpoint_socket_set_group(&door->socket, plan->next.group, &plan->failure);
    if (r == 0) {
        http_listener_set_gid(door->listener, door->socket.gid);
        plan->was_regrouped = true;
        plan->gid_before = before;
        plan->group_before = door->group;
        door->group = TAKE_PTR(plan->next.group);
    }
    return r;
}

static void front_undo_regroup(struct door *door, struct plan *plan) {
    (void)endpoint_socket_set_gid(&door->socket, plan->gid_before, &plan->failure);
    http_listener_set_gid(door->listener, door->socket.gid);
    free(door->group);
    door->group = TAKE_PTR(plan->group_before);
}

// From 127.0.0.1:9432 to 0.0.0.0:9432 there is no way but by closing the first.
static bool front_must_make_way(enum door_kind kind, const struct door *door, const struct door *next) {
    return kind == DOOR_TCP && door->listener && door->port == next->port;
}

static int front_plan(struct front *front, enum door_kind kind, const struct config *config) {
    struct door *door = &front->doors[kind];
    struct plan *plan = &front->plans[kind];
    int r = door_describe(kind, config, &plan->next);
    if (r < 0) {
        strbuf_add(&plan->failure, strerror(-r));
        return r;
    }
    bool is_same = door->listener && front_is_same(door->name, plan->next.name);
    plan->is_again = is_same && kind == DOOR_SOCKET && !endpoint_socket_is_there(&door->socket);
    plan->keeps = is_same && !plan->is_again;
    if (plan->keeps) {
        r = front_regroup(door, plan);
        door_close(&plan->next);
        return r;
    }
    if (!plan->next.name) {
        return 0;
    }
    if (front_must_make_way(kind, door, &plan->next)) {
        door->listener = http_unlisten(door->listener);
        plan->was_closed = true;
    }
    r = door_open(front, kind, &plan->next, &plan->failure);
    bool is_written = kind == DOOR_TCP ? config->http.is_written : config->control.is_written;
    return r == -ENOMEM || is_written ? r : 0;
}

static void front_forget_plans(struct front *front) {
    for (size_t i = 0; i < N_DOORS; i++) {
        door_close(&front->plans[i].next);
        free(front->plans[i].group_before);
        strbuf_deinit(&front->plans[i].failure);
        front->plans[i] = (struct plan){0};
    }
}

int front_prepare(struct front *front, const struct config *config, struct strbuf *why) {
    int r = 0;
    for (unsigned i = 0; i < N_DOORS && r == 0; i++) {
        r = front_plan(front, (enum door_kind)i, config);
        if (r < 0) {
            const char *name = front->plans[i].next.name ? front->plans[i].next.name : front->doors[i].name;
            strbuf_addf(why, "%s: cannot listen on %s: %s", doors[i].key, name ? name : "it",
                        strbuf_str(&front->plans[i].failure));
        }
    }
    if (r < 0) {
        front_abort(front);
    }
    return r;
}

static void front_say_failure(struct front *front, enum door_kind kind) {
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    const struct plan *plan = &front->plans[kind];
    struct event event = event_make(EVENT_CONFIG_LOADED, EVENT_WARNING, NULL);
    strbuf_addf(&detail, "cannot listen on %s, the default of %s: %s; %s", plan->next.name, doors[kind].key,
                strbuf_str(&plan->failure), doors[kind].without);
    event.reason = EVENT_REASON_NOT_LISTENING;
    event.detail = strbuf_str(&detail);
    event.hint = doors[kind].hint;
    (void)sinks_emit(front->sinks, &event);
}

static void front_say_again(struct front *front, enum door_kind kind) {
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    struct event event = event_make(EVENT_CONFIG_LOADED, EVENT_NOTICE, NULL);
    strbuf_addf(&detail, "%s: %s had been deleted, and is there again", doors[kind].key, front->doors[kind].name);
    event.reason = "listening_again";
    event.detail = strbuf_str(&detail);
    (void)sinks_emit(front->sinks, &event);
}

void front_commit(struct front *front) {
    for (unsigned i = 0; i < N_DOORS; i++) {
        struct plan *plan = &front->plans[i];
        if (plan->keeps) {
            continue;
        }
        door_close(&front->doors[i]);
        if (plan->next.listener) {
            front->doors[i] = plan->next;
            plan->next = (struct door){0};
            if (plan->is_again) {
                front_say_again(front, (enum door_kind)i);
            }
        } else if (plan->next.name) {
            front_say_failure(front, (enum door_kind)i);
        }
    }
    front_forget_plans(front);
}

void front_abort(struct front *front) {
    for (unsigned i = 0; i < N_DOORS; i++) {
        struct door *door = &front->doors[i];
        struct plan *plan = &front->plans[i];
        door_close(&plan->next);
        strbuf_clear(&plan->failure);
        if (plan->was_regrouped) {
            front_undo_regroup(door, plan);
        }
        if (plan->was_closed && door_open(front, (enum door_kind)i, door, &plan->failure) < 0) {
            CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
            struct event event = event_make(EVENT_CONFIG_LOADED, EVENT_WARNING, NULL);
            strbuf_addf(&detail, "cannot listen on %s any more, of %s: %s; %s", door->name, doors[i].key,
                        strbuf_str(&plan->failure), doors[i].without);
            event.reason = EVENT_REASON_NOT_LISTENING;
            event.hint = doors[i].hint;
            event.detail = strbuf_str(&detail);
            (void)sinks_emit(front->sinks, &event);
            door_close(door);
        }
    }
    front_forget_plans(front);
}

const char *front_listen(const struct front *front) {
    return front->doors[DOOR_TCP].listener ? front->doors[DOOR_TCP].name : NULL;
}

const char *front_socket(const struct front *front) {
    return front->doors[DOOR_SOCKET].listener ? front->doors[DOOR_SOCKET].name : NULL;
}

struct front *front_new(struct loop *loop, struct sinks *sinks,
                        void (*handle)(void *userdata, struct http_exchange *exchange,
                                       const struct http_request *request, usec_t now),
                        void *userdata) {
    struct front *front = calloc(1, sizeof(*front));
    if (!front) {
        return NULL;
    }
    front->sinks = sinks;
    front->http = http_new(loop, handle, userdata);
    return front->http ? front : front_free(front);
}

struct front *front_free(struct front *front) {
    if (!front) {
        return NULL;
    }
    front_forget_plans(front);
    for (unsigned i = 0; i < N_DOORS; i++) {
        door_close(&front->doors[i]);
    }
    (void)http_free(front->http);
    free(front);
    return NULL;
}
