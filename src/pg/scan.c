// SPDX-License-Identifier: PostgreSQL
//
// JOB_POLL and JOB_LOOK. The first round brings the server's clock and facts, and the sessions with the oids of their
// role and database; the last one the names of those oids. A poll that builds on the one before (known.c) may need
// another round between, to read everything after all. Names are read anew each time: they are few, and a rename or
// a new superuser counts at once.
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decode.h"
#include "error_impl.h"
#include "job_impl.h"
#include "util/escape.h"
#include "util/strbuf.h"

// Requests of the first round; the others have one.
enum { SCAN_REQUEST_FACTS, SCAN_REQUEST_SESSIONS, N_SCAN_REQUESTS };

#define SCAN_QUERY_TEXT_MAX 16384 // characters of query text that can be asked for
#define UTF8_MAX_BYTES 4          // of one character

// {"(?i)^copy ","^\\\\s*select"}: a quoted item keeps everything but quote and backslash.
static int scan_set_patterns(struct job_scan *s) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    if (s->options.n_queries == 0) {
        return 0;
    }
    for (size_t i = 0; i < s->options.n_queries; i++) {
        const struct query_pattern *query = &s->options.queries[i];
        strbuf_addf(&sb, "%c\"%s", i == 0 ? '{' : ',', query->icase ? "(?i)" : "");
        for (const char *p = query->expression; *p; p++) {
            if (*p == '"' || *p == '\\') {
                strbuf_add_char(&sb, '\\');
            }
            strbuf_add_char(&sb, *p);
        }
        strbuf_add_char(&sb, '"');
    }
    strbuf_add_char(&sb, '}');
    s->patterns = strbuf_take(&sb);
    return s->patterns ? 0 : -ENOMEM;
}

static int scan_compare_ids(const void *a, const void *b) {
    const struct session_id *x = a, *y = b;
    if (x->id != y->id) {
        return x->id < y->id ? -1 : 1;
    }
    return (x->since > y->since) - (x->since < y->since);
}

static int scan_set_asked(struct job_scan *s, const struct session_id *ids, size_t n_ids) {
    CLEANUP(strbuf_deinit) struct strbuf pids = STRBUF_EMPTY;
    s->asked = calloc(MAX(n_ids, 1), sizeof(*ids));
    s->asked_sorted = calloc(MAX(n_ids, 1), sizeof(*ids));
    if (!s->asked || !s->asked_sorted) {
        return -ENOMEM;
    }
    s->n_asked = n_ids;
    strbuf_add_char(&pids, '{');
    for (size_t i = 0; i < n_ids; i++) {
        // To the server -1 means all sessions.
        assert(ids[i].id > 0 && ids[i].id <= INT32_MAX);
        s->asked[i] = s->asked_sorted[i] = ids[i];
        strbuf_addf(&pids, i == 0 ? "%" PRId64 : ",%" PRId64, ids[i].id);
    }
    strbuf_add_char(&pids, '}');
    qsort(s->asked_sorted, n_ids, sizeof(*ids), scan_compare_ids);
    s->asked_pids = strbuf_take(&pids);
    return s->asked_pids ? 0 : -ENOMEM;
}

// What most polls ask has statements of its own.
static enum statement_id scan_choose(const struct job *job) {
    const struct job_scan *s = &job->scan;
    if (job->kind == JOB_LOOK) {
        return STATEMENT_LOOK;
    }
    if (s->options.query_text > 0 || s->patterns || s->options.blockers) {
        return STATEMENT_SCAN_MORE;
    }
    return s->before ? STATEMENT_CHANGES : STATEMENT_SCAN;
}

static bool scan_asks_names(const struct job *job) {
    return job->round == (job->scan.is_doubted ? 2 : 1);
}

static unsigned scan_n_requests(const struct job *job) {
    return job->round == 0 ? N_SCAN_REQUESTS : 1;
}

