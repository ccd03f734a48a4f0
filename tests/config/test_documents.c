// SPDX-License-Identifier: PostgreSQL

// The tables of keys against what documents them: conf/pgvigil.yaml and the manual page.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/config/tables.h"
#include "config/config.h"
#include "support/check.h"
#include "util/fd.h"
#include "util/strbuf.h"

#define TARGETS "targets: { db: { conninfo: host=db } }\n"

// Without a warning.
static struct config *load(const char *text) {
    CLEANUP(diag_list_deinit) struct diag_list diags = {0};
    CLEANUP(strbuf_deinit) struct strbuf found = STRBUF_EMPTY;
    struct config *config = NULL;
    int r = config_load_buffer("x.yaml", text, strlen(text), NULL, NULL, &diags, &config);
    diag_list_render(&diags, &found);
    CHECK_STR(strbuf_str(&found), "");
    CHECK_EQ(r, 0);
    // Its locations point into `diags`: nobody asks for them here.
    return config;
}

static char *read_source(const char *name) {
    CLEANUP(strbuf_deinit) struct strbuf path = STRBUF_EMPTY;
    char *text = NULL;
    size_t len;
    const char *root = getenv("PGVIGIL_SOURCE");
    CHECK_NOT_NULL(root);
    strbuf_addf(&path, "%s/%s", root, name);
    CHECK_EQ(fd_read_file(strbuf_str(&path), 200000, &text, &len), 0);
    return text;
}

// Every row can be explained, and hints have something to show.
static void check_table(const struct section *section, unsigned depth) {
    CHECK_LT(depth, 5u);
    for (size_t i = 0; i < section->n_fields; i++) {
        const struct field *field = &section->fields[i];
        check_context("%s", field->name);
        CHECK(section_find(section, field->name) == field);
        CHECK_CONTAINS(field->help, ".");
        CHECK(field->example || field->fallback || field->section || field->type == FIELD_ENUM);
        CHECK(!field->required || !field->fallback);
        CHECK_EQ(field->section != NULL, field->type == FIELD_SECTION || field->type == FIELD_ENTRIES);
        CHECK_EQ(field->parse != NULL, field->type == FIELD_CUSTOM);
        CHECK(field->type != FIELD_CUSTOM || field->kind);
        CHECK(field->type != FIELD_TEXT || field->example);
        CHECK_EQ(field->word != NULL, field->n_words > 0);
        if (field->section) {
            bool is_of_outputs = strcmp(field->name, "log") == 0 || strcmp(field->name, "webhooks") == 0;
            CHECK(depth == 0 || field->type == FIELD_SECTION || is_of_outputs);
            CHECK_EQ(field->section->open == NULL, depth > 1 || (depth == 1 && !is_of_outputs));
            check_table(field->section, depth + 1);
        }
    }
}

static void tables(void) {
    check_table(&tables_root, 0);
}

// How often the tree holds the key of the section, and whether one of them has this text (NULL: any).
struct occurrence {
    unsigned n;
    bool has_text;
};

static void count_key(struct occurrence *keys, const struct yaml_node *map, const char *name, const char *text) {
    const struct yaml_pair *pair = map ? yaml_node_find(map, name) : NULL;
    if (pair) {
        keys->n++;
        keys->has_text |= text && pair->value->kind == NODE_SCALAR && strcmp(pair->value->text, text) == 0;
    }
}

// The maps of one section: several, if entries lie above it.
struct maps {
    const struct yaml_node *items[20];
    size_t n;
};

// What has a default without being in the tables: two values that depend on other keys.
static const char *default_of(const struct field *field) {
    static const char *const others[][2] = {{"pressure_poll_interval", "1s"}, {"grace", "30s"}};
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        if (strcmp(field->name, others[i][0]) == 0) {
            return others[i][1];
        }
    }
    return field->fallback;
}

static void check_documented(const struct section *section, const struct maps *maps) {
    for (size_t i = 0; i < section->n_fields; i++) {
        const struct field *field = &section->fields[i];
        const char *text = default_of(field);
        struct occurrence keys = {0};
        struct maps below = {0};
        for (size_t j = 0; j < maps->n; j++) {
            count_key(&keys, maps->items[j], field->name, text);
            const struct yaml_pair *pair = yaml_node_find(maps->items[j], field->name);
            for (size_t k = 0; pair && field->type == FIELD_ENTRIES && k < pair->value->n_pairs; k++) {
                CHECK_LT(below.n, ARRAY_SIZE(below.items));
                below.items[below.n++] = pair->value->pairs[k].value;
            }
            if (pair && field->type == FIELD_SECTION) {
                CHECK_LT(below.n, ARRAY_SIZE(below.items));
                below.items[below.n++] = pair->value;
            }
        }
        check_context("%s", field->name);
        // What would have to be there on this machine stands in a comment.
        if (strcmp(field->name, "password_file") != 0 && strcmp(field->name, "group") != 0) {
            CHECK_GT(keys.n, 0u);
            CHECK(!text || keys.has_text);
        }
        if (field->section) {
            check_documented(field->section, &below);
        }
    }
}

