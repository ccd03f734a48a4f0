// SPDX-License-Identifier: PostgreSQL
#pragma once

// Counters made from events. Pure. Counters never go down or away while the process lives; the sets of labels are
// bounded, and what finds no place of its own, or no memory for one, is counted under "other": nothing is lost.

#include <stddef.h>
#include <stdint.h>

#include "core/event.h"
#include "core/histogram.h"
#include "util/cleanup.h"

enum tally_family {
    TALLY_DECISIONS,     // target, rule, action: acts begun, and what rules with `action: log` reported
    TALLY_OUTCOMES,      // target, rule, app, action, outcome
    TALLY_HELD_BACK,     // target, rule, reason; "observe": would-be decisions, once each
    TALLY_NOTIFICATIONS, // output, result: counted by tally_count_notification()
    N_TALLY_FAMILIES_,
};
#define N_TALLY_FAMILIES ((unsigned)N_TALLY_FAMILIES_)

#define TALLY_MAX_LABELS 5
#define TALLY_MAX_SERIES 2000 // of one family, besides those that are folded for lack of room
#define TALLY_MAX_STRANGERS                                                                                            \
    50                        // of these, with an application name that no app of the file claims: a client can
                              // invent one for each of its connections
#define TALLY_MAX_TARGETS 200 // with a histogram of their own
#define TALLY_OTHER "other"   // value of the labels that were folded

size_t tally_n_labels(enum tally_family family);
const char *tally_label(enum tally_family family, size_t i); // "target", "rule", ...

struct tally_series {
    const char *values[TALLY_MAX_LABELS]; // in the order of the labels; raw
    uint64_t count;
};

struct tally_death {
    const char *target;
    char *owned;           // the tally's
    struct histogram took; // from the signal until it was seen gone
};

struct tally;

struct tally *tally_new(void);                 // NULL: out of memory
struct tally *tally_free(struct tally *tally); // NULL-safe, returns NULL
DEFINE_CLEANUP(struct tally *, tally_free)

void tally_count(struct tally *tally, const struct event *event);
// A target with that rule: its counters show from now on, with 0, so that their first step is seen as one.
void tally_expect(struct tally *tally, const char *target, const char *rule, enum action action);
// An output of `outputs.webhooks` has sent (or could not send, or had to drop) so many.
void tally_count_notification(struct tally *tally, const char *output, const char *result, uint64_t n);

// Borrowed until the next count. In the order of their first appearance.
const struct tally_series *tally_list(const struct tally *tally, enum tally_family family, size_t *ret_n);
const struct tally_death *tally_deaths(const struct tally *tally, size_t *ret_n);
uint64_t tally_n_events(const struct tally *tally, enum event_kind kind);
// Sessions terminated and seen gone, since the start.
uint64_t tally_n_gone(const struct tally *tally);
