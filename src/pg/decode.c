// SPDX-License-Identifier: PostgreSQL
#include "decode.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

#include "error_impl.h"
#include "util/macro.h"

// Binary inet: family, prefix length, is_cidr, number of bytes, bytes (network_send).
#define INET_HEADER 4
#define INET_FAMILY_4 2 // PGSQL_AF_INET
#define INET_FAMILY_6 3 // PGSQL_AF_INET6

// Binary arrays: number of dimensions, has NULLs, type; length and first index of each dimension; then length and bytes
// of each item (array_send). An empty one has no dimension. All are int4.
#define ARRAY_WORD 4
#define ARRAY_HEADER (3 * ARRAY_WORD)
#define ARRAY_ITEMS (5 * ARRAY_WORD)
#define ARRAY_INT4 (2 * ARRAY_WORD)

#define RECORD_WORD 4
#define RECORD_COLUMN (2 * RECORD_WORD)

struct decoder decode_begin(const PGresult *result, const struct statement *st, struct pg_error *error) {
    struct decoder decoder = {.result = result, .statement = st, .error = error};
    error->kind = PG_ERROR_NONE;
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        pg_error_protocol(error, "%s: no rows in the answer (%s)", st->name, PQresStatus(PQresultStatus(result)));
    } else if (PQnfields(result) != (int)st->n_columns) {
        pg_error_protocol(error, "%s: %d columns instead of %u", st->name, PQnfields(result), st->n_columns);
    } else if (PQntuples(result) < (int)st->min_rows || PQntuples(result) > (int)st->max_rows) {
        pg_error_protocol(error, "%s: %d rows instead of %u to %u", st->name, PQntuples(result), st->min_rows,
                          st->max_rows);
    }
    for (unsigned i = 0; i < st->n_columns && error->kind == PG_ERROR_NONE; i++) {
        Oid type = PQftype(result, (int)i);
        if (type != (Oid)st->columns[i].type) {
            pg_error_protocol(error, "%s: column %u has type %u instead of %u", st->name, i + 1, type,
                              (unsigned)st->columns[i].type);
        } else if (PQfformat(result, (int)i) != 1) {
            pg_error_protocol(error, "%s: column %u is not binary", st->name, i + 1);
        }
    }
    return decoder;
}

bool decode_ok(const struct decoder *decoder) {
    return decoder->error->kind == PG_ERROR_NONE;
}

int decode_n_rows(const struct decoder *decoder) {
    return decode_ok(decoder) ? PQntuples(decoder->result) : 0;
}

void decode_fail(struct decoder *decoder, unsigned column, const char *what) {
    if (decode_ok(decoder)) {
        pg_error_protocol(decoder->error, "%s: row %d, column %u: %s", decoder->statement->name, decoder->row + 1,
                          column + 1, what);
    }
}

struct cell decode_cell(const struct decoder *decoder, unsigned column) {
    if (decoder->cells) {
        return decoder->cells[column];
    }
    // One call less than to ask for NULL first, in what is most of a poll's cost to us.
    struct cell cell = {.len = PQgetlength(decoder->result, decoder->row, (int)column)};
    if (cell.len > 0 || !PQgetisnull(decoder->result, decoder->row, (int)column)) {
        cell.value = PQgetvalue(decoder->result, decoder->row, (int)column);
    }
    return cell;
}

bool decode_is_null(struct decoder *decoder, unsigned column) {
    assert(column < decoder->statement->n_columns);
    if (!decode_ok(decoder)) {
        return true;
    }
    if (decode_cell(decoder, column).value) {
        return false;
    }
    if (!decoder->statement->columns[column].nullable) {
        decode_fail(decoder, column, "unexpected NULL");
    }
    return true;
}

// The bytes of a value of that length; NULL for NULL and after a violation.
static const void *decode_fixed(struct decoder *decoder, unsigned column, enum pg_type type, int len) {
    assert(decoder->statement->columns[column].type == type);
    if (!decode_ok(decoder)) {
        return NULL;
    }
    struct cell cell = decode_cell(decoder, column);
    if (cell.len != len) { // of NULL it is 0
        if (!decode_is_null(decoder, column)) {
            decode_fail(decoder, column, "wrong length");
        }
        return NULL;
    }
    return cell.value;
}