static int scan_send_sessions(const struct job_scan *s, PGconn *pq) {
    struct params params = {0};
    if (s->statement == STATEMENT_CHANGES) {
        params_add_timestamp(&params, s->mark);
    } else if (s->statement != STATEMENT_SCAN) {
        params_add_int32(&params, (int32_t)s->options.query_text * UTF8_MAX_BYTES);
        params_add_text(&params, s->patterns);
        params_add_bool(&params, s->options.blockers);
    }
    if (s->statement == STATEMENT_LOOK) {
        params_add_text(&params, s->asked_pids);
    }
    return query_send(pq, s->statement, s->options.prepared, &params);
}

static int scan_send(struct job *job, PGconn *pq, unsigned request, usec_t now) {
    struct job_scan *s = &job->scan;
    struct params params = {0};
    if (scan_asks_names(job)) {
        params_add_text(&params, s->role_oids);
        params_add_text(&params, s->database_oids);
        return query_send(pq, STATEMENT_NAMES, s->options.prepared, &params);
    }
    if (job->round == 0 && request == SCAN_REQUEST_FACTS) {
        s->scan.sent_at = now;
        return query_send(pq, STATEMENT_FACTS, s->options.prepared, &params);
    }
    return scan_send_sessions(s, pq);
}

static int names_compare(const void *key, const void *item) {
    uint32_t oid = *(const uint32_t *)key, other = ((const struct name *)item)->oid;
    return (oid > other) - (oid < other);
}

static struct name *names_find(const struct names *names, uint32_t oid) {
    return names->n == 0 ? NULL : bsearch(&oid, names->items, names->n, sizeof(*names->items), names_compare);
}

static int names_add(struct names *names, uint32_t oid) {
    size_t at = names->n;
    if (oid == names->last || oid == 0) {
        return 0;
    }
    names->last = oid;
    if (names_find(names, oid)) {
        return 0;
    }
    if (names->n == names->capacity) {
        size_t capacity = MAX(2 * names->capacity, 16);
        struct name *items = reallocarray(names->items, capacity, sizeof(*items));
        if (!items) {
            return -ENOMEM;
        }
        names->items = items;
        names->capacity = capacity;
    }
    while (at > 0 && names->items[at - 1].oid > oid) {
        names->items[at] = names->items[at - 1];
        at--;
    }
    names->items[at] = (struct name){.oid = oid, .limit = -1};
    names->n++;
    return 0;
}

// The oids as an array's text; NULL: out of memory.
static char *names_to_array(const struct names *names) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    strbuf_add_char(&sb, '{');
    for (size_t i = 0; i < names->n; i++) {
        strbuf_addf(&sb, i == 0 ? "%" PRIu32 : ",%" PRIu32, names->items[i].oid);
    }
    strbuf_add_char(&sb, '}');
    return strbuf_take(&sb);
}

// After the array has stopped moving.
static void names_fill_unknown(struct names *names) {
    for (size_t i = 0; i < names->n; i++) {
        struct name *name = &names->items[i];
        if (!name->text) {
            int n = snprintf(name->number, sizeof(name->number), "%" PRIu32, name->oid);
            assert(n > 0 && (size_t)n < sizeof(name->number));
            name->text = name->number;
        }
    }
}

// Characters are whole and at most `max`; what is not UTF-8 counts by bytes.
static size_t scan_cut_query(const char *text, size_t len, int64_t max) {
    size_t at = 0;
    for (int64_t n = 0; n < max && at < len; n++) {
        unsigned code;
        size_t step = utf8_decode(text + at, len - at, &code);
        at += MAX(step, 1);
    }
    return at;
}

// P10: on a single line. Of UTF-8 no other byte is below 128.
static void scan_flatten_query(char *text, size_t len) {
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)text[i];
        text[i] = byte < 0x20 || byte == 0x7f ? ' ' : text[i];
    }
}

