// SPDX-License-Identifier: PostgreSQL

#include "config/config.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "merge.h"
#include "report.h"
#include "scope.h"
#include "tables.h"
#include "util/fd.h"
#include "util/macro.h"
#include "util/strbuf.h"
#include "yaml_tree.h"

#define CONF_D_MAX_FILES 100

static void load_free_webhook(struct webhook_config *webhook) {
    free(webhook->name);
    free(webhook->url);
    free(webhook->url_file);
    for (size_t i = 0; i < webhook->n_headers; i++) {
        free(webhook->headers[i].name);
        free(webhook->headers[i].value);
    }
    free(webhook->headers);
    free(webhook->bearer_token_file);
    free(webhook->proxy);
    free(webhook->ca_file);
}

struct config *config_free(struct config *config) {
    if (config) {
        policy_unref(config->policy);
        for (size_t i = 0; i < config->n_targets; i++) {
            free(config->targets[i].name);
            free(config->targets[i].conninfo);
            free(config->targets[i].password_file);
        }
        free(config->targets);
        free(config->http.listen);
        free(config->http.host);
        free(config->control.socket);
        free(config->control.group);
        for (size_t i = 0; i < config->n_webhooks; i++) {
            load_free_webhook(&config->webhooks[i]);
        }
        free(config->webhooks);
        yaml_node_free(config->tree);
        free(config);
    }
    return NULL;
}
DEFINE_CLEANUP(DIR *, closedir)

// What one load works with.
struct loader {
    struct diag_list *diags;
    config_lookup_fn lookup;
    void *lookup_data;
    config_conninfo_fn check_conninfo;
    size_t n_errors_before;
    struct yaml_budget budget;
    struct yaml_node *tree; // of the files read so far; NULL: none yet
    bool broken;            // a file gave no tree: what the others lack is not known
};

// Compiles the tree and takes it over. 0; -EINVAL: mistakes were reported; -ENOMEM.
static int load_bind(struct loader *loader, struct config **ret) {
    struct diag_list *diags = loader->diags;
    CLEANUP(config_freep) struct config *config = calloc(1, sizeof(*config));
    if (!config || !(config->policy = policy_new())) {
        return -ENOMEM;
    }
    config->tree = TAKE_PTR(loader->tree);
    struct binder binder = {
        .diags = diags, .config = config, .root = config->tree, .check_conninfo = loader->check_conninfo};
    int r = schema_bind(&binder, &tables_root);
    if (r < 0) {
        return r;
    }
    if (diags->n_errors > loader->n_errors_before) {
        return -EINVAL;
    }
    scope_of(config, config->scope);
    *ret = TAKE_PTR(config);
    return 0;
}

static int load_finish(struct loader *loader, int r, struct config **ret) {
    CLEANUP(config_freep) struct config *config = NULL;
    if (r == 0) {
        r = loader->broken ? -EINVAL : load_bind(loader, &config);
    }
    loader->tree = yaml_node_free(loader->tree);
    diag_list_sort(loader->diags);
    if (loader->diags->failed) {
        return -ENOMEM;
    }
    if (r == 0) {
        *ret = TAKE_PTR(config);
    }
    return r;
}

// Joins one file's tree to what was read before. 0 or -ENOMEM.
static int load_join(struct loader *loader, struct yaml_node **tree) {
    struct yaml_node *node = *tree;
    if (node->is_bad) {
        loader->broken = true;
        return 0;
    }
    if (node->is_null) {
        struct yaml_node *empty = yaml_node_new(NODE_MAP, node->at);
        if (!empty) {
            return -ENOMEM;
        }
        yaml_node_free(node);
        *tree = node = empty;
    }
    if (node->kind != NODE_MAP) {
        report_error(loader->diags, node->at, NULL, "not a map of keys (write key: value, beginning with targets:)");
        loader->broken = true;
        return 0;
    }
    if (!loader->tree) {
        loader->tree = TAKE_PTR(*tree);
        return 0;
    }
    return config_merge(loader->diags, &tables_root, loader->tree, node);
}

static int load_text(struct loader *loader, const char *file, const char *text, size_t len) {
    struct yaml_input input = {
        .file = file,
        .text = text,
        .len = len,
        .lookup = loader->lookup,
        .lookup_data = loader->lookup_data,
        .budget = &loader->budget,
    };
    CLEANUP(yaml_node_freep) struct yaml_node *tree = NULL;
    int r = yaml_tree_parse(&input, loader->diags, &tree);
    if (r == -ENOMEM) {
        return r;
    }
    if (r < 0) {
        loader->broken = true;
        return 0;
    }
    return load_join(loader, &tree);
}

