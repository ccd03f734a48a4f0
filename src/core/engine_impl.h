// SPDX-License-Identifier: PostgreSQL
#pragma once

// The engine's memory, shared by the three files that make it: engine.c (the step, looks), engine_rules.c (the passes
// of the rules), engine_acts.c (what became of earlier decisions).

#include "core/engine.h"
#include "guard.h"
#include "pending.h"
#include "snapshot.h"
#include "summarize.h"
#include "timeout.h"
#include "util/strbuf.h"

// What is remembered of one rule while the policy stays.
struct rule {
    struct rule_counts counts;
    int64_t held_said[N_HELD_REASONS_]; // the count that the last held_back event told; 0: none, or it has ended since
    usec_t held_said_at[N_HELD_REASONS_];
    bool held_ever[N_HELD_REASONS_];
};

struct engine {
    char *target;
    struct snapshot snapshot;
    bool enforce; // the target's part
    struct budget budget;
    struct budget budget_shadow;
    struct pending_list pendings;
    struct rule *rules; // one for each timeout
    uint64_t step;
    uint64_t next_serial;
    usec_t look_not_before;
    bool counting; // this step's candidates count towards the rules' numbers

    // Reused from step to step.
    struct candidate_list candidates;
    struct pending_list settled; // kept until the next step: events borrow from them
    struct strbuf text;
    struct decision *decisions;
    size_t decisions_capacity;
    struct event *intents;
    size_t intents_capacity;
    struct event *events;
    size_t events_capacity;
    struct session_row *rows; // sessions of would-be and log events, in chunks that do not move
    size_t n_rows;
    size_t rows_capacity;
    struct session_id *look;
    size_t look_capacity;
    struct engine_result result;
};

const struct policy *engine_policy(const struct engine *engine);
bool engine_enforces(const struct engine *engine, const struct timeout *timeout);

// Adds to the step's events. 0 or -ENOMEM.
int engine_say(struct engine *engine, struct event event);

// engine_rules.c: lets the rules speak on the scan just taken in.
int engine_decide(struct engine *engine, bool full, usec_t now);

// engine_acts.c
int engine_take_act(struct engine *engine, const struct engine_input *input, usec_t now);
int engine_settle_by_scan(struct engine *engine, bool full, usec_t now);
int engine_stop(struct engine *engine, usec_t now);
// Undoes a step that ran out of memory: what it decided is forgotten (nobody will carry it out), what it settled is to
// be settled again, as its event was lost, and an answer that it was given may be given again.
void engine_abort_acts(struct engine *engine, uint64_t first_serial);
void engine_forget_settled(struct engine *engine);
