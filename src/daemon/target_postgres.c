// SPDX-License-Identifier: PostgreSQL

// PostgreSQL as a target: login, JOB_IDENTIFY, perhaps JOB_SURVEY, JOB_SET_UP, JOB_RIGHTS, and then whatever is asked
// for. Behind a pooler nothing is set or prepared (the next client would inherit it), and nothing is signalled.

#include "target_kind.h"

#include <errno.h>
#include <stdlib.h>

#include "pg/connection.h"

// statement_timeout is the server's to keep; past this many of them the server does not answer at all.
#define POSTGRES_PATIENCE 3

struct postgres {
    struct server server; // first
    const struct target_config *config;
    struct connection *connection;
    struct poll_options options;
    struct known *known;  // by the polls of this connection
    bool leads;           // as of the last answer on this connection
    usec_t deadline;      // of login and JOB_IDENTIFY
    struct job *finished; // what the last report borrows from
    struct job *rights;
    struct job *survey; // NULL: none was made
    bool is_lost;
    bool is_given_up;      // by us, while connecting: no acts are under way
    struct pg_error error; // when lost
};

static const struct finding postgres_pooled_finding = {
    .level = EVENT_ERROR,
    .reason = "pooled_connection",
    .detail = "a pooler stands between us and the server: observing only",
    .hint = "let conninfo name the server itself",
};

static struct postgres *postgres_of(struct server *server) {
    return (struct postgres *)(void *)server;
}

static const struct postgres *postgres_of_const(const struct server *server) {
    return (const struct postgres *)(const void *)server;
}

static void postgres_close(struct server *server) {
    struct postgres *p = postgres_of(server);
    if (p->connection) {
        connection_close(p->connection);
    }
    p->finished = job_free(p->finished);
    p->rights = job_free(p->rights);
    p->survey = job_free(p->survey);
    p->is_lost = p->is_given_up = p->leads = false;
    p->options = (struct poll_options){0};
    if (p->known) {
        known_forget(p->known);
    }
    server->observe_only = false;
}

static struct server *postgres_free(struct server *server) {
    if (server) {
        struct postgres *p = postgres_of(server);
        postgres_close(server);
        p->connection = connection_free(p->connection);
        p->known = known_free(p->known);
        free(p);
    }
    return NULL;
}

static struct server *postgres_new(const struct target_config *config) {
    struct postgres *p = calloc(1, sizeof(*p));
    if (!p) {
        return NULL;
    }
    *p = (struct postgres){
        .server = {.kind = &target_kind_postgres},
        .config = config,
        .connection = connection_new(),
        .known = known_new(),
    };
    return p->connection && p->known ? &p->server : postgres_free(&p->server);
}

static void postgres_start(struct server *server, const struct conninfo *conninfo, usec_t now, usec_t deadline) {
    struct postgres *p = postgres_of(server);
    postgres_close(server); // one connection at any time
    p->deadline = deadline;
    connection_start(p->connection, conninfo, now, deadline);
}

static int postgres_fd(const struct server *server) {
    return connection_fd(postgres_of_const(server)->connection);
}

static unsigned postgres_wants(const struct server *server) {
    return connection_wants(postgres_of_const(server)->connection);
}

static usec_t postgres_deadline(const struct server *server) {
    return connection_deadline(postgres_of_const(server)->connection);
}

static void postgres_give_up(struct postgres *p, const struct pg_error *error) {
    p->is_lost = p->is_given_up = true;
    p->error = *error;
}

// Jobs that are part of the connect: without them there is nothing to hold on to.
static void postgres_submit_own(struct postgres *p, struct job *job, usec_t timeout) {
    if (!job) {
        struct pg_error error;
        pg_error_set(&error, PG_ERROR_OTHER, "", "out of memory");
        postgres_give_up(p, &error);
        return;
    }
    connection_submit(p->connection, job, timeout);
}

static int postgres_submit(struct postgres *p, struct job *job) {
    if (!job) {
        return -ENOMEM;
    }
    connection_submit(p->connection, job, POSTGRES_PATIENCE * p->config->query_timeout);
    return 0;
}

