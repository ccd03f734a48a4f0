// SPDX-License-Identifier: PostgreSQL
#include <errno.h>
#include <string.h>

#include "../../src/daemon/http_message.h"
#include "support/check.h"
#include "support/oom.h"
#include "util/cleanup.h"

// Feeds `text` in pieces of `step` bytes. Returns the progress; the status that refuses it in *ret_status.
static enum http_progress feed(struct http_reader *reader, const char *text, size_t len, size_t step, int *ret_status) {
    enum http_progress progress = HTTP_MORE;
    const char *why = NULL;
    *ret_status = 0;
    for (size_t at = 0; at < len && progress == HTTP_MORE;) {
        size_t room;
        char *to = http_reader_room(reader, &room);
        CHECK_NOT_NULL(to);
        CHECK_GT(room, 0u);
        size_t n = MIN(MIN(step, room), len - at);
        memcpy(to, text + at, n);
        at += n;
        progress = http_reader_take(reader, n, ret_status, &why);
    }
    CHECK_EQ(progress == HTTP_REFUSED, *ret_status != 0);
    CHECK_EQ(progress == HTTP_REFUSED, why != NULL);
    return progress;
}

static void reads(void) {
    static const char text[] =
        "POST /api/v1/pause?name=a%20b&for=1h HTTP/1.1\r\nhost: localhost:9432\r\nAccept:  text/plain \r\n"
        "X-Other: \xc3\xa4\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1";
    static const size_t steps[] = {1, 2, 7, 100, 10000};
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        struct http_reader reader = {0};
        int status;
        check_context("%zu bytes at once", steps[i]);
        CHECK_EQ(feed(&reader, text, sizeof(text) - 1, steps[i], &status), HTTP_COMPLETE);
        struct http_request request = http_reader_request(&reader);
        CHECK_EQ(request.method, HTTP_POST);
        CHECK_STR(request.path, "/api/v1/pause");
        CHECK_STR(request.query, "name=a%20b&for=1h");
        CHECK_STR(request.host, "localhost:9432");
        CHECK_STR(request.accept, "text/plain");
        CHECK_STR(request.body, "abc");
        CHECK_EQ(request.body_len, 3u);
        http_reader_deinit(&reader);
    }
}

static void reads_little(void) {
    static const char *const texts[] = {"GET / HTTP/1.0\n\n", "GET / HTTP/1.0\r\n\r\n",
                                        "GET / HTTP/1.1\r\nHost:\r\n\r\n"};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct http_reader reader = {0};
        int status;
        check_context("%s", texts[i]);
        CHECK_EQ(feed(&reader, texts[i], strlen(texts[i]), 1, &status), HTTP_COMPLETE);
        struct http_request request = http_reader_request(&reader);
        CHECK_STR(request.path, "/");
        CHECK_STR(request.query, "");
        CHECK_STR(request.host, "");
        CHECK_STR(request.accept, "");
        CHECK_STR(request.body, "");
        http_reader_deinit(&reader);
    }
}

#define GET "GET / HTTP/1.1\r\nHost: x\r\n"

