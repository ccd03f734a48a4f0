// SPDX-License-Identifier: PostgreSQL
#include "words.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/macro.h"
#include "util/strbuf.h"

_Noreturn void words_die(const char *where, const char *what, const char *text) {
    (void)fprintf(stderr, "%s: %s: '%s'\n", where, what, text);
    exit(2);
}

void words_deinit(struct words *words) {
    for (size_t i = 0; i < words->n_items; i++) {
        free(words->items[i]);
    }
    words->n_items = 0;
}

static void words_add(struct words *words, const char *s, const char *where) {
    char *copy = strdup(s);
    if (!copy || words->n_items == WORDS_MAX) {
        words_die(where, "too many words", s);
    }
    words->items[words->n_items++] = copy;
}

// The byte that an escape stands for; *s is moved behind it.
static char words_escape(const char **s, const char *where) {
    char digits[3] = {0};

    switch (*(*s)++) {
    case 'n':
        return '\n';
    case 't':
        return '\t';
    case '"':
        return '"';
    case '\\':
        return '\\';
    case 'x':
        if (isxdigit((unsigned char)(*s)[0]) && isxdigit((unsigned char)(*s)[1])) {
            memcpy(digits, *s, 2);
            *s += 2;
            return (char)strtoul(digits, NULL, 16);
        }
        break;
    default:
        break;
    }
    words_die(where, "no such escape", *s - 1);
}

void words_split(struct words *words, const char *line, const char *where) {
    CLEANUP(strbuf_deinit) struct strbuf word = STRBUF_EMPTY;
    const char *s = line;

    words->n_items = 0;
    for (;;) {
        bool quoted = false, any = false;
        s += strspn(s, " \t\r\n");
        if (*s == '\0' || *s == '#') {
            return;
        }
        strbuf_clear(&word);
        while (*s && (quoted || !strchr(" \t\r\n,", *s))) {
            any = true;
            char c = *s++;
            if (c == '"') {
                quoted = !quoted;
            } else if (c == '\\') {
                strbuf_add_char(&word, words_escape(&s, where));
            } else {
                strbuf_add_char(&word, c);
            }
        }
        if (quoted) {
            words_die(where, "quotes never end", line);
        }
        if (any) {
            words_add(words, strbuf_str(&word), where);
        }
        if (*s == ',') {
            s++;
            words_add(words, ",", where);
        }
    }
}

const char *words_get(const struct words *words, size_t from, const char *key) {
    size_t len = strlen(key);

    for (size_t i = from; i < words->n_items; i++) {
        if (strncmp(words->items[i], key, len) == 0 && words->items[i][len] == '=') {
            return words->items[i] + len + 1;
        }
    }
    return NULL;
}

bool words_has(const struct words *words, size_t from, const char *word) {
    for (size_t i = from; i < words->n_items; i++) {
        if (strcmp(words->items[i], word) == 0) {
            return true;
        }
    }
    return false;
}

usec_t words_duration(const char *text, const char *where) {
    static const struct {
        const char *unit;
        usec_t usec;
    } units[] = {{"us", 1},           {"ms", USEC_PER_MSEC}, {"min", USEC_PER_MINUTE},
                 {"s", USEC_PER_SEC}, {"h", USEC_PER_HOUR},  {"d", USEC_PER_DAY}};
    const char *s = text;
    usec_t sum = 0;

    do {
        char *end;
        unsigned long long number = strtoull(s, &end, 10);
        size_t i = 0;
        while (i < ARRAY_SIZE(units) && strncmp(end, units[i].unit, strlen(units[i].unit)) != 0) {
            i++;
        }
        if (end == s || i == ARRAY_SIZE(units)) {
            words_die(where, "not a duration", text);
        }
        sum = usec_add(sum, number * units[i].usec);
        s = end + strlen(units[i].unit);
    } while (*s);
    return sum;
}

static int64_t words_number(const char *text, const char *where) {
    char *end;
    long long number = strtoll(text, &end, 10);
    if (end == text || *end) {
        words_die(where, "not a number", text);
    }
    return number;
}

static bool words_switch(const char *text, const char *where) {
    if (strcmp(text, "on") != 0 && strcmp(text, "off") != 0) {
        words_die(where, "neither on nor off", text);
    }
    return strcmp(text, "on") == 0;
}