// The text with its comments from the one that says "webhooks:" on made lines of the file: whom it would tell exists
// nowhere, so that the file cannot hold them itself.
static char *with_webhooks(const char *text) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    const char *from = strstr(text, "  # webhooks:\n");
    CHECK_NOT_NULL(from);
    strbuf_add_bytes(&sb, text, (size_t)(from - text));
    while (strncmp(from, "  # ", 4) == 0) {
        size_t len = strcspn(from, "\n");
        CHECK_EQ(from[len], '\n');
        strbuf_add(&sb, "  ");
        strbuf_add_bytes(&sb, from + 4, len - 4 + 1);
        from += len + 1;
    }
    strbuf_add(&sb, from);
    return strbuf_take(&sb);
}

// conf/pgvigil.yaml: every key, with its default where it has one, and what it sets outside of entries are the
// defaults.
static void example(void) {
    CLEANUP(freep) char *text = read_source("conf/pgvigil.yaml");
    CLEANUP(config_freep) struct config *config = load(text);
    CHECK_CONTAINS(text, "# password_file:");
    CHECK_CONTAINS(text, "# group:");
    CLEANUP(freep) char *whole = with_webhooks(text);
    CLEANUP(config_freep) struct config *documented = load(whole);
    struct maps root = {.items = {documented->tree}, .n = 1};
    check_documented(&tables_root, &root);
    CHECK_EQ(config->n_webhooks, 0);
    CHECK_EQ(documented->n_webhooks, 2);
    CLEANUP(config_freep)
    struct config *bare = load(TARGETS "timeouts: { t: { state: idle, after: 1s } }\n"
                                       "quotas: { q: { max: 1 } }\n"
                                       "alarms: { a: { metric: idle, above: { warning: 1 } } }\n");
    const struct policy *policy = config->policy, *fresh = bare->policy;
    CHECK_EQ(policy->enforce, fresh->enforce);
    CHECK_EQ(policy->query_text, fresh->query_text);
    CHECK_MEM(&policy->limits, sizeof(policy->limits), &fresh->limits, sizeof(fresh->limits));
    CHECK_EQ(policy->protect.builtin, fresh->protect.builtin);
    CHECK_EQ(policy->protect.superusers, fresh->protect.superusers);
    CHECK_EQ(policy->protect.listeners, fresh->protect.listeners);
    CHECK_EQ(policy->protect.maintenance, fresh->protect.maintenance);
    CHECK_EQ(policy->protect.min_age, fresh->protect.min_age);
    CHECK_EQ(config->log.level, bare->log.level);
    CHECK_EQ(config->log.format, bare->log.format);
    CHECK_STR(config->http.listen, bare->http.listen);
    CHECK_STR(config->control.socket, bare->control.socket);
    CHECK(config->http.is_written && !bare->http.is_written);
    CHECK(config->control.is_written && !bare->control.is_written);
    // Of each section the first entry shows the defaults.
    CHECK_EQ(config->targets[0].poll_interval, bare->targets[0].poll_interval);
    CHECK_EQ(config->targets[0].pressure_poll_interval, bare->targets[0].pressure_poll_interval);
    CHECK_EQ(config->targets[0].pressure_at, bare->targets[0].pressure_at);
    CHECK_EQ(config->targets[0].connect_timeout, bare->targets[0].connect_timeout);
    CHECK_EQ(config->targets[0].query_timeout, bare->targets[0].query_timeout);
    CHECK_EQ(config->targets[0].enforce, bare->targets[0].enforce);
    CHECK_EQ(policy->timeouts[0].keep, fresh->timeouts[0].keep);
    CHECK_EQ(policy->timeouts[0].action, fresh->timeouts[0].action);
    CHECK_EQ(policy->timeouts[0].enforce, fresh->timeouts[0].enforce);
    const struct quota *quota = &policy->quotas[0], *bare_quota = &fresh->quotas[0];
    CHECK_EQ(quota->for_, bare_quota->for_);
    CHECK_EQ(quota->n_evict, bare_quota->n_evict);
    CHECK_EQ(quota->evict[0], bare_quota->evict[0]);
    CHECK_EQ(quota->min_idle, bare_quota->min_idle);
    CHECK_EQ(quota->victims, bare_quota->victims);
    CHECK_EQ(quota->action, bare_quota->action);
    CHECK_EQ(quota->enforce, bare_quota->enforce);
    // A first alarm of usage without these two would flap where it is copied.
    CHECK_EQ(policy->alarms[1].for_, fresh->alarms[0].for_);
    CHECK_EQ(policy->alarms[1].clear_after, fresh->alarms[0].clear_after);
    CHECK_GT(policy->alarms[0].for_, 0);
    CHECK_GT(policy->alarms[0].clear_after, 0);
}

// --- the manual ------------------------------------------------------------------------------------------------------

