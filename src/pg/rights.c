// SPDX-License-Identifier: PostgreSQL
//
// JOB_RIGHTS: what our role may and may not do here, each shortcoming with the statement that mends it.
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "decode.h"
#include "error_impl.h"
#include "job_impl.h"
#include "util/strbuf.h"

#define RIGHTS_VERSION_MIN 130000 // oldest and newest that we know
#define RIGHTS_VERSION_MAX 189999
#define RIGHTS_VERSION_INHERIT 150000  // membership without inheritance stops to count
#define RIGHTS_VERSION_RESERVED 160000 // reserved_connections, and inheritance as an option of GRANT
// The daemon, the command line, and the old daemon while a new one starts.
#define RIGHTS_SESSIONS_NEEDED 3

enum { RIGHTS_REQUEST_ROLE, RIGHTS_REQUEST_SUPERUSERS, N_RIGHTS_REQUESTS };

struct rights {
    int version_num;
    const char *role, *role_quoted, *database, *database_quoted;
    bool in_recovery, superuser, sees, sees_member, signals, signals_member, uses_reserved;
    int32_t superuser_reserved, reserved, role_limit, database_limit;
};

static int rights_send(struct job *job, PGconn *pq, unsigned request, usec_t now) {
    struct params params = {0};
    (void)now;
    if (request == RIGHTS_REQUEST_SUPERUSERS) {
        return query_send(pq, STATEMENT_SUPERUSERS, false, &params);
    }
    params_add_text(&params, job->rights.version_num < RIGHTS_VERSION_INHERIT ? "MEMBER" : "USAGE");
    return query_send(pq, STATEMENT_RIGHTS, false, &params);
}

// Empties both buffers; an empty hint is none.
static void rights_add(struct job *job, enum event_level level, const char *reason, struct strbuf *detail,
                       struct strbuf *hint) {
    struct job_rights *r = &job->rights;
    bool has_hint = hint->len > 0;
    assert(r->n_findings < RIGHTS_MAX_FINDINGS);
    struct finding *finding = &r->findings[r->n_findings];
    *finding = (struct finding){.level = level, .reason = reason};
    finding->detail = r->texts[r->n_texts++] = strbuf_take(detail);
    if (has_hint) {
        finding->hint = r->texts[r->n_texts++] = strbuf_take(hint);
    }
    if (!finding->detail || (has_hint && !finding->hint)) {
        pg_error_set(&job->error, PG_ERROR_OTHER, NULL, "out of memory");
        return;
    }
    r->n_findings++;
}

// What makes a predefined role's rights ours. A member that does not inherit is mended in another way.
static void rights_grant(struct strbuf *hint, const struct rights *rights, const char *role, bool is_member) {
    if (!is_member) {
        strbuf_addf(hint, "GRANT %s TO %s", role, rights->role_quoted);
    } else if (rights->version_num >= RIGHTS_VERSION_RESERVED) {
        strbuf_addf(hint, "GRANT %s TO %s WITH INHERIT TRUE", role, rights->role_quoted);
    } else {
        strbuf_addf(hint, "ALTER ROLE %s INHERIT", rights->role_quoted);
    }
}

static void rights_check_server(struct job *job, const struct rights *rights, struct strbuf *detail,
                                struct strbuf *hint) {
    int major = rights->version_num / 10000;
    if (rights->version_num < RIGHTS_VERSION_MIN) {
        strbuf_addf(detail, "PostgreSQL %d is older than %d, the oldest that pgvigil supports", major,
                    RIGHTS_VERSION_MIN / 10000);
        rights_add(job, EVENT_ERROR, "unsupported_version", detail, hint);
    } else if (rights->version_num > RIGHTS_VERSION_MAX) {
        strbuf_addf(detail, "PostgreSQL %d is newer than %d, the newest that this pgvigil was tried with", major,
                    RIGHTS_VERSION_MAX / 10000);
        rights_add(job, EVENT_INFO, "unsupported_version", detail, hint);
    }
    if (rights->in_recovery) {
        strbuf_add(detail, "the server is a standby in recovery");
        rights_add(job, EVENT_INFO, "in_recovery", detail, hint);
    }
}

