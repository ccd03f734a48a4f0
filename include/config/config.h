// SPDX-License-Identifier: PostgreSQL
#pragma once

// Configuration files to one validated object. Parsing never changes anything that runs: the caller swaps.

#include <stdbool.h>
#include <stddef.h>

#include "config/diag.h"
#include "core/event.h"
#include "core/policy.h"
#include "util/cleanup.h"
#include "util/usec.h"

// One server. Members bear the names of their YAML keys.
#define CONFIG_SCOPE_SIZE 17 // 16 digits and a NUL

struct target_config {
    char *name;
    char *conninfo;              // may hold a password: never printed
    struct location conninfo_at; // of the value, for whoever parses it
    char *password_file;         // NULL: none
    usec_t poll_interval;
    usec_t pressure_poll_interval; // while usage is at or above pressure_at, or the slots fill fast
    int64_t pressure_at;           // percent of usable slots
    usec_t connect_timeout;
    usec_t query_timeout;
    bool enforce;
};

enum log_format { LOG_FORMAT_AUTO, LOG_FORMAT_TEXT, LOG_FORMAT_JSON, LOG_FORMAT_JOURNAL };
const char *log_format_to_string(enum log_format format);

struct log_config {
    enum event_level level;
    enum log_format format;
};

// Where metrics, health and status are served. What is not written is a wish: that it cannot be had is no mistake.
struct http_config {
    char *listen; // as written, "127.0.0.1:9432"; NULL: off
    char *host;   // numeric
    uint16_t port;
    bool is_written;
};

// Where commands are taken.
#define CONTROL_SOCKET_DEFAULT "/run/pgvigil/control.sock"
struct control_config {
    char *socket; // absolute path; NULL: off
    char *group;  // name or number; NULL: the process's own
    bool is_written;
};

enum webhook_format { WEBHOOK_FORMAT_ALERTMANAGER, WEBHOOK_FORMAT_SLACK, WEBHOOK_FORMAT_JSON };
const char *webhook_format_to_string(enum webhook_format format);

struct webhook_header {
    char *name;
    char *value; // may hold a secret: never printed
};

// Who is told of alarms by HTTP.
#define CONFIG_MAX_WEBHOOKS 16
#define CONFIG_MAX_HEADERS 16
struct webhook_config {
    char *name;
    char *url;      // may hold a secret: never printed; NULL: url_file is set
    char *url_file; // first line, read at each attempt; NULL: url is set
    enum webhook_format format;
    enum severity min_severity; // an alarm below it is not told
    usec_t timeout;             // of one attempt
    struct webhook_header *headers;
    size_t n_headers;
    char *bearer_token_file; // NULL: none
    char *proxy;             // may hold a secret; NULL: none
    char *ca_file;           // NULL: the certificates that the system trusts
};

// What a URL of a webhook must look like. NULL: fine, else what is wrong, without quoting it.
const char *webhook_url_check(const char *url);

struct yaml_node;

struct config {
    struct policy *policy;
    struct target_config *targets; // in effective order
    size_t n_targets;
    struct log_config log;
    struct http_config http;
    struct control_config control;
    struct webhook_config *webhooks; // in effective order
    size_t n_webhooks;
    char scope[CONFIG_SCOPE_SIZE]; // of apps and protections: equal for equal text, in whatever process
    struct yaml_node *tree;        // the merged tree with positions, for config_print()
};

struct config *config_free(struct config *config); // NULL-safe, returns NULL
DEFINE_CLEANUP(struct config *, config_free)

// Environment look-up for ${VAR}; NULL result: unset.
typedef const char *(*config_lookup_fn)(const char *name, void *userdata);

// Judges a connection string, as libpq is not config's: 0; -EINVAL, then *ret_why says what is wrong without quoting a
// value, and is freed; -ENOMEM.
typedef int (*config_conninfo_fn)(const char *conninfo, char **ret_why);

struct config_source {
    const char *file; // the main file
    // Files of DIRECTORY-of-file/conf.d/*.yaml are merged over it in name order (C locale); a missing folder is fine.
    bool with_conf_d;
    config_lookup_fn lookup;
    void *lookup_data;
    config_conninfo_fn check_conninfo; // NULL: connection strings are taken as they are
};

// Reads, merges, validates. All mistakes go to `diags`. 0 with *ret set when there was no error (warnings allowed);
// -EINVAL when there were errors (also an unreadable file: a diagnostic at line 0); -ENOMEM.
// Locations point into `diags`, which must outlive the configuration.
int config_load(const struct config_source *source, struct diag_list *diags, struct config **ret);

// control.socket alone, whatever else may be wrong with the files: a daemon that runs must be reached when its file has
// been spoilt since. Where that keeps it from being told, it is what the rest says, or the default, and *ret_sure is
// false: `diags` says why. *ret: NULL: off. 0 or -ENOMEM.
int config_find_socket(const struct config_source *source, struct diag_list *diags, bool *ret_sure, char **ret);

// config_load() from memory, without conf.d: tests, fuzzing.
int config_load_buffer(const char *name, const char *text, size_t len, config_lookup_fn lookup, void *lookup_data,
                       struct diag_list *diags, struct config **ret);

// A value that stands in no file, but in an environment variable or on the command line.
#define CONFIG_VALUE_MAX_KEYS 3
struct config_value {
    const char *keys[CONFIG_VALUE_MAX_KEYS]; // the way to it, outermost first: "targets", "db", "conninfo"
    const char *source;                      // as what it is told and printed: the variable's name, or "command line"
    const char *text;                        // taken as it is; NULL: what the variable `source` holds
};

// config_load() from such values, all of different keys: what runs without any file.
int config_load_values(const struct config_value *values, size_t n_values, config_lookup_fn lookup, void *lookup_data,
                       struct diag_list *diags, struct config **ret);

// What the configuration was compiled to, once more: for rules of one's own, as the first is shared by then. 0 or
// -ENOMEM.
int config_copy_policy(const struct config *config, struct policy **ret);

// The effective configuration as YAML that config_load() accepts, apps and rules numbered in effective order by
// comments, each value with a comment of its file and line or "default", secrets as (set) or with ${VAR} unexpanded.
int config_print(const struct config *config, struct strbuf *sb);

// Where the files say it: the value of `key` of the entry `name` of `section`, or what is around it when that is not
// written; the root's place when nothing is. name and key may be NULL.
struct location config_locate(const struct config *config, const char *section, const char *name, const char *key);

// One duration as the configuration writes it ("10min", "1h30min"), for command lines. 0, or -EINVAL with *ret_why
// (static text that says what is wrong and what to write).
int scalar_parse_duration(const char *text, usec_t *ret, const char **ret_why);
