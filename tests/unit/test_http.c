// SPDX-License-Identifier: PostgreSQL
#include "daemon/http.h"

#include <sys/resource.h>

#include "http_world.h"
#include "support/oom.h"
#include "util/cleanup.h"
#include "util/macro.h"

#define MAX_BODY 65536 // as the server has them
#define MAX_HEAD 8192
#define MAX_FIELDS 64
#define MAX_TARGET 1024
#define LARGE ((size_t)8 << 20) // more than the kernel takes for a client that does not read

// What the handler was asked last, and what it does.
struct asked {
    struct http_exchange *exchange; // while it waits
    struct http_request request;    // without its strings
    char *path, *query, *host, *accept, *body;
    unsigned n;
    unsigned n_gone;
    size_t body_len;   // of the answer
    usec_t wait_until; // 0: it answers at once
};

static void asked_forget(struct asked *asked) {
    free(asked->path);
    free(asked->query);
    free(asked->host);
    free(asked->accept);
    free(asked->body);
}

static void asked_answer(struct asked *asked, struct http_exchange *exchange, usec_t now) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    for (size_t i = 0; i < asked->body_len; i++) {
        strbuf_add_char(&text, (char)('a' + i % 26));
    }
    http_answer(exchange, 200, "text/plain", &text, now);
}

static void asked_gone(void *userdata) {
    struct asked *asked = userdata;
    asked->n_gone++;
    asked->exchange = NULL;
}

static void asked_handle(void *userdata, struct http_exchange *exchange, const struct http_request *request,
                         usec_t now) {
    struct asked *asked = userdata;
    asked_forget(asked);
    asked->n++;
    asked->request = *request;
    asked->path = strdup(request->path);
    asked->query = strdup(request->query);
    asked->host = strdup(request->host);
    asked->accept = strdup(request->accept);
    asked->body = strdup(request->body);
    if (asked->wait_until == 0) {
        asked_answer(asked, exchange, now);
        return;
    }
    asked->exchange = exchange;
    http_wait(exchange, asked->wait_until, asked_gone, asked);
}

// The status of the answer to `text`, which comes in pieces of `step` bytes; 0: the end without one.
static int ask(struct http_world *world, const char *text, size_t len, size_t step, struct strbuf *answer) {
    CLEANUP(fd_closep) int fd = http_world_connect(world);
    bool is_over = false;
    for (size_t at = 0; at < len && !is_over; at += step) {
        // What it refuses already it need not take.
        (void)send(fd, text + at, MIN(step, len - at), MSG_NOSIGNAL);
        http_world_run(world, 0);
        is_over = http_world_read(fd, answer);
    }
    if (!is_over) {
        http_world_read_all(world, &fd, answer, 1);
    }
    int status = 0;
    (void)sscanf(strbuf_str(answer), "HTTP/%*d.%*d %d ", &status);
    return status;
}

static int ask_for(struct http_world *world, const char *text) {
    CLEANUP(strbuf_deinit) struct strbuf answer = STRBUF_EMPTY;
    return ask(world, text, strlen(text), strlen(text), &answer);
}

static void reads_in_pieces(void) {
    static const char text[] =
        "POST /api/v1/pause?name=a%20b&for=1h HTTP/1.1\r\nhost: localhost:9432\r\nAccept:  text/plain \r\n"
        "X-Other: \xc3\xa4\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1";
    static const size_t steps[] = {1, 2, 7, 100, 10000};
    CLEANUP(asked_forget) struct asked asked = {.body_len = 5};
    CLEANUP(http_world_deinit) struct http_world world;
    http_world_init(&world, true, asked_handle, &asked);
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        CLEANUP(strbuf_deinit) struct strbuf answer = STRBUF_EMPTY;
        check_context("%zu bytes at once", steps[i]);
        CHECK_EQ(ask(&world, text, sizeof(text) - 1, steps[i], &answer), 200);
        CHECK_EQ(asked.n, i + 1);
        CHECK_EQ(asked.request.method, HTTP_POST);
        CHECK_STR(asked.path, "/api/v1/pause");
        CHECK_STR(asked.query, "name=a%20b&for=1h");
        CHECK_STR(asked.host, "localhost:9432");
        CHECK_STR(asked.accept, "text/plain");
        CHECK_STR(asked.body, "abc");
        CHECK_EQ(asked.request.body_len, 3u);
        CHECK(asked.request.is_local && asked.request.may_command);
        CHECK_EQ(asked.request.peer_uid, (int64_t)getuid());
        CHECK_EQ(asked.request.peer_pid, (int64_t)getpid());
        CHECK_CONTAINS(strbuf_str(&answer), "\r\nContent-Length: 5\r\n");
        CHECK_CONTAINS(strbuf_str(&answer), "\r\nConnection: close\r\n");
        CHECK_CONTAINS(strbuf_str(&answer), "\r\nCache-Control: no-store\r\n");
        CHECK_CONTAINS(strbuf_str(&answer), "\r\n\r\nabcde");
    }
}

