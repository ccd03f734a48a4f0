// SPDX-License-Identifier: PostgreSQL
#pragma once

// Binary results to values, strictly: what is not to the contract of the statement is an error, never a guess.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libpq-fe.h>

#include "core/address.h"
#include "core/session.h"
#include "pg/error.h"
#include "query.h"

// Names on the server have at most 63 bytes unless it was compiled otherwise.
#define DECODE_MAX_TEXT 1024

// A value inside of another one. A NUL follows the bytes.
struct cell {
    const char *value; // NULL: it is NULL
    int len;           // 0 then
};

// Reads one result. The first violation is kept in `error`, and every later read gives 0, false or "".
struct decoder {
    const PGresult *result;
    const struct statement *statement;
    int row;
    struct pg_error *error;   // kind NONE while all is well
    const struct cell *cells; // what stands for the columns of the row; NULL: they do so themselves
};

// Checks status, columns, types, formats and the number of rows. `error` is set when it fails.
struct decoder decode_begin(const PGresult *result, const struct statement *statement, struct pg_error *error);
bool decode_ok(const struct decoder *decoder);
int decode_n_rows(const struct decoder *decoder); // 0 after a violation
void decode_fail(struct decoder *decoder, unsigned column, const char *what);

bool decode_is_null(struct decoder *decoder, unsigned column);
bool decode_bool(struct decoder *decoder, unsigned column);
int32_t decode_int32(struct decoder *decoder, unsigned column, int32_t min); // at least min
int64_t decode_int64(struct decoder *decoder, unsigned column);
uint32_t decode_oid(struct decoder *decoder, unsigned column);      // 0 for NULL
int64_t decode_timestamp(struct decoder *decoder, unsigned column); // TIMESTAMP_NONE for NULL; infinities fail
const char *decode_text(struct decoder *decoder, unsigned column);  // in the result; "" for NULL; no NUL inside
// A list of numbers, none of them NULL, negative or there twice; at most max. Empty for NULL. Returns how many.
size_t decode_int32_array(struct decoder *decoder, unsigned column, int64_t *ret, size_t max);
// A record of n values of these types, to contract. NULL, and any violation, is false; *ret is set for true alone.
bool decode_record(struct decoder *decoder, unsigned column, const struct column *columns, unsigned n,
                   struct cell *ret);
struct cell decode_cell(const struct decoder *decoder, unsigned column); // as it came
struct address decode_address(struct decoder *decoder, unsigned column); // local for NULL

// A row of a scan; all of *ret is set, without names, query and blockers. A session whose state is hidden from us
// fails with PG_ERROR_DENIED.
void decode_session(struct decoder *decoder, struct session_row *ret);
// The row of STATEMENT_FACTS; *ret_now is the server's clock.
void decode_facts(struct decoder *decoder, struct server_facts *ret, int64_t *ret_now);