static void postgres_configure(struct server *server, const struct target_config *config) {
    postgres_of(server)->config = config;
}

static void postgres_set_options(struct postgres *p) {
    const struct policy *policy = p->server.policy;
    p->options.query_text = policy->query_text;
    p->options.queries = policy->queries;
    p->options.n_queries = policy->n_queries;
    p->options.blockers = policy_asks_blockers(policy);
}

static int postgres_lead(struct server *server, bool want) {
    struct postgres *p = postgres_of(server);
    return postgres_submit(p, job_lead_new(&p->options, want, p->leads));
}

static int postgres_poll(struct server *server) {
    struct postgres *p = postgres_of(server);
    postgres_set_options(p);
    return postgres_submit(p, job_poll_new(&p->options));
}

static int postgres_look(struct server *server, const struct session_id *ids, size_t n_ids) {
    struct postgres *p = postgres_of(server);
    postgres_set_options(p);
    return postgres_submit(p, job_look_new(&p->options, ids, n_ids));
}

static int postgres_act(struct server *server, const struct decision *decisions, size_t n_decisions) {
    struct postgres *p = postgres_of(server);
    return postgres_submit(p, job_act_new(&p->options, decisions, n_decisions));
}

static bool postgres_is_busy(const struct server *server) {
    return connection_is_busy(postgres_of_const(server)->connection);
}

static void postgres_set_up(struct postgres *p) {
    usec_t patience = POSTGRES_PATIENCE * p->config->query_timeout;
    int version_num = p->server.version_num;
    if (p->server.observe_only) {
        postgres_submit_own(p, job_rights_new(version_num), patience);
    } else {
        postgres_submit_own(p, job_set_up_new(version_num, p->config->query_timeout), patience);
    }
}

static enum server_event postgres_identified(struct postgres *p, const struct job *job) {
    const struct identity identity = job_identity(job);
    p->server.version_num = identity.version_num;
    p->server.observe_only = identity.backend_pid != connection_backend_pid(p->connection);
    p->options.version_num = identity.version_num;
    if (p->server.surveys) {
        postgres_submit_own(p, job_survey_new(identity.version_num), POSTGRES_PATIENCE * p->config->query_timeout);
    } else {
        postgres_set_up(p);
    }
    return SERVER_UP;
}

// Failed or not: a check that fails is a finding, and no reason to give up the place that we have. One that is made
// again and fails has found nothing new.
static enum server_event postgres_checked(struct postgres *p, bool failed) {
    bool again = p->rights != NULL;
    if (!again || !failed) {
        p->rights = job_free(p->rights);
        p->rights = TAKE_PTR(p->finished);
    }
    return again ? SERVER_CHECKED : SERVER_READY;
}

// A job came back. NOTHING: the caller goes on.
static enum server_event postgres_finished(struct postgres *p, struct job *job, struct server_report *ret) {
    const struct pg_error *error = job_error(job);
    bool failed = error->kind != PG_ERROR_NONE;
    p->finished = job_free(p->finished);
    p->finished = job;
    switch (job_kind(job)) {
    case JOB_IDENTIFY:
        if (!failed) {
            return postgres_identified(p, job);
        }
        postgres_give_up(p, error);
        return SERVER_NOTHING;
    case JOB_SURVEY:
        p->survey = TAKE_PTR(p->finished);
        postgres_set_up(p);
        return SERVER_NOTHING;
    case JOB_SET_UP:
        if (failed) {
            postgres_give_up(p, error);
            return SERVER_NOTHING;
        }
        p->options.prepared = true;
        p->options.known = p->known; // behind a pooler the next poll may be answered by another backend
        postgres_submit_own(p, job_rights_new(p->options.version_num), POSTGRES_PATIENCE * p->config->query_timeout);
        return SERVER_NOTHING;
    case JOB_RIGHTS:
        return postgres_checked(p, failed);
    case JOB_POLL:
    case JOB_LOOK:
        ret->scanned = job_kind(job) == JOB_POLL ? SCAN_FULL : SCAN_LOOK;
        ret->scan = failed ? NULL : job_scan(job);
        ret->error = error;
        return SERVER_SCANNED;
    case JOB_LEAD:
        ret->leader = job_leader(job, &ret->leader_pid);
        ret->error = error;
        p->leads = failed ? p->leads : ret->leader == LEADER_SELF;
        return SERVER_LED;
    case JOB_ACT:
        ret->acts = job_acts(job, &ret->n_acts);
        ret->error = error;
        return SERVER_ACTED;
    }
    return SERVER_NOTHING;
}

