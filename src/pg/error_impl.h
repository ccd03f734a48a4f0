// SPDX-License-Identifier: PostgreSQL
#pragma once

// Errors as libpq brings them, to values.

#include <stdbool.h>

#include <libpq-fe.h>

#include "pg/error.h"
#include "util/macro.h"

// From a result that reports an error of a session that is logged in.
void pg_error_from_result(struct pg_error *error, const PGresult *result);

// True when that error also ends the session (FATAL, PANIC).
bool pg_error_result_is_fatal(const PGresult *result);

// From the text of a failed connect, written with PQERRORS_VERBOSE: no result carries its SQLSTATE. With several
// attempts (hosts, sslmode=prefer) the first that a server answered is judged, or the first.
void pg_error_from_connect(struct pg_error *error, const char *text, bool needs_password);

// From the text of a connection that broke.
void pg_error_from_loss(struct pg_error *error, const char *text);

// An answer that is not to the contract.
void pg_error_protocol(struct pg_error *error, const char *format, ...) PRINTF_LIKE(2, 3);
