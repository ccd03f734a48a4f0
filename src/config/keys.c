// SPDX-License-Identifier: PostgreSQL

// The values that are more than one scalar: selectors, the built-in protected names. Those of rules alone stand in
// keys_rules.c.

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/pattern.h"
#include "scalar.h"
#include "tables.h"
#include "util/macro.h"
#include "util/strbuf.h"
#include "util/suggestion.h"

#define KEYS_MAX_LISTED 12 // names of apps or targets that one message lists

bool keys_is_text(const struct yaml_node *node) {
    return node->kind == NODE_SCALAR && !node->is_null;
}

// --- protect.builtin -------------------------------------------------------------------------------------------------

static void keys_report_builtin_name(struct binder *binder, const struct yaml_pair *pair, const struct path *path) {
    struct suggestion suggestion = {.word = pair->key};
    CLEANUP(strbuf_deinit) struct strbuf names = STRBUF_EMPTY;
    for (size_t i = 0; protect_builtin_names[i]; i++) {
        suggestion_offer(&suggestion, protect_builtin_names[i]);
        strbuf_addf(&names, "%s%s", i == 0 ? "" : ", ", protect_builtin_names[i]);
    }
    if (strbuf_error(&names) < 0) {
        binder->diags->failed = true;
    }
    report_error(binder->diags, pair->key_at, path, "not a built-in name%s%s%s (legal here: %s)",
                 suggestion.best ? "; did you mean \"" : "", suggestion.best ? suggestion.best : "",
                 suggestion.best ? "\"?" : "", strbuf_str(&names));
}

// Text that becomes a pattern: what would widen or silence it unseen. False: refused and reported.
static bool keys_check_pattern_text(struct binder *binder, const struct yaml_node *node, const struct path *path) {
    if (node->expands_to_nothing) {
        report_error(binder->diags, node->at, path,
                     "a variable in it expands to nothing (set it, or write \"\" for the empty name)");
        return false;
    }
    const char *text = node->text;
    size_t len = strlen(text);
    if (text[0] == '/' && text[len - 1] != '/' && !(len > 2 && strcmp(text + len - 2, "/i") == 0) &&
        (strpbrk(text, "^$|+()") || strstr(text, ".*"))) {
        report_warning(binder->diags, node->at, path,
                       "%s begins like a regular expression but is read as a glob (write /.../ or /.../i)",
                       report_quote(binder->diags, text).text);
    }
    return true;
}

static int keys_parse_builtin_user(struct binder *binder, const struct yaml_pair *pair, const struct path *path,
                                   struct pattern **ret) {
    const struct yaml_node *node = pair->value;
    if (node->is_bad) {
        return 0;
    }
    if (!keys_is_text(node)) {
        report_error(binder->diags, node->at, path,
                     "must be one pattern for user names (write \"backup-*\", or /^(a|b)$/ for several)");
        return 0;
    }
    if (!keys_check_pattern_text(binder, node, path)) {
        return 0;
    }
    CLEANUP(freep) char *why = NULL;
    int r = pattern_new(node->text, ret, &why);
    if (r == -EINVAL) {
        report_error(binder->diags, node->at, path, "%s: %s (write a shell glob, or /.../)",
                     report_quote(binder->diags, node->text).text, why);
        r = 0;
    }
    return r;
}

