// SPDX-License-Identifier: PostgreSQL

// The client that pgvigil is compared with: reads the whole of pg_stat_activity at an interval, as a cron job or an
// exporter does, and throws it away.
//
//   poller CONNINFO INTERVAL_MS

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <libpq-fe.h>

int main(int argc, char **argv) {
    if (argc != 3) {
        (void)fprintf(stderr, "usage: poller CONNINFO INTERVAL_MS\n");
        return 2;
    }
    long interval = strtol(argv[2], NULL, 10);
    PGconn *conn = PQconnectdb(argv[1]);
    if (interval <= 0 || PQstatus(conn) != CONNECTION_OK) {
        (void)fprintf(stderr, "poller: %s", PQerrorMessage(conn));
        PQfinish(conn);
        return 1;
    }
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    for (;;) {
        PGresult *result = PQexec(conn, "SELECT * FROM pg_stat_activity");
        ExecStatusType status = PQresultStatus(result);
        PQclear(result);
        if (status != PGRES_TUPLES_OK) {
            (void)fprintf(stderr, "poller: %s", PQerrorMessage(conn));
            PQfinish(conn);
            return 1;
        }
        at.tv_nsec += interval % 1000 * 1000000;
        at.tv_sec += interval / 1000 + at.tv_nsec / 1000000000;
        at.tv_nsec %= 1000000000;
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR) {
        }
    }
}
