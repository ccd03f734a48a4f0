// SPDX-License-Identifier: PostgreSQL

// Any bytes as a request to the real server, over a socket: what the handler is given is a path of printable
// characters and within the limits, how the bytes are cut into pieces makes no difference, and each connection ends
// soon.

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../src/daemon/http_text.h"
#include "daemon/clock.h"
#include "daemon/http.h"
#include "util/fd.h"
#include "util/macro.h"

#define FUZZ_MAX_SIZE ((size_t)100000)
#define FUZZ_MAX_HEAD 8192
#define FUZZ_MAX_BODY 65536
#define FUZZ_MAX_TARGET 1024
#define FUZZ_TURNS 10000 // of the loop, for one connection

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fuzz {
    struct loop *loop; // NULL: not begun
    struct loop_timer *timer;
    struct http *http;
    struct http_listener *listener;
    struct sockaddr_un address;
    socklen_t address_len;
} fuzz;

static void fuzz_handle(void *userdata, struct http_exchange *exchange, const struct http_request *request,
                        usec_t now) {
    CLEANUP(freep) char *value = NULL;
    struct strbuf text = STRBUF_EMPTY;
    (void)userdata;
    assert(request->path[0] == '/' && strlen(request->path) + strlen(request->query) <= FUZZ_MAX_TARGET);
    for (const char *c = request->path; *c; c++) {
        assert(*c > ' ' && *c < 0x7f);
    }
    assert(request->body_len <= FUZZ_MAX_BODY && request->body[request->body_len] == '\0');
    assert(strlen(request->host) + strlen(request->accept) <= FUZZ_MAX_HEAD);
    (void)http_host_is_numeric(request->host);
    int r = http_query_get(request->query, "a", &value);
    static const char *const names[] = {"a", NULL};
    size_t len;
    const char *unread = http_query_unread(request->query, names, &len);
    assert(!unread || strlen(unread) >= len);
    assert(r <= 0);
    strbuf_add(&text, "ok\n");
    http_answer(exchange, 200, "text/plain", &text, now);
}

static void fuzz_stop(void *userdata, usec_t now) {
    (void)userdata;
    (void)now;
    loop_stop(fuzz.loop);
}

static void fuzz_turn(void) {
    loop_timer_set(fuzz.timer, clock_monotonic());
    int r = loop_run(fuzz.loop);
    assert(r == 0);
}

static void fuzz_end(void) {
    (void)http_unlisten(fuzz.listener);
    (void)http_free(fuzz.http);
    (void)loop_timer_free(fuzz.timer);
    (void)loop_free(fuzz.loop);
}

static void fuzz_begin(void) {
    fuzz.loop = loop_new();
    fuzz.timer = loop_timer_new(fuzz.loop, fuzz_stop, NULL);
    fuzz.http = http_new(fuzz.loop, fuzz_handle, NULL);
    assert(fuzz.timer && fuzz.http);
    // The kernel finds a name for it, which is no file's.
    fuzz.address.sun_family = AF_UNIX;
    fuzz.address_len = sizeof(fuzz.address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int r = bind(fd, (const struct sockaddr *)&fuzz.address, offsetof(struct sockaddr_un, sun_path));
    assert(r == 0);
    r = getsockname(fd, (struct sockaddr *)&fuzz.address, &fuzz.address_len);
    assert(r == 0);
    r = listen(fd, HTTP_MAX_CONNECTIONS);
    assert(r == 0);
    r = http_listen(fuzz.http, fd, true, getgid(), &fuzz.listener);
    assert(r == 0);
    (void)atexit(fuzz_end);
}

// The status of the answer; 0: none. In pieces of at most `step` bytes.
static int fuzz_ask(const uint8_t *data, size_t size, size_t step) {
    char answer[4096];
    ssize_t got = -1;
    int status = 0;
    CLEANUP(fd_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int r = connect(fd, (const struct sockaddr *)&fuzz.address, fuzz.address_len);
    assert(r == 0);
    for (size_t at = 0; at < size; at += step) {
        (void)send(fd, data + at, MIN(step, size - at), MSG_NOSIGNAL); // what it refuses already it need not take
        fuzz_turn();
    }
    (void)shutdown(fd, SHUT_WR);
    for (unsigned i = 0; got < 0; i++) {
        assert(i < FUZZ_TURNS);
        fuzz_turn();
        got = recv(fd, answer, sizeof(answer) - 1, MSG_DONTWAIT);
    }
    answer[got] = '\0';
    assert(got == 0 || sscanf(answer, "HTTP/%*d.%*d %d ", &status) == 1);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!fuzz.loop) {
        fuzz_begin();
    }
    size = MIN(size, FUZZ_MAX_SIZE);
    usec_t began = clock_monotonic();
    int status = fuzz_ask(data, size, MAX(size, (size_t)1));
    int other = fuzz_ask(data, size, MAX(size / 3, (size_t)1));
    // On a machine that stood still meanwhile, a deadline has ended the one and not the other.
    assert(status == other || clock_monotonic() > usec_add(began, HTTP_REQUEST_WITHIN / 2));
    return 0;
}