// --- Rules ----------------------------------------------------------------------------------------------------------

// match.user=a match.user=b: any of them; match.or starts another clause; match={} has no clause, match=[{}] an empty
// one. NULL: the line does not speak of `name`.
static struct selector *words_selector(const struct words *words, size_t from, struct policy *policy, const char *name,
                                       const char *where) {
    struct selector *selector = NULL;
    size_t len = strlen(name);
    bool in_clause = false;

    for (size_t i = from; i < words->n_items; i++) {
        char *word = words->items[i], *why = NULL;
        if (strncmp(word, name, len) != 0 || (word[len] != '.' && word[len] != '=')) {
            continue;
        }
        selector = selector ? selector : selector_new();
        if (strcmp(word + len, "={}") == 0) {
            continue;
        }
        if (strcmp(word + len, ".or") == 0 || strcmp(word + len, "=[{}]") == 0) {
            in_clause = selector_add_clause(selector) == 0;
            continue;
        }
        char *value = strchr(word, '=');
        enum selector_key key = 0;
        if (!value) {
            words_die(where, "no value", word);
        }
        size_t n = (size_t)(value - word) - len - 1;
        while (key < N_SELECTOR_KEYS && (strlen(selector_key_to_string(key)) != n ||
                                         strncmp(selector_key_to_string(key), word + len + 1, n) != 0)) {
            key++;
        }
        unsigned bit;
        if (key == N_SELECTOR_KEYS || (!in_clause && selector_add_clause(selector) < 0) ||
            (key == SELECTOR_QUERY
                 ? policy_add_query(policy, value + 1, &bit, &why) < 0 || selector_add_query(selector, bit) < 0
                 : selector_add(selector, key, value + 1, &why) < 0)) {
            words_die(where, why ? why : "no such selector", word);
        }
        in_clause = true;
    }
    return selector;
}

static void words_states(struct timeout *timeout, const struct words *words, const char *where) {
    for (size_t i = 2; i < words->n_items; i++) {
        const char *word = words->items[i];
        enum session_state state;
        if (strncmp(word, "state=", 6) != 0) {
            continue;
        }
        if (strcmp(word + 6, "any") == 0) {
            timeout->any = true;
        } else if (session_state_from_string(word + 6, strlen(word + 6), &state)) {
            timeout->state |= SESSION_STATE_BIT(state);
            // As the configuration does it.
            timeout->state |= state == SESSION_STATE_IDLE_IN_TRANSACTION
                                  ? SESSION_STATE_BIT(SESSION_STATE_IDLE_IN_TRANSACTION_ABORTED)
                                  : 0;
        } else {
            words_die(where, "no such state", word);
        }
    }
}

static void words_build_rule(const struct words *words, struct policy *policy, const char *where) {
    struct timeout *timeout = policy_add_timeout(policy, words->items[1]);
    const char *value;

    words_states(timeout, words, where);
    value = words_get(words, 2, "after");
    timeout->after = words_duration(value ? value : "0s", where);
    value = words_get(words, 2, "since");
    if (value) {
        timeout->has_since = true;
        while (timeout->since < N_SESSION_TIMES_ && strcmp(session_time_to_string(timeout->since), value) != 0) {
            timeout->since++;
        }
    }
    value = words_get(words, 2, "action");
    if (value && !action_from_string(value, &timeout->action)) {
        words_die(where, "no such action", value);
    }
    value = words_get(words, 2, "grace");
    timeout->has_then = value != NULL;
    timeout->grace = value ? words_duration(value, where) : 0;
    value = words_get(words, 2, "usage");
    timeout->when.has_usage = value != NULL;
    timeout->when.usage = value ? words_number(value, where) : 0;
    value = words_get(words, 2, "until");
    timeout->when.until = value ? words_number(value, where) : 0;
    value = words_get(words, 2, "blocks");
    timeout->when.blocks = value ? words_number(value, where) : 0;
    value = words_get(words, 2, "keep");
    timeout->keep = value ? words_number(value, where) : 0;
    value = words_get(words, 2, "enforce");
    timeout->enforce = value ? words_switch(value, where) : true;
    timeout->match = words_selector(words, 2, policy, "match", where);
    timeout->ignore = words_selector(words, 2, policy, "ignore", where);
}