// Copies the text of the decoder's row to *p, NUL-terminated, cut and on one line; *p moves behind it.
static const char *scan_copy_query(const struct job_scan *s, struct decoder *decoder, char **p) {
    if (!s->queries || decode_is_null(decoder, SCAN_QUERY)) {
        return NULL;
    }
    const char *value = PQgetvalue(s->sessions, decoder->row, SCAN_QUERY);
    size_t len = (size_t)PQgetlength(s->sessions, decoder->row, SCAN_QUERY);
    if (strlen(value) != len) {
        decode_fail(decoder, SCAN_QUERY, "a NUL byte inside of text");
        return NULL;
    }
    char *copy = *p;
    len = scan_cut_query(value, len, s->options.query_text);
    memcpy(copy, value, len);
    copy[len] = '\0';
    scan_flatten_query(copy, len);
    *p += len + 1;
    return copy;
}

static int scan_alloc_more(struct job_scan *s, int n) {
    size_t size = 0, n_blockers = 0;
    for (int i = 0; i < n; i++) {
        size += (size_t)PQgetlength(s->sessions, i, SCAN_QUERY) + 1;
        n_blockers += PQgetisnull(s->sessions, i, SCAN_BLOCKED_BY) ? 0 : QUERY_MAX_BLOCKERS;
    }
    if (s->options.query_text > 0) {
        s->queries = malloc(MAX(size, 1));
    }
    if (n_blockers > 0) {
        s->blockers = malloc(n_blockers * sizeof(*s->blockers));
    }
    return (s->options.query_text > 0 && !s->queries) || (n_blockers > 0 && !s->blockers) ? -ENOMEM : 0;
}

// One row, its texts and lists at *queries and *blockers, which move behind them.
static void scan_take_session(struct job_scan *s, struct decoder *decoder, struct session_row *row, char **queries,
                              int64_t **blockers) {
    decode_session(decoder, row);
    if (decoder->statement->n_columns == N_SCAN_COLUMNS) {
        return;
    }
    row->query = scan_copy_query(s, decoder, queries);
    row->n_blocked_by = decode_int32_array(decoder, SCAN_BLOCKED_BY, *blockers, QUERY_MAX_BLOCKERS);
    row->blocked_by = row->n_blocked_by > 0 ? *blockers : NULL;
    *blockers += row->n_blocked_by;
}

static bool scan_asked_for(const struct job_scan *s, const struct session_id *id) {
    return s->n_asked > 0 && bsearch(id, s->asked_sorted, s->n_asked, sizeof(*s->asked_sorted), scan_compare_ids);
}

// Every row as it is.
static int scan_take_rows(struct job *job, struct decoder *decoder, int n) {
    struct job_scan *s = &job->scan;
    if (decoder->statement->n_columns > N_SCAN_COLUMNS && scan_alloc_more(s, n) < 0) {
        return -ENOMEM;
    }
    char *queries = s->queries;
    int64_t *blockers = s->blockers;
    for (decoder->row = 0; decoder->row < n && decode_ok(decoder); decoder->row++) {
        struct session_row *row = &s->list->rows[s->list->n_rows];
        scan_take_session(s, decoder, row, &queries, &blockers);
        // A pid that now belongs to another backend: the one asked for is gone.
        if (decode_ok(decoder) && (job->kind == JOB_POLL || scan_asked_for(s, &row->id))) {
            s->list->n_rows++;
        }
    }
    return 0;
}

// Rows that have changed, and of the others that they are there. False: it does not fit to the poll before.
static bool scan_take_changes(struct job_scan *s, struct decoder *decoder, int n) {
    struct cell cells[N_SCAN_COLUMNS];
    const struct statement *whole = statement_get(STATEMENT_SCAN);
    size_t at = 0;
    for (decoder->row = 0; decoder->row < n && decode_ok(decoder); decoder->row++) {
        struct session_row *row = &s->list->rows[s->list->n_rows];
        if (decode_record(decoder, CHANGES_SESSION, whole->columns + 1, N_SCAN_COLUMNS - 1, cells + 1)) {
            struct decoder inner = *decoder;
            inner.statement = whole;
            inner.cells = cells;
            cells[SCAN_PID] = decode_cell(decoder, CHANGES_PID);
            decode_session(&inner, row);
        } else {
            const struct session_row *known = session_list_next(s->before, &at, decode_int32(decoder, CHANGES_PID, 1));
            int64_t state_change = decode_timestamp(decoder, CHANGES_STATE_CHANGE);
            if (!known || known->state != SESSION_STATE_IDLE || known->state_change != state_change) {
                return !decode_ok(decoder);
            }
            *row = *known;
            row->xact_start = TIMESTAMP_NONE; // by the statement
        }
        s->list->n_rows += decode_ok(decoder);
    }
    return true;
}

