// SPDX-License-Identifier: PostgreSQL

// The values of rules and alarms that are more than one scalar: states, groups, thresholds.

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "scalar.h"
#include "tables.h"
#include "util/macro.h"
#include "util/strbuf.h"
#include "util/suggestion.h"

#define KEYS_MAX_THRESHOLD (365 * USEC_PER_DAY)

// --- state -----------------------------------------------------------------------------------------------------------

static bool keys_is_legal_state(unsigned state) {
    return (SESSION_STATE_BIT(state) & SESSION_STATES_ANY) != 0;
}

static void keys_report_state(struct binder *binder, const struct yaml_node *node, const struct path *path) {
    struct suggestion suggestion = {.word = node->text};
    CLEANUP(strbuf_deinit) struct strbuf words = STRBUF_EMPTY;
    for (unsigned i = 0; i < N_SESSION_STATES; i++) {
        if (keys_is_legal_state(i)) {
            const char *word = session_state_to_string((enum session_state)i);
            suggestion_offer(&suggestion, word);
            strbuf_addf(&words, "%s, ", word);
        }
    }
    suggestion_offer(&suggestion, "any");
    if (strbuf_error(&words) < 0) {
        binder->diags->failed = true;
    }
    report_error(binder->diags, node->at, path, "%s is not a state%s%s%s (write %sor any)",
                 report_quote(binder->diags, node->text).text, suggestion.best ? "; did you mean \"" : "",
                 suggestion.best ? suggestion.best : "", suggestion.best ? "\"?" : "", strbuf_str(&words));
}

static void keys_add_state(struct binder *binder, const struct field *field, const struct yaml_node *node,
                           const struct path *path, bool alone, struct timeout *timeout) {
    enum session_state state = SESSION_STATE_NONE;
    if (node->is_bad) {
        return;
    }
    if (!keys_is_text(node)) {
        schema_report_kind(binder, field, node, path);
    } else if (strcmp(node->text, "any") == 0) {
        if (!alone) {
            report_error(binder->diags, node->at, path, "\"any\" in a list (write state: any alone)");
        }
        timeout->any = true;
        timeout->state = SESSION_STATES_ANY;
    } else if (session_state_from_string(node->text, strlen(node->text), &state) && keys_is_legal_state(state)) {
        timeout->state |= SESSION_STATE_BIT(state);
        if (state == SESSION_STATE_IDLE_IN_TRANSACTION) {
            timeout->state |= SESSION_STATE_BIT(SESSION_STATE_IDLE_IN_TRANSACTION_ABORTED);
        }
    } else if (state == SESSION_STATE_DISABLED) {
        report_error(binder->diags, node->at, path,
                     "sessions with track_activities off show neither state nor times, so that no rule can judge them "
                     "(write another state, and turn track_activities on)");
    } else {
        keys_report_state(binder, node, path);
    }
}

int keys_parse_state(struct binder *binder, const struct field *field, const struct yaml_node *node,
                     const struct path *path, void *member) {
    struct timeout *timeout = member;
    if (node->kind != NODE_LIST) {
        keys_add_state(binder, field, node, path, true, timeout);
        return 0;
    }
    if (node->n_items == 0) {
        report_error(binder->diags, node->at, path, "is an empty list (write state: %s)", field->example);
    }
    for (size_t i = 0; i < node->n_items; i++) {
        keys_add_state(binder, field, node->items[i], path, node->n_items == 1, timeout);
    }
    return 0;
}

// --- then, per, max, evict -------------------------------------------------------------------------------------------

int keys_parse_then(struct binder *binder, const struct field *field, const struct yaml_node *node,
                    const struct path *path, void *member) {
    bool *has_then = member;
    unsigned word;
    if (!keys_is_text(node)) {
        schema_report_kind(binder, field, node, path);
    } else {
        *has_then = schema_find_word(binder, field, node, path, &word);
    }
    return 0;
}