// per=app per=user: both keys.
static unsigned words_per(const struct words *words, const char *where) {
    unsigned per = 0;

    for (size_t i = 2; i < words->n_items; i++) {
        const char *word = words->items[i];
        unsigned key = 0;
        if (strncmp(word, "per=", 4) != 0) {
            continue;
        }
        while (key < N_GROUP_KEYS && strcmp(group_key_to_string((enum group_key)key), word + 4) != 0) {
            key++;
        }
        if (key == N_GROUP_KEYS) {
            words_die(where, "no such key", word);
        }
        per |= GROUP_KEY_BIT(key);
    }
    return per;
}

// evict=idle evict=active: in this order.
static void words_evict(struct quota *quota, const struct words *words, const char *where) {
    bool evicts = false;

    for (size_t i = 2; i < words->n_items; i++) {
        const char *word = words->items[i];
        if (strncmp(word, "evict=", 6) == 0) {
            quota->n_evict = evicts ? quota->n_evict : 0;
            evicts = true;
            if (quota->n_evict == QUOTA_MAX_EVICT ||
                !session_state_from_string(word + 6, strlen(word + 6), &quota->evict[quota->n_evict++])) {
                words_die(where, "no such state", word);
            }
        }
    }
}

static void words_build_quota(const struct words *words, struct policy *policy, const char *where) {
    struct quota *quota = policy_add_quota(policy, words->items[1]);
    const char *value = words_get(words, 2, "max");
    CLEANUP(freep) char *max = strdup(value ? value : "");

    quota->max_is_percent = strchr(max, '%') != NULL;
    max[strcspn(max, "%")] = '\0';
    quota->max = words_number(max, where);
    quota->per = words_per(words, where);
    words_evict(quota, words, where);
    value = words_get(words, 2, "for");
    quota->for_ = value ? words_duration(value, where) : 0;
    value = words_get(words, 2, "min_idle");
    quota->min_idle = value ? words_duration(value, where) : 0;
    value = words_get(words, 2, "victims");
    while (value && strcmp(victims_to_string(quota->victims), value) != 0) {
        if (++quota->victims == N_VICTIMS_) {
            words_die(where, "no such order", value);
        }
    }
    value = words_get(words, 2, "action");
    if (value && !action_from_string(value, &quota->action)) {
        words_die(where, "no such action", value);
    }
    value = words_get(words, 2, "enforce");
    quota->enforce = value ? words_switch(value, where) : true;
    quota->match = words_selector(words, 2, policy, "match", where);
    quota->ignore = words_selector(words, 2, policy, "ignore", where);
}

// In the metric's unit: 80, 5, 10min.
static int64_t words_threshold(enum metric metric, const char *text, const char *where) {
    return metric_unit(metric) == METRIC_UNIT_DURATION ? (int64_t)words_duration(text, where)
                                                       : words_number(text, where);
}

static void words_build_alarm(const struct words *words, struct policy *policy, const char *where) {
    struct alarm *alarm = policy_add_alarm(policy, words->items[1]);
    const char *value = words_get(words, 2, "metric");

    while (!value || strcmp(metric_to_string(alarm->metric), value) != 0) {
        if (!value || ++alarm->metric == N_METRICS_) {
            words_die(where, "no such metric", value ? value : "");
        }
    }
    alarm->per = words_per(words, where);
    alarm->below = words_has(words, 2, "below");
    value = words_get(words, 2, "warning");
    alarm->has_warning = value != NULL;
    alarm->warning = value ? words_threshold(alarm->metric, value, where) : 0;
    value = words_get(words, 2, "critical");
    alarm->has_critical = value != NULL;
    alarm->critical = value ? words_threshold(alarm->metric, value, where) : 0;
    value = words_get(words, 2, "for");
    alarm->for_ = value ? words_duration(value, where) : 0;
    value = words_get(words, 2, "clear_after");
    alarm->clear_after = value ? words_duration(value, where) : 0;
    alarm->match = words_selector(words, 2, policy, "match", where);
    alarm->ignore = words_selector(words, 2, policy, "ignore", where);
}