static void rights_check_role(struct job *job, const struct rights *rights, struct strbuf *detail,
                              struct strbuf *hint) {
    if (rights->superuser) {
        strbuf_addf(detail, "role %s is a superuser: that works, but pgvigil needs far fewer rights", rights->role);
        strbuf_add(hint, "CREATE ROLE pgvigil LOGIN; GRANT pg_monitor, pg_signal_backend TO pgvigil");
        if (rights->version_num >= RIGHTS_VERSION_RESERVED) {
            strbuf_add(hint, "; GRANT pg_use_reserved_connections TO pgvigil");
        }
        rights_add(job, EVENT_NOTICE, "we_are_superuser", detail, hint);
    }
    if (!rights->sees) {
        strbuf_addf(detail, "role %s is not allowed to see other sessions: nothing can be watched", rights->role);
        rights_grant(hint, rights, "pg_monitor", rights->sees_member);
        rights_add(job, EVENT_ERROR, "blind", detail, hint);
    }
    if (!rights->signals) {
        strbuf_addf(detail, "role %s is not allowed to end sessions of other roles", rights->role);
        rights_grant(hint, rights, "pg_signal_backend", rights->signals_member);
        rights_add(job, EVENT_WARNING, "powerless", detail, hint);
    }
}

static void rights_check_slots(struct job *job, const struct rights *rights, struct strbuf *detail,
                               struct strbuf *hint) {
    static const char consequence[] = "when the server is full, a pgvigil that restarts is locked out";
    if (rights->superuser && rights->superuser_reserved > 0) {
        return;
    }
    if (rights->version_num < RIGHTS_VERSION_RESERVED) {
        strbuf_addf(detail, "before PostgreSQL 16 only superusers have reserved slots: %s", consequence);
        strbuf_add(hint, "restart pgvigil only while slots are free; PostgreSQL 16 has reserved_connections");
        rights_add(job, EVENT_NOTICE, "no_reserved_slot", detail, hint);
        return;
    }
    if (rights->reserved > 0 && rights->uses_reserved) {
        return;
    }
    if (!rights->uses_reserved) {
        strbuf_addf(hint, "GRANT pg_use_reserved_connections TO %s", rights->role_quoted);
    }
    if (rights->reserved == 0) {
        strbuf_addf(hint, "%sALTER SYSTEM SET reserved_connections = %d, and restart the server",
                    hint->len > 0 ? "; " : "", RIGHTS_SESSIONS_NEEDED);
    }
    strbuf_addf(detail, "no slot is reserved for role %s: %s", rights->role, consequence);
    rights_add(job, EVENT_WARNING, "no_reserved_slot", detail, hint);
}

static void rights_check_limits(struct job *job, const struct rights *rights, struct strbuf *detail,
                                struct strbuf *hint) {
    if (rights->superuser) {
        return; // limits do not bind it
    }
    if (rights->role_limit >= 0) {
        bool low = rights->role_limit < RIGHTS_SESSIONS_NEEDED;
        strbuf_addf(detail, "role %s may hold %" PRId32 " connections", rights->role, rights->role_limit);
        if (low) {
            strbuf_addf(detail, ": the daemon, a restart of it and a command need %d", RIGHTS_SESSIONS_NEEDED);
            strbuf_addf(hint, "ALTER ROLE %s CONNECTION LIMIT %d", rights->role_quoted, RIGHTS_SESSIONS_NEEDED);
        }
        rights_add(job, low ? EVENT_WARNING : EVENT_INFO, "role_limit", detail, hint);
    }
    if (rights->database_limit >= 0) {
        strbuf_addf(detail, "database %s takes %" PRId32 " connections: its other clients can lock pgvigil out",
                    rights->database, rights->database_limit);
        strbuf_addf(hint, "ALTER DATABASE %s CONNECTION LIMIT -1", rights->database_quoted);
        rights_add(job, EVENT_NOTICE, "database_limit", detail, hint);
    }
}