bool decode_bool(struct decoder *decoder, unsigned column) {
    const unsigned char *p = decode_fixed(decoder, column, PG_TYPE_BOOL, 1);
    if (p && *p > 1) {
        decode_fail(decoder, column, "not a boolean");
        return false;
    }
    return p && *p == 1;
}

static uint32_t decode_uint32(const void *p) {
    uint32_t wire;
    memcpy(&wire, p, sizeof(wire));
    return be32toh(wire);
}

static int64_t decode_wire64(const void *p) {
    uint64_t wire;
    memcpy(&wire, p, sizeof(wire));
    return (int64_t)be64toh(wire);
}

int32_t decode_int32(struct decoder *decoder, unsigned column, int32_t min) {
    const void *p = decode_fixed(decoder, column, PG_TYPE_INT4, 4);
    int32_t value = p ? (int32_t)decode_uint32(p) : 0;
    if (p && value < min) {
        decode_fail(decoder, column, "out of range");
        return 0;
    }
    return value;
}

int64_t decode_int64(struct decoder *decoder, unsigned column) {
    const void *p = decode_fixed(decoder, column, PG_TYPE_INT8, 8);
    return p ? decode_wire64(p) : 0;
}

uint32_t decode_oid(struct decoder *decoder, unsigned column) {
    const void *p = decode_fixed(decoder, column, PG_TYPE_OID, 4);
    return p ? decode_uint32(p) : 0;
}

int64_t decode_timestamp(struct decoder *decoder, unsigned column) {
    const void *p = decode_fixed(decoder, column, PG_TYPE_TIMESTAMPTZ, 8);
    if (!p) {
        return TIMESTAMP_NONE;
    }
    int64_t value = decode_wire64(p);
    if (value == INT64_MIN || value == INT64_MAX) {
        decode_fail(decoder, column, "an infinite time");
        return TIMESTAMP_NONE;
    }
    return value;
}

const char *decode_text(struct decoder *decoder, unsigned column) {
    assert(decoder->statement->columns[column].type == PG_TYPE_TEXT);
    if (!decode_ok(decoder)) {
        return "";
    }
    struct cell cell = decode_cell(decoder, column);
    if (cell.len == 0) { // NULL or not
        (void)decode_is_null(decoder, column);
        return "";
    }
    if (cell.len > DECODE_MAX_TEXT) {
        decode_fail(decoder, column, "too long");
        return "";
    }
    if (strlen(cell.value) != (size_t)cell.len) { // libpq ends every value with a NUL
        decode_fail(decoder, column, "a NUL byte inside of text");
        return "";
    }
    return cell.value;
}

// The header of a list of int4; its length, or -1.
static int64_t decode_array_header(const char *p, int len) {
    if (len < ARRAY_HEADER || decode_uint32(p + ARRAY_WORD) != 0 || decode_uint32(p + 2 * ARRAY_WORD) != PG_TYPE_INT4) {
        return -1;
    }
    if (decode_uint32(p) == 0) {
        return len == ARRAY_HEADER ? 0 : -1;
    }
    if (decode_uint32(p) != 1 || len < ARRAY_ITEMS) {
        return -1;
    }
    int64_t n = decode_uint32(p + ARRAY_HEADER);
    return len == ARRAY_ITEMS + n * ARRAY_INT4 ? n : -1;
}

static bool decode_has(const int64_t *items, size_t n, int64_t item) {
    for (size_t i = 0; i < n; i++) {
        if (items[i] == item) {
            return true;
        }
    }
    return false;
}

