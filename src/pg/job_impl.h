// SPDX-License-Identifier: PostgreSQL
#pragma once

// A job as the connection sees it: rounds of requests. All requests of a round are sent in one pipeline; each brings
// one result; then the job may have another round.

#include <stdbool.h>
#include <stddef.h>

#include <libpq-fe.h>

#include "pg/job.h"
#include "query.h"

struct name {
    uint32_t oid;
    bool superuser;
    const char *text; // borrowed from the result, or number
    char number[11];  // the oid: dropped between the two statements
};

// Sorted by oid, each once.
struct names {
    struct name *items;
    size_t n, capacity;
};

struct job_scan {
    struct poll_options options;
    struct session_id *asked; // LOOK; as given
    struct session_id *asked_sorted;
    size_t n_asked;
    char *asked_pids; // as an array's text
    char *role_oids, *database_oids;
    PGresult *facts, *sessions, *names_result; // the rows' strings stand in these
    struct session_row *rows;
    char *queries; // cut query texts, one after the other
    struct names roles, databases;
    struct scan scan;
    bool complete;
};

struct act {
    enum action action;
    struct guard_test test;
    char *application_name; // the test's
};

struct job_act {
    struct poll_options options;
    struct act *acts;
    struct act_report *reports;
    size_t n_acts;
    bool unguarded;
};

#define RIGHTS_MAX_FINDINGS 12 // more than there are checks
struct job_rights {
    int version_num;
    bool superuser; // our role is one
    struct finding findings[RIGHTS_MAX_FINDINGS];
    size_t n_findings;
    char *texts[2 * RIGHTS_MAX_FINDINGS]; // what the findings borrow
    size_t n_texts;
};

struct job_set_up {
    int version_num;
    char statement_timeout[24];
    char lock_timeout[24];
};

struct job {
    enum job_kind kind;
    unsigned round;
    struct pg_error error;
    struct job *next; // in the connection's queue
    usec_t timeout;   // the same
    union {
        struct identity identity;
        struct job_set_up set_up;
        struct job_rights rights;
        struct job_scan scan;
        struct job_act act;
    };
};

struct job *job_new(enum job_kind kind);

// What the connection calls, in this order, for each round.
unsigned job_n_requests(const struct job *job); // of this round
// Each request is a transaction of its own: its failure stays its own.
bool job_syncs_each(const struct job *job);
// Queues one. 0, -ENOMEM or -EIO.
int job_send(struct job *job, PGconn *pq, unsigned request, usec_t now);
void job_take_result(struct job *job, unsigned request, PGresult *result, usec_t now); // takes the result over
// true: send again.
bool job_next_round(struct job *job);
// The connection broke. `sent`: while this job's requests were on their way.
void job_abandon(struct job *job, const struct pg_error *error, bool sent);

void job_scan_deinit(struct job_scan *scan);
unsigned job_scan_n_requests(const struct job *job);
int job_scan_send(struct job *job, PGconn *pq, unsigned request, usec_t now);
void job_scan_take_result(struct job *job, unsigned request, PGresult *result, usec_t now);
bool job_scan_next_round(struct job *job);

void job_act_deinit(struct job_act *act);
int job_act_send(struct job *job, PGconn *pq, unsigned request);
void job_act_take_result(struct job *job, unsigned request, PGresult *result);

void job_rights_deinit(struct job_rights *rights);
int job_rights_send(const struct job *job, PGconn *pq, unsigned request);
void job_rights_take_result(struct job *job, unsigned request, PGresult *result);
