// SPDX-License-Identifier: PostgreSQL
#pragma once

// A poll of a server with 100 connections, three of them for superusers, for tests of the engine.

#include "core/engine.h"

static inline struct scan sample_scan(const struct session_row *rows, size_t n_rows, int64_t server_now, usec_t now) {
    return (struct scan){
        .kind = SCAN_FULL,
        .server_now = server_now,
        .sent_at = now,
        .received_at = now,
        .facts = {.version_num = 150018,
                  .postmaster_start = 1,
                  .max_connections = 100,
                  .superuser_reserved_connections = 3,
                  .own_pid = 1,
                  .own_user = "pgvigil"},
        .rows = rows,
        .n_rows = n_rows,
    };
}
