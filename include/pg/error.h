// SPDX-License-Identifier: PostgreSQL
#pragma once

// Why a connect or a statement failed, as a value that callers decide on.

#include <stdbool.h>

enum pg_error_kind {
    PG_ERROR_NONE,
    PG_ERROR_UNREACHABLE, // no connection, or it broke: network, resolver, server gone
    PG_ERROR_TIMEOUT,     // our own deadline
    PG_ERROR_FULL,        // 53300: no slot is left for us (sorry, too many clients already; reserved slots)
    PG_ERROR_OWN_LIMIT,   // 53300: CONNECTION LIMIT of our role or database: the server is not full
    PG_ERROR_AUTH,        // 28xxx: password, role, pg_hba.conf
    PG_ERROR_DATABASE,    // 3D000, or no right to connect to it (42501 while connecting)
    PG_ERROR_STARTING,    // 57P03: starting up, shutting down, in recovery
    PG_ERROR_SHUTDOWN,    // 57P01, 57P02: the server ended us
    PG_ERROR_CANCELLED,   // 57014: statement_timeout, or a cancel
    PG_ERROR_DENIED,      // 42501
    PG_ERROR_PROTOCOL,    // the answer is not what the contract says
    PG_ERROR_OTHER,
    PG_N_ERROR_KINDS_,
};
const char *pg_error_kind_to_string(enum pg_error_kind kind); // "unreachable", "timeout", "full", ...

struct pg_error {
    enum pg_error_kind kind;
    char sqlstate[6];  // "" when the server sent none
    char message[256]; // one line, primary message only, no secrets; raw text of the server: escape it
};

void pg_error_set(struct pg_error *error, enum pg_error_kind kind, const char *sqlstate, const char *message);

// Of PG_ERROR_AUTH, what to do about it: a wrong password, none to send, or a role or pg_hba.conf that refuses. Static.
const char *pg_error_auth_hint(const struct pg_error *error);