static void words_build_limits(const struct words *words, struct policy *policy, const char *where) {
    struct limits *limits = &policy->limits;
    const struct {
        const char *name;
        int64_t *value;
    } numbers[] = {{"per_poll", &limits->per_poll},
                   {"per_minute", &limits->per_minute},
                   {"pressure_per_minute", &limits->pressure_per_minute},
                   {"share", &limits->share},
                   {"rounds", &limits->breaker_rounds}};
    const char *value;

    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        value = words_get(words, 1, numbers[i].name);
        *numbers[i].value = value ? words_number(value, where) : *numbers[i].value;
    }
    value = words_get(words, 1, "pause");
    limits->breaker_pause = value ? words_duration(value, where) : limits->breaker_pause;
}

static void words_build_protect(const struct words *words, struct policy *policy, const char *where) {
    struct protect *protect = &policy->protect;
    struct {
        const char *name;
        bool *value;
    } switches[] = {{"builtin", &protect->builtin},
                    {"superusers", &protect->superusers},
                    {"listeners", &protect->listeners},
                    {"maintenance", &protect->maintenance}};
    const char *value;

    for (size_t i = 0; i < ARRAY_SIZE(switches); i++) {
        value = words_get(words, 1, switches[i].name);
        *switches[i].value = value ? words_switch(value, where) : *switches[i].value;
    }
    value = words_get(words, 1, "min_age");
    protect->min_age = value ? words_duration(value, where) : protect->min_age;
    for (size_t i = 0; i < PROTECT_N_BUILTIN; i++) {
        char *why = NULL;
        value = words_get(words, 1, protect_builtin_names[i]);
        if (value && pattern_new(value, &protect->builtin_user[i], &why) < 0) {
            words_die(where, "no pattern", value);
        }
    }
    struct selector *match = words_selector(words, 1, policy, "match", where);
    protect->match = match ? match : protect->match;
}

bool words_build_policy(const struct words *words, struct policy *policy, const char *where) {
    const char *first = words->items[0];

    if (strcmp(first, "enforce") == 0 && words->n_items == 2) {
        policy->enforce = words_switch(words->items[1], where);
    } else if (strcmp(first, "app") == 0 && words->n_items > 1) {
        struct app *app = policy_add_app(policy, words->items[1]);
        app->match = words_selector(words, 2, policy, "match", where);
    } else if (strcmp(first, "protect") == 0) {
        words_build_protect(words, policy, where);
    } else if (strcmp(first, "limits") == 0) {
        words_build_limits(words, policy, where);
    } else if (strcmp(first, "quota") == 0 && words->n_items > 1) {
        words_build_quota(words, policy, where);
    } else if (strcmp(first, "alarm") == 0 && words->n_items > 1) {
        words_build_alarm(words, policy, where);
    } else if (strcmp(first, "rule") == 0 && words->n_items > 1) {
        words_build_rule(words, policy, where);
    } else {
        return false;
    }
    return true;
}

// --- Sessions -------------------------------------------------------------------------------------------------------

// "59s": so long ago; "@5s": at that time of the timeline; "none".
static int64_t words_time(const char *text, const struct words_moment *moment, const char *where) {
    if (strcmp(text, "none") == 0) {
        return TIMESTAMP_NONE;
    }
    if (text[0] == '@') {
        return moment->server_start + (int64_t)words_duration(text + 1, where);
    }
    return moment->server_now - (int64_t)words_duration(text, where);
}

static int64_t words_start(const char *text, const struct words_moment *moment, const char *where) {
    // A bare number is a name for a start long ago.
    return isdigit((unsigned char)text[0]) && strspn(text, "0123456789") == strlen(text)
               ? moment->server_start - (int64_t)USEC_PER_DAY + words_number(text, where) * (int64_t)USEC_PER_SEC
               : words_time(text, moment, where);
}

