// SPDX-License-Identifier: PostgreSQL
#pragma once

// The language of the golden timelines, below the level of steps: words, durations, rules and sessions. See README.md
// for the whole of it.

#include <stdbool.h>
#include <stddef.h>

#include "core/policy.h"
#include "core/session.h"

#define WORDS_MAX 64 // in one line

struct words {
    char *items[WORDS_MAX]; // owned
    size_t n_items;
};

void words_deinit(struct words *words);

// Splits at spaces; "double quotes" keep them, \n \t \" \\ and \xNN stand for bytes. A comma and "->" are
// words of their own; "#" begins a comment. Ends the program with `where` on a mistake, as all of these do.
void words_split(struct words *words, const char *line, const char *where);

// The value of "key=value" or NULL; in words [from, n).
const char *words_get(const struct words *words, size_t from, const char *key);
bool words_has(const struct words *words, size_t from, const char *word);

usec_t words_duration(const char *text, const char *where); // "1h30min", "500ms", "0s"

_Noreturn void words_die(const char *where, const char *what, const char *text);

// A policy that enforces and knows no limit; NULL: out of memory.
struct policy *words_policy_new(void);

// Adds what a line of the head says to the policy: app, protect, limits, rule, quota, alarm, enforce. false: not such a
// line.
bool words_build_policy(const struct words *words, struct policy *policy, const char *where);

// Where and when a row is read.
struct words_moment {
    int64_t server_now;
    int64_t server_start; // of the timeline: @TIME counts from here
};

// A session's row from word `from` on; its strings live as long as the words:
//   pid=71 start=1 state=idle age=59s query=1min xact=none user=app database=db application_name="x y" client=10.0.0.1
//   command=listen|unlisten|maintenance wait=SyncRep|Lock superuser text="select 1" matches=BITS blocked_by=PID
// Ages count from the moment; start=1 names a start a day ago, start=4s is so long ago, @5s a time of the timeline.
struct session_row words_row(const struct words *words, size_t from, const struct words_moment *moment,
                             const char *where);
// The pids that hold the session up. How many there are.
size_t words_blocked_by(const struct words *words, size_t from, int64_t *pids, size_t max, const char *where);
