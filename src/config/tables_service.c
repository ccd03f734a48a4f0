// SPDX-License-Identifier: PostgreSQL

// The keys that say where pgvigil is to be reached.

#include "tables.h"
#include "util/macro.h"

static void *tables_open_http(struct config *config, const char *name) {
    (void)name;
    return &config->http;
}

static const struct field http_fields[] = {
    {.name = "listen",
     .type = FIELD_CUSTOM,
     .offset = 0,
     .fallback = "127.0.0.1:9432",
     .kind = "an address and a port, or off",
     .parse = keys_parse_listen,
     .example = "127.0.0.1:9432",
     .help = "Where metrics, health and status are served, read only: ADDRESS:PORT, numeric or localhost; or off."},
};

const struct section tables_http = {
    .fields = http_fields,
    .n_fields = ARRAY_SIZE(http_fields),
    .open = tables_open_http,
};

static void *tables_open_control(struct config *config, const char *name) {
    (void)name;
    return &config->control;
}

static const struct field control_fields[] = {
    {.name = "socket",
     .type = FIELD_CUSTOM,
     .offset = 0,
     .fallback = CONTROL_SOCKET_DEFAULT,
     .kind = "an absolute path, or off",
     .parse = keys_parse_socket,
     .example = CONTROL_SOCKET_DEFAULT,
     .help = "The Unix socket that commands talk to: an absolute path, or off."},
    {.name = "group",
     .type = FIELD_TEXT,
     .offset = offsetof(struct control_config, group),
     .example = "operators",
     .help = "Name or number of the group whose members may give commands; it must be one of the daemon's own."},
};

const struct section tables_control = {
    .fields = control_fields,
    .n_fields = ARRAY_SIZE(control_fields),
    .open = tables_open_control,
};
