// SPDX-License-Identifier: PostgreSQL
#pragma once

// What a reload changes: two settings compared, entry by entry. Pure.

#include <stdbool.h>
#include <stddef.h>

#include "daemon/settings.h"
#include "util/strbuf.h"

enum reload_change {
    RELOAD_KEPT,
    RELOAD_CHANGED, // a target: it is reached in another way
    RELOAD_ADDED,
    RELOAD_REMOVED,
    N_RELOAD_CHANGES_,
};
#define N_RELOAD_CHANGES ((unsigned)N_RELOAD_CHANGES_)
const char *reload_change_to_string(enum reload_change change); // "kept", "changed", ...

struct reload_entry {
    const char *name; // borrowed from the settings
    enum reload_change change;
    size_t index;  // among the new ones, unless REMOVED. Rules: timeouts first, then quotas
    size_t before; // among the old ones, unless ADDED
};

// New ones in their order, then those that are removed.
struct reload_section {
    struct reload_entry *items;
    size_t n_items;
};

struct reload {
    struct reload_section targets;
    struct reload_section rules;
    struct reload_section alarms;
    struct reload_section webhooks;
};

int reload_compare(const struct settings *before, const struct settings *after, struct reload *ret); // 0 or -ENOMEM
void reload_deinit(struct reload *reload);                                                           // for CLEANUP()

// "2 targets (changed: a), 4 rules (added: idle, squeeze; removed: old), 1 alarm"; webhooks follow if there are any.
#define RELOAD_MAX_NAMES 5 // of one kind; more are counted
void reload_describe(const struct reload *reload, struct strbuf *sb);