static void add_kind(struct strbuf *sb, const struct field *field) {
    static const char *const kinds[] = {
        [FIELD_BOOL] = "boolean",    [FIELD_DURATION] = "duration",
        [FIELD_INTEGER] = "number",  [FIELD_PERCENT] = "percentage",
        [FIELD_ENUM] = "word",       [FIELD_TEXT] = "text",
        [FIELD_SECTION] = "section", [FIELD_ENTRIES] = "map of names",
    };
    strbuf_addf(sb, "_%s_", field->type == FIELD_CUSTOM ? field->kind : kinds[field->type]);
    strbuf_add(sb, field->required ? ", required" : "");
    if (field->fallback) {
        strbuf_addf(sb, ", default *%s*", field->fallback);
    }
    if (field->type == FIELD_DURATION) {
        strbuf_add(sb, ", ");
        usec_render_exact(sb, field->min);
        strbuf_add(sb, " to ");
        usec_render_exact(sb, field->max);
    } else if (field->type == FIELD_INTEGER || field->type == FIELD_PERCENT) {
        const char *sign = field->type == FIELD_PERCENT ? "%" : "";
        strbuf_addf(sb, ", %s%s%llu%s to %llu%s", field->zero ? field->zero : "", field->zero ? " or " : "",
                    (unsigned long long)field->min, sign, (unsigned long long)field->max, sign);
    }
}

// The text of one key: what it takes, and its words. Returns how many keys the section holds, with all below it.
static size_t check_manual(const struct section *section, const char *prefix, const char *text) {
    size_t n = 0;
    for (size_t i = 0; i < section->n_fields; i++, n++) {
        const struct field *field = &section->fields[i];
        CLEANUP(strbuf_deinit) struct strbuf path = STRBUF_EMPTY;
        CLEANUP(strbuf_deinit) struct strbuf head = STRBUF_EMPTY;
        strbuf_addf(&path, "%s%s", prefix, field->name);
        strbuf_addf(&head, "\n*%s*\n\t", strbuf_str(&path));
        add_kind(&head, field);
        strbuf_add(&head, "\n\n\t");
        CHECK_CONTAINS(text, strbuf_str(&head));
        const char *body = strstr(text, strbuf_str(&head)) + head.len;
        const char *end = strstr(body, "\n\n");
        CLEANUP(freep) char *entry = strndup(body, (size_t)(end - body));
        for (unsigned j = 0; j < field->n_words; j++) {
            CLEANUP(strbuf_deinit) struct strbuf word = STRBUF_EMPTY;
            const char *name = field->word(j);
            strbuf_addf(&word, "*%s*", name ? name : "");
            check_context("%s", strbuf_str(&path));
            if (name) {
                CHECK_CONTAINS(entry, strbuf_str(&word));
            }
        }
        if (field->section) {
            strbuf_add(&path, field->type == FIELD_ENTRIES ? ".NAME." : ".");
            n += check_manual(field->section, strbuf_str(&path), text);
        }
    }
    return n;
}

// docs/pgvigil.yaml.5.scd: every key as the tables have it, and no other.
static void manual(void) {
    CLEANUP(freep) char *text = read_source("docs/pgvigil.yaml.5.scd");
    char *keys = strstr(text, "\n# KEYS\n");
    CHECK_NOT_NULL(keys);
    char *end = strstr(keys, "\n# EXAMPLES\n");
    CHECK_NOT_NULL(end);
    char *examples = strdup(end);
    *end = '\0';
    size_t n = check_manual(&tables_root, "", keys), n_documented = 0;
    for (const char *line = keys; (line = strchr(line, '\n')); line++) {
        n_documented += line[1] == '*';
    }
    CHECK_EQ(n_documented, n);
    // The keys of selectors stand before.
    *keys = '\0';
    for (unsigned i = 0; i < N_SELECTOR_KEYS; i++) {
        CLEANUP(strbuf_deinit) struct strbuf head = STRBUF_EMPTY;
        strbuf_addf(&head, "\n*%s*\n\t", selector_key_to_string((enum selector_key)i));
        CHECK_CONTAINS(text, strbuf_str(&head));
    }
    // What is shown is no mistake.
    CLEANUP(strbuf_deinit) struct strbuf file = STRBUF_EMPTY;
    char *rest = examples;
    unsigned n_examples = 0;
    for (char *block; (block = strstr(rest, "```\n")); n_examples++) {
        char *close = strstr(block + 4, "```");
        CHECK_NOT_NULL(close);
        strbuf_clear(&file);
        strbuf_add(&file, n_examples == 0 ? "" : TARGETS "apps: { worker: { match: { user: x } } }\n");
        strbuf_add_bytes(&file, block + 4, (size_t)(close - block - 4));
        config_free(load(strbuf_str(&file)));
        rest = close + 3;
    }
    CHECK_EQ(n_examples, 4u);
    free(examples);
}

CHECK_MAIN({"tables", tables}, {"example", example}, {"manual", manual})