int keys_parse_builtin(struct binder *binder, const struct field *field, const struct yaml_node *node,
                       const struct path *path, void *member) {
    struct protect *protect = member;
    if (keys_is_text(node) && (strcmp(node->text, "true") == 0 || strcmp(node->text, "false") == 0)) {
        protect->builtin = strcmp(node->text, "true") == 0;
        return 0;
    }
    if (node->kind != NODE_MAP || node->n_pairs == 0) {
        report_error(binder->diags, node->at, path, "must be true, false, or a map of built-in names (write %s: %s)",
                     field->name, field->example);
        return 0;
    }
    protect->builtin = true;
    for (size_t i = 0; i < node->n_pairs; i++) {
        const struct yaml_pair *pair = &node->pairs[i];
        struct path pair_path = {.parent = path, .name = pair->key};
        size_t at = 0;
        while (protect_builtin_names[at] && strcmp(protect_builtin_names[at], pair->key) != 0) {
            at++;
        }
        if (!protect_builtin_names[at]) {
            keys_report_builtin_name(binder, pair, &pair_path);
            continue;
        }
        int r = keys_parse_builtin_user(binder, pair, &pair_path, &protect->builtin_user[at]);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

// --- selectors -------------------------------------------------------------------------------------------------------

// A pattern that matches none of the names defined under `section` ("apps", "targets").
static void keys_report_reference(struct binder *binder, const struct yaml_node *node, const struct path *path,
                                  const char *section, const struct yaml_node *names, bool is_literal) {
    struct suggestion suggestion = {.word = node->text};
    CLEANUP(strbuf_deinit) struct strbuf list = STRBUF_EMPTY;
    size_t n_names = names ? names->n_pairs : 0, n_listed = 0;
    for (size_t i = 0; i < n_names; i++) {
        // What is no name may be anything, and a secret at that.
        if (!scalar_is_name(names->pairs[i].key)) {
            continue;
        }
        suggestion_offer(&suggestion, names->pairs[i].key);
        if (n_listed++ < KEYS_MAX_LISTED) {
            strbuf_addf(&list, "%s%s", n_listed == 1 ? "" : ", ",
                        report_quote(binder->diags, names->pairs[i].key).text);
        }
    }
    strbuf_add(&list, n_listed > KEYS_MAX_LISTED ? ", ..." : "");
    if (strbuf_error(&list) < 0) {
        binder->diags->failed = true;
    }
    struct quoted quoted = report_quote(binder->diags, node->text);
    const char *what = is_literal ? "is not defined" : "matches none that is defined";
    if (n_listed == 0) {
        report_error(binder->diags, node->at, path, "%s %s (write it below %s:)", quoted.text, what, section);
    } else if (suggestion.best) {
        report_error(binder->diags, node->at, path, "%s %s under %s; did you mean %s?", quoted.text, what, section,
                     report_quote(binder->diags, suggestion.best).text);
    } else {
        report_error(binder->diags, node->at, path, "%s %s under %s (defined: %s)", quoted.text, what, section,
                     strbuf_str(&list));
    }
}

static int keys_check_reference(struct binder *binder, const struct yaml_node *node, const struct path *path,
                                const char *section) {
    struct pattern *pattern = NULL;
    CLEANUP(freep) char *why = NULL;
    int r = pattern_new(node->text, &pattern, &why);
    if (r < 0) {
        return r;
    }
    const struct yaml_pair *pair = yaml_node_find(binder->root, section);
    const struct yaml_node *names = pair ? pair->value : NULL;
    int matches = 0;
    for (size_t i = 0; names && i < names->n_pairs && matches == 0; i++) {
        matches = pattern_matches(pattern, names->pairs[i].key);
    }
    if (matches == 0) {
        keys_report_reference(binder, node, path, section, names, pattern_is_literal(pattern));
    }
    pattern_free(pattern);
    return MIN(matches, 0);
}

// What a selector's key could hold, for hints.
static const char *keys_example(enum selector_key key) {
    switch (key) {
    case SELECTOR_CLIENT_ADDR:
        return "10.0.0.0/8";
    case SELECTOR_SUPERUSER:
        return "true";
    case SELECTOR_QUERY:
        return "/.../";
    case SELECTOR_APP:
    case SELECTOR_TARGET:
    case SELECTOR_USER:
    case SELECTOR_DATABASE:
    case SELECTOR_APPLICATION_NAME:
    case N_SELECTOR_KEYS:
        break;
    }
    return "worker";
}

// A name, which may be empty.
static bool keys_takes_empty(enum selector_key key) {
    return key != SELECTOR_CLIENT_ADDR && key != SELECTOR_SUPERUSER && key != SELECTOR_QUERY;
}

static int keys_add_query(struct binder *binder, const struct yaml_node *node, const struct path *path,
                          struct selector *selector) {
    CLEANUP(freep) char *why = NULL;
    unsigned bit;
    int r = policy_add_query(binder->config->policy, node->text, &bit, &why);
    if (r == -EINVAL) {
        report_error(binder->diags, node->at, path, "%s: %s", report_quote(binder->diags, node->text).text, why);
        return 0;
    }
    if (r == -ENOSPC) {
        report_error(binder->diags, node->at, path, "more than %d different expressions (join some: /one|two/)",
                     POLICY_MAX_QUERIES);
        return 0;
    }
    return r < 0 ? r : selector_add_query(selector, bit);
}

static int keys_add_text(struct binder *binder, const struct yaml_node *node, const struct path *path,
                         enum selector_key key, struct selector *selector) {
    if (node->is_bad) {
        return 0;
    }
    if (!keys_is_text(node)) {
        report_error(binder->diags, node->at, path, "%s (write %s: %s%s)",
                     node->is_null ? "is empty" : "must be text or a list of texts", path->name, keys_example(key),
                     keys_takes_empty(key) ? ", or \"\" for the empty name" : "");
        return 0;
    }
    if (node->expands_to_nothing && !keys_takes_empty(key)) {
        report_error(binder->diags, node->at, path, "a variable in it expands to nothing (set it, or write %s: %s)",
                     path->name, keys_example(key));
        return 0;
    }
    if (key == SELECTOR_QUERY) {
        return keys_add_query(binder, node, path, selector);
    }
    if (!keys_check_pattern_text(binder, node, path)) {
        return 0;
    }
    CLEANUP(freep) char *why = NULL;
    int r = selector_add(selector, key, node->text, &why);
    if (r == -EINVAL) {
        report_error(binder->diags, node->at, path, "%s: %s", report_quote(binder->diags, node->text).text, why);
        return 0;
    }
    if (r < 0 || (key != SELECTOR_APP && key != SELECTOR_TARGET)) {
        return r;
    }
    return keys_check_reference(binder, node, path, key == SELECTOR_APP ? "apps" : "targets");
}

// An app is who connects: its selector takes neither apps nor statements.
static bool keys_is_legal_selector_key(enum selector_key key, bool for_app) {
    return !for_app || (key != SELECTOR_APP && key != SELECTOR_QUERY);
}

static bool keys_find_selector_key(const char *name, enum selector_key *ret) {
    for (unsigned i = 0; i < N_SELECTOR_KEYS; i++) {
        if (strcmp(selector_key_to_string((enum selector_key)i), name) == 0) {
            *ret = (enum selector_key)i;
            return true;
        }
    }
    return false;
}

static void keys_report_selector_key(struct binder *binder, const struct yaml_pair *pair, const struct path *path,
                                     bool for_app) {
    struct suggestion suggestion = {.word = pair->key};
    CLEANUP(strbuf_deinit) struct strbuf names = STRBUF_EMPTY;
    for (unsigned i = 0; i < N_SELECTOR_KEYS; i++) {
        if (keys_is_legal_selector_key((enum selector_key)i, for_app)) {
            const char *name = selector_key_to_string((enum selector_key)i);
            suggestion_offer(&suggestion, name);
            strbuf_addf(&names, "%s%s", names.len == 0 ? "" : ", ", name);
        }
    }
    if (strbuf_error(&names) < 0) {
        binder->diags->failed = true;
    }
    enum selector_key key;
    if (keys_find_selector_key(pair->key, &key)) {
        report_error(binder->diags, pair->key_at, path, "%s (legal here: %s)",
                     key == SELECTOR_APP ? "an app cannot be told by apps" : "an app is who connects, not what it runs",
                     strbuf_str(&names));
    } else if (suggestion.best) {
        report_error(binder->diags, pair->key_at, path, "unknown key; did you mean \"%s\"?", suggestion.best);
    } else {
        report_error(binder->diags, pair->key_at, path, "unknown key (legal here: %s)", strbuf_str(&names));
    }
}

static int keys_add_clause(struct binder *binder, const struct field *field, const struct yaml_node *map,
                           const struct path *path, bool for_app, struct selector *selector) {
    if (map->is_bad) {
        return 0;
    }
    if (map->kind != NODE_MAP || map->n_pairs == 0) {
        report_error(binder->diags, map->at, path, "%s (write %s: %s%s)",
                     map->is_null || map->kind == NODE_MAP ? "is empty" : "must be a map, or a list of maps",
                     field->name, field->example, field->required ? "" : ", or leave it out");
        return 0;
    }
    int r = selector_add_clause(selector);
    for (size_t i = 0; i < map->n_pairs && r == 0; i++) {
        const struct yaml_pair *pair = &map->pairs[i];
        const struct yaml_node *value = pair->value;
        struct path pair_path = {.parent = path, .name = pair->key};
        enum selector_key key;
        if (!keys_find_selector_key(pair->key, &key) || !keys_is_legal_selector_key(key, for_app)) {
            keys_report_selector_key(binder, pair, &pair_path, for_app);
            continue;
        }
        if (value->is_bad || value->kind != NODE_LIST) {
            r = keys_add_text(binder, value, &pair_path, key, selector);
            continue;
        }
        if (value->n_items == 0) {
            report_error(binder->diags, value->at, &pair_path, "is an empty list (write %s: %s, or leave it out)",
                         pair->key, keys_example(key));
        }
        for (size_t j = 0; j < value->n_items && r == 0; j++) {
            r = keys_add_text(binder, value->items[j], &pair_path, key, selector);
        }
    }
    return r;
}

static int keys_parse_clauses(struct binder *binder, const struct field *field, const struct yaml_node *node,
                              const struct path *path, bool for_app, struct selector **member) {
    struct selector *selector = *member = selector_new();
    if (!selector) {
        return -ENOMEM;
    }
    if (node->kind != NODE_LIST) {
        return keys_add_clause(binder, field, node, path, for_app, selector);
    }
    if (node->n_items == 0) {
        report_error(binder->diags, node->at, path, "is an empty list (write %s: %s%s)", field->name, field->example,
                     field->required ? "" : ", or leave it out");
    }
    int r = 0;
    for (size_t i = 0; i < node->n_items && r == 0; i++) {
        r = keys_add_clause(binder, field, node->items[i], path, for_app, selector);
    }
    return r;
}

int keys_parse_selector(struct binder *binder, const struct field *field, const struct yaml_node *node,
                        const struct path *path, void *member) {
    return keys_parse_clauses(binder, field, node, path, false, member);
}

int keys_parse_app_selector(struct binder *binder, const struct field *field, const struct yaml_node *node,
                            const struct path *path, void *member) {
    return keys_parse_clauses(binder, field, node, path, true, member);
}
