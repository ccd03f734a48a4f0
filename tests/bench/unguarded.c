// SPDX-License-Identifier: PostgreSQL
//
// Linked into a pgvigil for the race bench alone, with the linker's --wrap: the statements that signal are prepared
// without their tests, but for the one that the process is still the same. What pgvigil would be without its guard.
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

int __real_PQsendPrepare(PGconn *pq, const char *name, const char *sql, int n_params, const Oid *types);
int __wrap_PQsendPrepare(PGconn *pq, const char *name, const char *sql, int n_params, const Oid *types);

int __wrap_PQsendPrepare(PGconn *pq, const char *name, const char *sql, int n_params, const Oid *types) {
    bool terminates = strcmp(name, "pgvigil_terminate") == 0;
    if (!terminates && strcmp(name, "pgvigil_cancel") != 0) {
        return __real_PQsendPrepare(pq, name, sql, n_params, types);
    }
    char unguarded[256];
    snprintf(unguarded, sizeof(unguarded),
             "SELECT CASE WHEN a.backend_start = $2 THEN pg_catalog.pg_%s_backend(a.pid) END, clock_timestamp(), false "
             "FROM pg_catalog.pg_stat_get_activity($1) a WHERE a.pid = $1",
             terminates ? "terminate" : "cancel");
    return __real_PQsendPrepare(pq, name, unguarded, n_params, types);
}
