// SPDX-License-Identifier: PostgreSQL
#pragma once

// What a connection hands to libpq.

#include <stddef.h>

#include "pg/conninfo.h"
#include "util/strbuf.h"

#define CONNINFO_MAX_PARAMS 80 // libpq 18 knows 53 keywords

struct conninfo_params {
    const char *keywords[CONNINFO_MAX_PARAMS + 1]; // ended by NULL; borrowed from the conninfo
    const char *values[CONNINFO_MAX_PARAMS + 1];
    size_t n;
    struct strbuf hosts, addresses, ports;
};

// One entry for each (host, address). 0, -ENOMEM, or -EHOSTUNREACH: no host has an address.
int conninfo_params_init(const struct conninfo *conninfo, struct conninfo_params *ret);
void conninfo_params_deinit(struct conninfo_params *params);
