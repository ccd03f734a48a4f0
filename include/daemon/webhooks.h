// SPDX-License-Identifier: PostgreSQL
#pragma once

// The outputs of `outputs.webhooks`: taps the sinks, keeps a queue for each receiver, and has the notifier send what is
// owed. Says notification_failed when one begins to fail, is well again, gives up or drops something; never a URL.

#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "daemon/loop.h"
#include "daemon/resolver.h"
#include "daemon/sinks.h"

struct webhooks;

struct webhooks_options {
    struct loop *loop;
    struct resolver *resolver;
    struct sinks *sinks;
    // Counts notifications of one output by result: "sent", "failed" (given up), "superseded" (by a later change of the
    // same alarm), "dropped", "retried" (attempts); with 0 when an
    // output is new. NULL: nobody does.
    void (*count)(void *userdata, const char *output, const char *result, uint64_t n);
    void *userdata;
};

struct webhooks *webhooks_new(const struct webhooks_options *options); // NULL: out of memory
struct webhooks *webhooks_free(struct webhooks *webhooks);             // before the sinks; NULL-safe, returns NULL

// Other outputs from now on, in two steps, so that a reload changes all or nothing. An output whose receiver stays the
// same keeps what it owes; a new one is told what stands. What an output owes that goes is dropped, and told so.
struct webhooks_plan;
struct webhooks_plan *webhooks_prepare(struct webhooks *webhooks, const struct config *config); // NULL: out of memory
struct webhooks_plan *webhooks_plan_free(struct webhooks_plan *plan); // one that is not committed; NULL-safe
// Takes the plan. The config's webhooks are borrowed until the next commit, or the end.
void webhooks_commit(struct webhooks *webhooks, struct webhooks_plan *plan);

// At the end: tries once more, at most for so long, to tell what is owed; runs the loop while there is something. What
// is left is dropped, and told so.
void webhooks_finish(struct webhooks *webhooks, usec_t timeout);