static int scan_note_oids(struct job_scan *s) {
    for (size_t i = 0; i < s->list->n_rows; i++) {
        const struct session_row *row = &s->list->rows[i];
        if (names_add(&s->roles, row->user_oid) < 0 || names_add(&s->databases, row->database_oid) < 0) {
            return -ENOMEM;
        }
    }
    s->role_oids = names_to_array(&s->roles);
    s->database_oids = names_to_array(&s->databases);
    return s->role_oids && s->database_oids ? 0 : -ENOMEM;
}

static int scan_take_sessions(struct job *job) {
    struct job_scan *s = &job->scan;
    struct decoder decoder = decode_begin(s->sessions, statement_get(s->statement), &job->error);
    int n = decode_n_rows(&decoder);
    s->list = session_list_new((size_t)n);
    if (!s->list) {
        return -ENOMEM;
    }
    if (s->statement == STATEMENT_CHANGES) {
        s->is_doubted = !scan_take_changes(s, &decoder, n);
    } else if (scan_take_rows(job, &decoder, n) < 0) {
        return -ENOMEM;
    }
    if (s->is_doubted && s->statement == STATEMENT_CHANGES) {
        s->list = session_list_unref(s->list);
        s->statement = STATEMENT_SCAN;
    } else if (session_list_own_names(s->list) < 0 || scan_note_oids(s) < 0) {
        return -ENOMEM;
    }
    // The largest block of a poll: nothing stands in it any more.
    PQclear(s->sessions);
    s->sessions = NULL;
    s->before = session_list_unref(s->before);
    return 0;
}

static void scan_take_names(struct job *job) {
    struct job_scan *s = &job->scan;
    struct decoder decoder = decode_begin(s->names_result, statement_get(STATEMENT_NAMES), &job->error);
    int n = decode_n_rows(&decoder);
    for (decoder.row = 0; decoder.row < n && decode_ok(&decoder); decoder.row++) {
        bool is_role = decode_bool(&decoder, NAMES_IS_ROLE);
        struct name *name = names_find(is_role ? &s->roles : &s->databases, decode_oid(&decoder, NAMES_OID));
        const char *text = decode_text(&decoder, NAMES_NAME);
        bool superuser = decode_bool(&decoder, NAMES_SUPERUSER);
        int32_t limit = decode_int32(&decoder, NAMES_LIMIT, INT32_MIN);
        if (name) {
            name->text = text;
            name->superuser = superuser;
            // No limit binds a superuser; -2 marks a database whose DROP was interrupted.
            name->limit = superuser ? -1 : MAX(limit, -1);
        }
    }
}

// What more there is to a session is not kept: a poll that asks for it reads everything.
static void scan_note_known(struct job_scan *s) {
    if (s->statement == STATEMENT_SCAN_MORE) {
        known_forget(s->options.known);
    } else {
        known_note(s->options.known, s->list, s->scan.server_now, s->statement == STATEMENT_SCAN);
    }
}

// Everything is there: names to rows, and the scan is handed out.
static void scan_complete(struct job *job) {
    struct job_scan *s = &job->scan;
    names_fill_unknown(&s->roles);
    names_fill_unknown(&s->databases);
    const struct name *role = NULL, *database = NULL; // the last row's: often this one's as well
    for (size_t i = 0; i < s->list->n_rows; i++) {
        struct session_row *row = &s->list->rows[i];
        if (!role || role->oid != row->user_oid) {
            role = names_find(&s->roles, row->user_oid);
        }
        if (!database || database->oid != row->database_oid) {
            database = names_find(&s->databases, row->database_oid);
        }
        row->user = role ? role->text : "";
        row->superuser = role && role->superuser;
        row->database = database ? database->text : "";
        row->user_limit = role ? role->limit : -1;
        row->database_limit = database ? database->limit : -1;
    }
    s->scan.rows = s->list->rows;
    s->scan.n_rows = s->list->n_rows;
    s->scan.asked = s->asked;
    s->scan.n_asked = s->n_asked;
    s->complete = true;
    if (s->options.known && job->kind == JOB_POLL) {
        scan_note_known(s);
    }
}

