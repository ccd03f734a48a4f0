// SPDX-License-Identifier: PostgreSQL
#pragma once

// Shared by the files of the API: api.c (what may be asked, and the routes), api_control.c (commands).

#include "app_state.h"
#include "daemon/http.h"

#define API_TEXT "text/plain; charset=utf-8"
#define API_JSON "application/json"

struct api_call {
    struct app_state *app;
    struct http_exchange *exchange;
    const struct http_request *request;
    usec_t now;
};

struct event_asker api_asker(const struct http_request *request);

// api_control.c. Answers are objects: {"message", "warning"} of what was done, {"error"} of what was not; of a reload
// {"ok", "verdict"}, its lines. The warning is there when there is one.
void api_post_pause(const struct api_call *call);  // ?name=&for=
void api_post_resume(const struct api_call *call); // ?name=
void api_post_reload(const struct api_call *call);
bool api_is_read_whole(const struct api_call *call, const char *const *params, bool takes_body); // or it was answered
void api_say_error(const struct api_call *call, int status, const char *text);

struct kept *api_kept_new(struct app_state *app); // what api.c renders. NULL: out of memory

// api_reap.c. The body is what is asked for: {"targets": [{"target", "address"}], "scope", "idle",
// "idle_in_transaction", "active" (each in microseconds), "match": {KEY: [TEXT]}, "keep", "max", "cancel", "yes"}.
// "targets" and "scope" are there for those who have a file of their own: 412 when ours says something else. Without
// "targets" it is all of them, without an address the one of that name. The answer, when all is settled: {"targets":
// [{"target", "ok", "held_back", "error"}], "events": [EVENT]}.
void api_post_reap(const struct api_call *call);
struct api_reap *api_reap_new(struct app_state *app); // NULL: out of memory
struct api_reap *
api_reap_free(struct api_reap *reap); // NULL-safe, returns NULL; after the front and before the targets