// After a loss: acts that did not come back, and at last the loss itself.
static enum server_event postgres_drain(struct postgres *p, struct server_report *ret) {
    for (;;) {
        struct job *job = p->is_given_up ? NULL : connection_take_job(p->connection);
        if (!job) {
            ret->error = &p->error;
            return SERVER_LOST;
        }
        p->finished = job_free(p->finished);
        p->finished = job;
        if (job_kind(job) == JOB_ACT) {
            ret->acts = job_acts(job, &ret->n_acts);
            ret->error = job_error(job);
            return SERVER_ACTED;
        }
    }
}

static enum server_event postgres_dispatch(struct server *server, unsigned ready, usec_t now,
                                           struct server_report *ret) {
    struct postgres *p = postgres_of(server);
    *ret = (struct server_report){0};
    while (!p->is_lost) {
        struct job *job = NULL;
        switch (connection_dispatch(p->connection, ready, now, &job)) {
        case CONNECTION_NOTHING:
            return SERVER_NOTHING;
        case CONNECTION_UP:
            postgres_submit_own(p, job_identify_new(), MAX(usec_sub(p->deadline, now), USEC_PER_MSEC));
            break;
        case CONNECTION_JOB: {
            enum server_event event = postgres_finished(p, job, ret);
            if (event != SERVER_NOTHING) {
                return event;
            }
            break;
        }
        case CONNECTION_LOST:
            p->is_lost = true;
            p->error = *connection_error(p->connection);
            break;
        }
        ready = 0;
    }
    return postgres_drain(p, ret);
}

static int postgres_check(struct server *server) {
    struct postgres *p = postgres_of(server);
    return postgres_submit(p, job_rights_new(p->options.version_num));
}

static bool postgres_finding(const struct server *server, size_t i, struct finding *ret) {
    const struct postgres *p = postgres_of_const(server);
    if (server->observe_only) {
        if (i == 0) {
            *ret = postgres_pooled_finding;
            return true;
        }
        i--;
    }
    if (!p->rights) {
        return false;
    }
    if (job_error(p->rights)->kind != PG_ERROR_NONE) {
        *ret = (struct finding){EVENT_WARNING, "self_check_failed", job_error(p->rights)->message, NULL};
        return i == 0;
    }
    size_t n = 0;
    const struct finding *findings = job_findings(p->rights, &n);
    if (i >= n) {
        return false;
    }
    *ret = findings[i];
    return true;
}

static const struct server_survey *postgres_survey(const struct server *server, const struct pg_error **ret_error) {
    const struct postgres *p = postgres_of_const(server);
    *ret_error = p->survey ? job_error(p->survey) : NULL;
    return p->survey ? job_survey(p->survey) : NULL;
}

const struct target_kind target_kind_postgres = {
    .new = postgres_new,
    .free = postgres_free,
    .start = postgres_start,
    .close = postgres_close,
    .configure = postgres_configure,
    .fd = postgres_fd,
    .wants = postgres_wants,
    .deadline = postgres_deadline,
    .dispatch = postgres_dispatch,
    .lead = postgres_lead,
    .poll = postgres_poll,
    .look = postgres_look,
    .act = postgres_act,
    .is_busy = postgres_is_busy,
    .check = postgres_check,
    .finding = postgres_finding,
    .survey = postgres_survey,
};
