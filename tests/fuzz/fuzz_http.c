// SPDX-License-Identifier: PostgreSQL

// Any bytes as a request over HTTP: how they are cut into pieces makes no difference, what is accepted is a path of
// printable characters, and no more is kept than the limits say.

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "../../src/daemon/http_message.h"
#include "util/macro.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum http_progress fuzz_feed(struct http_reader *reader, const uint8_t *data, size_t size, size_t step,
                                    int *ret_status) {
    enum http_progress progress = HTTP_MORE;
    const char *why;
    for (size_t at = 0; at < size && progress == HTTP_MORE;) {
        size_t room;
        char *to = http_reader_room(reader, &room);
        assert(to && room > 0);
        size_t n = MIN(MIN(step, room), size - at);
        memcpy(to, data + at, n);
        at += n;
        progress = http_reader_take(reader, n, ret_status, &why);
        assert(reader->capacity <= HTTP_MAX_HEAD + HTTP_MAX_BODY + 1);
    }
    return progress;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct http_reader one = {0}, other = {0};
    int status = 0, other_status = 0;
    enum http_progress progress = fuzz_feed(&one, data, size, 1, &status);
    enum http_progress other_progress = fuzz_feed(&other, data, size, 4096, &other_status);
    assert(progress == other_progress && status == other_status);
    if (progress == HTTP_COMPLETE) {
        struct http_request a = http_reader_request(&one), b = http_reader_request(&other);
        CLEANUP(freep) char *value = NULL;
        assert(a.method == b.method && strcmp(a.path, b.path) == 0 && strcmp(a.query, b.query) == 0);
        assert(strcmp(a.accept, b.accept) == 0 && a.body_len == b.body_len && memcmp(a.body, b.body, a.body_len) == 0);
        assert(a.path[0] == '/' && strlen(a.path) + strlen(a.query) <= HTTP_MAX_TARGET);
        for (const char *c = a.path; *c; c++) {
            assert(*c > ' ' && *c < 0x7f);
        }
        assert(strcmp(a.host, b.host) == 0);
        (void)http_host_is_numeric(a.host);
        int r = http_query_get(a.query, "a", &value);
        assert(r <= 0);
    }
    http_reader_deinit(&one);
    http_reader_deinit(&other);
    return 0;
}
