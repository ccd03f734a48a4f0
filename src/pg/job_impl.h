// SPDX-License-Identifier: PostgreSQL
#pragma once

// A job as the connection sees it: rounds of requests. All requests of a round are sent in one pipeline; each brings
// one result; then the job may have another round.

#include <stdbool.h>
#include <stddef.h>

#include <libpq-fe.h>

#include "known.h"
#include "pg/job.h"
#include "query.h"

struct name {
    uint32_t oid;
    bool superuser;
    int64_t limit;    // CONNECTION LIMIT; -1: none, or the name is not known
    const char *text; // borrowed from the result, or number
    char number[11];  // the oid: dropped between the two statements
};

// Sorted by oid, each once.
struct names {
    struct name *items;
    size_t n, capacity;
    uint32_t last; // that was added or met: sessions of one role often follow each other
};

struct job_scan {
    struct poll_options options;
    struct session_id *asked; // LOOK; as given
    struct session_id *asked_sorted;
    size_t n_asked;
    char *asked_pids; // as an array's text
    char *patterns;   // the same; NULL: none
    char *role_oids, *database_oids;
    PGresult *facts, *sessions, *names_result; // the rows' names of roles and databases stand in the last
    enum statement_id statement;               // that reads the sessions
    struct session_list *before;               // CHANGES: what the poll before brought
    int64_t mark;                              // CHANGES: sessions idle since before then need not be sent
    bool is_doubted;                           // CHANGES: what came does not fit to that, and everything is read
    struct session_list *list;
    char *queries;     // cut query texts, one after the other
    int64_t *blockers; // of all rows, one after the other
    struct names roles, databases;
    struct scan scan;
    bool complete;
};

struct act {
    enum action action;
    struct guard_test test;
    char *application_name; // the test's
};

enum lead_change {
    LEAD_KEEP,
    LEAD_TAKE,
    LEAD_LEAVE,
};

// The first round reads who holds the lock; if that is not as wanted another one takes it or lets it go, and reads
// again.
struct job_lead {
    bool prepared;
    bool want;
    bool leads;              // we did so before, and hold the lock since
    bool has_self;           // we hold it
    bool is_fresh;           // we have taken it in this job
    enum lead_change change; // that the next round makes
    enum leader leader;
    int64_t pid;
};

struct job_act {
    struct poll_options options;
    struct act *acts;
    struct act_report *reports;
    size_t n_acts;
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

#define SURVEY_MAX_RESULTS 4
struct job_survey {
    int version_num;
    PGresult *results[SURVEY_MAX_RESULTS]; // the survey's strings stand in these
    struct server_setting *settings;
    size_t n_settings, settings_capacity;
    struct server_watchdog *watchdogs;
    struct server_collation *collations;
    struct server_survey survey;
};

struct job_set_up {
    int version_num;
    char statement_timeout[24];
    char lock_timeout[24];
};

// What differs between the kinds of job; each constructor names its own.
struct job_ops {
    bool syncs_each;                               // each request is a transaction of its own: so is its failure
    unsigned (*n_requests)(const struct job *job); // of this round
    int (*send)(struct job *job, PGconn *pq, unsigned request, usec_t now);
    // Takes the result over. Errors of the server come only when syncs_each; otherwise the first one fails the job.
    void (*take_result)(struct job *job, unsigned request, PGresult *result, usec_t now);
    bool (*next_round)(struct job *job); // NULL: there is one
    void (*unsend)(struct job *job);     // it will never be sent; NULL: nothing to note
    void (*deinit)(struct job *job);     // NULL: nothing to free
};

struct job {
    enum job_kind kind;
    const struct job_ops *ops;
    unsigned round;
    struct pg_error error;
    struct job *next; // in the connection's queue
    usec_t timeout;   // the same
    union {
        struct identity identity;
        struct job_set_up set_up;
        struct job_rights rights;
        struct job_survey survey;
        struct job_scan scan;
        struct job_lead lead;
        struct job_act act;
    };
};

struct job *job_new(enum job_kind kind, const struct job_ops *ops);

// What the connection calls, in this order, for each round.
unsigned job_n_requests(const struct job *job); // of this round
bool job_syncs_each(const struct job *job);
// Queues one. 0, -ENOMEM or -EIO.
int job_send(struct job *job, PGconn *pq, unsigned request, usec_t now);
void job_take_result(struct job *job, unsigned request, PGresult *result, usec_t now); // takes the result over
// true: send again.
bool job_next_round(struct job *job);
// The connection broke. `sent`: while this job's requests were on their way.
void job_abandon(struct job *job, const struct pg_error *error, bool sent);
