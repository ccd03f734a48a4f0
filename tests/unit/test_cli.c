// SPDX-License-Identifier: PostgreSQL
#include <string.h>

#include "../../src/cli/commands.h"
#include "support/check.h"

// What is to be mended differs: the password, where it is written, or who may log in.
static void tells_what_mends_a_login(void) {
    static const struct {
        const char *sqlstate, *says;
    } cases[] = {
        {"28P01", "compare the role's password with"}, {"28000", "pg_hba.conf"}, {"", "must be readable for us"}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct pg_error error;
        check_context("of '%s'", cases[i].sqlstate);
        pg_error_set(&error, PG_ERROR_AUTH, cases[i].sqlstate, "no");
        CHECK_CONTAINS(cli_failure_hint(&error), cases[i].says);
    }
}

static void tells_what_mends_the_rest(void) {
    for (unsigned kind = PG_ERROR_NONE + 1; kind < (unsigned)PG_N_ERROR_KINDS_; kind++) {
        struct pg_error error;
        check_context("of %s", pg_error_kind_to_string((enum pg_error_kind)kind));
        pg_error_set(&error, (enum pg_error_kind)kind, "", "no");
        CHECK(kind == PG_ERROR_OTHER || cli_failure_hint(&error));
    }
}

CHECK_MAIN({"tells_what_mends_a_login", tells_what_mends_a_login},
           {"tells_what_mends_the_rest", tells_what_mends_the_rest})
