// SPDX-License-Identifier: PostgreSQL
#include "http_message.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "util/macro.h"

#define HTTP_FIRST_READ 1024
#define HTTP_MAX_PORT 5 // digits

void http_reader_deinit(struct http_reader *reader) {
    free(reader->data);
    *reader = (struct http_reader){0};
}

static size_t http_reader_limit(const struct http_reader *reader) {
    return reader->head_len > 0 ? reader->head_len + reader->body_len : HTTP_MAX_HEAD;
}

char *http_reader_room(struct http_reader *reader, size_t *ret_n) {
    size_t limit = http_reader_limit(reader);
    // One more for the NUL behind the body.
    if (reader->len + 1 >= reader->capacity) {
        size_t capacity = MIN(MAX(2 * reader->capacity, (size_t)HTTP_FIRST_READ), limit + 1);
        char *grown = realloc(reader->data, capacity);
        if (!grown) {
            return NULL;
        }
        reader->data = grown;
        reader->capacity = capacity;
    }
    *ret_n = reader->capacity - 1 - reader->len;
    return reader->data + reader->len;
}

// ---- the head

// The header fields that mean something here.
struct http_fields {
    const char *host;
    const char *accept;
    const char *length;
    bool is_twice; // host or length
    bool is_coded; // Transfer-Encoding
};

static bool http_is_token(const char *s) {
    static const char others[] = "!#$%&'*+-.^_`|~";
    size_t n = 0;
    for (; s[n]; n++) {
        unsigned char c = (unsigned char)s[n];
        bool is_alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!is_alnum && !strchr(others, c)) {
            return false;
        }
    }
    return n > 0;
}

static int http_refuse(int status, const char *why, const char **ret_why) {
    *ret_why = why;
    return status;
}

static int http_parse_target(struct http_reader *reader, char *target, const char **ret_why) {
    if (strlen(target) > HTTP_MAX_TARGET) {
        return http_refuse(414, "the path is too long", ret_why);
    }
    if (target[0] != '/') {
        return http_refuse(400, "not a path", ret_why);
    }
    for (const char *c = target; *c; c++) {
        if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f || *c == '#') {
            return http_refuse(400, "not a path", ret_why);
        }
    }
    char *question = strchr(target, '?');
    reader->path = (size_t)(target - reader->data);
    reader->query = reader->path + strlen(target); // at its NUL
    if (question) {
        *question = '\0';
        reader->query = (size_t)(question + 1 - reader->data);
    }
    return 0;
}

// "GET /path HTTP/1.1". 0, or the status that refuses it.
static int http_parse_request_line(struct http_reader *reader, char *line, bool *ret_is_1_0, const char **ret_why) {
    static const char *const methods[] = {[HTTP_GET] = "GET", [HTTP_HEAD] = "HEAD", [HTTP_POST] = "POST"};
    char *target = strchr(line, ' ');
    char *version = target ? strrchr(line, ' ') : NULL;
    if (!target || version == target) {
        return http_refuse(400, "not a request of HTTP", ret_why);
    }
    *target++ = '\0';
    *version++ = '\0';
    if (!http_is_token(line) || strncmp(version, "HTTP/", 5) != 0) {
        return http_refuse(400, "not a request of HTTP", ret_why);
    }
    *ret_is_1_0 = strcmp(version, "HTTP/1.0") == 0;
    if (!*ret_is_1_0 && strcmp(version, "HTTP/1.1") != 0) {
        return http_refuse(505, "not HTTP/1.1", ret_why);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(methods); i++) {
        if (strcmp(line, methods[i]) == 0) {
            reader->method = (enum http_method)i;
            return http_parse_target(reader, target, ret_why);
        }
    }
    return http_refuse(501, "only GET, HEAD and POST are known", ret_why);
}

