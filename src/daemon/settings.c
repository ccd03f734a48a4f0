// SPDX-License-Identifier: PostgreSQL
#include "daemon/settings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/strbuf.h"

#define SETTINGS_CONNINFO_VARIABLE "PGVIGIL_CONNINFO"
// What the one server is called when no file names it.
#define SETTINGS_TARGET "postgres"

struct settings *settings_free(struct settings *settings) {
    if (!settings) {
        return NULL;
    }
    for (size_t i = 0; settings->conninfos && i < settings->config->n_targets; i++) {
        conninfo_free(settings->conninfos[i]);
    }
    free(settings->conninfos);
    config_free(settings->config);
    free(settings->file);
    free(settings);
    return NULL;
}

static const char *settings_getenv(const char *name, void *userdata) {
    (void)userdata;
    return getenv(name);
}

// The file to read, or NULL: the built-in defaults with *ret_conninfo, or nothing at all when that is NULL too.
static const char *settings_choose(const struct settings_options *options, const char **ret_conninfo) {
    *ret_conninfo = options->conninfo;
    if (options->file || options->conninfo) {
        return options->file;
    }
    // A file that is there but cannot be read is an error, not a reason to run without it.
    if (access(PGVIGIL_CONFIG_FILE, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR)) {
        return PGVIGIL_CONFIG_FILE;
    }
    const char *conninfo = getenv(SETTINGS_CONNINFO_VARIABLE);
    *ret_conninfo = conninfo && *conninfo ? conninfo : NULL;
    return NULL;
}

static int settings_parse_conninfos(struct settings *settings, struct diag_list *diags) {
    const struct config *config = settings->config;

    settings->conninfos = calloc(config->n_targets + 1, sizeof(*settings->conninfos));
    if (!settings->conninfos) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < config->n_targets; i++) {
        const struct target_config *target = &config->targets[i];
        CLEANUP(strbuf_deinit) struct strbuf path = STRBUF_EMPTY;
        CLEANUP(freep) char *why = NULL;
        int r = conninfo_parse(target->conninfo, &settings->conninfos[i], &why);
        if (r == -EINVAL) {
            strbuf_addf(&path, "targets.%s.conninfo", target->name);
            diag_add(diags, DIAG_ERROR, target->conninfo_at, strbuf_str(&path), "%s", why);
            r = strbuf_error(&path);
        }
        if (r < 0) {
            return r;
        }
    }
    return diags->failed ? -ENOMEM : diags->n_errors > 0 ? -EINVAL : 0;
}

// Nothing says which server to watch.
static int settings_add_nothing(struct diag_list *diags) {
    const char *file = diag_list_add_file(diags, PGVIGIL_CONFIG_FILE);

    if (!file) {
        return -ENOMEM;
    }
    diag_add(diags, DIAG_ERROR, (struct location){.file = file}, "",
             "there is no such file (write it, or name another with -c FILE, or one server with --conninfo "
             "or " SETTINGS_CONNINFO_VARIABLE ")");
    return diags->failed ? -ENOMEM : -ENOENT;
}

int settings_load(const struct settings_options *options, struct diag_list *diags, struct settings **ret) {
    CLEANUP(settings_freep) struct settings *settings = calloc(1, sizeof(*settings));
    const char *conninfo;
    const char *file = settings_choose(options, &conninfo);
    int r;

    if (!settings) {
        return -ENOMEM;
    }
    if (file) {
        const struct config_source source = {.file = file, .with_conf_d = true, .lookup = settings_getenv};
        settings->file = strdup(file);
        r = settings->file ? config_load(&source, diags, &settings->config) : -ENOMEM;
    } else if (conninfo) {
        r = config_default(SETTINGS_TARGET, conninfo, diags, &settings->config);
    } else {
        r = settings_add_nothing(diags);
    }
    if (r < 0) {
        return r;
    }
    r = settings_parse_conninfos(settings, diags);
    if (r < 0) {
        return r;
    }
    if (options->observe) {
        settings->config->policy->enforce = false; // nobody else knows this policy yet
    }
    *ret = TAKE_PTR(settings);
    return 0;
}
