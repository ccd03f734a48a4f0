// SPDX-License-Identifier: PostgreSQL

// Clients that go from idle to active and back around a limit, for the race bench. Each sends a query, waits a random
// time between MIN_MS and MAX_MS after its answer, sends the next; a killed one connects again. For each death it
// prints one line with what only the client knows, times in microseconds since 1970:
//
//   dead PID SENT DIED    SENT: when its last query left; DIED: when it learned that its connection is gone
//
// and at the end "done QUERIES DEATHS CONNECTS".
//
//   flipper CONNINFO CLIENTS MIN_MS MAX_MS SECONDS SEED

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <libpq-fe.h>

#define MAX_CLIENTS 500
#define RECONNECT_AFTER 20000 // microseconds

enum state {
    STATE_CONNECTING, // waits for the socket; then RESTING
    STATE_RESTING,    // waits until `due`, or for its death; then ASKING
    STATE_ASKING,     // waits for the answer; then RESTING
    STATE_CLOSED,     // waits until `due`; then CONNECTING
};

struct client {
    PGconn *conn;
    enum state state;
    PostgresPollingStatusType polling;
    int64_t due;
    int64_t sent; // 0: none on this connection
    int pid;      // libpq forgets it when the connection breaks
};

struct run {
    const char *conninfo;
    struct client *clients;
    size_t n_clients;
    int64_t min, max; // microseconds
    uint64_t random;
    uint64_t n_queries, n_deaths, n_connects;
};

static volatile sig_atomic_t run_stopped;

static void run_stop(int signo) {
    (void)signo;
    run_stopped = 1;
}

