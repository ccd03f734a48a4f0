// SPDX-License-Identifier: PostgreSQL
#pragma once

// What the engine knows, by value, for whoever shows it: report now; metrics, status and alarm texts render the same.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/decision.h"
#include "core/session.h"

// How many sessions share app, user, database and state.
struct summary_group {
    const char *app; // label: the app's name, or the quoted application_name
    bool is_app;     // an app of the file claims it
    const char *user;
    const char *database;
    enum session_state state;
    int64_t n_sessions;
    usec_t longest; // the longest time one of them is in that state
};

// One session worth naming.
struct summary_session {
    struct session_row session; // query is NULL
    const char *app;
    usec_t age; // in what the list sorts by
};

struct summary_alarm {
    const char *name;
    const char *group; // NULL: none
    enum severity severity;
    int64_t value;      // in the metric's unit; EVENT_NUMBER_NONE: not known
    const char *detail; // what is wrong, in words; NULL: the value says it
    const char *hint;   // what mends it; NULL: none
};

struct summary_rule {
    const char *name;
    bool is_quota;
    enum action action;
    bool enforce;      // effective: master and target and rule
    bool paused;       // by an operator, alone or with everything
    int64_t n_matches; // sessions that the last step found over the rule's limit, held back or not
    int64_t n_held[N_HELD_REASONS_];
    int64_t n_decided; // since the start
    int64_t n_covered; // sessions that the rule's match covers now, whatever their state; none of pgvigil's own
};

#define SUMMARY_MAX_SESSIONS 10
#define SUMMARY_MAX_GROUPS 10000 // groups listed; what is beyond folds into one of them, named "other"

struct summary {
    bool valid; // a full scan has been seen on this connection; otherwise the numbers below are the last known
    int64_t server_now;
    struct server_facts facts;
    int64_t used; // slots: client backends
    int64_t usable;
    int64_t n_dying;
    struct summary_group *groups; // sorted: n_sessions descending, then by the names
    size_t n_groups;
    struct summary_session longest_idle[SUMMARY_MAX_SESSIONS]; // longest first
    size_t n_longest_idle;
    struct summary_session longest_transaction[SUMMARY_MAX_SESSIONS];
    size_t n_longest_transaction;
    struct summary_rule *rules; // in file order
    size_t n_rules;
    struct summary_alarm *alarms; // raised ones
    size_t n_alarms;
    bool leads;
    bool paused;   // by an operator: no rule acts
    void *storage; // strings and lists; owned
};

void summary_deinit(struct summary *summary); // NULL-safe members; for CLEANUP()
