// SPDX-License-Identifier: PostgreSQL
#include "snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine.h"
#include "util/array.h"
#include "util/macro.h"

int snapshot_init(struct snapshot *snapshot, const char *target) {
    *snapshot = (struct snapshot){.stepped_at = TIMESTAMP_NONE};
    return origin_table_init(&snapshot->origins, target);
}

static void snapshot_remove(struct snapshot *snapshot, struct session *session) {
    HASH_DEL(snapshot->sessions, session);
    origin_release(&snapshot->origins, session->origin);
    free(session->query);
    free(session->notes);
    free(session);
}

static void snapshot_clear(struct snapshot *snapshot) {
    struct session *session, *next;

    HASH_ITER(hh, snapshot->sessions, session, next) {
        snapshot_remove(snapshot, session);
    }
}

void snapshot_deinit(struct snapshot *snapshot) {
    snapshot_clear(snapshot);
    origin_table_deinit(&snapshot->origins);
}

struct session *snapshot_find(const struct snapshot *snapshot, const struct session_id *id) {
    struct session *session = NULL;

    HASH_FIND(hh, snapshot->sessions, id, sizeof(*id), session);
    return session;
}

void snapshot_left(struct snapshot *snapshot, const struct session_id *id) {
    struct session *session = snapshot_find(snapshot, id);
    if (session) {
        snapshot_remove(snapshot, session);
    }
}

size_t snapshot_n_sessions(const struct snapshot *snapshot) {
    return HASH_COUNT(snapshot->sessions);
}

static int snapshot_add(struct snapshot *snapshot, const struct session_id *id, struct session **ret) {
    struct session *session = calloc(1, sizeof(*session));
    if (!session) {
        return -ENOMEM;
    }
    session->id = *id;
    session->cancelled = TIMESTAMP_NONE;
    session->escalate_at = USEC_INFINITY;
    session->born = snapshot->generation;
    for (unsigned i = 0; i < N_SESSION_TIMES; i++) {
        session->times[i] = TIMESTAMP_NONE;
    }
    HASH_ADD(hh, snapshot->sessions, id, sizeof(session->id), session);
    if (!session->hh.tbl) {
        free(session);
        return -ENOMEM;
    }
    *ret = session;
    return 0;
}

static int session_set_query(struct session *session, const char *query) {
    char *copy = NULL;

    if (session->query && query && strcmp(session->query, query) == 0) {
        return 0;
    }
    if (query) {
        copy = strdup(query);
        if (!copy) {
            return -ENOMEM;
        }
    }
    free(session->query);
    session->query = copy;
    return 0;
}

static int session_set_origin(struct session *session, struct origin_table *origins, const struct session_row *row) {
    struct origin *origin;

    if (session->origin && origin_is_of(session->origin, row)) {
        return 0;
    }
    int r = origin_acquire(origins, row, &origin);
    if (r < 0) {
        return r;
    }
    origin_release(origins, session->origin);
    session->origin = origin;
    return 0;
}

// The rows of two scans come in much the same order, so that most often the next session of the table is the one that
// is looked for, and no look-up has to miss the cache.
static struct session *snapshot_find_after(const struct snapshot *snapshot, const struct session *previous,
                                           const struct session_id *id) {
    struct session *next = previous ? previous->hh.next : snapshot->sessions;

    return next && session_id_is_equal(&next->id, id) ? next : snapshot_find(snapshot, id);
}

