// SPDX-License-Identifier: PostgreSQL
#include "../../src/pg/error_impl.h"

#include <stdlib.h>
#include <string.h>

#include "support/check.h"

static void refused_connects(void) {
    static const struct {
        const char *text;
        bool needs_password;
        enum pg_error_kind kind;
        const char *sqlstate, *message;
    } cases[] = {
        {"connection to server at \"127.0.0.1\", port 5432 failed: FATAL:  53300: sorry, too many clients already\n"
         "LOCATION:  InitProcess, proc.c:376\n",
         false, PG_ERROR_FULL, "53300", "sorry, too many clients already"},
        {"connection to server failed: FATAL:  53300: remaining connection slots are reserved\n"
         "LOCATION:  InitPostgres, postinit.c:813\n",
         false, PG_ERROR_FULL, "53300", "remaining connection slots are reserved"},
        {"FATAL:  53300: too many connections for role \"x\"\nLOCATION:  InitializeSessionUserId, miscinit.c:786\n",
         false, PG_ERROR_OWN_LIMIT, "53300", "too many connections for role \"x\""},
        {"FATAL:  53300: too many connections for database \"x\"\nLOCATION:  CheckMyDatabase, postinit.c:371\n", false,
         PG_ERROR_OWN_LIMIT, "53300", "too many connections for database \"x\""},
        // Translated, in any word but the code and the function.
        {"\xe8\x87\xb4\xe5\x91\xbd:  53300: \xe5\xa4\xaa\xe5\xa4\x9a\n\xe4\xbd\x8d\xe7\xbd\xae:  CheckMyDatabase, "
         "p.c:1\n",
         false, PG_ERROR_OWN_LIMIT, "53300", "\xe5\xa4\xaa\xe5\xa4\x9a"},
        // sslmode=prefer: the first attempt is judged, with its own location.
        {"a failed: FATAL:  53300: sorry, too many clients already\nLOCATION:  InitProcess, proc.c:376\n"
         "a failed: FATAL:  53300: too many connections for role \"x\"\nLOCATION:  InitializeSessionUserId, m.c:1\n",
         false, PG_ERROR_FULL, "53300", "sorry, too many clients already"},
        // Two hosts: the one that answered.
        {"connection to server at \"127.0.0.2\", port 1 failed: Connection refused\n\tIs the server running?\n"
         "connection to server at \"127.0.0.1\", port 2 failed: FATAL:  28P01: password authentication failed\n",
         false, PG_ERROR_AUTH, "28P01", "password authentication failed"},
        {"FATAL:  28000: no pg_hba.conf entry\n", false, PG_ERROR_AUTH, "28000", "no pg_hba.conf entry"},
        {"FATAL:  3D000: database \"x\" does not exist\n", false, PG_ERROR_DATABASE, "3D000",
         "database \"x\" does not exist"},
        {"FATAL:  42501: permission denied for database \"x\"\n", false, PG_ERROR_DATABASE, "42501",
         "permission denied for database \"x\""},
        {"FATAL:  57P03: the database system is starting up\n", false, PG_ERROR_STARTING, "57P03",
         "the database system is starting up"},
        {"FATAL:  08P01: unsupported startup parameter\n", false, PG_ERROR_OTHER, "08P01",
         "unsupported startup parameter"},
        {"connection to server at \"127.0.0.2\", port 1 failed: Connection refused\n\tIs the server running?\n", false,
         PG_ERROR_UNREACHABLE, "", "connection to server at \"127.0.0.2\", port 1 failed: Connection refused"},
        {"fe_sendauth: no password supplied\n", true, PG_ERROR_AUTH, "", "fe_sendauth: no password supplied"},
        {"", false, PG_ERROR_UNREACHABLE, "", "cannot connect"},
        {"FATAL:  5330", false, PG_ERROR_UNREACHABLE, "", "FATAL:  5330"},
        {"x:  53300:", false, PG_ERROR_UNREACHABLE, "", "x:  53300:"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct pg_error error;
        check_context("%s", cases[i].text);
        pg_error_from_connect(&error, cases[i].text, cases[i].needs_password);
        CHECK_EQ(error.kind, cases[i].kind);
        CHECK_STR(error.sqlstate, cases[i].sqlstate);
        CHECK_STR(error.message, cases[i].message);
    }
}

static void one_bounded_line(void) {
    struct pg_error error;
    char text[600];
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    pg_error_set(&error, PG_ERROR_OTHER, "12345", text);
    CHECK_EQ(strlen(error.message), sizeof(error.message) - 1);
    CHECK_STR(error.sqlstate, "12345");
    pg_error_set(&error, PG_ERROR_OTHER, "123456", "a\r\nb");
    CHECK_STR(error.message, "a");
    CHECK_STR(error.sqlstate, "");
    pg_error_set(&error, PG_ERROR_NONE, NULL, NULL);
    CHECK_STR(error.message, "");
    pg_error_from_loss(&error, "");
    CHECK_EQ(error.kind, PG_ERROR_UNREACHABLE);
    CHECK_STR(error.message, "the connection broke");
    pg_error_protocol(&error, "%s: %d", text, 7);
    CHECK_EQ(error.kind, PG_ERROR_PROTOCOL);
}

static void kinds_have_names(void) {
    for (unsigned i = 0; i < PG_N_ERROR_KINDS_; i++) {
        CHECK_NOT_NULL(pg_error_kind_to_string((enum pg_error_kind)i));
    }
    CHECK_STR(pg_error_kind_to_string(PG_ERROR_OWN_LIMIT), "own_limit");
}

static void a_refused_login_is_told_apart(void) {
    struct pg_error error;
    pg_error_set(&error, PG_ERROR_AUTH, "28P01", "password authentication failed");
    CHECK_CONTAINS(pg_error_auth_hint(&error), "compare the role's password");
    pg_error_set(&error, PG_ERROR_AUTH, "28000", "no pg_hba.conf entry");
    CHECK_CONTAINS(pg_error_auth_hint(&error), "see that the role exists");
    pg_error_set(&error, PG_ERROR_AUTH, NULL, "fe_sendauth: no password supplied");
    CHECK_CONTAINS(pg_error_auth_hint(&error), "must be readable for us");
}

CHECK_MAIN({"refused_connects", refused_connects}, {"one_bounded_line", one_bounded_line},
           {"kinds_have_names", kinds_have_names}, {"a_refused_login_is_told_apart", a_refused_login_is_told_apart})
