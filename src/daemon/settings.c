// SPDX-License-Identifier: PostgreSQL
#include "daemon/settings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/escape.h"
#include "util/macro.h"
#include "util/strbuf.h"

#define SETTINGS_CONNINFO_VARIABLE "PGVIGIL_CONNINFO"
#define SETTINGS_ENFORCE_VARIABLE "PGVIGIL_ENFORCE"
#define SETTINGS_IDLE_VARIABLE "PGVIGIL_IDLE_TIMEOUT"
#define SETTINGS_IDLE_IN_TRANSACTION_VARIABLE "PGVIGIL_IDLE_IN_TRANSACTION_TIMEOUT"
#define SETTINGS_PASSWORD_FILE_VARIABLE "PGVIGIL_PASSWORD_FILE"
#define SETTINGS_LOG_FORMAT_VARIABLE "PGVIGIL_LOG_FORMAT"
#define SETTINGS_LISTEN_VARIABLE "PGVIGIL_LISTEN"
#define SETTINGS_SOCKET_VARIABLE "PGVIGIL_CONTROL_SOCKET"
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

static int settings_check_conninfo(const char *conninfo, char **ret_why) {
    CLEANUP(conninfo_freep) struct conninfo *parsed = NULL;
    return conninfo_parse(conninfo, &parsed, ret_why);
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

// ---- without a file

#define SETTINGS_COMMAND_LINE "command line"

// What stands for a file: of each variable that is set its values. The first is the place of what none of them says.
static const struct config_value settings_values[] = {
    {.keys = {"targets", SETTINGS_TARGET, "conninfo"}, .source = SETTINGS_CONNINFO_VARIABLE},
    {.keys = {"enforce"}, .source = SETTINGS_ENFORCE_VARIABLE},
    {.keys = {"targets", SETTINGS_TARGET, "password_file"}, .source = SETTINGS_PASSWORD_FILE_VARIABLE},
    {.keys = {"outputs", "log", "format"}, .source = SETTINGS_LOG_FORMAT_VARIABLE},
    {.keys = {"http", "listen"}, .source = SETTINGS_LISTEN_VARIABLE},
    {.keys = {"control", "socket"}, .source = SETTINGS_SOCKET_VARIABLE},
    {.keys = {"timeouts", "idle", "state"}, .source = SETTINGS_IDLE_VARIABLE, .text = "idle"},
    {.keys = {"timeouts", "idle", "after"}, .source = SETTINGS_IDLE_VARIABLE},
    {.keys = {"timeouts", "idle-in-transaction", "state"},
     .source = SETTINGS_IDLE_IN_TRANSACTION_VARIABLE,
     .text = "idle in transaction"},
    {.keys = {"timeouts", "idle-in-transaction", "after"}, .source = SETTINGS_IDLE_IN_TRANSACTION_VARIABLE},
};

// An empty variable is as good as none.
static const char *settings_lookup(const char *name, void *userdata) {
    (void)userdata;
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

// `conninfo`: from the command line, in place of the variable; NULL: none.
static int settings_load_values(const char *conninfo, struct diag_list *diags, struct config **ret) {
    struct config_value values[ARRAY_SIZE(settings_values)];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_SIZE(settings_values); i++) {
        struct config_value value = settings_values[i];
        bool is_given = conninfo && strcmp(value.source, SETTINGS_CONNINFO_VARIABLE) == 0;
        if (is_given) {
            value.source = SETTINGS_COMMAND_LINE;
            value.text = conninfo;
        }
        if (is_given || settings_lookup(value.source, NULL)) {
            values[n++] = value;
        }
    }
    return config_load_values(values, n, settings_lookup, NULL, diags, ret);
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
        const struct config_source source = {
            .file = file, .with_conf_d = true, .lookup = settings_getenv, .check_conninfo = settings_check_conninfo};
        settings->file = strdup(file);
        settings->source = settings->file;
        r = settings->file ? config_load(&source, diags, &settings->config) : -ENOMEM;
    } else if (conninfo) {
        settings->source = options->conninfo ? SETTINGS_COMMAND_LINE : SETTINGS_CONNINFO_VARIABLE;
        r = settings_load_values(options->conninfo, diags, &settings->config);
    } else {
        r = settings_add_nothing(diags);
    }
    if (r == 0) {
        r = settings_parse_conninfos(settings, diags);
    }
    if (r < 0) {
        return r;
    }
    if (options->observe) {
        settings->config->policy->enforce = false; // nobody else knows this policy yet
    }
    *ret = TAKE_PTR(settings);
    return 0;
}

// A file that was named and is none: perhaps another one was meant, and its daemon.
static int settings_check_file(const char *file, struct strbuf *why) {
    struct stat st;
    int error = 0;
    if (access(file, R_OK) < 0) {
        error = errno;
    } else if (stat(file, &st) == 0 && S_ISDIR(st.st_mode)) {
        error = EISDIR;
    }
    if (error != 0) {
        escape_text(why, file);
        strbuf_addf(why, ": cannot be read: %s (--socket PATH does without it)", strerror(error));
    }
    return -error;
}

static int settings_read_socket(const char *file, char **ret, struct strbuf *doubts) {
    CLEANUP(diag_list_deinit) struct diag_list diags = {0};
    const struct config_source source = {.file = file, .with_conf_d = true, .lookup = settings_getenv};
    bool sure;
    int r = config_find_socket(&source, &diags, &sure, ret);
    if (r == 0 && !sure) {
        diag_list_render(&diags, doubts);
    }
    return r;
}

int settings_find_socket(const char *file, char **ret, struct strbuf *doubts, struct strbuf *why) {
    const char *conninfo, *variable = settings_lookup(SETTINGS_SOCKET_VARIABLE, NULL);
    bool is_named = file != NULL;
    file = settings_choose(&(struct settings_options){.file = file}, &conninfo);
    int r = is_named ? settings_check_file(file, why) : 0;
    if (r < 0) {
        return r;
    }
    if (!file) {
        bool is_off = variable && strcmp(variable, "off") == 0;
        *ret = is_off ? NULL : strdup(variable ? variable : CONTROL_SOCKET_DEFAULT);
        return is_off || *ret ? 0 : -ENOMEM;
    }
    return settings_read_socket(file, ret, doubts);
}