// "Name: value". 0, or the status that refuses it.
static int http_parse_field(char *line, struct http_fields *fields, const char **ret_why) {
    char *colon = strchr(line, ':');
    if (!colon) {
        return http_refuse(400, "not a header field", ret_why);
    }
    *colon = '\0';
    char *value = colon + 1 + strspn(colon + 1, " \t");
    size_t len = strlen(value);
    while (len > 0 && (value[len - 1] == ' ' || value[len - 1] == '\t')) {
        value[--len] = '\0';
    }
    // A line that begins with a blank would go on the one before: obsolete, and a way to be read differently by others.
    if (!http_is_token(line)) {
        return http_refuse(400, "not a header field", ret_why);
    }
    if (strcasecmp(line, "Host") == 0) {
        fields->is_twice |= fields->host != NULL;
        fields->host = value;
    } else if (strcasecmp(line, "Content-Length") == 0) {
        fields->is_twice |= fields->length != NULL;
        fields->length = value;
    } else if (strcasecmp(line, "Accept") == 0 && !fields->accept) {
        fields->accept = value;
    } else if (strcasecmp(line, "Transfer-Encoding") == 0) {
        fields->is_coded = true;
    }
    return 0;
}

static int http_parse_length(struct http_reader *reader, const char *text, const char **ret_why) {
    size_t n = 0;
    for (const char *c = text; *c; c++) {
        if (*c < '0' || *c > '9') {
            return http_refuse(400, "the length of the body is no number", ret_why);
        }
        n = 10 * n + (size_t)(*c - '0');
        if (n > HTTP_MAX_BODY) {
            return http_refuse(413, "the body is too large", ret_why);
        }
    }
    if (!*text) {
        return http_refuse(400, "the length of the body is no number", ret_why);
    }
    reader->body_len = n;
    return 0;
}

// The head is there, `head_len` bytes of it. Lines become strings in place. 0, or the status that refuses it.
static int http_parse_head(struct http_reader *reader, const char **ret_why) {
    struct http_fields fields = {0};
    bool is_1_0 = false;
    char *line = reader->data, *end = reader->data + reader->head_len;
    int status = 0;
    for (size_t n = 0; status == 0; n++) {
        char *newline = memchr(line, '\n', (size_t)(end - line));
        *newline = '\0';
        if (newline > line && newline[-1] == '\r') {
            newline[-1] = '\0';
        }
        if (*line == '\0') {
            break;
        }
        status =
            n == 0 ? http_parse_request_line(reader, line, &is_1_0, ret_why) : http_parse_field(line, &fields, ret_why);
        line = newline + 1;
    }
    if (status != 0) {
        return status;
    }
    if (fields.is_twice || (!fields.host && !is_1_0)) {
        return http_refuse(400, fields.is_twice ? "a header field is there twice" : "Host is missing", ret_why);
    }
    if (fields.is_coded) {
        return http_refuse(501, "transfer codings are not known", ret_why);
    }
    reader->host = fields.host ? (size_t)(fields.host - reader->data) : reader->head_len - 1;
    reader->accept = fields.accept ? (size_t)(fields.accept - reader->data) : reader->head_len - 1; // a NUL by now
    return fields.length ? http_parse_length(reader, fields.length, ret_why) : 0;
}

// Looks at what has come since, and refuses at the first byte that cannot be HTTP. True: the head is all there.
static bool http_scan(struct http_reader *reader, int *ret_status, const char **ret_why) {
    for (; reader->scanned < reader->len; reader->scanned++) {
        unsigned char c = (unsigned char)reader->data[reader->scanned];
        if (c != '\n') {
            bool is_text = c >= ' ' && c != 0x7f;
            if (!is_text && c != '\t' && c != '\r') {
                *ret_status = http_refuse(400, "not a request of HTTP", ret_why);
                return false;
            }
            continue;
        }
        size_t len = reader->scanned - reader->line;
        len -= len > 0 && reader->data[reader->scanned - 1] == '\r';
        if (memchr(reader->data + reader->line, '\r', len)) {
            *ret_status = http_refuse(400, "a lone carriage return", ret_why);
            return false;
        }
        if (len == 0 && reader->n_lines == 0) {
            *ret_status = http_refuse(400, "not a request of HTTP", ret_why);
            return false;
        }
        if (len == 0) {
            reader->head_len = ++reader->scanned;
            return true;
        }
        if (++reader->n_lines > HTTP_MAX_FIELDS + 1) {
            *ret_status = http_refuse(431, "too many header fields", ret_why);
            return false;
        }
        reader->line = reader->scanned + 1;
    }
    if (reader->len >= HTTP_MAX_HEAD) {
        *ret_status = http_refuse(431, "the header is too large", ret_why);
    }
    return false;
}

