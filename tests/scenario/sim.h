// SPDX-License-Identifier: PostgreSQL
#pragma once

// Shared by the files of the simulation: simulation.c (the server, what passes between it and the engine),
// sim_policy.c.

#include "model.h"

// What the server truly holds.
struct truth {
    struct session_row row;
    usec_t dies_at;   // it has been signalled
    usec_t cancel_at; // its query has been
    int64_t blockers[2];
    int64_t cancelled; // query_start of the latest query that was
};

struct sim {
    uint64_t random;
    usec_t now;
    int64_t clock; // the server's offset: steps
    struct truth sessions[MODEL_MAX_SESSIONS];
    size_t n_sessions;
    int64_t next_pid;
    struct server_facts facts;
    bool restarted; // since the last full scan
    bool promoted;
    bool has_facts;
    struct engine *engine;
    struct policy *policy;
    struct session_id look[MODEL_MAX_SESSIONS * 2 + MODEL_MAX_INTENTS];
    size_t n_look;
    usec_t look_at;
    unsigned generation; // of policies
    bool reconnects;
    struct model model;
};
extern struct sim sim;

uint64_t sim_random(void);
uint64_t sim_below(uint64_t n);
bool sim_chance(uint64_t per_thousand);
#define SIM_ONE_OF(list) ((list)[sim_below(ARRAY_SIZE(list))])
void sim_must(bool done); // or memory is short

struct model_policy sim_make_policy(void);
// The apps stay, and with them most rules.
struct model_policy sim_edit_policy(const struct model_policy *old);
struct policy *sim_policy_of(const struct model_policy *model);