static int64_t run_now(void) {
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

// xorshift64*, after Vigna.
static int64_t run_pause(struct run *run) {
    run->random ^= run->random >> 12;
    run->random ^= run->random << 25;
    run->random ^= run->random >> 27;
    uint64_t value = (run->random * UINT64_C(0x2545F4914F6CDD1D)) >> 33;
    return run->min + (int64_t)(value % (uint64_t)(run->max - run->min + 1));
}

static void client_close(struct client *client, int64_t due) {
    PQfinish(client->conn);
    *client = (struct client){.state = STATE_CLOSED, .due = due};
}

static void client_die(struct run *run, struct client *client) {
    int64_t now = run_now();
    if (client->sent > 0) {
        (void)printf("dead %d %" PRId64 " %" PRId64 "\n", client->pid, client->sent, now);
        run->n_deaths++;
    }
    client_close(client, now + RECONNECT_AFTER);
}

static void client_ignore_notice(void *userdata, const PGresult *result) {
    (void)userdata;
    (void)result;
}

static void client_connect(struct run *run, struct client *client) {
    client->conn = PQconnectStart(run->conninfo);
    if (!client->conn || PQstatus(client->conn) == CONNECTION_BAD) {
        client_close(client, run_now() + RECONNECT_AFTER);
        return;
    }
    (void)PQsetNoticeReceiver(client->conn, client_ignore_notice, NULL); // the FATAL of a death would go to stderr
    client->state = STATE_CONNECTING;
    client->polling = PGRES_POLLING_WRITING;
}

static void client_continue_connect(struct run *run, struct client *client) {
    client->polling = PQconnectPoll(client->conn);
    if (client->polling == PGRES_POLLING_FAILED) {
        client_close(client, run_now() + RECONNECT_AFTER);
    } else if (client->polling == PGRES_POLLING_OK) {
        run->n_connects++;
        client->pid = PQbackendPID(client->conn);
        client->state = STATE_RESTING;
        client->due = run_now(); // the first query at once
    }
}

static void client_ask(struct run *run, struct client *client) {
    client->sent = run_now();
    if (!PQsendQuery(client->conn, "SELECT 1")) {
        client_die(run, client);
        return;
    }
    run->n_queries++;
    client->state = STATE_ASKING;
}

static void client_read(struct run *run, struct client *client) {
    if (!PQconsumeInput(client->conn)) {
        client_die(run, client);
        return;
    }
    while (!PQisBusy(client->conn)) {
        PGresult *result = PQgetResult(client->conn);
        if (!result) {
            if (PQstatus(client->conn) == CONNECTION_BAD) {
                client_die(run, client);
            } else if (client->state == STATE_ASKING) {
                client->state = STATE_RESTING;
                client->due = run_now() + run_pause(run);
            }
            return;
        }
        bool failed = PQresultStatus(result) != PGRES_TUPLES_OK;
        PQclear(result);
        if (failed) {
            client_die(run, client);
            return;
        }
    }
}

static void client_dispatch(struct run *run, struct client *client, short ready, int64_t now) {
    switch (client->state) {
    case STATE_CLOSED:
        if (now >= client->due) {
            client_connect(run, client);
        }
        break;
    case STATE_CONNECTING:
        if (ready) {
            client_continue_connect(run, client);
        }
        break;
    case STATE_RESTING:
        if (ready) {
            client_read(run, client);
        } else if (now >= client->due) {
            client_ask(run, client);
        }
        break;
    case STATE_ASKING:
        if (ready) {
            client_read(run, client);
        }
        break;
    }
}

static int run_loop(struct run *run, int64_t until) {
    struct pollfd fds[MAX_CLIENTS];
    while (!run_stopped) {
        int64_t now = run_now();
        if (now >= until) {
            break;
        }
        int64_t next = until;
        for (size_t i = 0; i < run->n_clients; i++) {
            const struct client *client = &run->clients[i];
            bool timed = client->state == STATE_RESTING || client->state == STATE_CLOSED;
            bool writes = client->state == STATE_CONNECTING && client->polling == PGRES_POLLING_WRITING;
            fds[i] =
                (struct pollfd){.fd = client->conn ? PQsocket(client->conn) : -1, .events = writes ? POLLOUT : POLLIN};
            if (timed && client->due < next) {
                next = client->due;
            }
        }
        int64_t wait = next > now ? (next - now + 999) / 1000 : 0;
        if (poll(fds, (nfds_t)run->n_clients, (int)wait) < 0 && errno != EINTR) {
            perror("flipper: poll");
            return 1;
        }
        now = run_now();
        for (size_t i = 0; i < run->n_clients; i++) {
            client_dispatch(run, &run->clients[i], fds[i].revents, now);
        }
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 7) {
        (void)fprintf(stderr, "usage: flipper CONNINFO CLIENTS MIN_MS MAX_MS SECONDS SEED\n");
        return 2;
    }
    struct run run = {
        .conninfo = argv[1],
        .n_clients = strtoul(argv[2], NULL, 10),
        .min = strtoll(argv[3], NULL, 10) * 1000,
        .max = strtoll(argv[4], NULL, 10) * 1000,
        .random = strtoull(argv[6], NULL, 10) * 2 + 1,
    };
    long seconds = strtol(argv[5], NULL, 10);
    if (run.n_clients == 0 || run.n_clients > MAX_CLIENTS || run.min < 0 || run.max < run.min || seconds <= 0) {
        (void)fprintf(stderr, "flipper: number out of range\n");
        return 2;
    }
    (void)signal(SIGTERM, run_stop);
    (void)signal(SIGINT, run_stop);
    (void)signal(SIGPIPE, SIG_IGN);
    run.clients = calloc(run.n_clients, sizeof(*run.clients));
    if (!run.clients) {
        return 1;
    }
    int64_t start = run_now();
    for (size_t i = 0; i < run.n_clients; i++) { // spread: logins of all at once would stand in a queue
        run.clients[i] = (struct client){.state = STATE_CLOSED, .due = start + (int64_t)i * 5000};
    }
    int rc = run_loop(&run, start + (int64_t)seconds * 1000000);
    for (size_t i = 0; i < run.n_clients; i++) {
        PQfinish(run.clients[i].conn);
    }
    free(run.clients);
    (void)printf("done %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", run.n_queries, run.n_deaths, run.n_connects);
    return rc;
}