enum http_progress http_reader_take(struct http_reader *reader, size_t n, int *ret_status, const char **ret_why) {
    reader->len += n;
    if (reader->head_len == 0) {
        int status = 0;
        if (http_scan(reader, &status, ret_why)) {
            status = http_parse_head(reader, ret_why);
        }
        if (status != 0) {
            *ret_status = status;
            return HTTP_REFUSED;
        }
    }
    // What follows the body is nobody's: the connection ends with the answer.
    if (reader->head_len == 0 || reader->len < reader->head_len + reader->body_len) {
        return HTTP_MORE;
    }
    return HTTP_COMPLETE;
}

struct http_request http_reader_request(const struct http_reader *reader) {
    reader->data[reader->head_len + reader->body_len] = '\0';
    return (struct http_request){
        .method = reader->method,
        .path = reader->data + reader->path,
        .query = reader->data + reader->query,
        .host = reader->data + reader->host,
        .accept = reader->data + reader->accept,
        .body = reader->data + reader->head_len,
        .body_len = reader->body_len,
    };
}

// ---- Host

static bool http_is_port(const char *text) {
    size_t n = strspn(text, "0123456789");
    return n <= HTTP_MAX_PORT && text[n] == '\0'; // it may be empty
}

bool http_host_is_numeric(const char *host) {
    char name[INET6_ADDRSTRLEN];
    struct in6_addr address;
    bool is_inet6 = *host == '[';
    host += is_inet6;
    size_t len = strcspn(host, is_inet6 ? "]" : ":");
    if (len >= sizeof(name)) {
        return false;
    }
    memcpy(name, host, len);
    name[len] = '\0';
    const char *port = host + len;
    if (is_inet6 && *port++ != ']') {
        return false;
    }
    if (*port != '\0' && (*port != ':' || !http_is_port(port + 1))) {
        return false;
    }
    return inet_pton(is_inet6 ? AF_INET6 : AF_INET, name, &address) == 1 ||
           (!is_inet6 && strcasecmp(name, "localhost") == 0);
}

// ---- parameters

static int http_hex(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static int http_decode(const char *text, size_t len, char **ret) {
    CLEANUP(freep) char *decoded = malloc(len + 1);
    size_t n = 0;
    if (!decoded) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < len; i++) {
        char c = text[i] == '+' ? ' ' : text[i];
        if (c == '%') {
            bool is_whole = i + 2 < len;
            int high = is_whole ? http_hex(text[i + 1]) : -1, low = is_whole ? http_hex(text[i + 2]) : -1;
            if (high < 0 || low < 0 || (high == 0 && low == 0)) {
                return -EINVAL;
            }
            c = (char)(high * 16 + low);
            i += 2;
        }
        decoded[n++] = c;
    }
    decoded[n] = '\0';
    *ret = TAKE_PTR(decoded);
    return 0;
}

int http_query_get(const char *query, const char *name, char **ret) {
    size_t name_len = strlen(name);
    for (const char *p = query; *p;) {
        size_t len = strcspn(p, "&");
        if (len > name_len && strncmp(p, name, name_len) == 0 && p[name_len] == '=') {
            return http_decode(p + name_len + 1, len - name_len - 1, ret);
        }
        p += len + (p[len] == '&');
    }
    return -ENOENT;
}

// ---- the answer's head

static const char *http_reason(int status) {
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {400, "Bad Request"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
        if (reasons[i].status == status) {
            return reasons[i].reason;
        }
    }
    return "Unknown";
}

void http_add_head(struct strbuf *sb, int status, const char *content_type, size_t length) {
    strbuf_addf(sb, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n", status, http_reason(status),
                content_type, length);
    // Numbers of now, for programs; a browser shall neither keep them nor take them for a page.
    strbuf_add(sb, status == 405 ? "Allow: GET, HEAD\r\n" : "");
    strbuf_add(sb, "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n");
}
