// SPDX-License-Identifier: PostgreSQL

// Where pgvigil is to be reached: http.listen and control.socket.

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "scalar.h"
#include "tables.h"
#include "util/strbuf.h"

#define KEYS_OFF "off"
#define KEYS_MAX_PORT 65535
#define KEYS_MAX_SOCKET (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

// The text of a scalar that is not empty; NULL: reported.
static const char *keys_service_text(struct binder *binder, const struct field *field, const struct yaml_node *node,
                                     const struct path *path) {
    if (!keys_is_text(node)) {
        schema_report_kind(binder, field, node, path);
        return NULL;
    }
    if (node->text[0] == '\0') {
        report_error(binder->diags, node->at, path, "%s (write %s: %s, or off)",
                     node->expands_to_nothing ? "its variable expands to nothing" : "is empty", field->name,
                     field->example);
        return NULL;
    }
    return node->text;
}

// What is wrong with the address, and what to write; NULL: it is one. `colon` is the one before the port.
static bool keys_listen_host(struct binder *binder, const struct yaml_node *node, const struct path *path,
                             const char *colon, char host[static INET6_ADDRSTRLEN]) {
    const char *text = node->text;
    size_t len = (size_t)(colon - text);
    bool brackets = len > 2 && text[0] == '[' && colon[-1] == ']';
    unsigned char bytes[sizeof(struct in6_addr)];

    if (len == 0 || (len == 1 && text[0] == '*')) {
        report_error(binder->diags, node->at, path,
                     "has no address (write 127.0.0.1%s, or 0.0.0.0%s for all addresses of this machine)", colon,
                     colon);
        return false;
    }
    CLEANUP(freep) char *name = strndup(brackets ? text + 1 : text, brackets ? len - 2 : len);
    if (!name) {
        binder->diags->failed = true;
        return false;
    }
    if (!brackets && strcmp(name, "localhost") == 0) {
        memcpy(host, "127.0.0.1", sizeof("127.0.0.1"));
        return true;
    }
    if (inet_pton(brackets ? AF_INET6 : AF_INET, name, bytes) == 1) {
        memcpy(host, name, strlen(name) + 1);
        return true;
    }
    if (!brackets && memchr(text, ':', len)) {
        report_error(binder->diags, node->at, path, "an IPv6 address stands in brackets (write \"[::1]%s\")", colon);
    } else {
        report_error(binder->diags, node->at, path, "%s is not a numeric address (write 127.0.0.1%s, or localhost%s)",
                     report_quote(binder->diags, name).text, colon, colon);
    }
    return false;
}

int keys_parse_listen(struct binder *binder, const struct field *field, const struct yaml_node *node,
                      const struct path *path, void *member) {
    struct http_config *http = member;
    char host[INET6_ADDRSTRLEN];
    int64_t port;
    const char *text = keys_service_text(binder, field, node, path);

    http->is_written = node->at.file != NULL;
    if (!text || strcmp(text, KEYS_OFF) == 0) {
        return 0;
    }
    const char *colon = strrchr(text, ':');
    if (!colon || colon[1] == '\0' || (colon > text && text[0] == '[' && !strstr(text, "]:"))) {
        report_error(binder->diags, node->at, path, "%s is not an address and a port (write 127.0.0.1:9432, or off)",
                     report_quote(binder->diags, text).text);
        return 0;
    }
    if (scalar_integer(colon + 1, 1, KEYS_MAX_PORT, &port) != INTEGER_OK) {
        report_error(binder->diags, node->at, path, "%s is not a port (write 1 to %d)",
                     report_quote(binder->diags, colon + 1).text, KEYS_MAX_PORT);
        return 0;
    }
    if (!keys_listen_host(binder, node, path, colon, host)) {
        return 0;
    }
    http->listen = strdup(text);
    http->host = strdup(host);
    http->port = (uint16_t)port;
    return http->listen && http->host ? 0 : -ENOMEM;
}

int keys_parse_socket(struct binder *binder, const struct field *field, const struct yaml_node *node,
                      const struct path *path, void *member) {
    struct control_config *control = member;
    const char *text = keys_service_text(binder, field, node, path);

    control->is_written = node->at.file != NULL;
    if (!text || strcmp(text, KEYS_OFF) == 0) {
        return 0;
    }
    size_t len = strlen(text);
    if (text[0] != '/' || text[len - 1] == '/') {
        report_error(binder->diags, node->at, path, "%s is not the absolute path of a file (write %s: %s, or off)",
                     report_quote(binder->diags, text).text, field->name, field->example);
        return 0;
    }
    if (len > KEYS_MAX_SOCKET) {
        report_error(binder->diags, node->at, path,
                     "longer than %zu bytes, which no socket's path may be (write %s: %s)", KEYS_MAX_SOCKET,
                     field->name, field->example);
        return 0;
    }
    control->socket = strdup(text);
    return control->socket ? 0 : -ENOMEM;
}

int keys_find_socket(struct diag_list *diags, const struct yaml_node *tree, struct control_config *ret,
                     bool *ret_sure) {
    const struct yaml_pair *section = tree ? yaml_node_find(tree, "control") : NULL;
    const struct yaml_pair *pair = section ? yaml_node_find(section->value, "socket") : NULL;
    const struct field *field = section_find(&tables_control, "socket");
    struct path section_path = {.name = "control"};
    struct path path = {.parent = &section_path, .name = "socket"};
    struct binder binder = {.diags = diags};
    size_t n_errors = diags->n_errors;
    if (pair && !pair->value->is_bad) {
        int r = keys_parse_socket(&binder, field, pair->value, &path, ret);
        if (r < 0 || diags->n_errors == n_errors) {
            *ret_sure = true;
            return r;
        }
    }
    *ret_sure = !pair;
    ret->socket = strdup(CONTROL_SOCKET_DEFAULT);
    return ret->socket ? 0 : -ENOMEM;
}