// A file that cannot be read is a finding like others. 0 or -ENOMEM.
static int load_file(struct loader *loader, const char *path) {
    const char *file = diag_list_add_file(loader->diags, path);
    if (!file) {
        return -ENOMEM;
    }
    CLEANUP(freep) char *text = NULL;
    size_t len = 0;
    int r = fd_read_file(path, YAML_MAX_BYTES, &text, &len);
    if (r == -ENOMEM) {
        return r;
    }
    if (r < 0) {
        struct location whole = {.file = file};
        if (r == -EFBIG) {
            report_error(loader->diags, whole, NULL, "larger than %zu MiB (spread it over conf.d)",
                         YAML_MAX_BYTES >> 20);
        } else {
            report_error(loader->diags, whole, NULL, "cannot be read: %s", strerror(-r));
        }
        loader->broken = true;
        return 0;
    }
    return load_text(loader, file, text, len);
}

static int load_compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool load_has_ending(const char *name, const char *ending) {
    size_t len = strlen(name), n = strlen(ending);
    return len > n && strcmp(name + len - n, ending) == 0;
}

struct name_list {
    char **names;
    size_t n;
};

static void name_list_deinit(struct name_list *list) {
    for (size_t i = 0; i < list->n; i++) {
        free(list->names[i]);
    }
    free(list->names);
}

// The files of a folder that are ours, in name order. 0, -ENOMEM, -E2BIG, or -errno.
static int load_list(struct loader *loader, const char *folder, struct name_list *list) {
    CLEANUP(closedirp) DIR *dir = opendir(folder);
    if (!dir) {
        return -errno;
    }
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry) {
            break;
        }
        if (entry->d_name[0] != '.' && load_has_ending(entry->d_name, ".yml")) {
            struct location whole = {.file = diag_list_add_file(loader->diags, folder)};
            report_warning(loader->diags, whole, NULL, "%s is not read (rename it to .yaml)",
                           report_quote(loader->diags, entry->d_name).text);
        }
        // Names that begin with a dot are an editor's, or a volume's own.
        if (entry->d_name[0] == '.' || !load_has_ending(entry->d_name, ".yaml")) {
            continue;
        }
        if (list->n == CONF_D_MAX_FILES) {
            return -E2BIG;
        }
        char **names = reallocarray(list->names, list->n + 1, sizeof(*names));
        if (!names) {
            return -ENOMEM;
        }
        list->names = names;
        names[list->n] = strdup(entry->d_name);
        if (!names[list->n]) {
            return -ENOMEM;
        }
        list->n++;
    }
    if (errno != 0) {
        return -errno;
    }
    if (list->n > 0) {
        qsort(list->names, list->n, sizeof(*list->names), load_compare_names);
    }
    return 0;
}

static int load_conf_d(struct loader *loader, const char *main_file) {
    CLEANUP(strbuf_deinit) struct strbuf folder = STRBUF_EMPTY;
    CLEANUP(name_list_deinit) struct name_list list = {0};
    const char *slash = strrchr(main_file, '/');
    strbuf_add_bytes(&folder, main_file, slash ? (size_t)(slash - main_file) + 1 : 0);
    strbuf_add(&folder, "conf.d");
    if (strbuf_error(&folder) < 0) {
        return -ENOMEM;
    }
    int r = load_list(loader, strbuf_str(&folder), &list);
    if (r == -ENOENT || r == -ENOMEM) {
        return r == -ENOENT ? 0 : r;
    }
    if (r < 0) {
        struct location whole = {.file = diag_list_add_file(loader->diags, strbuf_str(&folder))};
        if (r == -E2BIG) {
            report_error(loader->diags, whole, NULL, "more than %d files (join some)", CONF_D_MAX_FILES);
        } else {
            report_error(loader->diags, whole, NULL, "cannot be read: %s", strerror(-r));
        }
        loader->broken = true;
        return 0;
    }
    for (size_t i = 0; i < list.n; i++) {
        CLEANUP(strbuf_deinit) struct strbuf path = STRBUF_EMPTY;
        strbuf_addf(&path, "%s/%s", strbuf_str(&folder), list.names[i]);
        r = strbuf_error(&path);
        if (r < 0 || (r = load_file(loader, strbuf_str(&path))) < 0) {
            return r;
        }
    }
    return 0;
}

int config_load(const struct config_source *source, struct diag_list *diags, struct config **ret) {
    struct loader loader = {
        .diags = diags,
        .lookup = source->lookup,
        .lookup_data = source->lookup_data,
        .check_conninfo = source->check_conninfo,
        .n_errors_before = diags->n_errors,
    };
    int r = load_file(&loader, source->file);
    // Without the main file's tree there is nothing to merge over, but mistakes in the others are told all the same.
    if (r == 0 && source->with_conf_d) {
        r = load_conf_d(&loader, source->file);
    }
    return load_finish(&loader, r, ret);
}

