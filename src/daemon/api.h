// SPDX-License-Identifier: PostgreSQL
#pragma once

// What may be asked of the daemon, and told to it, over HTTP: one row a path.

#include "app_state.h"
#include "daemon/http.h"

// For front_new(); userdata is the app.
void api_handle(void *userdata, struct http_exchange *exchange, const struct http_request *request, usec_t now);
