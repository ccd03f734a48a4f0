// SPDX-License-Identifier: PostgreSQL
#pragma once

// What strangers write in a request, beyond the syntax of HTTP that libevent knows. Pure. See http_query_get(), too.

#include <stdbool.h>

// Whether it is a path with or without a query: printable, from '/' on, nothing of another server's in it.
bool http_target_is_path(const char *target);
// Whether a Host field names us by an IP address or as localhost, with any port or none: what no stranger's DNS can
// make ours.
bool http_host_is_numeric(const char *host);