int config_copy_policy(const struct config *config, struct policy **ret) {
    CLEANUP(diag_list_deinit) struct diag_list diags = {0};
    CLEANUP(config_freep) struct config *copy = calloc(1, sizeof(*copy));
    if (!copy || !(copy->policy = policy_new())) {
        return -ENOMEM;
    }
    // The tree is read only; it has been found without mistakes before.
    copy->tree = config->tree;
    struct binder binder = {.diags = &diags, .config = copy, .root = copy->tree};
    int r = schema_bind(&binder, &tables_root);
    copy->tree = NULL;
    if (r < 0 || diags.n_errors > 0 || diags.failed) {
        return -ENOMEM;
    }
    *ret = TAKE_PTR(copy->policy);
    return 0;
}

int config_find_socket(const struct config_source *source, struct diag_list *diags, bool *ret_sure, char **ret) {
    struct loader loader = {.diags = diags, .lookup = source->lookup, .lookup_data = source->lookup_data};
    struct control_config control = {0};
    bool sure = true;
    int r = load_file(&loader, source->file);
    if (r == 0 && source->with_conf_d) {
        r = load_conf_d(&loader, source->file);
    }
    if (r == 0) {
        r = keys_find_socket(diags, loader.tree, &control, &sure);
    }
    (void)yaml_node_free(loader.tree);
    diag_list_sort(diags);
    if (r < 0 || diags->failed) {
        free(control.socket);
        return -ENOMEM;
    }
    *ret_sure = sure && !loader.broken;
    *ret = control.socket;
    return 0;
}

int config_load_buffer(const char *name, const char *text, size_t len, config_lookup_fn lookup, void *lookup_data,
                       struct diag_list *diags, struct config **ret) {
    struct loader loader = {
        .diags = diags,
        .lookup = lookup,
        .lookup_data = lookup_data,
        .n_errors_before = diags->n_errors,
    };
    const char *file = diag_list_add_file(diags, name);
    int r = file ? load_text(&loader, file, text, len) : -ENOMEM;
    return load_finish(&loader, r, ret);
}

// The map below that key, a new one when there is none yet. NULL: out of memory.
static struct yaml_node *load_descend(struct yaml_node *map, const char *key, struct location at) {
    const struct yaml_pair *pair = yaml_node_find(map, key);
    if (pair) {
        return pair->value;
    }
    CLEANUP(yaml_node_freep) struct yaml_node *below = yaml_node_new(NODE_MAP, at);
    struct yaml_node *ret = below;
    return below && yaml_node_add_pair(map, key, at, &below) == 0 ? ret : NULL;
}

// Built as nodes and not as text: a value is a value, whatever stands in it. 0 or -ENOMEM.
static int load_value(struct loader *loader, const struct config_value *value) {
    struct location at = {.file = diag_list_add_file(loader->diags, value->source)};
    struct path paths[CONFIG_VALUE_MAX_KEYS] = {{.name = value->keys[0]}};
    if (!at.file || (!loader->tree && !(loader->tree = yaml_node_new(NODE_MAP, at)))) {
        return -ENOMEM;
    }
    struct yaml_node *map = loader->tree;
    size_t last = 0;
    for (; map && last + 1 < CONFIG_VALUE_MAX_KEYS && value->keys[last + 1]; last++) {
        map = load_descend(map, value->keys[last], at);
        paths[last + 1] = (struct path){.parent = &paths[last], .name = value->keys[last + 1]};
    }
    CLEANUP(yaml_node_freep) struct yaml_node *node = NULL;
    CLEANUP(strbuf_deinit) struct strbuf reference = STRBUF_EMPTY;
    if (value->text) {
        node = yaml_node_new_text(value->text, at);
    } else {
        struct yaml_input input = {.file = at.file, .lookup = loader->lookup, .lookup_data = loader->lookup_data};
        strbuf_addf(&reference, "${%s}", value->source);
        int r = strbuf_error(&reference);
        if (r < 0 || (r = yaml_tree_value(&input, strbuf_str(&reference), &paths[last], loader->diags, &node)) < 0) {
            return r;
        }
    }
    return map && node ? yaml_node_add_pair(map, value->keys[last], at, &node) : -ENOMEM;
}

int config_load_values(const struct config_value *values, size_t n_values, config_lookup_fn lookup, void *lookup_data,
                       struct diag_list *diags, struct config **ret) {
    struct loader loader = {
        .diags = diags,
        .lookup = lookup,
        .lookup_data = lookup_data,
        .n_errors_before = diags->n_errors,
    };
    int r = 0;
    for (size_t i = 0; i < n_values && r == 0; i++) {
        r = load_value(&loader, &values[i]);
    }
    return load_finish(&loader, r, ret);
}