static void scan_take_facts(struct job *job) {
    struct job_scan *s = &job->scan;
    struct decoder decoder = decode_begin(s->facts, statement_get(STATEMENT_FACTS), &job->error);
    if (decode_ok(&decoder)) {
        decode_facts(&decoder, &s->scan.facts, &s->scan.server_now);
    }
}

static void scan_take_result(struct job *job, unsigned request, PGresult *result, usec_t now) {
    struct job_scan *s = &job->scan;
    if (scan_asks_names(job)) {
        s->names_result = result;
        scan_take_names(job);
        if (job->error.kind == PG_ERROR_NONE) {
            scan_complete(job);
        }
    } else if (job->round == 0 && request == SCAN_REQUEST_FACTS) {
        s->facts = result;
        scan_take_facts(job);
    } else {
        s->sessions = result;
        s->scan.received_at = now;
        if (scan_take_sessions(job) < 0) {
            pg_error_set(&job->error, PG_ERROR_OTHER, NULL, "out of memory");
        }
    }
}

static bool scan_next_round(struct job *job) {
    if (scan_asks_names(job)) {
        return false;
    }
    job->round++;
    if (job->scan.list && job->scan.list->n_rows == 0) {
        scan_complete(job);
        return false;
    }
    return true;
}

static void scan_deinit(struct job *job) {
    struct job_scan *s = &job->scan;
    free(s->asked);
    free(s->asked_sorted);
    free(s->asked_pids);
    free(s->patterns);
    free(s->role_oids);
    free(s->database_oids);
    PQclear(s->facts);
    PQclear(s->sessions);
    PQclear(s->names_result);
    (void)session_list_unref(s->before);
    (void)session_list_unref(s->list);
    free(s->queries);
    free(s->blockers);
    free(s->roles.items);
    free(s->databases.items);
}

static const struct job_ops scan_ops = {
    .n_requests = scan_n_requests,
    .send = scan_send,
    .take_result = scan_take_result,
    .next_round = scan_next_round,
    .deinit = scan_deinit,
};

static struct job *scan_new(enum job_kind kind, const struct poll_options *options) {
    CLEANUP(job_freep) struct job *job = job_new(kind, &scan_ops);
    if (!job) {
        return NULL;
    }
    struct job_scan *s = &job->scan;
    assert(options->n_queries <= POLICY_MAX_QUERIES);
    s->options = *options;
    s->options.query_text = MIN(MAX(options->query_text, 0), SCAN_QUERY_TEXT_MAX);
    s->scan.kind = kind == JOB_LOOK ? SCAN_LOOK : SCAN_FULL;
    if (scan_set_patterns(s) < 0) {
        return NULL;
    }
    s->options.queries = NULL; // they need not live as long as we do
    if (kind == JOB_POLL && options->known && options->known->list) {
        s->before = session_list_ref(options->known->list);
        s->mark = options->known->mark;
    }
    s->statement = scan_choose(job);
    return TAKE_PTR(job);
}

struct job *job_poll_new(const struct poll_options *options) {
    return scan_new(JOB_POLL, options);
}

struct job *job_look_new(const struct poll_options *options, const struct session_id *ids, size_t n_ids) {
    struct job *job = scan_new(JOB_LOOK, options);
    if (job && scan_set_asked(&job->scan, ids, n_ids) < 0) {
        return job_free(job);
    }
    return job;
}

const struct scan *job_scan(const struct job *job) {
    assert(job->kind == JOB_POLL || job->kind == JOB_LOOK);
    return job->scan.complete && job->error.kind == PG_ERROR_NONE ? &job->scan.scan : NULL;
}
