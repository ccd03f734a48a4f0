// SPDX-License-Identifier: PostgreSQL
#pragma once

// The engine's memory, shared by the files that make it: engine.c (the step, looks), engine_watch.c (what the rules go
// by besides single sessions), engine_decide.c, engine_quotas.c and engine_rules.c (the passes of the rules, from the
// whole to the single session), engine_acts.c (what became of earlier decisions), engine_policy.c (a change of policy,
// and a look at what it would do).

#include "alarm.h"
#include "breaker.h"
#include "core/engine.h"
#include "guard.h"
#include "pending.h"
#include "quota.h"
#include "snapshot.h"
#include "summarize.h"
#include "timeout.h"
#include "util/strbuf.h"

#define ENGINE_BLANK_REPEAT USEC_PER_HOUR        // that sessions hide their state is told so often
#define ENGINE_COVERS_NOBODY_AFTER USEC_PER_HOUR // a rule that never covered a session in this time says so

// What is remembered of one rule for as long as it stays as it is.
struct rule {
    struct rule_counts counts;
    // The count that the last held_back event told; 0: none, or it has ended since. Of `unrecorded`: those not told.
    int64_t held_said[N_HELD_REASONS_];
    usec_t held_said_at[N_HELD_REASONS_];
    bool held_ever[N_HELD_REASONS_];
    bool armed;                 // `when: usage`
    bool paused;                // by name
    struct quota_group *groups; // of a quota: those over it
    struct covered covered;     // for `share`; counted only while that is less than 100 %
    bool is_watched;            // since watched_since: by full scans
    usec_t watched_since;
    bool covered_ever;
    uint64_t nobody_told; // the step that said that it covers nobody; 0: none
};

// That one session waits for a lock of another.
struct blocking {
    int64_t holder; // pids
    int64_t waiter;
};

struct engine {
    char *target;
    struct snapshot snapshot;
    struct alarms alarms;
    bool enforce; // the target's part
    bool leads;
    bool paused;         // everything
    char **paused_rules; // names
    size_t n_paused_rules;
    bool preview;        // ask what the rules would do, without limits and timers
    int64_t pressure_at; // 0: never
    usec_t poll_interval;
    bool has_full; // a full scan has come, at full_at
    usec_t full_at;
    bool pressed;       // at that scan
    usec_t fills_until; // so long the slots count as filling fast
    // What that scan was asked for, under the policy in force now.
    uint32_t known_queries; // bits of its queries; of the others it is not known whom they match
    bool knows_blockers;
    usec_t blank_said_at; // 0: not yet
    uint64_t blank_told;  // the step that said so last; 0: none
    struct breakers breakers;
    struct budget budget;
    struct budget budget_shadow;
    struct pending_list pendings;
    struct rule *rules; // one for each timeout and then each quota
    uint64_t step;
    uint64_t next_serial;
    usec_t look_not_before;
    bool counting; // this step's candidates count towards the rules' numbers

    // Reused from step to step.
    struct candidate_list candidates;
    struct candidate_list evictable;
    struct quota_count quota_count;
    uint64_t *asleep;           // bit i: rule i does not speak in this step; as many words as an origin's covers
    int64_t *n_covered;         // by rule
    struct blocking *blockings; // of the latest full scan: by holder, then waiter
    size_t n_blockings;
    size_t blockings_capacity;
    char **texts; // that this step's events and decisions point to
    size_t n_texts;
    size_t texts_capacity;
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

// engine_base.c
const struct policy *engine_policy(const struct engine *engine);
size_t engine_n_rules(const struct engine *engine);
// What a rule that is itself enforced does now: acts, or observes.
bool engine_enforces(const struct engine *engine, bool rule_enforce);

// Adds to the step's events. 0 or -ENOMEM.
int engine_say(struct engine *engine, struct event event);
// Takes the text over until the next step; NULL: out of memory.
const char *engine_keep(struct engine *engine, struct strbuf *text);
void engine_forget_texts(struct engine *engine);

// engine_watch.c: pressure, tiers, who blocks whom, whom rules cover, breakers; before the rules speak. `scan` is what
// was just taken in. 0 or -ENOMEM.
int engine_watch(struct engine *engine, const struct scan *scan, bool restarted, usec_t now);
usec_t engine_gap_after(const struct engine *engine); // without a full scan for so long: a gap
void engine_arm(struct engine *engine, bool full);    // engine_preview() needs no more of it
// The pids of the sessions that it holds up: "4711, 4712 and 3 more"; NULL in *ret: nobody. 0 or -ENOMEM.
int engine_blocked_text(struct engine *engine, const struct session *session, const char **ret);
// The first of them, at most `max`; how many.
size_t engine_waiters(const struct engine *engine, const struct session *session, int64_t *ret, size_t max);
void engine_abort_watch(struct engine *engine); // what the step said reaches nobody

// engine_decide.c: lets the rules speak on the scan just taken in.
int engine_decide(struct engine *engine, bool full, usec_t now);

// engine_policy.c
int engine_take_policy(struct engine *engine, const struct engine_input *input);
void engine_free_rules(struct rule *rules, size_t n);
int engine_take_pause(struct engine *engine, const struct engine_input *input); // 0 or -ENOMEM: as before
void engine_free_names(char **names, size_t n);
// From now on these rules; those that are equal keep their memory. 0, or -ENOMEM: nothing has changed.
int engine_set_rules(struct engine *engine, struct policy *policy);
// The sessions of the engine were read under that policy, for what is known of `from`'s.
void engine_translate_queries(struct engine *engine, const struct policy *policy, uint32_t known_queries);

// engine_preview.c
// An engine that has judged the current snapshot by that policy, without limits and timers: its rules' counts tell what
// would be done. 0, -EAGAIN: nothing complete is known; -ENOMEM.
int engine_rehearse(const struct engine *engine, struct policy *policy, struct engine **ret);

// engine_acts.c
// We have come to be allowed to: what was denied is tried again at once.
void engine_retry_denied(struct engine *engine);
int engine_take_act(struct engine *engine, const struct engine_input *input, usec_t now);
int engine_settle_by_scan(struct engine *engine, bool full, usec_t now);
int engine_stop(struct engine *engine, usec_t now);
// Undoes a step that ran out of memory: what it decided is forgotten (nobody will carry it out), what it settled is to
// be settled again, as its event was lost, and an answer that it was given may be given again.
void engine_abort_acts(struct engine *engine, uint64_t first_serial);
void engine_forget_settled(struct engine *engine);
