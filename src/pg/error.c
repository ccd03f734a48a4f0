// SPDX-License-Identifier: PostgreSQL
#include "error_impl.h"

#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SQLSTATE_LEN 5

// clang-format off
static const char *const error_kinds[] = {
    [PG_ERROR_NONE] = "none",
    [PG_ERROR_UNREACHABLE] = "unreachable",
    [PG_ERROR_TIMEOUT] = "timeout",
    [PG_ERROR_FULL] = "full",
    [PG_ERROR_OWN_LIMIT] = "own_limit",
    [PG_ERROR_AUTH] = "auth",
    [PG_ERROR_DATABASE] = "database",
    [PG_ERROR_STARTING] = "starting",
    [PG_ERROR_SHUTDOWN] = "shutdown",
    [PG_ERROR_CANCELLED] = "cancelled",
    [PG_ERROR_DENIED] = "denied",
    [PG_ERROR_PROTOCOL] = "protocol",
    [PG_ERROR_OTHER] = "other",
};
// clang-format on
static_assert(ARRAY_SIZE(error_kinds) == PG_N_ERROR_KINDS_, "a kind has no name");

const char *pg_error_kind_to_string(enum pg_error_kind kind) {
    assert((unsigned)kind < ARRAY_SIZE(error_kinds));
    return error_kinds[kind];
}

// Copies the first line, and what fits of it.
static void error_set_message(struct pg_error *error, const char *message) {
    size_t len = MIN(strcspn(message, "\r\n"), sizeof(error->message) - 1);
    memcpy(error->message, message, len);
    error->message[len] = '\0';
}

void pg_error_set(struct pg_error *error, enum pg_error_kind kind, const char *sqlstate, const char *message) {
    *error = (struct pg_error){.kind = kind};
    if (sqlstate && strlen(sqlstate) == SQLSTATE_LEN) {
        memcpy(error->sqlstate, sqlstate, SQLSTATE_LEN + 1);
    }
    error_set_message(error, message ? message : "");
}

void pg_error_protocol(struct pg_error *error, const char *format, ...) {
    va_list ap;
    pg_error_set(error, PG_ERROR_PROTOCOL, NULL, NULL);
    va_start(ap, format);
    (void)vsnprintf(error->message, sizeof(error->message), format, ap);
    va_end(ap);
}

static bool error_is_class(const char *sqlstate, const char *class) {
    return strncmp(sqlstate, class, strlen(class)) == 0;
}

// clang-format off
// SQLSTATEs that mean the same while connecting and afterwards.
static const struct {
    const char *sqlstate; // five characters, or a class
    enum pg_error_kind kind;
} error_sqlstates[] = {
    {"53300", PG_ERROR_FULL},
    {"28", PG_ERROR_AUTH},
    {"3D000", PG_ERROR_DATABASE},
    {"57P03", PG_ERROR_STARTING},
    {"57P01", PG_ERROR_SHUTDOWN}, // pg_terminate_backend, fast shutdown
    {"57P02", PG_ERROR_SHUTDOWN}, // another backend crashed
    {"57P04", PG_ERROR_SHUTDOWN}, // our database was dropped
    {"57P05", PG_ERROR_SHUTDOWN}, // idle_session_timeout
    {"25P03", PG_ERROR_SHUTDOWN}, // idle_in_transaction_session_timeout
    {"57014", PG_ERROR_CANCELLED},
    {"42501", PG_ERROR_DENIED},
};
// clang-format on

static enum pg_error_kind error_classify(const char *sqlstate) {
    for (size_t i = 0; i < ARRAY_SIZE(error_sqlstates); i++) {
        if (error_is_class(sqlstate, error_sqlstates[i].sqlstate)) {
            return error_sqlstates[i].kind;
        }
    }
    return PG_ERROR_OTHER;
}

void pg_error_from_result(struct pg_error *error, const PGresult *result) {
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (!sqlstate) {
        // libpq made it up: memory ran out.
        pg_error_set(error, PG_ERROR_OTHER, NULL, PQresultErrorMessage(result));
        return;
    }
    pg_error_set(error, error_classify(sqlstate), sqlstate, message);
}

bool pg_error_result_is_fatal(const PGresult *result) {
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    return severity && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0);
}

void pg_error_from_loss(struct pg_error *error, const char *text) {
    pg_error_set(error, PG_ERROR_UNREACHABLE, NULL, text && *text ? text : "the connection broke");
}

// Where "  XXXXX: " stands in a line as PQERRORS_VERBOSE writes it ("FATAL:  53300: sorry, ..."): severity words are
// translated, this shape is not. NULL: no such line.
static const char *error_find_sqlstate(const char *line, size_t len) {
    for (size_t i = 0; i + 3 + SQLSTATE_LEN + 2 <= len; i++) {
        const char *p = line + i;
        size_t n = 0;
        if (memcmp(p, ":  ", 3) != 0) {
            continue;
        }
        p += 3;
        while (n < SQLSTATE_LEN && (isdigit((unsigned char)p[n]) || (p[n] >= 'A' && p[n] <= 'Z'))) {
            n++;
        }
        if (n == SQLSTATE_LEN && p[n] == ':' && p[n + 1] == ' ') {
            return p;
        }
    }
    return NULL;
}

// 53300 comes from many places. A role's and a database's CONNECTION LIMIT are told from a full server by the function
// that the verbose text names (LOCATION), as the words are translated.
static bool error_is_own_limit(const char *text) {
    static const char *const functions[] = {":  InitializeSessionUserId,", ":  CheckMyDatabase,"};
    while (*text) {
        size_t len = strcspn(text, "\n");
        if (error_find_sqlstate(text, len)) {
            return false; // the next attempt's message
        }
        for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
            if (memmem(text, len, functions[i], strlen(functions[i]))) {
                return true;
            }
        }
        text += len + (text[len] == '\n');
    }
    return false;
}

void pg_error_from_connect(struct pg_error *error, const char *text, bool needs_password) {
    for (const char *line = text; *line;) {
        size_t len = strcspn(line, "\n");
        const char *next = line + len + (line[len] == '\n');
        const char *at = error_find_sqlstate(line, len);
        if (at) {
            char sqlstate[SQLSTATE_LEN + 1] = {0};
            memcpy(sqlstate, at, SQLSTATE_LEN);
            enum pg_error_kind kind = error_classify(sqlstate);
            if (kind == PG_ERROR_FULL && error_is_own_limit(next)) {
                kind = PG_ERROR_OWN_LIMIT;
            } else if (kind == PG_ERROR_DENIED) {
                kind = PG_ERROR_DATABASE; // no CONNECT on it
            }
            pg_error_set(error, kind, sqlstate, at + SQLSTATE_LEN + 2);
            return;
        }
        line = next;
    }
    pg_error_set(error, needs_password ? PG_ERROR_AUTH : PG_ERROR_UNREACHABLE, NULL, *text ? text : "cannot connect");
}

const char *pg_error_auth_hint(const struct pg_error *error) {
    if (strcmp(error->sqlstate, "28P01") == 0) {
        return "compare the role's password with the first line of password_file, or with PGPASSWORD or the pgpass "
               "file";
    }
    if (*error->sqlstate == '\0') { // not the server's: there was no password to send
        return "the first line of password_file is the password, and must be readable for us; without a configuration "
               "file, PGVIGIL_PASSWORD_FILE names it";
    }
    return "see that the role exists (pgvigil setup-sql makes it) and that the server's pg_hba.conf lets it in from "
           "here";
}
