// SPDX-License-Identifier: PostgreSQL
#pragma once

// What differs between kinds of server: how one is set up, looked at and acted on, and how the end of a session is
// seen. The target has the schedule, the engine and the events; a server is a state machine without a loop and a clock,
// driven like a connection: after each call into it dispatch() until it would wait, then wait as fd, wants and deadline
// say.

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"
#include "core/policy.h"
#include "core/session.h"
#include "pg/conninfo.h"
#include "pg/error.h"
#include "pg/job.h"
#include "util/usec.h"

enum server_event {
    SERVER_NOTHING, // would wait
    SERVER_UP,      // logged in, and it is known who answers
    SERVER_READY,   // set up and checked: findings are there, and it can be polled, looked at and acted on
    SERVER_SCANNED, // a poll or a look is finished: scan, or NULL and error
    SERVER_CHECKED, // the self-check was made again: findings are there
    SERVER_LED,     // it is known who leads: leader and leader_pid, or error
    SERVER_ACTED,   // a chunk of acts came back: acts; also for those that a loss cut off
    SERVER_LOST,    // error; all acts have come back by SERVER_ACTED before. Close it before the next start
};

// What comes with an event; borrowed from the server until the next call into it.
struct server_report {
    enum scan_kind scanned; // which of the two is finished, with or without success
    const struct scan *scan;
    enum leader leader;
    int64_t leader_pid; // 0: not known
    const struct act_report *acts;
    size_t n_acts;
    const struct pg_error *error;
};

// Each kind's own struct begins with this one.
struct server {
    const struct target_kind *kind;
    const struct policy *policy; // says what polls and looks read; the target's to set before each
    // Known from SERVER_UP on.
    int version_num;
    bool observe_only; // something stands between us: nothing may be signalled through it
    bool surveys;      // a survey is made before READY; the target's to set before start()
};

struct target_kind {
    struct server *(*new)(const struct target_config *config); // borrowed for its life; NULL: out of memory
    struct server *(*free)(struct server *server);             // NULL-safe, returns NULL
    // The deadline is for everything up to SERVER_UP. The conninfo is read during the call only.
    void (*start)(struct server *server, const struct conninfo *conninfo, usec_t now, usec_t deadline);
    void (*close)(struct server *server);
    // Another one from now on; what is under way keeps its deadlines.
    void (*configure)(struct server *server, const struct target_config *config);

    int (*fd)(const struct server *server);
    unsigned (*wants)(const struct server *server); // CONNECTION_WANTS_*
    usec_t (*deadline)(const struct server *server);
    enum server_event (*dispatch)(struct server *server, unsigned ready, usec_t now, struct server_report *ret);

    // After READY; each 0 or -ENOMEM; done in this order. lead: tries to be the one that acts, or lets go; not through
    // what makes us observe_only. Sessions that are gone are seen by a poll, or by a look at them.
    int (*lead)(struct server *server, bool want);
    int (*poll)(struct server *server);
    int (*look)(struct server *server, const struct session_id *ids, size_t n_ids);
    int (*act)(struct server *server, const struct decision *decisions, size_t n_decisions); // ACT_MAX at most

    bool (*is_busy)(const struct server *server); // something is under way: what is asked for now would wait for it

    // Makes the self-check again, after READY. 0 or -ENOMEM.
    int (*check)(struct server *server);
    // The i-th finding of the self-check; false: there are no more. Borrowed until close().
    bool (*finding)(const struct server *server, size_t i, struct finding *ret);
    // What the survey brought; borrowed until close(). NULL: none was made, or it failed with *ret_error.
    const struct server_survey *(*survey)(const struct server *server, const struct pg_error **ret_error);
};

extern const struct target_kind target_kind_postgres;
