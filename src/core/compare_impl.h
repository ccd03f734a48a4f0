// SPDX-License-Identifier: PostgreSQL
#pragma once

// A comparison in the making, shared by compare.c (what it goes by, and the sum of pools), compare_rules.c (rules and
// apps against sessions) and compare_server.c (what the server itself limits).

#include "core/compare.h"
#include "engine_impl.h"

// Of whom the sessions of one rule or app are.
struct population {
    int64_t n; // without our own
    int64_t n_protected;
    int64_t n_protected_name;        // of them, by a name or protect.match
    int64_t n_superuser;             // of those in a state that the rule names
    const struct session *superuser; // one of them
    // All run as one role, or in one database; NULL: not so, or nobody.
    const struct session *one_user;
    const struct session *one_database;
    bool mixes_users, mixes_databases;
};

struct compare {
    const struct engine *engine;
    const struct snapshot *snapshot;
    const struct policy *policy;
    const struct server_survey *survey;
    bool is_only;
    bool we_are_superuser;
    const char *own_user;     // interned; NULL: our session has not been seen
    const char *own_database; // interned
    struct population *rules;
    struct population *apps;
    struct comparison *out;
};

// Which entry of which section a remark is about.
struct place {
    const char *section;
    const char *name;
    const char *key;
};
struct place compare_place(const struct compare *compare, size_t rule, const char *key);

// Takes the texts over and empties the buffers; an empty hint is none. 0 or -ENOMEM.
int compare_say(struct compare *compare, enum event_level level, const char *reason, struct place place,
                struct strbuf *detail, struct strbuf *hint);

bool compare_is_own(const struct compare *compare, const struct session *session);
// Whether the rule covers the session: 1, 0 or -ENOMEM.
int compare_covers(const struct compare *compare, const struct session *session, size_t rule);
// "3 sessions", "1 session".
void compare_add_count(struct strbuf *sb, int64_t n, const char *what);

int compare_rules(struct compare *compare); // 0 or -ENOMEM, all of them
int compare_apps(struct compare *compare);
int compare_alarms(struct compare *compare);
int compare_timeouts(struct compare *compare); // of the server
int compare_limits(struct compare *compare);
int compare_watchdogs(struct compare *compare);
int compare_collations(struct compare *compare);
