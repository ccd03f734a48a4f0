// SPDX-License-Identifier: PostgreSQL
#pragma once

// An HTTP/1.1 request that comes in pieces, and the head of the answer (RFC 9110, 9112). Pure: bytes in, a request or
// the status that refuses it out. One request a connection, no transfer codings.

#include <stdbool.h>
#include <stddef.h>

#include "daemon/http.h"
#include "util/strbuf.h"

#define HTTP_MAX_HEAD 8192 // bytes of request line and header fields
#define HTTP_MAX_FIELDS 64
#define HTTP_MAX_TARGET 1024
#define HTTP_MAX_BODY 65536

enum http_progress { HTTP_MORE, HTTP_COMPLETE, HTTP_REFUSED };

struct http_reader {
    char *data; // owned
    size_t len;
    size_t capacity;
    size_t scanned;  // up to here there is no end of the head
    size_t line;     // where the line begins that is being scanned
    size_t n_lines;  // finished ones
    size_t head_len; // 0: not all there yet
    // Offsets into data once the head is there: it may move as the body comes.
    size_t path, query, host, accept;
    enum http_method method;
    size_t body_len;
};

void http_reader_deinit(struct http_reader *reader);

// Room for the next bytes, at least one; NULL: out of memory. Not after COMPLETE and REFUSED.
char *http_reader_room(struct http_reader *reader, size_t *ret_n);
// `n` bytes were put there. REFUSED: *ret_status says how, *ret_why (static) why.
enum http_progress http_reader_take(struct http_reader *reader, size_t n, int *ret_status, const char **ret_why);
// After COMPLETE; borrowed from the reader.
struct http_request http_reader_request(const struct http_reader *reader);

// Whether a Host field names us by an IP address or as localhost, with any port or none: what no stranger's DNS can
// make ours.
bool http_host_is_numeric(const char *host);
// Appends status line and header fields of an answer.
void http_add_head(struct strbuf *sb, int status, const char *content_type, size_t length);
