// SPDX-License-Identifier: PostgreSQL

// The keys below outputs.webhooks. URLs and headers may hold secrets: no message quotes them.

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tables.h"
#include "util/macro.h"

#define WEBHOOKS_SHOWN "(set)"      // in the place of a secret, by print: what is printed can be loaded
#define WEBHOOKS_MAX_URL 2048       // bytes
#define WEBHOOKS_MAX_HEADER 4096    // bytes of one value
#define WEBHOOKS_MAX_HEADER_NAME 64 // bytes

static const char *const webhook_format_names[] = {
    [WEBHOOK_FORMAT_ALERTMANAGER] = "alertmanager",
    [WEBHOOK_FORMAT_SLACK] = "slack",
    [WEBHOOK_FORMAT_JSON] = "json",
};

const char *webhook_format_to_string(enum webhook_format format) {
    return webhook_format_names[format];
}

static const char *webhooks_format_word(unsigned value) {
    return webhook_format_to_string((enum webhook_format)value);
}

static const char *webhooks_severity_word(unsigned value) {
    return value == SEVERITY_NONE ? NULL : severity_to_string((enum severity)value);
}

const char *webhook_url_check(const char *url) {
    size_t scheme = strncasecmp(url, "https://", 8) == 0 ? 8 : strncasecmp(url, "http://", 7) == 0 ? 7 : 0;
    if (scheme == 0) {
        return "not an http or https URL (write https://host/path)";
    }
    if (strlen(url) > WEBHOOKS_MAX_URL) {
        return "a URL longer than 2048 characters (write a shorter one)";
    }
    for (const char *s = url; *s; s++) {
        if (*s <= ' ' || *s >= 0x7f) {
            return "a URL with a blank or a character beyond ASCII (write %20 and the like instead)";
        }
    }
    return strchr("/?#:", url[scheme]) ? "a URL without a host (write https://host/path)" : NULL;
}

static void *webhooks_open(struct config *config, const char *name) {
    struct webhook_config *webhooks = reallocarray(config->webhooks, config->n_webhooks + 1, sizeof(*webhooks));
    if (!webhooks) {
        return NULL;
    }
    config->webhooks = webhooks;
    struct webhook_config *webhook = &webhooks[config->n_webhooks];
    *webhook = (struct webhook_config){.name = strdup(name)};
    if (!webhook->name) {
        return NULL;
    }
    config->n_webhooks++;
    return webhook;
}

// --- headers ---------------------------------------------------------------------------------------------------------