static void reads_little(void) {
    static const char *const texts[] = {"GET / HTTP/1.0\n\n", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
                                        "GET / HTTP/1.1\r\nHost:\r\n\r\n"};
    CLEANUP(asked_forget) struct asked asked = {0};
    CLEANUP(http_world_deinit) struct http_world world;
    http_world_init(&world, false, asked_handle, &asked);
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        CLEANUP(strbuf_deinit) struct strbuf answer = STRBUF_EMPTY;
        check_context("%s", texts[i]);
        CHECK_EQ(ask(&world, texts[i], strlen(texts[i]), 5, &answer), 200);
        CHECK_STR(asked.path, "/");
        CHECK_STR(asked.query, "");
        CHECK_STR(asked.host, "");
        CHECK_STR(asked.accept, "");
        CHECK_STR(asked.body, "");
        CHECK(!asked.request.is_local && !asked.request.may_command);
        CHECK_EQ(asked.request.peer_uid, -1);
        CHECK_CONTAINS(strbuf_str(&answer), "\r\nConnection: close\r\n");
        CHECK_LACKS(strbuf_str(&answer), "keep-alive");
    }
}

#define GET "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"

static void refuses(void) {
    static const struct {
        const char *text;
        int status;
    } cases[] = {
        {"\r\n", 400},
        {"\x16\x03\x01\n", 400}, // TLS
        {"GET /\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n\r\n", 400}, // no Host
        {GET "Host: 127.0.0.1\r\n\r\n", 400},
        {GET "no colon\r\n\r\n", 400},
        {GET "Content-Length: x\r\n\r\n", 400},
        {GET "Content-Length: 1, 1\r\n\r\n", 400},
        {GET "Content-Length: -1\r\n\r\n", 400},
        {GET "Content-Length: 65537\r\n\r\n", 413},
        {GET "Content-Length: 99999999999999999999999999\r\n\r\n", 413},
        {GET "Transfer-Encoding: chunked\r\n\r\nfffff\r\n", 413},
        {GET "Transfer-Encoding: chunked\r\n\r\nx\r\n", 413},
        {GET "Expect: wonders\r\nContent-Length: 1\r\n\r\n", 417},
        {"GET http://x/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400},
        {"GET //x/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400},
        {"GET * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400},
        {"GET /a b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400},
        {"GET /\xc3\xa4 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400},
        {"GET /#a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400},
        {"PUT / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 501},
        {"DELETE / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 501},
        {"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 501},
        {"CONNECT a:1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 0},
        {"BREW / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 501},
        {"get / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 501},
        {"GET / HTTP/2.0\r\nHost: 127.0.0.1\r\n\r\n", 400},
        {"GET / HTTP/0.9\r\nHost: 127.0.0.1\r\n\r\n", 505},
        {"GET / HTTP/1.-1\r\nHost: 127.0.0.1\r\n\r\n", 505},
        {"GET / SMTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 405},
        {"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421},
        {"HEAD / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421},
    };
    CLEANUP(asked_forget) struct asked asked = {0};
    CLEANUP(http_world_deinit) struct http_world world;
    http_world_init(&world, false, asked_handle, &asked);
    usec_t began = clock_monotonic();
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        check_context("case %zu: %s", i, cases[i].text);
        CHECK_EQ(ask_for(&world, cases[i].text), cases[i].status);
        CHECK_EQ(asked.n, 0u);
    }
    CHECK_EQ(ask_for(&world, GET "\r\n"), 200);
    CHECK_LT(clock_monotonic(), began + HTTP_REQUEST_WITHIN); // nobody has waited for a deadline
}

// One at its limit, then one beyond.
static void is_bounded(void) {
    CLEANUP(asked_forget) struct asked asked = {0};
    CLEANUP(http_world_deinit) struct http_world world;
    http_world_init(&world, false, asked_handle, &asked);
    for (size_t more = 0; more < 2; more++) {
        CLEANUP(strbuf_deinit) struct strbuf fields = STRBUF_EMPTY;
        CLEANUP(strbuf_deinit) struct strbuf head = STRBUF_EMPTY;
        CLEANUP(strbuf_deinit) struct strbuf target = STRBUF_EMPTY;
        CLEANUP(strbuf_deinit) struct strbuf body = STRBUF_EMPTY;
        strbuf_add(&fields, GET);
        for (size_t i = 1; i < MAX_FIELDS + more; i++) {
            strbuf_add(&fields, "a: b\r\n");
        }
        strbuf_add(&fields, "\r\n");
        CHECK_EQ(ask_for(&world, strbuf_str(&fields)), more ? 431 : 200);

        strbuf_add(&head, GET "X: ");
        while (head.len < MAX_HEAD + more * 10) { // libevent does not count the ends of lines
            strbuf_add_char(&head, 'x');
        }
        strbuf_add(&head, "\r\n\r\n");
        CHECK_EQ(ask_for(&world, strbuf_str(&head)), more ? 400 : 200);

        strbuf_add(&target, "GET /");
        while (target.len < 4 + MAX_TARGET + more) {
            strbuf_add_char(&target, 'x');
        }
        strbuf_add(&target, " HTTP/1.0\r\n\r\n");
        CHECK_EQ(ask_for(&world, strbuf_str(&target)), more ? 414 : 200);

        strbuf_addf(&body, GET "Content-Length: %zu\r\n\r\n", MAX_BODY + more);
        for (size_t i = 0; i < MAX_BODY + more; i++) {
            strbuf_add_char(&body, 'x');
        }
        CHECK_EQ(ask_for(&world, strbuf_str(&body)), more ? 413 : 200);
        CHECK(more || strlen(asked.body) == MAX_BODY);
    }
    // A line that has no end.
    CLEANUP(strbuf_deinit) struct strbuf endless = STRBUF_EMPTY;
    while (endless.len < 3 * MAX_HEAD) {
        strbuf_add_char(&endless, 'x');
    }
    CHECK_EQ(ask_for(&world, strbuf_str(&endless)), 400);
}

static void an_answer_may_come_later(void) {
    CLEANUP(asked_forget) struct asked asked = {.body_len = LARGE};
    CLEANUP(http_world_deinit) struct http_world world;
    http_world_init(&world, true, asked_handle, &asked);
    asked.wait_until = usec_add(clock_monotonic(), 30 * USEC_PER_SEC);
    CLEANUP(strbuf_deinit) struct strbuf answer = STRBUF_EMPTY;
    CLEANUP(fd_closep) int fd = http_world_ask(&world, GET "\r\n");
    http_world_run(&world, 10 * USEC_PER_MSEC);
    CHECK_NOT_NULL(asked.exchange);
    asked_answer(&asked, asked.exchange, clock_monotonic());
    http_world_read_all(&world, &fd, &answer, 1);
    CHECK_CONTAINS(strbuf_str(&answer), "\r\n\r\nabcdefg");
    CHECK_GT(answer.len, LARGE);
    CHECK_EQ(asked.n_gone, 0u);
}

static void whoever_waits_for_it_is_told_when_it_is_too_late(void) {
    CLEANUP(asked_forget) struct asked asked = {0};
    CLEANUP(http_world_deinit) struct http_world world;
    http_world_init(&world, true, asked_handle, &asked);
    asked.wait_until = usec_add(clock_monotonic(), 50 * USEC_PER_MSEC);
    CLEANUP(strbuf_deinit) struct strbuf answer = STRBUF_EMPTY;
    CLEANUP(fd_closep) int fd = http_world_ask(&world, GET "\r\n");
    http_world_read_all(&world, &fd, &answer, 1);
    CHECK_GE(clock_monotonic(), asked.wait_until);
    CHECK_STR(strbuf_str(&answer), "");
    CHECK_EQ(asked.n_gone, 1u);
    // And when all ends.
    asked.wait_until = usec_add(clock_monotonic(), 30 * USEC_PER_SEC);
    CLEANUP(fd_closep) int other = http_world_ask(&world, GET "\r\n");
    http_world_run(&world, 10 * USEC_PER_MSEC);
    CHECK(other >= 0 && asked.exchange);
    world.listener = http_unlisten(world.listener);
    world.http = http_free(world.http);
    CHECK_EQ(asked.n_gone, 2u);
}

static void what_is_under_way_is_finished(void) {
    CLEANUP(asked_forget) struct asked asked = {.body_len = LARGE};
    CLEANUP(http_world_deinit) struct http_world world;
    http_world_init(&world, true, asked_handle, &asked);
    CLEANUP(strbuf_deinit) struct strbuf answer = STRBUF_EMPTY;
    CLEANUP(fd_closep) int fd = http_world_ask(&world, GET "\r\n");
    http_world_run(&world, 10 * USEC_PER_MSEC);
    CHECK_EQ(asked.n, 1u);
    world.listener = http_unlisten(world.listener);
    CLEANUP(fd_closep) int late = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_LT(connect(late, &world.address.any, world.address_len), 0);
    http_world_read_all(&world, &fd, &answer, 1);
    CHECK_GT(answer.len, LARGE);
}

// A client that has said all that it wants to say, and tells so.
static void who_sends_no_more_is_answered(void) {
    CLEANUP(asked_forget) struct asked asked = {.body_len = LARGE};
    CLEANUP(http_world_deinit) struct http_world world;
    http_world_init(&world, true, asked_handle, &asked);
    CLEANUP(strbuf_deinit) struct strbuf answer = STRBUF_EMPTY;
    CLEANUP(fd_closep) int fd = http_world_ask(&world, GET "\r\n");
    CHECK_EQ(shutdown(fd, SHUT_WR), 0);
    http_world_read_all(&world, &fd, &answer, 1);
    CHECK_GT(answer.len, LARGE);
}

// Each of them in a state of its own when the server goes.
static void it_may_end_at_any_time(void) {
    CLEANUP(asked_forget) struct asked asked = {.body_len = LARGE};
    CLEANUP(http_world_deinit) struct http_world world;
    http_world_init(&world, true, asked_handle, &asked);
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    CLEANUP(fd_closep) int silent = http_world_connect(&world);
    CLEANUP(fd_closep) int reading = http_world_ask(&world, "GET / HT");
    CLEANUP(fd_closep) int sending = http_world_ask(&world, GET "\r\n");
    CLEANUP(fd_closep) int lingering = http_world_ask(&world, "x\r\n\r\n");
    CLEANUP(fd_closep) int left = http_world_connect(&world);
    http_world_run(&world, 10 * USEC_PER_MSEC);
    left = fd_close(left);
    CHECK(silent >= 0 && reading >= 0 && sending >= 0);
    CHECK_EQ(asked.n, 1u);
    CHECK(http_world_read(lingering, &text));
    CHECK_CONTAINS(strbuf_str(&text), " 400 ");
}

// Whoever takes no answer and sends on has no more read of it than the limits say.
static void who_only_sends_is_not_heard(void) {
    CLEANUP(asked_forget) struct asked asked = {.body_len = LARGE};
    CLEANUP(http_world_deinit) struct http_world world;
    char bytes[65536] = {0};
    size_t sent = 0;
    http_world_init(&world, false, asked_handle, &asked);
    CLEANUP(fd_closep) int fd = http_world_ask(&world, GET "\r\n");
    http_world_run(&world, 10 * USEC_PER_MSEC);
    size_t n_live = oom_n_live();
    for (unsigned i = 0; i < 2000; i++) {
        ssize_t n = send(fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
        http_world_run(&world, 0);
    }
    // The kernel's buffers, and those of ours.
    CHECK_LT(sent, 20u << 20);
    CHECK_LE(oom_n_live(), n_live + 100);
}

static usec_t cpu_time(void) {
    struct rusage usage;
    CHECK_EQ(getrusage(RUSAGE_SELF, &usage), 0);
    return (usec_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * USEC_PER_SEC +
           (usec_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

// False: valgrind has accepted for want of a descriptor, and closed it.
static bool run_out_of_descriptors(void) {
    CLEANUP(asked_forget) struct asked asked = {.body_len = 1};
    CLEANUP(http_world_deinit) struct http_world world;
    CLEANUP(strbuf_deinit) struct strbuf answer = STRBUF_EMPTY;
    struct rlimit before;
    http_world_init(&world, true, asked_handle, &asked);
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    CLEANUP(fd_closep) int fd = http_world_ask(&world, GET "\r\n");
    const struct rlimit none_left = {.rlim_cur = (rlim_t)fd + 1, .rlim_max = before.rlim_max};
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none_left), 0);
    usec_t spent = cpu_time();
    http_world_run(&world, 500 * USEC_PER_MSEC);
    spent = cpu_time() - spent;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    char byte;
    if (recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == ECONNRESET && oom_n_live() == 0) {
        return false;
    }
    CHECK_EQ(asked.n, 0u);
    CHECK_LT(spent, 50 * USEC_PER_MSEC); // it does not try all the time
    http_world_read_all(&world, &fd, &answer, 1);
    CHECK_EQ(asked.n, 1u);
    return true;
}

static void it_waits_for_a_descriptor(void) {
    if (!run_out_of_descriptors()) {
        check_skip("valgrind accepts what there is no descriptor for, and closes it");
    }
}

static int new_and_free(void *userdata) {
    struct http *http = http_new(userdata, asked_handle, NULL);
    (void)http_free(http);
    return http ? 0 : -ENOMEM;
}

// The status; 0: it was closed without one. At the end `n_live` blocks are in use, as before.
static int ask_once(struct http_world *world, size_t n_live) {
    static const char text[] = GET "\r\n";
    usec_t deadline = usec_add(clock_monotonic(), 5 * USEC_PER_SEC);
    char answer[1000] = "";
    CLEANUP(fd_closep) int fd = http_world_connect(world);
    http_world_send(fd, text, strlen(text));
    // Of a few bytes, which come at once.
    while (recv(fd, answer, sizeof(answer) - 1, MSG_DONTWAIT) < 0 && errno == EAGAIN) {
        CHECK(clock_monotonic() < deadline);
        http_world_run(world, 0);
    }
    fd = fd_close(fd);
    while (oom_n_live() > n_live) {
        CHECK(clock_monotonic() < deadline);
        http_world_run(world, 0);
    }
    int status = 0;
    (void)sscanf(answer, "HTTP/%*d.%*d %d ", &status);
    return status;
}

static void answer_quickly(void *userdata, struct http_exchange *exchange, const struct http_request *request,
                           usec_t now) {
    struct strbuf text = STRBUF_EMPTY;
    (void)userdata;
    (void)request;
    http_answer(exchange, 200, "text/plain", &text, now);
}

static void out_of_memory(void) {
    CLEANUP(http_world_deinit) struct http_world world;
    struct loop *loop = loop_new();
    CHECK_NOT_NULL(loop);
    oom_sweep(new_and_free, loop);
    (void)loop_free(loop);
    http_world_init(&world, true, answer_quickly, NULL);
    CHECK_EQ(ask_once(&world, SIZE_MAX), 200);
    http_world_run(&world, 10 * USEC_PER_MSEC);
    size_t n_live = oom_n_live(); // the loop has the memory that it needs for itself
    bool has_failed = true;
    unsigned n = 0, n_refused = 0;
    while (has_failed) {
        n++;
        check_context("with allocation %u failing", n);
        oom_arm(n);
        int status = ask_once(&world, n_live);
        has_failed = oom_disarm();
        CHECK(status == 200 || (has_failed && (status == 0 || status == 500 || status == 503)));
        n_refused += status != 200;
    }
    CHECK(n == 1 || n_refused > 0); // 1: none can be made to fail here
}

CHECK_MAIN({"reads_in_pieces", reads_in_pieces}, {"reads_little", reads_little}, {"refuses", refuses},
           {"is_bounded", is_bounded}, {"an_answer_may_come_later", an_answer_may_come_later},
           {"whoever_waits_for_it_is_told_when_it_is_too_late", whoever_waits_for_it_is_told_when_it_is_too_late},
           {"what_is_under_way_is_finished", what_is_under_way_is_finished},
           {"who_sends_no_more_is_answered", who_sends_no_more_is_answered},
           {"it_may_end_at_any_time", it_may_end_at_any_time},
           {"who_only_sends_is_not_heard", who_only_sends_is_not_heard},
           {"it_waits_for_a_descriptor", it_waits_for_a_descriptor}, {"out_of_memory", out_of_memory})