// *previous is the session of the row before, NULL at first; becomes this row's.
static int snapshot_take_row(struct snapshot *snapshot, const struct scan *scan, const struct session_row *row,
                             struct session **previous) {
    struct session *session = snapshot_find_after(snapshot, *previous, &row->id);
    int r = session ? 0 : snapshot_add(snapshot, &row->id, &session);
    if (r < 0) {
        return r;
    }

    r = session_set_origin(session, &snapshot->origins, row);
    if (r < 0) {
        if (!session->origin) {
            snapshot_remove(snapshot, session); // every session in the table has one
        }
        return r;
    }
    r = session_set_query(session, row->query);
    if (r < 0) {
        return r;
    }
    *previous = session;
    session->generation = snapshot->generation;
    session->origin->n_arrived += session->exact_at == 0;
    for (unsigned i = 0; i < N_SESSION_TIMES; i++) {
        int64_t at = session_row_time(row, (enum session_time)i);
        if (session->times[i] != at || session->exact_at == 0) {
            session->times[i] = at;
            session->seen_at[i] = scan->received_at;
        }
    }
    session->user_oid = row->user_oid;
    session->database_oid = row->database_oid;
    session->state = row->state;
    session->waits_sync_rep = row->waits_sync_rep;
    session->waits_lock = row->waits_lock;
    session->n_blocked_by = row->n_blocked_by;
    session->query_matches = row->query_matches;
    session->user_limit = row->user_limit;
    session->database_limit = row->database_limit;
    session->command = row->command;
    if (row->command == SESSION_COMMAND_LISTEN) {
        session->listener = true;
    } else if (row->command == SESSION_COMMAND_UNLISTEN) {
        session->listener = false;
    }
    session->exact_at = scan->server_now;
    return 0;
}

// Whom the server has seen in a time yet to come, before we ever looked: its clock was set back.
static int64_t snapshot_latest(const struct scan *scan) {
    int64_t latest = INT64_MIN;

    for (size_t i = 0; i < scan->n_rows; i++) {
        latest = MAX(latest, MAX(scan->rows[i].id.since, scan->rows[i].state_change));
    }
    return latest;
}

// The server's clock against ours is known only as well as the round trip is short: a step is sure when the two
// intervals in which the difference lies are further apart than a step.
static void snapshot_watch_clock(struct snapshot *snapshot, const struct scan *scan, struct snapshot_change *change) {
    const int64_t step = (int64_t)ENGINE_CLOCK_STEP;
    int64_t low = scan->server_now - (int64_t)scan->received_at;
    int64_t high = scan->server_now - (int64_t)scan->sent_at;

    if (scan->kind == SCAN_FULL && scan->facts.postmaster_start != snapshot->facts.postmaster_start) {
        // Perhaps another machine with a clock of its own; all that is measured there began after its start.
        snapshot->has_offset = false;
        snapshot->stepped_at = TIMESTAMP_NONE;
    }
    if (snapshot->has_offset) {
        if (low > snapshot->offset_high + step) {
            change->clock_jumped = true;
            change->jump = low - snapshot->offset_high;
        } else if (high < snapshot->offset_low - step) {
            change->clock_jumped = true;
            change->jump = high - snapshot->offset_low;
        }
    }
    if (change->clock_jumped) {
        snapshot->stepped_at = scan->server_now;
    } else if (!snapshot->has_offset && snapshot_latest(scan) > scan->server_now + step) {
        // Told alone: whatever is counted from a time ahead is not judged before that time anyway.
        change->clock_jumped = true;
        change->jump = scan->server_now - snapshot_latest(scan);
    }
    snapshot->has_offset = true;
    snapshot->offset_low = low;
    snapshot->offset_high = high;
}

static int snapshot_take_facts(struct snapshot *snapshot, const struct server_facts *facts,
                               struct snapshot_change *change) {
    // facts.postmaster_start is 0 before the first scan.
    if (snapshot->facts.postmaster_start != 0 && (facts->postmaster_start != snapshot->facts.postmaster_start ||
                                                  facts->in_recovery != snapshot->facts.in_recovery)) {
        change->restarted = true;
        snapshot_clear(snapshot);
    }
    int r = origin_table_set_own_user(&snapshot->origins, facts->own_user);
    if (r < 0) {
        return r;
    }
    snapshot->facts = *facts;
    snapshot->facts.own_user = snapshot->origins.own_user;
    return 0;
}

