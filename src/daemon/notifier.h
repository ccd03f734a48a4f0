// SPDX-License-Identifier: PostgreSQL
#pragma once

// One HTTP POST at a time and receiver, on the loop, over libcurl (the only place that knows it). Nothing in here
// waits: names are looked up by the resolver, as libcurl's own look-up cannot be abandoned without joining its thread.

#include <stddef.h>

#include "daemon/loop.h"
#include "daemon/resolver.h"
#include "output/webhook.h"

struct notifier;
struct notifier_request;

// libcurl is set up with the first request: without one it costs nothing but its pages of code.
struct notifier *notifier_new(struct loop *loop, struct resolver *resolver); // NULL: out of memory
struct notifier *notifier_free(struct notifier *notifier);                   // after its requests; NULL-safe

struct notifier_post {
    const char *url;            // http or https
    const char *path;           // that the URL's path must end with, else it is added; NULL: as it is
    const char *const *headers; // "Name: value"
    size_t n_headers;
    const char *proxy;   // an http URL; NULL: none
    const char *ca_file; // NULL: what the system trusts
    const char *body;
    size_t n_body;
    usec_t timeout; // of the whole
};
#define NOTIFIER_MAX_ANSWER ((size_t)64 << 10) // bytes that are read; no answer of a receiver matters but its status

// Answers once, on the loop; what the post points to is not used after the call. NULL: out of memory, or too many
// requests. The request is the caller's, who may free it from fn.
struct notifier_request *notifier_send(struct notifier *notifier, const struct notifier_post *post,
                                       void (*fn)(void *userdata, const struct webhook_answer *answer, usec_t now),
                                       void *userdata);
// NULL-safe; also cancels: fn is not called any more. Returns NULL.
struct notifier_request *notifier_request_free(struct notifier_request *request);
