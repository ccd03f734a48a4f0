// SPDX-License-Identifier: PostgreSQL
#pragma once

// Answers that wait for a poll of each server, so that they tell of now and not of the last interval.

#include "app_state.h"
#include "daemon/http.h"

#define API_MAX_WAITING 16                  // more are answered at once, with what is known
#define API_FRESH_WITHIN (3 * USEC_PER_SEC) // then with what is known

struct api_fresh;

struct api_fresh *api_fresh_new(struct app_state *app);    // NULL: out of memory
struct api_fresh *api_fresh_free(struct api_fresh *fresh); // NULL-safe, returns NULL; after the front

// `answer` is called once, later, unless the exchange has gone by then. False: there is no room to wait.
bool api_fresh_wait(struct api_fresh *fresh, struct http_exchange *exchange,
                    void (*answer)(struct app_state *app, struct http_exchange *exchange, usec_t now), usec_t now);
// A target has news.
void api_fresh_check(struct api_fresh *fresh, usec_t now);
