// SPDX-License-Identifier: PostgreSQL
#pragma once

// A real server of ours on a loop, and clients of it in the same thread: what is sent waits in the kernel until the
// loop has run.

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/http.h"
#include "support/check.h"
#include "util/fd.h"

struct http_world {
    struct loop *loop;
    struct http *http;
    struct http_listener *listener;
    struct loop_timer *timer;
    union {
        struct sockaddr any;
        struct sockaddr_in inet;
        struct sockaddr_un local;
    } address;
    socklen_t address_len;
    char folder[32]; // "": TCP
};

static inline void http_world_stop(void *userdata, usec_t now) {
    (void)now;
    loop_stop(userdata);
}

static inline void http_world_init(struct http_world *world, bool is_local,
                                   void (*handle)(void *userdata, struct http_exchange *exchange,
                                                  const struct http_request *request, usec_t now),
                                   void *userdata) {
    *world = (struct http_world){.loop = loop_new()};
    CHECK_NOT_NULL(world->loop);
    world->timer = loop_timer_new(world->loop, http_world_stop, world->loop);
    CHECK_NOT_NULL(world->timer);
    if (is_local) {
        strcpy(world->folder, "/tmp/pgvigil-http-XXXXXX");
        CHECK_NOT_NULL(mkdtemp(world->folder));
        world->address.local.sun_family = AF_UNIX;
        (void)snprintf(world->address.local.sun_path, sizeof(world->address.local.sun_path), "%s/s", world->folder);
        world->address_len = sizeof(world->address.local);
    } else {
        world->address.inet = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        world->address_len = sizeof(world->address.inet);
    }
    int fd = socket(world->address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK_EQ(bind(fd, &world->address.any, world->address_len), 0);
    CHECK_EQ(listen(fd, 4 * HTTP_MAX_CONNECTIONS), 0);
    CHECK_EQ(getsockname(fd, &world->address.any, &world->address_len), 0);
    world->http = http_new(world->loop, handle, userdata);
    CHECK_NOT_NULL(world->http);
    CHECK_EQ(http_listen(world->http, fd, is_local, getgid(), &world->listener), 0);
}

static inline void http_world_deinit(struct http_world *world) {
    (void)http_unlisten(world->listener);
    (void)http_free(world->http);
    (void)loop_timer_free(world->timer);
    (void)loop_free(world->loop);
    if (*world->folder) {
        (void)unlink(world->address.local.sun_path);
        (void)rmdir(world->folder);
    }
}

static inline void http_world_run(struct http_world *world, usec_t duration) {
    loop_timer_set(world->timer, usec_add(clock_monotonic(), duration));
    CHECK_EQ(loop_run(world->loop), 0);
}

static inline void http_world_send(int fd, const char *bytes, size_t len) {
    CHECK_EQ(send(fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

static inline int http_world_connect(const struct http_world *world) {
    int fd = socket(world->address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(connect(fd, &world->address.any, world->address_len), 0);
    return fd;
}

static inline int http_world_ask(const struct http_world *world, const char *request) {
    int fd = http_world_connect(world);
    http_world_send(fd, request, strlen(request));
    return fd;
}

// What there is to be read. True: that was all.
static inline bool http_world_read(int fd, struct strbuf *text) {
    char bytes[65536];
    ssize_t got;
    while ((got = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0) {
        strbuf_add_bytes(text, bytes, (size_t)got);
    }
    CHECK(got == 0 || errno == EAGAIN); // a reset would have lost an answer
    return got == 0;
}

// Runs the loop until all have been read to their ends.
static inline void http_world_read_all(struct http_world *world, const int *fds, struct strbuf *texts, size_t n) {
    usec_t deadline = usec_add(clock_monotonic(), 20 * USEC_PER_SEC);
    size_t n_done = 0;
    while (n_done < n) {
        CHECK(clock_monotonic() < deadline);
        http_world_run(world, USEC_PER_MSEC);
        n_done = 0;
        for (size_t i = 0; i < n; i++) {
            n_done += http_world_read(fds[i], &texts[i]);
        }
    }
}