static void refuses(void) {
    static const struct {
        const char *text;
        int status;
    } cases[] = {
        {"\r\n", 400},
        {"\x16\x03\x01", 400}, // TLS
        {"GET /\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n\r\n", 400}, // no Host
        {GET "Host: y\r\n\r\n", 400},
        {GET "no colon\r\n\r\n", 400},
        {GET " folded: x\r\n\r\n", 400},
        {GET "Name : x\r\n\r\n", 400},
        {GET ": x\r\n\r\n", 400},
        {GET "X: a\rb\r\n\r\n", 400},
        {GET "X: a\x01\r\n\r\n", 400},
        {GET "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 400},
        {GET "Content-Length: +1\r\n\r\n", 400},
        {GET "Content-Length: 1, 1\r\n\r\n", 400},
        {GET "Content-Length:\r\n\r\n", 400},
        {GET "Content-Length: 65537\r\n\r\n", 413},
        {GET "Content-Length: 99999999999999999999999999\r\n\r\n", 413},
        {GET "Transfer-Encoding: chunked\r\n\r\n", 501},
        {"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"GET /\xc3\xa4 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"GET /#a HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"PUT / HTTP/1.1\r\nHost: x\r\n\r\n", 501},
        {"get / HTTP/1.1\r\nHost: x\r\n\r\n", 501},
        {"G(T / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505},
        {"GET / SMTP/1.1\r\nHost: x\r\n\r\n", 400},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct http_reader reader = {0};
        int status;
        check_context("case %zu: %s", i, cases[i].text);
        CHECK_EQ(feed(&reader, cases[i].text, strlen(cases[i].text), 1, &status), HTTP_REFUSED);
        CHECK_EQ(status, cases[i].status);
        http_reader_deinit(&reader);
    }
}

// One at its limit, then one beyond.
static void is_bounded(void) {
    for (size_t more = 0; more < 2; more++) {
        CLEANUP(strbuf_deinit) struct strbuf fields = STRBUF_EMPTY;
        CLEANUP(strbuf_deinit) struct strbuf head = STRBUF_EMPTY;
        CLEANUP(strbuf_deinit) struct strbuf target = STRBUF_EMPTY;
        struct http_reader reader = {0};
        int status;
        strbuf_add(&fields, GET);
        for (size_t i = 1; i < HTTP_MAX_FIELDS + more; i++) {
            strbuf_add(&fields, "a: b\r\n");
        }
        strbuf_add(&fields, "\r\n");
        CHECK_EQ(feed(&reader, fields.data, fields.len, 1000, &status), more ? HTTP_REFUSED : HTTP_COMPLETE);
        CHECK_EQ(status, more ? 431 : 0);
        http_reader_deinit(&reader);

        strbuf_add(&head, GET "X: ");
        while (head.len < HTTP_MAX_HEAD + more - 4) {
            strbuf_add_char(&head, 'x');
        }
        strbuf_add(&head, "\r\n\r\n");
        CHECK_EQ(feed(&reader, head.data, head.len, 1000, &status), more ? HTTP_REFUSED : HTTP_COMPLETE);
        CHECK_EQ(status, more ? 431 : 0);
        CHECK_LE(reader.capacity, HTTP_MAX_HEAD + 1u);
        http_reader_deinit(&reader);

        strbuf_add(&target, "GET /");
        while (target.len < 4 + HTTP_MAX_TARGET + more) {
            strbuf_add_char(&target, 'x');
        }
        strbuf_add(&target, " HTTP/1.0\r\n\r\n");
        CHECK_EQ(feed(&reader, target.data, target.len, 1000, &status), more ? HTTP_REFUSED : HTTP_COMPLETE);
        CHECK_EQ(status, more ? 414 : 0);
        http_reader_deinit(&reader);
    }
}

static void takes_a_large_body(void) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    struct http_reader reader = {0};
    int status;
    strbuf_addf(&text, GET "Content-Length: %d\r\n\r\n", HTTP_MAX_BODY);
    for (size_t i = 0; i < HTTP_MAX_BODY; i++) {
        strbuf_add_char(&text, (char)('a' + i % 26));
    }
    CHECK_EQ(feed(&reader, text.data, text.len, 999, &status), HTTP_COMPLETE);
    struct http_request request = http_reader_request(&reader);
    CHECK_EQ(request.body_len, HTTP_MAX_BODY);
    CHECK_EQ(strlen(request.body), HTTP_MAX_BODY);
    CHECK_LE(reader.capacity, HTTP_MAX_BODY + HTTP_MAX_HEAD + 1u);
    http_reader_deinit(&reader);
}

static void finds_parameters(void) {
    static const struct {
        const char *query, *name, *value;
        int r;
    } cases[] = {
        {"a=1&b=2", "a", "1", 0},
        {"a=1&b=2", "b", "2", 0},
        {"a=1&b=2", "c", NULL, -ENOENT},
        {"", "a", NULL, -ENOENT},
        {"ab=1", "a", NULL, -ENOENT},
        {"a", "a", NULL, -ENOENT},
        {"a=", "a", "", 0},
        {"a=x+y%2Bz", "a", "x y+z", 0},
        {"a=%", "a", NULL, -EINVAL},
        {"a=%4", "a", NULL, -EINVAL},
        {"a=%4g", "a", NULL, -EINVAL},
        {"a=%00", "a", NULL, -EINVAL},
        {"&&a=1", "a", "1", 0},
        {"a=1&a=2", "a", "1", 0},
        {"a=%41", "a", "A", 0},
        {"b=%&a=%c3%A4", "a", "ä", 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(freep) char *value = NULL;
        check_context("%s", cases[i].query);
        CHECK_EQ(http_query_get(cases[i].query, cases[i].name, &value), cases[i].r);
        CHECK_STR(value, cases[i].value);
    }
}

static void knows_hosts(void) {
    static const struct {
        const char *host;
        bool is_numeric;
    } cases[] = {
        {"127.0.0.1", true},
        {"127.0.0.1:9432", true},
        {"10.1.2.3:80", true},
        {"127.0.0.1:", true},
        {"localhost", true},
        {"LocalHost:1", true},
        {"[::1]", true},
        {"[::1]:9432", true},
        {"[fe80::1]:", true},
        {"", false},
        {":9432", false},
        {"evil.example", false},
        {"evil.example:9432", false},
        {"127.0.0.1.evil.example", false},
        {"127.0.0.1:9432.evil.example", false},
        {"localhost.evil.example:9432", false},
        {"evil.localhost", false},
        {"127.1", false},
        {"2130706433", false},
        {"0x7f.0.0.1", false},
        {"127.0.0.1:123456", false},
        {"127.0.0.1:-1", false},
        {"127.0.0.1 ", false},
        {"::1", false},
        {"[::1", false},
        {"[::1]x", false},
        {"[::1]evil.example", false},
        {"[localhost]", false},
        {"[127.0.0.1]", false},
        {"[fe80::1%eth0]", false},
        {"user@127.0.0.1", false},
        {"1234:1234:1234:1234:1234:1234:1234:1234:1234:1234:1234:1234", false},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        check_context("%s", cases[i].host);
        CHECK_EQ(http_host_is_numeric(cases[i].host), cases[i].is_numeric);
    }
}

static void heads(void) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    http_add_head(&text, 200, "text/plain", 5);
    CHECK_CONTAINS(strbuf_str(&text), "HTTP/1.1 200 OK\r\n");
    CHECK_CONTAINS(strbuf_str(&text), "\r\nContent-Length: 5\r\n");
    CHECK_LACKS(strbuf_str(&text), "Allow");
    strbuf_clear(&text);
    http_add_head(&text, 405, "text/plain", 0);
    CHECK_CONTAINS(strbuf_str(&text), "\r\nAllow: GET, HEAD\r\n");
    CHECK_CONTAINS(strbuf_str(&text), "\r\nContent-Length: 0\r\n");
}

static int sweep(void *userdata) {
    struct http_reader reader = {0};
    size_t room;
    int status;
    const char *why, *text = userdata;
    int r = -ENOMEM;
    char *to = http_reader_room(&reader, &room);
    if (to) {
        memcpy(to, text, strlen(text));
        CHECK_EQ(http_reader_take(&reader, strlen(text), &status, &why), HTTP_COMPLETE);
        CLEANUP(freep) char *value = NULL;
        r = http_query_get(http_reader_request(&reader).query, "a", &value);
    }
    http_reader_deinit(&reader);
    return r;
}

static void out_of_memory(void) {
    static char text[] = "GET /?a=b HTTP/1.0\r\n\r\n";
    oom_sweep(sweep, text);
}

CHECK_MAIN({"reads", reads}, {"reads_little", reads_little}, {"refuses", refuses}, {"is_bounded", is_bounded},
           {"takes_a_large_body", takes_a_large_body}, {"finds_parameters", finds_parameters},
           {"knows_hosts", knows_hosts}, {"heads", heads}, {"out_of_memory", out_of_memory})