static int snapshot_apply_rows(struct snapshot *snapshot, const struct scan *scan, struct snapshot_change *change) {
    struct session *previous = NULL;
    int r;

    if (scan->kind == SCAN_FULL) {
        r = snapshot_take_facts(snapshot, &scan->facts, change);
        if (r < 0) {
            return r;
        }
    }
    for (size_t i = 0; i < scan->n_rows; i++) {
        r = snapshot_take_row(snapshot, scan, &scan->rows[i], &previous);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

int snapshot_apply(struct snapshot *snapshot, const struct scan *scan, struct snapshot_change *ret) {
    struct session *session, *next;

    *ret = (struct snapshot_change){0};
    snapshot->generation++;
    snapshot_watch_clock(snapshot, scan, ret);
    int r = snapshot_apply_rows(snapshot, scan, ret);
    if (r < 0) {
        // What is remembered of the sessions stays (who listens, who was signalled): the next full scan completes them.
        snapshot_lost(snapshot);
        return r;
    }

    switch (scan->kind) {
    case SCAN_FULL:
        HASH_ITER(hh, snapshot->sessions, session, next) {
            if (session->generation != snapshot->generation) {
                snapshot_remove(snapshot, session);
            }
        }
        snapshot->complete = true;
        break;
    case SCAN_LOOK:
        for (size_t i = 0; i < scan->n_asked; i++) {
            session = snapshot_find(snapshot, &scan->asked[i]);
            if (session && session->generation != snapshot->generation) {
                snapshot_remove(snapshot, session);
            }
        }
        break;
    }
    snapshot->server_now = scan->server_now;
    snapshot->received_at = scan->received_at;
    return 0;
}

void snapshot_lost(struct snapshot *snapshot) {
    snapshot->complete = false;
}

void snapshot_forget_notes(struct snapshot *snapshot, uint64_t since_step) {
    for (struct session *session = snapshot->sessions; session; session = session->hh.next) {
        size_t n = 0;
        for (size_t i = 0; i < session->n_notes; i++) {
            if (session->notes[i].step < since_step) {
                session->notes[n++] = session->notes[i];
            }
        }
        session->n_notes = n;
    }
}

void snapshot_translate_queries(struct snapshot *snapshot, const uint32_t bits[POLICY_MAX_QUERIES]) {
    for (struct session *session = snapshot->sessions; session; session = session->hh.next) {
        session->query_matches = policy_translate_matches(session->query_matches, bits);
    }
}

void snapshot_move_rules(struct snapshot *snapshot, const size_t *to) {
    for (struct session *session = snapshot->sessions; session; session = session->hh.next) {
        size_t n = 0;
        for (size_t i = 0; i < session->n_notes; i++) {
            struct note note = session->notes[i];
            note.rule = to[note.rule];
            if (note.rule != SIZE_MAX) {
                session->notes[n++] = note;
            }
        }
        session->n_notes = n;
        if (session->escalate_at != USEC_INFINITY) {
            session->escalate_rule = to[session->escalate_rule];
            session->escalate_at = session->escalate_rule == SIZE_MAX ? USEC_INFINITY : session->escalate_at;
        }
    }
}

int snapshot_count_covered(const struct snapshot *snapshot, int64_t *ret_counts) {
    const struct origin_table *origins = &snapshot->origins;
    size_t n_rules = origins->policy->n_timeouts + origins->policy->n_quotas;

    memset(ret_counts, 0, n_rules * sizeof(*ret_counts));
    for (const struct origin *origin = origins->origins; origin; origin = origin->hh.next) {
        for (size_t word = 0; word < origins->n_words; word++) {
            for (uint64_t bits = origin->covers[word] & ~origins->asks_query[word]; bits; bits &= bits - 1) {
                ret_counts[word * 64 + bit_lowest(bits)] += (int64_t)origin->n_sessions;
            }
        }
    }
    for (size_t word = 0; word < origins->n_words; word++) {
        for (uint64_t bits = origins->asks_query[word]; bits; bits &= bits - 1) {
            size_t rule = word * 64 + bit_lowest(bits);
            for (const struct session *session = snapshot->sessions; session; session = session->hh.next) {
                int r = origin_covers(origins, session->origin, rule, session->query_matches);
                if (r < 0) {
                    return r;
                }
                ret_counts[rule] += r;
            }
        }
    }
    return 0;
}

int snapshot_copy(struct snapshot *to, const struct snapshot *from) {
    const struct scan scan = {.server_now = from->server_now, .received_at = from->received_at};

    int r = origin_table_set_own_user(&to->origins, from->facts.own_user);
    if (r < 0) {
        return r;
    }
    to->facts = from->facts;
    to->facts.own_user = to->origins.own_user;
    to->server_now = from->server_now;
    to->received_at = from->received_at;
    to->stepped_at = from->stepped_at;
    to->complete = from->complete;
    to->generation++;
    struct session *copy = NULL;
    for (const struct session *session = from->sessions; session; session = session->hh.next) {
        const struct session_row row = session_to_row(session);
        r = snapshot_take_row(to, &scan, &row, &copy);
        if (r < 0) {
            return r;
        }
        memcpy(copy->seen_at, session->seen_at, sizeof(copy->seen_at));
        copy->exact_at = session->exact_at;
        copy->listener = session->listener;
        copy->dying = session->dying;
        copy->hold_until = session->hold_until;
        copy->is_denied = session->is_denied;
        copy->cancelled = session->cancelled;
        copy->n_blocks = session->n_blocks;
    }
    return 0;
}

// The server's word alone is not good for a time before a step of its clock. state_change stands for the whole session:
// what has not moved since then is not judged by the new clock.
static bool session_is_before_step(const struct snapshot *snapshot, const struct session *session,
                                   enum session_time which) {
    return snapshot->stepped_at != TIMESTAMP_NONE &&
           (session->times[which] <= snapshot->stepped_at ||
            session->times[SESSION_TIME_STATE_CHANGE] <= snapshot->stepped_at);
}

bool session_age(const struct snapshot *snapshot, const struct session *session, enum session_time which, usec_t *ret) {
    int64_t at = session->times[which];
    if (at == TIMESTAMP_NONE) {
        return false;
    }
    usec_t age = session->exact_at > at ? (usec_t)session->exact_at - (usec_t)at : 0;

    if (session_is_before_step(snapshot, session, which)) {
        age = MIN(age, usec_sub(snapshot->received_at, session->seen_at[which]));
    }
    *ret = age;
    return true;
}

usec_t session_age_at(const struct snapshot *snapshot, const struct session *session, enum session_time which,
                      usec_t age) {
    int64_t since = session->times[which];
    if (since == TIMESTAMP_NONE) {
        return USEC_INFINITY;
    }
    // The server read its clock at some moment before received_at: taking that as the moment makes us look a little
    // late rather than too early.
    usec_t had = snapshot->server_now > since ? (usec_t)snapshot->server_now - (usec_t)since : 0;
    usec_t lacks = since > snapshot->server_now ? (usec_t)since - (usec_t)snapshot->server_now : 0;
    usec_t at = usec_add(snapshot->received_at, usec_add(lacks, usec_sub(age, had)));
    return session_is_before_step(snapshot, session, which) ? MAX(at, usec_add(session->seen_at[which], age)) : at;
}

struct session_row session_to_row(const struct session *session) {
    const struct origin_key *key = &session->origin->key;

    return (struct session_row){
        .id = session->id,
        .application_name = key->application_name,
        .user = key->user,
        .database = key->database,
        .user_oid = session->user_oid,
        .database_oid = session->database_oid,
        .superuser = key->superuser,
        .client = key->client,
        .state = session->state,
        .state_change = session->times[SESSION_TIME_STATE_CHANGE],
        .query_start = session->times[SESSION_TIME_QUERY_START],
        .xact_start = session->times[SESSION_TIME_XACT_START],
        .waits_sync_rep = session->waits_sync_rep,
        .waits_lock = session->waits_lock,
        .command = session->command,
        .query = session->query,
        .query_matches = session->query_matches,
        .user_limit = session->user_limit,
        .database_limit = session->database_limit,
    };
}

bool session_has_note(const struct session *session, size_t rule, int64_t at, bool observe) {
    for (size_t i = 0; i < session->n_notes; i++) {
        const struct note *note = &session->notes[i];
        if (note->rule == rule && note->at == at && note->observe == observe) {
            return true;
        }
    }
    return false;
}

int session_add_note(struct session *session, const struct note *new) {
    // One note for each rule and manner: a later measured time replaces the earlier one, so that the list stays short.
    for (size_t i = 0; i < session->n_notes; i++) {
        struct note *note = &session->notes[i];
        if (note->rule == new->rule && note->observe == new->observe) {
            *note = *new;
            return 0;
        }
    }
    int r = ARRAY_RESERVE(session->notes, session->notes_capacity, session->n_notes);
    if (r < 0) {
        return r;
    }
    session->notes[session->n_notes++] = *new;
    return 0;
}
