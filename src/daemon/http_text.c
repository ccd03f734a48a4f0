// SPDX-License-Identifier: PostgreSQL
#include "http_text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "daemon/http.h"
#include "util/cleanup.h"
#include "util/macro.h"

#define HTTP_MAX_PORT 5 // digits

bool http_target_is_path(const char *target) {
    for (const char *c = target; *c; c++) {
        if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f || *c == '#') {
            return false;
        }
    }
    return target[0] == '/' && target[1] != '/';
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

// The first parameter of that name, and its value as it is written; NULL: there is none.
static const char *http_query_find(const char *query, const char *name, const char **ret_value, size_t *ret_len) {
    size_t name_len = strlen(name);
    for (const char *p = query; *p;) {
        size_t len = strcspn(p, "&");
        if (len >= name_len && strncmp(p, name, name_len) == 0 && (len == name_len || p[name_len] == '=')) {
            size_t skip = MIN(name_len + 1, len); // "a" is as "a="
            *ret_value = p + skip;
            *ret_len = len - skip;
            return p;
        }
        p += len + (p[len] == '&');
    }
    return NULL;
}

int http_query_get(const char *query, const char *name, char **ret) {
    const char *value;
    size_t len;
    return http_query_find(query, name, &value, &len) ? http_decode(value, len, ret) : -ENOENT;
}

const char *http_query_unread(const char *query, const char *const *names, size_t *ret_len) {
    for (const char *p = query; *p;) {
        size_t len = strcspn(p, "&"), value_len;
        const char *value;
        bool is_read = len == 0;
        for (size_t i = 0; names[i] && !is_read; i++) {
            is_read = http_query_find(query, names[i], &value, &value_len) == p;
        }
        if (!is_read) {
            *ret_len = strcspn(p, "=&");
            return p;
        }
        p += len + (p[len] == '&');
    }
    return NULL;
}