size_t decode_int32_array(struct decoder *decoder, unsigned column, int64_t *ret, size_t max) {
    size_t n_items = 0;
    assert(decoder->statement->columns[column].type == PG_TYPE_INT4_ARRAY);
    if (decode_is_null(decoder, column)) {
        return 0;
    }
    struct cell cell = decode_cell(decoder, column);
    const char *p = cell.value;
    int64_t n = decode_array_header(p, cell.len);
    if (n < 0 || n > (int64_t)max) {
        decode_fail(decoder, column, n < 0 ? "not a list of numbers" : "too long");
        return 0;
    }
    p += ARRAY_ITEMS;
    for (int64_t i = 0; i < n; i++, p += ARRAY_INT4) {
        int64_t item = (int32_t)decode_uint32(p + ARRAY_WORD);
        if (decode_uint32(p) != ARRAY_WORD || item < 0) {
            decode_fail(decoder, column, "out of range");
            return 0;
        }
        if (!decode_has(ret, n_items, item)) {
            ret[n_items++] = item;
        }
    }
    return n_items;
}

// Binary record: number of columns; type and length of each, and its bytes; -1 is the length of NULL (record_send).
// The byte behind a value is 0 then: the first one of the next type, as all of ours are small, or libpq's.
static bool decode_cells(const char *p, size_t len, const struct column *columns, unsigned n, struct cell *ret) {
    const char *end = p + len;
    if (len < RECORD_WORD || decode_uint32(p) != n) {
        return false;
    }
    p += RECORD_WORD;
    for (unsigned i = 0; i < n; i++) {
        if (end - p < RECORD_COLUMN || decode_uint32(p) != (uint32_t)columns[i].type) {
            return false;
        }
        int32_t size = (int32_t)decode_uint32(p + RECORD_WORD);
        p += RECORD_COLUMN;
        if (size < -1 || size > end - p) {
            return false;
        }
        ret[i] = (struct cell){.value = size < 0 ? NULL : p, .len = MAX(size, 0)};
        p += ret[i].len;
    }
    return p == end;
}

bool decode_record(struct decoder *decoder, unsigned column, const struct column *columns, unsigned n,
                   struct cell *ret) {
    assert(decoder->statement->columns[column].type == PG_TYPE_RECORD);
    if (decode_is_null(decoder, column)) {
        return false;
    }
    struct cell cell = decode_cell(decoder, column);
    if (!decode_cells(cell.value, (size_t)cell.len, columns, n, ret)) {
        decode_fail(decoder, column, "not the record asked for");
        return false;
    }
    return true;
}

struct address decode_address(struct decoder *decoder, unsigned column) {
    struct address address = {.family = ADDRESS_LOCAL};
    assert(decoder->statement->columns[column].type == PG_TYPE_INET);
    if (!decode_ok(decoder)) {
        return address;
    }
    struct cell cell = decode_cell(decoder, column);
    int len = cell.len;
    if (len == 0 && decode_is_null(decoder, column)) {
        return address;
    }
    const unsigned char *p = (const unsigned char *)cell.value;
    if (len == INET_HEADER + 4 && p[0] == INET_FAMILY_4 && p[3] == 4) {
        address.family = ADDRESS_INET;
    } else if (len == INET_HEADER + 16 && p[0] == INET_FAMILY_6 && p[3] == 16) {
        address.family = ADDRESS_INET6;
    } else {
        decode_fail(decoder, column, "not an address");
        return address;
    }
    memcpy(address.bytes, p + INET_HEADER, (size_t)(len - INET_HEADER));
    return address;
}

static enum session_state decode_state(struct decoder *decoder) {
    enum session_state state = SESSION_STATE_NONE;
    if (decode_is_null(decoder, SCAN_STATE)) {
        return SESSION_STATE_NONE;
    }
    const char *text = decode_text(decoder, SCAN_STATE);
    if (!session_state_from_string(text, strlen(text), &state)) {
        decode_fail(decoder, SCAN_STATE, "an unknown state");
    }
    return state;
}

