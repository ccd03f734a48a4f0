// SPDX-License-Identifier: PostgreSQL
#pragma once

// What a target knows of itself; for its parts only (target.c lists them).

#include "conditions.h"
#include "daemon/target.h"
#include "dial.h"
#include "executor.h"
#include "output/view.h"
#include "schedule.h"
#include "target_kind.h"
#include "target_say.h"
#include "visit.h"

enum target_state {
    TARGET_IDLE,       // not started, or stopped
    TARGET_WAITING,    // for the next try, until `timer`. Then DIALLING
    TARGET_DIALLING,   // for the gate, the password and the names; bounded by the dial. Then CONNECTING or WAITING
    TARGET_CONNECTING, // for login, set-up and self-check; bounded by the server. Then WATCHING or WAITING
    TARGET_WATCHING,   // polls at each tick of `timer`. Then WAITING
};

struct target {
    struct target_context *context;
    const struct target_config *config;
    struct conninfo *conninfo;
    struct policy *policy;
    bool enforce;  // the owner's part
    bool competes; // with other watchdogs, for who acts; otherwise we act without asking
    void (*fn)(void *userdata, struct target *target, enum target_news news, usec_t now);
    void *userdata;

    enum target_state state;
    struct server *server;
    struct dial *dial;
    struct engine *engine;
    struct executor *executor;
    struct visit *visit; // NULL: none
    bool is_visit_out;   // the acts that are with the server are its
    struct loop_io *io;
    struct loop_timer *timer;      // the next try, or the next tick
    struct loop_timer *look_timer; // when a session comes due
    struct loop_timer *work_timer; // deadlines of records, results that the engine could not take
    struct sinks_listener *listener;

    struct session_id *look; // whom to look at when look_timer fires
    size_t n_look;
    bool is_polling; // a poll, a look, a question for who leads is with the server
    bool is_looking;
    bool is_asking;
    bool is_checking;   // so is the self-check
    bool is_stale_poll; // ... and was asked for something else than the policy wants now: not used
    bool is_stale_look;
    bool is_up;      // the current connection has brought a complete poll
    bool is_pooled;  // it goes through something that must not be changed: as of the last self-check
    bool is_pressed; // as the engine says: poll more often
    bool is_hurried; // `timer` is set before the tick
    usec_t tick;     // the next one

    bool has_asked; // on this connection, and not let go: our lock may be held
    usec_t asked_at;
    bool is_settled;        // by our own lock
    bool leads;             // as of the last answer on this connection
    enum standing standing; // as it was told
    int64_t standing_pid;

    bool owes_loss;          // the engine has not been told of a loss yet
    bool owes_policy;        // ... of the policy
    bool enforces;           // as the engine was told
    uint64_t pauses_version; // the same
    bool has_told_leads;
    bool told_leads;     // the same
    bool owes_reconnect; // the connection is to be given up for another one, when nothing is under way
    bool owes_polled;    // news for the owner: TARGET_POLLED, as soon as nothing is under way
    bool owes_failed;    // TARGET_FAILED

    usec_t started_at; // 0: not yet
    usec_t polled_at;  // the last complete poll; 0: none yet
    uint64_t n_polls[N_POLL_RESULTS_];
    struct histogram poll_durations;
    int64_t used; // slots, as of the last complete poll
    int64_t usable;

    struct pg_error error;
    struct outage outage;
    struct backoff backoff;
    struct findings findings;
    struct conditions conditions;
};

// The only writer of state; `at` is when `timer` fires.
void target_enter(struct target *target, enum target_state state, usec_t at);
usec_t target_interval(const struct target *target);     // between polls, as things are
void target_set_tick(struct target *target, usec_t now); // the next one, after `now`
void target_drop_visit(struct target *target);           // it is its owner's again

void target_count_poll(struct target *target, enum poll_result result);
void target_count_failed_poll(struct target *target, const struct pg_error *error);
void target_count_scan(struct target *target, const struct scan *scan, usec_t now); // looks are not counted