// The items of a value that is one word or a list of words; a single word counts as a list of one.
static size_t keys_count_words(struct binder *binder, const struct field *field, const struct yaml_node *node,
                               const struct path *path) {
    if (node->kind == NODE_LIST && node->n_items == 0) {
        report_error(binder->diags, node->at, path, "is an empty list (write %s: %s, or leave it out)", field->name,
                     field->example);
    }
    return node->kind == NODE_LIST ? node->n_items : 1;
}

// One of them: a word of the field that is not in *seen yet.
static bool keys_read_word(struct binder *binder, const struct field *field, const struct yaml_node *node,
                           const struct path *path, unsigned *seen, unsigned *ret) {
    if (node->is_bad) {
        return false;
    }
    if (!keys_is_text(node)) {
        schema_report_kind(binder, field, node, path);
        return false;
    }
    if (!schema_find_word(binder, field, node, path, ret)) {
        return false;
    }
    if (*seen & 1u << *ret) {
        report_error(binder->diags, node->at, path, "\"%s\" stands in it twice (remove one)", node->text);
        return false;
    }
    *seen |= 1u << *ret;
    return true;
}

int keys_parse_per(struct binder *binder, const struct field *field, const struct yaml_node *node,
                   const struct path *path, void *member) {
    unsigned *per = member;
    size_t n = keys_count_words(binder, field, node, path);
    for (size_t i = 0; i < n; i++) {
        unsigned key;
        (void)keys_read_word(binder, field, node->kind == NODE_LIST ? node->items[i] : node, path, per, &key);
    }
    return 0;
}

int keys_parse_evict(struct binder *binder, const struct field *field, const struct yaml_node *node,
                     const struct path *path, void *member) {
    struct quota *quota = member;
    size_t n = keys_count_words(binder, field, node, path);
    unsigned written = 0;
    quota->n_evict = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned state;
        if (keys_read_word(binder, field, node->kind == NODE_LIST ? node->items[i] : node, path, &written, &state)) {
            static_assert(QUOTA_MAX_EVICT >= 5, "every state that a rule may judge");
            quota->evict[quota->n_evict++] = (enum session_state)state;
        }
    }
    // As in timeouts: right behind, unless it has a place of its own.
    const unsigned aborted = SESSION_STATE_BIT(SESSION_STATE_IDLE_IN_TRANSACTION_ABORTED);
    for (size_t i = 0; i < quota->n_evict && !(written & aborted); i++) {
        if (quota->evict[i] == SESSION_STATE_IDLE_IN_TRANSACTION) {
            memmove(&quota->evict[i + 2], &quota->evict[i + 1], (quota->n_evict - i - 1) * sizeof(quota->evict[0]));
            quota->evict[i + 1] = SESSION_STATE_IDLE_IN_TRANSACTION_ABORTED;
            quota->n_evict++;
            break;
        }
    }
    return 0;
}

int keys_parse_max(struct binder *binder, const struct field *field, const struct yaml_node *node,
                   const struct path *path, void *member) {
    struct quota *quota = member;
    if (!keys_is_text(node)) {
        schema_report_kind(binder, field, node, path);
        return 0;
    }
    struct quoted quoted = report_quote(binder->diags, node->text);
    quota->max_is_percent = strchr(node->text, '%') != NULL;
    if (quota->max_is_percent) {
        if (scalar_percent(node->text, 1, 100, &quota->max) != PERCENT_OK) {
            report_error(binder->diags, node->at, path, "%s is not a share of the usable slots (write 1%% to 100%%)",
                         quoted.text);
        }
        return 0;
    }
    switch (scalar_integer(node->text, 1, TABLES_MAX_SESSIONS, &quota->max)) {
    case INTEGER_OK:
        break;
    case INTEGER_NOT_A_NUMBER:
        report_error(binder->diags, node->at, path,
                     "%s is neither a number nor a percentage (write 1 to %d, or 1%% to 100%% of the usable slots)",
                     quoted.text, TABLES_MAX_SESSIONS);
        break;
    case INTEGER_OUT_OF_RANGE:
        report_error(binder->diags, node->at, path,
                     "%s is out of range (write 1 to %d, or 1%% to 100%% of the usable slots)", quoted.text,
                     TABLES_MAX_SESSIONS);
        break;
    }
    return 0;
}

