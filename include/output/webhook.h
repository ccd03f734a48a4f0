// SPDX-License-Identifier: PostgreSQL
#pragma once

// What one receiver of alarms is owed, and how it is told. Pure: whoever sends takes a message out, sends it, and says
// what became of it; `now` is monotonic, `realtime` microseconds since 1970 UTC.
//
// The queue holds alarms, not messages: one entry for each (target, alarm, group), which owes its last change until the
// receiver has taken it. Changes that come while one waits replace it, so that the receiver always ends up with what is
// true, in bounded memory, however long it was away. That an alarm ended is told whenever its beginning was queued.

#include <stdbool.h>
#include <stddef.h>

#include "core/event.h"
#include "util/cleanup.h"
#include "util/usec.h"

struct strbuf;

#define WEBHOOK_MAX_ALERTS 500                        // standing or owed, of one queue; more are dropped, and counted
#define WEBHOOK_FIRST_RETRY USEC_PER_SEC              // doubled with each failure in a row, a quarter more or less
#define WEBHOOK_LAST_RETRY USEC_PER_MINUTE            // no longer than this
#define WEBHOOK_MAX_RETRY_AFTER (5 * USEC_PER_MINUTE) // what a receiver may ask for
#define WEBHOOK_MAX_REJECTIONS 3                      // of one message, then it is given up
#define WEBHOOK_REFUSED_FOR USEC_PER_HOUR             // a receiver that refuses, then what it refused is given up
#define WEBHOOK_ENDED_FOR USEC_PER_DAY                // for how long it is tried to tell that an alarm ended
#define WEBHOOK_ALERTMANAGER_REPEAT USEC_PER_MINUTE   // standing alarms are told again
#define WEBHOOK_ALERTMANAGER_EXPIRES (4 * USEC_PER_MINUTE) // and hold for this long without that

#define WEBHOOK_MAX_BATCH 64 // alerts in one message

// What became of one attempt.
enum webhook_result {
    WEBHOOK_SENT,
    WEBHOOK_SETTINGS,     // a file with the URL, the token or the certificates cannot be used
    WEBHOOK_UNRESOLVED,   // the name has no address, or the name server does not answer
    WEBHOOK_UNREACHABLE,  // no connection, or it broke
    WEBHOOK_TIMEOUT,      // of the attempt as a whole
    WEBHOOK_TLS,          // certificate or handshake
    WEBHOOK_PROTOCOL,     // what came back is not HTTP
    WEBHOOK_SERVER_ERROR, // 5xx
    WEBHOOK_BUSY,         // 408, 425, 429
    WEBHOOK_REFUSED,      // 3xx and other 4xx: whatever we send
    WEBHOOK_REJECTED,     // 400, 413, 422: this message
    WEBHOOK_MEMORY,
    N_WEBHOOK_RESULTS_,
};
#define N_WEBHOOK_RESULTS ((unsigned)N_WEBHOOK_RESULTS_)
const char *webhook_result_to_string(enum webhook_result result); // "sent", "unreachable", ...
enum webhook_result webhook_result_of_status(long status);        // of HTTP

// Of a set of severities; NONE is in none.
#define WEBHOOK_BIT(severity) ((severity) == SEVERITY_NONE ? 0u : 1u << (severity))

// One alarm as one receiver is to see it.
struct webhook_alert {
    struct webhook_alert *prev, *next;
    struct event event;     // the last change; its strings are the alert's own
    char *strings;          // owned
    enum severity severity; // for this receiver; NONE: it ended, or fell below what it wants to hear
    usec_t realtime;        // of that change
    usec_t changed_at;      // the same, monotonic
    // Severities that the receiver may hold as standing and has to hear of, as WEBHOOK_BIT()s, and when they began and
    // ended.
    unsigned told;
    usec_t began[SEVERITY_CRITICAL + 1];
    usec_t ended[SEVERITY_CRITICAL + 1];
    uint64_t serial; // of the last change
    uint64_t acked;  // of the change that the receiver has, or that was given up; the same: nothing is owed
    bool is_given_up;
    // In the message under way.
    bool is_under_way;
    uint64_t sent;
    unsigned resolved; // severities that it tells the end of
    unsigned n_rejections;
    usec_t refused_since; // USEC_INFINITY: was not
    usec_t repeat_at;     // standing and taken: when to tell it again
};