static void rights_take_role(struct job *job, const PGresult *result) {
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    CLEANUP(strbuf_deinit) struct strbuf hint = STRBUF_EMPTY;
    struct decoder decoder = decode_begin(result, statement_get(STATEMENT_RIGHTS), &job->error);
    if (!decode_ok(&decoder)) {
        return;
    }
    struct rights rights = {
        .version_num = job->rights.version_num,
        .role = decode_text(&decoder, RIGHTS_ROLE),
        .role_quoted = decode_text(&decoder, RIGHTS_ROLE_QUOTED),
        .database = decode_text(&decoder, RIGHTS_DATABASE),
        .database_quoted = decode_text(&decoder, RIGHTS_DATABASE_QUOTED),
        .in_recovery = decode_bool(&decoder, RIGHTS_IN_RECOVERY),
        .superuser = decode_bool(&decoder, RIGHTS_SUPERUSER),
        .sees = decode_bool(&decoder, RIGHTS_SEES),
        .sees_member = decode_bool(&decoder, RIGHTS_SEES_MEMBER),
        .signals = decode_bool(&decoder, RIGHTS_SIGNALS),
        .signals_member = decode_bool(&decoder, RIGHTS_SIGNALS_MEMBER),
        .uses_reserved = decode_bool(&decoder, RIGHTS_USES_RESERVED),
        .superuser_reserved = decode_int32(&decoder, RIGHTS_SUPERUSER_RESERVED, 0),
        .reserved = decode_int32(&decoder, RIGHTS_RESERVED, 0),
        .role_limit = decode_int32(&decoder, RIGHTS_ROLE_LIMIT, INT32_MIN),
        .database_limit = decode_int32(&decoder, RIGHTS_DATABASE_LIMIT, INT32_MIN),
    };
    if (!decode_ok(&decoder)) {
        return;
    }
    rights_check_server(job, &rights, &detail, &hint);
    rights_check_role(job, &rights, &detail, &hint);
    rights_check_slots(job, &rights, &detail, &hint);
    rights_check_limits(job, &rights, &detail, &hint);
    job->rights.superuser = rights.superuser;
}

// Sessions of superusers that only a superuser can end.
static void rights_take_superusers(struct job *job, const PGresult *result) {
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    CLEANUP(strbuf_deinit) struct strbuf hint = STRBUF_EMPTY;
    struct decoder decoder = decode_begin(result, statement_get(STATEMENT_SUPERUSERS), &job->error);
    int n = decode_n_rows(&decoder);
    if (n == 0 || job->rights.superuser) {
        return;
    }
    int64_t total = decode_int64(&decoder, SUPERUSERS_TOTAL);
    strbuf_addf(&detail, "only a superuser could end the %" PRId64 " session%s of superusers (", total,
                total == 1 ? "" : "s");
    for (decoder.row = 0; decoder.row < n; decoder.row++) {
        strbuf_addf(&detail, "%s%s %" PRId64, decoder.row == 0 ? "" : ", ", decode_text(&decoder, SUPERUSERS_ROLE),
                    decode_int64(&decoder, SUPERUSERS_SESSIONS));
    }
    strbuf_add(&detail, n == SUPERUSERS_SHOWN ? ", ...)" : ")");
    strbuf_add(&hint, "give applications roles that are no superusers; the rest, protect.superusers leaves alone");
    if (decode_ok(&decoder)) {
        rights_add(job, EVENT_NOTICE, "superuser_sessions", &detail, &hint);
    }
}

static void rights_take_result(struct job *job, unsigned request, PGresult *result, usec_t now) {
    (void)now;
    if (request == RIGHTS_REQUEST_ROLE) {
        rights_take_role(job, result);
    } else {
        rights_take_superusers(job, result);
    }
    PQclear(result);
}

static unsigned rights_n_requests(const struct job *job) {
    (void)job;
    return N_RIGHTS_REQUESTS;
}

static void rights_deinit(struct job *job) {
    struct job_rights *r = &job->rights;
    for (size_t i = 0; i < r->n_texts; i++) {
        free(r->texts[i]);
    }
}

static const struct job_ops rights_ops = {
    .n_requests = rights_n_requests,
    .send = rights_send,
    .take_result = rights_take_result,
    .deinit = rights_deinit,
};

struct job *job_rights_new(int version_num) {
    struct job *job = job_new(JOB_RIGHTS, &rights_ops);
    if (job) {
        job->rights.version_num = version_num;
    }
    return job;
}

const struct finding *job_findings(const struct job *job, size_t *ret_n) {
    assert(job->kind == JOB_RIGHTS);
    *ret_n = job->error.kind == PG_ERROR_NONE ? job->rights.n_findings : 0;
    return job->rights.findings;
}