static void words_known_keys(const struct words *words, size_t from, const char *where) {
    static const char *const keys[] = {"pid=",       "start=",    "state=",
                                       "age=",       "query=",    "xact=",
                                       "user=",      "database=", "application_name=",
                                       "client=",    "command=",  "wait=",
                                       "superuser",  "text=",     "matches=",
                                       "blocked_by="};
    for (size_t i = from; i < words->n_items; i++) {
        size_t k = 0;
        if (strcmp(words->items[i], "->") == 0) {
            return;
        }
        while (k < ARRAY_SIZE(keys) && strncmp(words->items[i], keys[k], strlen(keys[k])) != 0) {
            k++;
        }
        if (k == ARRAY_SIZE(keys)) {
            words_die(where, "no such word of a session", words->items[i]);
        }
    }
}

static void words_row_times(struct session_row *row, const struct words *words, size_t from,
                            const struct words_moment *moment, const char *where) {
    const char *value = words_get(words, from, "age");
    bool blank = row->state == SESSION_STATE_NONE || row->state == SESSION_STATE_DISABLED;

    row->state_change = blank ? TIMESTAMP_NONE : words_time(value ? value : "0s", moment, where);
    value = words_get(words, from, "query");
    row->query_start = value ? words_time(value, moment, where) : row->state_change;
    value = words_get(words, from, "xact");
    row->xact_start = value                              ? words_time(value, moment, where)
                      : row->state == SESSION_STATE_IDLE ? TIMESTAMP_NONE
                                                         : row->query_start;
}

size_t words_blocked_by(const struct words *words, size_t from, int64_t *pids, size_t max, const char *where) {
    size_t n = 0;

    for (size_t i = from; i < words->n_items && n < max; i++) {
        if (strncmp(words->items[i], "blocked_by=", 11) == 0) {
            pids[n++] = words_number(words->items[i] + 11, where);
        }
    }
    return n;
}

struct policy *words_policy_new(void) {
    struct policy *policy = policy_new();

    if (policy) {
        policy->enforce = true;
        policy->limits = (struct limits){.per_poll = LIMIT_NONE,
                                         .per_minute = LIMIT_NONE,
                                         .pressure_per_minute = LIMIT_NONE,
                                         .share = 100,
                                         .breaker_pause = 5 * USEC_PER_MINUTE};
    }
    return policy;
}

struct session_row words_row(const struct words *words, size_t from, const struct words_moment *moment,
                             const char *where) {
    const char *value;
    struct session_row row = {.user = "app",
                              .database = "db",
                              .application_name = "",
                              .user_oid = 10,
                              .database_oid = 20,
                              .state = SESSION_STATE_IDLE};

    words_known_keys(words, from, where);
    value = words_get(words, from, "pid");
    row.id.id = words_number(value ? value : "", where);
    value = words_get(words, from, "start");
    row.id.since = words_start(value ? value : "1", moment, where);
    value = words_get(words, from, "state");
    if (value && !session_state_from_string(value, strlen(value), &row.state)) {
        words_die(where, "no such state", value);
    }
    words_row_times(&row, words, from, moment, where);
    value = words_get(words, from, "user");
    row.user = value ? value : row.user;
    value = words_get(words, from, "database");
    row.database = value ? value : row.database;
    value = words_get(words, from, "application_name");
    row.application_name = value ? value : row.application_name;
    row.query = words_get(words, from, "text");
    value = words_get(words, from, "matches");
    row.query_matches = value ? (uint32_t)words_number(value, where) : 0;
    row.user_limit = row.database_limit = -1;
    row.superuser = words_has(words, from, "superuser");
    value = words_get(words, from, "wait");
    row.waits_sync_rep = value && strcmp(value, "SyncRep") == 0;
    row.waits_lock = value && strcmp(value, "Lock") == 0;
    value = words_get(words, from, "command");
    row.command = !value                              ? SESSION_COMMAND_OTHER
                  : strcmp(value, "listen") == 0      ? SESSION_COMMAND_LISTEN
                  : strcmp(value, "unlisten") == 0    ? SESSION_COMMAND_UNLISTEN
                  : strcmp(value, "maintenance") == 0 ? SESSION_COMMAND_MAINTENANCE
                                                      : SESSION_COMMAND_OTHER;
    value = words_get(words, from, "client");
    if (value) {
        struct network network;
        const char *why;
        if (!network_parse(value, &network, &why)) {
            words_die(where, why, value);
        }
        row.client = network.address;
    }
    return row;
}