// How a receiver wants it.
struct webhook_codec {
    size_t max_alerts; // in one message
    usec_t repeat;     // USEC_INFINITY: standing alarms are told once
    // Appends one message about these. 0 or -ENOMEM.
    int (*encode)(const struct webhook_alert *const *alerts, size_t n, usec_t realtime, struct strbuf *sb);
};
extern const struct webhook_codec webhook_alertmanager; // POST /api/v2/alerts
extern const struct webhook_codec webhook_slack;        // an incoming webhook
extern const struct webhook_codec webhook_json;         // one event as in the JSON log

struct webhook_queue;

struct webhook_queue_options {
    const char *name; // of the output; copied
    // NULL: owes nobody anything and only remembers what stands, for webhook_queue_seed().
    const struct webhook_codec *codec;
    enum severity min_severity; // not NONE
    uint64_t seed;              // of the jitter
};

struct webhook_queue *webhook_queue_new(const struct webhook_queue_options *options); // NULL: out of memory
struct webhook_queue *webhook_queue_free(struct webhook_queue *queue);                // NULL-safe, returns NULL
DEFINE_CLEANUP(struct webhook_queue *, webhook_queue_free)

// Alarms are queued, other events ignored. What finds no place or no memory is counted and told.
void webhook_queue_push(struct webhook_queue *queue, const struct event *event, usec_t now, usec_t realtime);
// Alarms that stand in `from` and of which the receiver does not know: because nobody told it so far, or because it was
// given up to. After a reload, which may have mended that.
void webhook_queue_seed(struct webhook_queue *queue, const struct webhook_queue *from, usec_t now);
void webhook_queue_set_min_severity(struct webhook_queue *queue, enum severity min_severity);

// When to take the next message; USEC_INFINITY: there is none, or one is under way.
usec_t webhook_queue_due(const struct webhook_queue *queue);
// Appends it, and it is under way until settled. 0; -ENOMEM: it is not, but has failed for lack of memory.
int webhook_queue_take(struct webhook_queue *queue, usec_t now, usec_t realtime, struct strbuf *body);
struct webhook_answer {
    enum webhook_result result;
    long status;        // of HTTP; 0: none
    usec_t retry_after; // as the receiver wants it; 0: it did not say
    char why[96];       // more words, for SETTINGS: never a URL, a token, or what a library says of them; "": none
};
void webhook_queue_settle(struct webhook_queue *queue, const struct webhook_answer *answer, usec_t now);
// What is under way is taken back, as if it had never been taken.
void webhook_queue_abandon(struct webhook_queue *queue);
// Tries at once, not when the back-off ends.
void webhook_queue_hurry(struct webhook_queue *queue);
// What is owed is dropped, and counted and told so: the queue is about to go.
void webhook_queue_discard(struct webhook_queue *queue);

size_t webhook_queue_n_owed(const struct webhook_queue *queue); // changes that the receiver does not have
size_t webhook_queue_n_alerts(const struct webhook_queue *queue);

// Changes of alarms by what became of them, ever.
struct webhook_counts {
    uint64_t sent;
    uint64_t failed;     // given up
    uint64_t superseded; // a later change of the same alarm came first
    uint64_t dropped;    // no place, no memory
    uint64_t retried;    // attempts that failed
};
const struct webhook_counts *webhook_queue_counts(const struct webhook_queue *queue);

// The next notification_failed that is to be said; false: none. `detail` is cleared and lent to it, its other strings
// live as long as the queue.
bool webhook_queue_tell(struct webhook_queue *queue, struct strbuf *detail, struct event *ret);
