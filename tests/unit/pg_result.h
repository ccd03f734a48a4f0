// SPDX-License-Identifier: PostgreSQL
#pragma once

// Results as a server would send them, made without one.

#include <endian.h>
#include <stdint.h>
#include <string.h>

#include <libpq-fe.h>

#include "../../src/pg/job_impl.h"
#include "support/check.h"

// No rows, the columns of the statement.
static inline PGresult *result_new(enum statement_id id) {
    const struct statement *st = statement_get(id);
    PGresAttDesc attributes[32];
    static char name[] = "c";
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    CHECK_NOT_NULL(result);
    CHECK_LE(st->n_columns, ARRAY_SIZE(attributes));
    for (unsigned i = 0; i < st->n_columns; i++) {
        attributes[i] = (PGresAttDesc){.name = name, .format = 1, .typid = (Oid)st->columns[i].type, .typlen = -1};
    }
    CHECK_EQ(PQsetResultAttrs(result, (int)st->n_columns, attributes), 1);
    return result;
}

// A value of the last row, or of a new one.
static inline void result_bytes(PGresult *result, int row, int column, const void *value, size_t len) {
    char copy[4096];
    CHECK_LE(len, sizeof(copy));
    memcpy(copy, value, len);
    CHECK_EQ(PQsetvalue(result, row, column, copy, (int)len), 1);
}
static inline void result_null(PGresult *result, int row, int column) {
    CHECK_EQ(PQsetvalue(result, row, column, NULL, -1), 1);
}
static inline void result_text(PGresult *result, int row, int column, const char *value) {
    result_bytes(result, row, column, value, strlen(value));
}
static inline void result_bool(PGresult *result, int row, int column, bool value) {
    result_bytes(result, row, column, value ? "\1" : "\0", 1);
}
static inline void result_int32(PGresult *result, int row, int column, uint32_t value) {
    uint32_t wire = htobe32(value);
    result_bytes(result, row, column, &wire, sizeof(wire));
}
static inline void result_int64(PGresult *result, int row, int column, int64_t value) {
    uint64_t wire = htobe64((uint64_t)value);
    result_bytes(result, row, column, &wire, sizeof(wire));
}

#define RESULT_NOW INT64_C(800000000000000)

static inline PGresult *result_facts(void) {
    PGresult *r = result_new(STATEMENT_FACTS);
    result_int64(r, 0, FACTS_NOW, RESULT_NOW);
    result_int32(r, 0, FACTS_VERSION, 160003);
    result_bool(r, 0, FACTS_IN_RECOVERY, false);
    result_int64(r, 0, FACTS_POSTMASTER_START, RESULT_NOW - 1000);
    result_int32(r, 0, FACTS_MAX_CONNECTIONS, 100);
    result_int32(r, 0, FACTS_SUPERUSER_RESERVED, 3);
    result_int32(r, 0, FACTS_RESERVED, 2);
    result_int32(r, 0, FACTS_PID, 4000);
    result_text(r, 0, FACTS_USER, "pgvigil");
    result_bool(r, 0, FACTS_MAY_SIGNAL, true);
    return r;
}

// An idle session of role 10 in database 5, over a Unix socket.
static inline void result_session(PGresult *r, int row, uint32_t pid) {
    result_int32(r, row, SCAN_PID, pid);
    result_int64(r, row, SCAN_BACKEND_START, RESULT_NOW - 500);
    result_int32(r, row, SCAN_USER, 10);
    result_int32(r, row, SCAN_DATABASE, 5);
    result_text(r, row, SCAN_APPLICATION_NAME, "app");
    result_text(r, row, SCAN_STATE, "idle");
    result_int64(r, row, SCAN_STATE_CHANGE, RESULT_NOW - 300);
    result_int64(r, row, SCAN_QUERY_START, RESULT_NOW - 400);
    result_null(r, row, SCAN_XACT_START);
    result_null(r, row, SCAN_CLIENT);
    result_int32(r, row, SCAN_FLAGS, 0);
    if (PQnfields(r) > N_SCAN_COLUMNS) {
        result_null(r, row, SCAN_QUERY);
        result_int64(r, row, SCAN_QUERY_MATCHES, 0);
        result_null(r, row, SCAN_BLOCKED_BY);
    }
}

static inline void result_name(PGresult *r, int row, bool is_role, uint32_t oid, const char *name, bool superuser) {
    result_bool(r, row, NAMES_IS_ROLE, is_role);
    result_int32(r, row, NAMES_OID, oid);
    result_text(r, row, NAMES_NAME, name);
    result_bool(r, row, NAMES_SUPERUSER, superuser);
    result_int32(r, row, NAMES_LIMIT, UINT32_MAX); // -1
}

// A list of int4 as array_send makes it.
static inline void result_list(PGresult *r, int row, int column, const int32_t *items, size_t n) {
    uint32_t words[5 + 2 * 200] = {htobe32(n > 0), 0, htobe32(PG_TYPE_INT4), htobe32((uint32_t)n), htobe32(1)};
    CHECK_LE(n, 200);
    for (size_t i = 0; i < n; i++) {
        words[5 + 2 * i] = htobe32(4);
        words[6 + 2 * i] = htobe32((uint32_t)items[i]);
    }
    result_bytes(r, row, column, words, n > 0 ? (5 + 2 * n) * 4 : 12);
}