// NULL: it may be set. libcurl and the payload own the others.
static const char *webhooks_check_header_name(const char *name) {
    static const char *const ours[] = {"connection", "content-length",    "content-type", "expect",
                                       "host",       "transfer-encoding", "upgrade"};
    static const char token[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~";
    size_t len = strlen(name);
    if (len == 0 || len > WEBHOOKS_MAX_HEADER_NAME || strspn(name, token) != len) {
        return "not the name of a header (write X-Scope-OrgID: team, or the like)";
    }
    for (size_t i = 0; i < ARRAY_SIZE(ours); i++) {
        if (strcasecmp(name, ours[i]) == 0) {
            return "a header that pgvigil sets by itself (remove it)";
        }
    }
    return NULL;
}

static const char *webhooks_check_header_value(const struct yaml_node *node) {
    if (!keys_is_text(node)) {
        return "must be text (write one value)";
    }
    if (node->text[0] == '\0') {
        return node->expands_to_nothing ? "its variable expands to nothing (set it)" : "is empty (write a value)";
    }
    if (strlen(node->text) > WEBHOOKS_MAX_HEADER) {
        return "longer than 4096 bytes (write a shorter one)";
    }
    for (const char *s = node->text; *s; s++) {
        if ((unsigned char)*s < ' ' || *s == 0x7f) {
            return "holds a control character (remove it)";
        }
    }
    return NULL;
}

// The name of a header that stands there in other letters: both would be sent, the one that conf.d meant to replace as
// well. NULL: none.
static const char *webhooks_find_header(const struct webhook_config *webhook, const char *name) {
    for (size_t i = 0; i < webhook->n_headers; i++) {
        if (strcasecmp(webhook->headers[i].name, name) == 0) {
            return webhook->headers[i].name;
        }
    }
    return NULL;
}

static int webhooks_add_header(struct webhook_config *webhook, const struct yaml_pair *pair) {
    struct webhook_header header = {.name = strdup(pair->key), .value = strdup(pair->value->text)};
    struct webhook_header *headers =
        header.name && header.value ? reallocarray(webhook->headers, webhook->n_headers + 1, sizeof(header)) : NULL;
    if (!headers) {
        free(header.name);
        free(header.value);
        return -ENOMEM;
    }
    webhook->headers = headers;
    headers[webhook->n_headers++] = header;
    return 0;
}

static int webhooks_parse_headers(struct binder *binder, const struct field *field, const struct yaml_node *node,
                                  const struct path *path, void *member) {
    struct webhook_config *webhook = member;
    if (node->kind != NODE_MAP) {
        schema_report_kind(binder, field, node, path);
        return 0;
    }
    if (node->n_pairs == 0) {
        report_error(binder->diags, node->at, path, "is empty (write headers: %s, or remove it)", field->example);
        return 0;
    }
    if (node->n_pairs > CONFIG_MAX_HEADERS) {
        report_error(binder->diags, node->at, path, "more than %d headers (remove some)", CONFIG_MAX_HEADERS);
        return 0;
    }
    for (size_t i = 0; i < node->n_pairs; i++) {
        const struct yaml_pair *pair = &node->pairs[i];
        struct path pair_path = {.parent = path, .name = pair->key};
        if (pair->value->is_bad) {
            continue;
        }
        const char *why = webhooks_check_header_name(pair->key);
        if (why) {
            report_error(binder->diags, pair->key_at, &pair_path, "%s", why);
            continue;
        }
        why = webhooks_check_header_value(pair->value);
        if (why) {
            report_error(binder->diags, pair->value->at, &pair_path, "%s", why);
            continue;
        }
        const char *other = webhooks_find_header(webhook, pair->key);
        if (other) {
            report_error(binder->diags, pair->key_at, &pair_path,
                         "stands there as %s, too (write it alike, or remove one)", other);
            continue;
        }
        int r = webhooks_add_header(webhook, pair);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

// --- across keys -----------------------------------------------------------------------------------------------------

static void webhooks_check_file(struct binder *binder, const char *value, const struct yaml_pair *entry,
                                const char *key, const struct path *path) {
    if (value && value[0] != '/') {
        struct path pair_path = {.parent = path, .name = key};
        // The value is not quoted: people write the secret itself here.
        report_error(binder->diags, yaml_node_find(entry->value, key)->value->at, &pair_path,
                     "not an absolute path (write %s: /run/secrets/%s)", key, key);
    }
}

static void webhooks_check_proxy(struct binder *binder, const char *proxy, const struct yaml_pair *entry,
                                 const struct path *path) {
    // The name in the certificate of an https one could not be verified; see daemon/notifier.
    bool is_fine = !proxy || strcmp(proxy, WEBHOOKS_SHOWN) == 0 ||
                   (strncasecmp(proxy, "http://", 7) == 0 && !webhook_url_check(proxy));
    if (!is_fine) {
        struct path proxy_path = {.parent = path, .name = "proxy"};
        report_error(binder->diags, yaml_node_find(entry->value, "proxy")->value->at, &proxy_path,
                     "not the URL of a proxy (write http://proxy:3128)");
    }
}

static void webhooks_check_url(struct binder *binder, const struct webhook_config *webhook,
                               const struct yaml_pair *entry, const struct path *path) {
    const struct yaml_pair *url = yaml_node_find(entry->value, "url");
    const struct yaml_pair *url_file = yaml_node_find(entry->value, "url_file");
    struct path url_path = {.parent = path, .name = "url"};
    if (url && url_file) {
        report_error(binder->diags, url->key_at, &url_path, "url_file is written, too (remove one of the two)");
    } else if (!url && !url_file && !entry->value->is_partial) {
        report_error(binder->diags, entry->key_at, &url_path,
                     "is missing (write url: https://host/path, or url_file: /run/secrets/oncall_url)");
    }
    const char *why =
        webhook->url && strcmp(webhook->url, WEBHOOKS_SHOWN) != 0 ? webhook_url_check(webhook->url) : NULL;
    if (why) {
        report_error(binder->diags, url->value->at, &url_path, "%s", why);
    }
}

static int webhooks_finish(struct binder *binder, void *base, const struct yaml_pair *entry, const struct path *path) {
    const struct webhook_config *webhook = base;
    webhooks_check_url(binder, webhook, entry, path);
    webhooks_check_file(binder, webhook->url_file, entry, "url_file", path);
    webhooks_check_file(binder, webhook->bearer_token_file, entry, "bearer_token_file", path);
    webhooks_check_file(binder, webhook->ca_file, entry, "ca_file", path);
    webhooks_check_proxy(binder, webhook->proxy, entry, path);
    for (size_t i = 0; webhook->bearer_token_file && i < webhook->n_headers; i++) {
        if (strcasecmp(webhook->headers[i].name, "authorization") == 0) {
            const struct yaml_node *headers = yaml_node_find(entry->value, "headers")->value;
            struct path headers_path = {.parent = path, .name = "headers"};
            struct path header_path = {.parent = &headers_path, .name = webhook->headers[i].name};
            report_error(binder->diags, yaml_node_find(headers, webhook->headers[i].name)->key_at, &header_path,
                         "bearer_token_file is written, too (remove one of the two)");
        }
    }
    return 0;
}

int tables_check_webhooks(struct binder *binder, const struct yaml_pair *outputs, const struct path *path) {
    const struct yaml_pair *webhooks = yaml_node_find(outputs->value, "webhooks");
    if (webhooks && webhooks->value->kind == NODE_MAP && webhooks->value->n_pairs > CONFIG_MAX_WEBHOOKS) {
        struct path webhooks_path = {.parent = path, .name = "webhooks"};
        report_error(binder->diags, webhooks->key_at, &webhooks_path, "more than %d (let one tell the others)",
                     CONFIG_MAX_WEBHOOKS);
    }
    return 0;
}

static const struct field webhook_fields[] = {
    {.name = "url",
     .type = FIELD_TEXT,
     .secret = true,
     .offset = offsetof(struct webhook_config, url),
     .example = "https://alertmanager:9093",
     .help = "Where to send it, http or https; for alertmanager its base."},
    {.name = "url_file",
     .type = FIELD_TEXT,
     .offset = offsetof(struct webhook_config, url_file),
     .example = "/run/secrets/oncall_url",
     .help = "In its place: absolute path of a file whose first line is the URL, read at each attempt."},
    {.name = "format",
     .type = FIELD_ENUM,
     .required = true,
     .offset = offsetof(struct webhook_config, format),
     .word = webhooks_format_word,
     .n_words = ARRAY_SIZE(webhook_format_names),
     .help = "What the receiver understands: alertmanager, slack or json."},
    {.name = "min_severity",
     .type = FIELD_ENUM,
     .offset = offsetof(struct webhook_config, min_severity),
     .fallback = "warning",
     .word = webhooks_severity_word,
     .n_words = SEVERITY_CRITICAL + 1,
     .help = "Alarms below this are not told."},
    {.name = "timeout",
     .type = FIELD_DURATION,
     .offset = offsetof(struct webhook_config, timeout),
     .fallback = "10s",
     .min = 100 * USEC_PER_MSEC,
     .max = USEC_PER_MINUTE,
     .help = "How long one attempt may take."},
    {.name = "headers",
     .type = FIELD_CUSTOM,
     .secret = true,
     .merge = MERGE_BY_KEY,
     .offset = 0,
     .kind = "a map of headers",
     .parse = webhooks_parse_headers,
     .example = "{ X-Scope-OrgID: team }",
     .help = "Headers to send along."},
    {.name = "bearer_token_file",
     .type = FIELD_TEXT,
     .offset = offsetof(struct webhook_config, bearer_token_file),
     .example = "/run/secrets/oncall_token",
     .help = "Absolute path of a file whose first line is the bearer token, read at each attempt."},
    {.name = "proxy",
     .type = FIELD_TEXT,
     .secret = true,
     .offset = offsetof(struct webhook_config, proxy),
     .example = "http://proxy:3128",
     .help = "An HTTP proxy to go through; those of the environment are not used."},
    {.name = "ca_file",
     .type = FIELD_TEXT,
     .offset = offsetof(struct webhook_config, ca_file),
     .example = "/etc/pgvigil/ca.pem",
     .help = "Absolute path of the certificates that the receiver's must be signed by; the system's unless written."},
};

const struct section tables_webhook = {
    .fields = webhook_fields,
    .n_fields = ARRAY_SIZE(webhook_fields),
    .open = webhooks_open,
    .finish = webhooks_finish,
};
