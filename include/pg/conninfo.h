// SPDX-License-Identifier: PostgreSQL
#pragma once

// A connection string, taken apart by libpq and its defaults (environment, service file) filled in, so that names can
// be resolved elsewhere.

#include <stdbool.h>
#include <stddef.h>

#include "util/cleanup.h"

struct conninfo;

// -EINVAL: *ret_why says what is wrong in our own words (libpq's quote values, passwords included); free it.
int conninfo_parse(const char *text, struct conninfo **ret, char **ret_why);
struct conninfo *conninfo_free(struct conninfo *conninfo);
DEFINE_CLEANUP(struct conninfo *, conninfo_free)

// Replaces a keyword's value (password from a file, ...). 0 or -ENOMEM.
int conninfo_set(struct conninfo *conninfo, const char *keyword, const char *value);
const char *conninfo_get(const struct conninfo *conninfo, const char *keyword); // NULL: not set

// The entries of host/hostaddr/port. Those with `name` set need the resolver.
struct conninfo_host {
    const char *name; // to be resolved; NULL: a socket path, or hostaddr is given
    const char *port;
    const char *shown; // for messages: host, address or socket path
};
size_t conninfo_n_hosts(const struct conninfo *conninfo);
struct conninfo_host conninfo_host(const struct conninfo *conninfo, size_t i);
// "HOST:PORT", all of them with commas between when there are several: any of them may be the one that answers.
const char *conninfo_shown(const struct conninfo *conninfo);

// Gives host i the numeric addresses it resolved to; replaces earlier ones. At connect each becomes one (host,
// hostaddr) entry. A host left without any is left out. 0 or -ENOMEM.
int conninfo_set_addresses(struct conninfo *conninfo, size_t i, const char *const *addresses, size_t n_addresses);