// --- thresholds ------------------------------------------------------------------------------------------------------

int keys_parse_threshold(struct binder *binder, const struct field *field, const struct yaml_node *node,
                         const struct path *path, void *member) {
    (void)member;
    if (!keys_is_text(node)) {
        schema_report_kind(binder, field, node, path);
    }
    return 0;
}

static bool keys_bind_percent_threshold(struct binder *binder, const struct yaml_node *node, const struct path *path,
                                        const char *metric, int64_t *ret) {
    struct quoted quoted = report_quote(binder->diags, node->text);
    enum percent_result result = scalar_percent(node->text, 1, 100, ret);
    if (result == PERCENT_NO_SIGN) {
        report_error(binder->diags, node->at, path, "%s has no unit, and %s is a percentage (write %" PRId64 "%%)",
                     quoted.text, metric, *ret);
    } else if (result != PERCENT_OK) {
        report_error(binder->diags, node->at, path, "%s %s, and %s is a percentage (write 1%% to 100%%)", quoted.text,
                     result == PERCENT_OUT_OF_RANGE ? "is out of range" : "is not a whole percentage", metric);
    }
    return result == PERCENT_OK;
}

static bool keys_bind_count_threshold(struct binder *binder, const struct yaml_node *node, const struct path *path,
                                      const struct alarm *alarm, int64_t *ret) {
    // Nothing is below none.
    int min = alarm->below ? 1 : 0;
    enum integer_result result = scalar_integer(node->text, min, TABLES_MAX_SESSIONS, ret);
    if (result != INTEGER_OK) {
        report_error(binder->diags, node->at, path, "%s %s, and %s is a number of sessions (write %d to %d)",
                     report_quote(binder->diags, node->text).text,
                     result == INTEGER_OUT_OF_RANGE ? "is out of range" : "is not a whole number",
                     metric_to_string(alarm->metric), min, TABLES_MAX_SESSIONS);
    }
    return result == INTEGER_OK;
}

static bool keys_bind_duration_threshold(struct binder *binder, const struct yaml_node *node, const struct path *path,
                                         const char *metric, int64_t *ret) {
    usec_t duration;
    enum duration_result result = scalar_duration(node->text, &duration);
    struct quoted quoted = report_quote(binder->diags, node->text);
    if (result == DURATION_OK && duration > 0 && duration <= KEYS_MAX_THRESHOLD) {
        *ret = (int64_t)duration;
        return true;
    }
    if (result == DURATION_OK || result == DURATION_TOO_LARGE) {
        report_error(binder->diags, node->at, path, "%s is out of range, and %s is a duration (write 1ms to 365d)",
                     quoted.text, metric);
    } else {
        report_error(binder->diags, node->at, path,
                     "%s is not a duration with a unit, and %s is one (write 30s, 10min)", quoted.text, metric);
    }
    return false;
}

bool keys_bind_threshold(struct binder *binder, const struct yaml_node *node, const struct path *path,
                         const struct alarm *alarm, int64_t *ret) {
    if (node->is_bad || !keys_is_text(node)) {
        return false;
    }
    const char *metric = metric_to_string(alarm->metric);
    switch (metric_unit(alarm->metric)) {
    case METRIC_UNIT_PERCENT:
        return keys_bind_percent_threshold(binder, node, path, metric, ret);
    case METRIC_UNIT_COUNT:
        return keys_bind_count_threshold(binder, node, path, alarm, ret);
    case METRIC_UNIT_DURATION:
        break;
    }
    return keys_bind_duration_threshold(binder, node, path, metric, ret);
}