// NULLs by contract: a session that starts has no state and no times, from 18 on also no role and database; one with
// track_activities off has no times. Any other has them; query_start once it has run a query, xact_start in a
// transaction.
static void decode_check_nulls(struct decoder *decoder, const struct session_row *row) {
    if (row->state == SESSION_STATE_NONE) {
        return;
    }
    if (row->user_oid == 0) {
        decode_fail(decoder, SCAN_USER, "no role");
    } else if (row->database_oid == 0) {
        decode_fail(decoder, SCAN_DATABASE, "no database");
    } else if (!decode_cell(decoder, SCAN_APPLICATION_NAME).value) {
        decode_fail(decoder, SCAN_APPLICATION_NAME, "unexpected NULL");
    } else if (row->state != SESSION_STATE_DISABLED && row->state_change == TIMESTAMP_NONE) {
        decode_fail(decoder, SCAN_STATE_CHANGE, "unexpected NULL");
    }
}

static void decode_flags(struct decoder *decoder, struct session_row *row) {
    static const enum session_command commands[] = {SESSION_COMMAND_OTHER, SESSION_COMMAND_LISTEN,
                                                    SESSION_COMMAND_UNLISTEN, SESSION_COMMAND_MAINTENANCE};
    int32_t flags = decode_int32(decoder, SCAN_FLAGS, 0);
    if (flags > SCAN_FLAGS_MAX) {
        decode_fail(decoder, SCAN_FLAGS, "out of range");
        return;
    }
    row->command = commands[flags & SCAN_FLAG_COMMAND];
    row->waits_lock = flags & SCAN_FLAG_LOCK;
    row->waits_sync_rep = flags & SCAN_FLAG_SYNC_REP;
}

static uint32_t decode_query_matches(struct decoder *decoder) {
    int64_t matches = decode_int64(decoder, SCAN_QUERY_MATCHES);
    if (matches < 0 || matches > UINT32_MAX) {
        decode_fail(decoder, SCAN_QUERY_MATCHES, "out of range");
        return 0;
    }
    return (uint32_t)matches;
}

void decode_session(struct decoder *decoder, struct session_row *ret) {
    *ret = (struct session_row){.user = "", .database = "", .user_limit = -1, .database_limit = -1};
    ret->id.since = decode_timestamp(decoder, SCAN_BACKEND_START);
    if (ret->id.since == TIMESTAMP_NONE) {
        if (decode_ok(decoder)) {
            pg_error_set(decoder->error, PG_ERROR_DENIED, NULL,
                         "sessions of other roles are hidden: our role may not see their state");
        }
        return;
    }
    ret->id.id = decode_int32(decoder, SCAN_PID, 1);
    ret->user_oid = decode_oid(decoder, SCAN_USER);
    ret->database_oid = decode_oid(decoder, SCAN_DATABASE);
    ret->application_name = decode_text(decoder, SCAN_APPLICATION_NAME);
    ret->state = decode_state(decoder);
    ret->state_change = decode_timestamp(decoder, SCAN_STATE_CHANGE);
    ret->query_start = decode_timestamp(decoder, SCAN_QUERY_START);
    ret->xact_start = decode_timestamp(decoder, SCAN_XACT_START);
    ret->client = decode_address(decoder, SCAN_CLIENT);
    decode_flags(decoder, ret);
    if (decoder->statement->n_columns > SCAN_QUERY_MATCHES) {
        ret->query_matches = decode_query_matches(decoder);
    }
    if (decode_ok(decoder)) {
        decode_check_nulls(decoder, ret);
    }
}

void decode_facts(struct decoder *decoder, struct server_facts *ret, int64_t *ret_now) {
    *ret_now = decode_timestamp(decoder, FACTS_NOW);
    *ret = (struct server_facts){
        .version_num = decode_int32(decoder, FACTS_VERSION, 1),
        .in_recovery = decode_bool(decoder, FACTS_IN_RECOVERY),
        .postmaster_start = decode_timestamp(decoder, FACTS_POSTMASTER_START),
        .max_connections = decode_int32(decoder, FACTS_MAX_CONNECTIONS, 1),
        .superuser_reserved_connections = decode_int32(decoder, FACTS_SUPERUSER_RESERVED, 0),
        .reserved_connections = decode_int32(decoder, FACTS_RESERVED, 0),
        .own_pid = decode_int32(decoder, FACTS_PID, 1),
        .own_user = decode_text(decoder, FACTS_USER),
        .may_signal = decode_bool(decoder, FACTS_MAY_SIGNAL),
    };
}
