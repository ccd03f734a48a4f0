// SPDX-License-Identifier: PostgreSQL
//
// libpq fills in what a connection string leaves out (service file, environment, its own defaults) only on the way to
// connect, and then may block in the resolver. To learn what it would use, it is asked to connect with one option that
// it must refuse: it merges everything, refuses before it opens anything, and PQconninfo() tells the merged values.
#include "conninfo_impl.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "util/macro.h"

#define CONNINFO_MAX_HOSTS 64
// The option that is refused. Its real value is not needed here: it is passed on as it was given.
#define PROBE_KEYWORD "target_session_attrs"
#define PROBE_VALUE "pgvigil-probe"

struct setting {
    char *keyword;
    char *value;
};

struct host {
    char *host;    // "" : none
    char *address; // hostaddr as given, or a numeric host; "": none
    char *port;
    char **addresses; // what `host` resolved to
    size_t n_addresses;
    bool to_resolve;
};

struct conninfo {
    struct setting *given; // in the connection string, and set later
    size_t n_given;
    struct setting *effective; // with libpq's defaults
    size_t n_effective;
    struct host *hosts;
    size_t n_hosts;
    char *shown;
};

// Set unless something says otherwise. gssencmode: libpq blocks while it talks to a KDC. The others bound how long a
// connection that was given up, or whose peer vanished, is kept.
static const struct {
    const char *keyword, *value;
} conninfo_ours[] = {
    {"gssencmode", "disable"}, {"keepalives_idle", "10"},     {"keepalives_interval", "5"},
    {"keepalives_count", "3"}, {"tcp_user_timeout", "25000"},
};

// Always ours.
static const struct {
    const char *keyword, *value;
} conninfo_forced[] = {
    {"application_name", "pgvigil"},
    {"client_encoding", "UTF8"},
};

static void settings_free(struct setting *settings, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (settings[i].value) {
            explicit_bzero(settings[i].value, strlen(settings[i].value));
        }
        free(settings[i].keyword);
        free(settings[i].value);
    }
    free(settings);
}

static void host_clear_addresses(struct host *host) {
    for (size_t i = 0; i < host->n_addresses; i++) {
        free(host->addresses[i]);
    }
    free(host->addresses);
    host->addresses = NULL;
    host->n_addresses = 0;
}

struct conninfo *conninfo_free(struct conninfo *c) {
    if (!c) {
        return NULL;
    }
    for (size_t i = 0; i < c->n_hosts; i++) {
        host_clear_addresses(&c->hosts[i]);
        free(c->hosts[i].host);
        free(c->hosts[i].address);
        free(c->hosts[i].port);
    }
    free(c->hosts);
    free(c->shown);
    settings_free(c->given, c->n_given);
    settings_free(c->effective, c->n_effective);
    free(c);
    return NULL;
}

static const char *settings_get(const struct setting *settings, size_t n, const char *keyword) {
    for (size_t i = 0; i < n; i++) {
        if (strcmp(settings[i].keyword, keyword) == 0) {
            return settings[i].value;
        }
    }
    return NULL;
}

static int settings_set(struct setting **settings, size_t *n, const char *keyword, const char *value) {
    char *copy = strdup(value);
    if (!copy) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < *n; i++) {
        if (strcmp((*settings)[i].keyword, keyword) == 0) {
            explicit_bzero((*settings)[i].value, strlen((*settings)[i].value));
            free((*settings)[i].value);
            (*settings)[i].value = copy;
            return 0;
        }
    }
    struct setting *grown = reallocarray(*settings, *n + 1, sizeof(*grown));
    if (grown) {
        *settings = grown;
        grown[*n] = (struct setting){.keyword = strdup(keyword), .value = copy};
        if (grown[*n].keyword) {
            (*n)++;
            return 0;
        }
    }
    free(copy);
    return -ENOMEM;
}

// Takes over what has a value. 0 or -ENOMEM.
static int settings_copy(const PQconninfoOption *options, struct setting **settings, size_t *n) {
    for (const PQconninfoOption *o = options; o->keyword; o++) {
        if (o->val && *o->val) {
            int r = settings_set(settings, n, o->keyword, o->val);
            if (r < 0) {
                return r;
            }
        }
    }
    return 0;
}

static void pq_options_freep(PQconninfoOption **options) {
    PQconninfoFree(*options);
}

static void pq_finishp(PGconn **pq) {
    PQfinish(*pq);
}

// Why libpq does not take a string, without a piece of it: its own message quotes values, and what it takes for a
// keyword may be the second word of a password.
static const char *conninfo_explain(const char *text) {
    if (strncmp(text, "postgresql://", 13) == 0 || strncmp(text, "postgres://", 11) == 0) {
        return "not a valid connection URI (write postgresql://USER@HOST:PORT/DATABASE?KEYWORD=VALUE; other characters "
               "as %XX)";
    }
    for (const char *p = text + strspn(text, " \t\r\n\f\v"); *p; p += strspn(p, " \t\r\n\f\v")) {
        p += strcspn(p, "= \t\r\n\f\v");
        p += strspn(p, " \t\r\n\f\v");
        if (*p != '=') {
            return "missing \"=\" after a keyword (write keyword=value; a value with spaces in single quotes)";
        }
        p++;
        p += strspn(p, " \t\r\n\f\v");
        bool quoted = *p == '\'';
        for (p += quoted; *p && (quoted ? *p != '\'' : !strchr(" \t\r\n\f\v", *p)); p++) {
            if (*p == '\\' && p[1]) {
                p++;
            }
        }
        if (quoted && !*p) {
            return "a quoted value has no closing quote";
        }
        p += quoted;
    }
    return "an unknown keyword (write host, port, user, dbname, password, sslmode, ...; a value with spaces in single "
           "quotes)";
}

static int conninfo_refuse(const char *why, char **ret_why) {
    *ret_why = strdup(why);
    return *ret_why ? -EINVAL : -ENOMEM;
}

static int conninfo_parse_given(struct conninfo *c, const char *text, char **ret_why) {
    char *message = NULL;
    CLEANUP(pq_options_freep) PQconninfoOption *options = PQconninfoParse(text, &message);
    if (!options) {
        bool out_of_memory = !message;
        PQfreemem(message);
        return out_of_memory ? -ENOMEM : conninfo_refuse(conninfo_explain(text), ret_why);
    }
    return settings_copy(options, &c->given, &c->n_given);
}

static int conninfo_probe(struct conninfo *c, char **ret_why) {
    const char *keywords[CONNINFO_MAX_PARAMS + 2], *values[CONNINFO_MAX_PARAMS + 2];
    size_t n = 0;
    for (size_t i = 0; i < c->n_given && n < CONNINFO_MAX_PARAMS; i++) {
        keywords[n] = c->given[i].keyword;
        values[n++] = c->given[i].value;
    }
    keywords[n] = PROBE_KEYWORD; // a later one wins
    values[n++] = PROBE_VALUE;
    keywords[n] = values[n] = NULL;
    CLEANUP(pq_finishp) PGconn *pq = PQconnectStartParams(keywords, values, 0);
    CLEANUP(pq_options_freep) PQconninfoOption *options = pq ? PQconninfo(pq) : NULL;
    if (!options) {
        return -ENOMEM;
    }
    assert(PQstatus(pq) == CONNECTION_BAD && PQsocket(pq) < 0);
    if (!strstr(PQerrorMessage(pq), PROBE_VALUE)) {
        return conninfo_refuse(
            settings_get(c->given, c->n_given, "service") || getenv("PGSERVICE")
                ? "libpq refuses it (the service is not defined, or a value is not one that its keyword knows)"
                : "libpq refuses it (a value is not one that its keyword knows, or the numbers of hosts, addresses and "
                  "ports differ)",
            ret_why);
    }
    return settings_copy(options, &c->effective, &c->n_effective);
}

// The i-th element of a comma-separated list, copied; "" beyond its end.
static char *list_get(const char *list, size_t i) {
    while (list && i > 0) {
        list = strchr(list, ',');
        list = list ? list + 1 : NULL;
        i--;
    }
    return list ? strndup(list, strcspn(list, ",")) : strdup("");
}

static size_t list_count(const char *list) {
    size_t n = 1;
    for (; *list; list++) {
        n += *list == ',';
    }
    return n;
}

static bool host_is_numeric(const char *host) {
    unsigned char bytes[16];
    return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

static bool port_is_valid(const char *port) {
    size_t digits = strspn(port, "0123456789");
    long value = digits > 0 && digits <= 5 && !port[digits] ? strtol(port, NULL, 10) : 0;
    return value >= 1 && value <= 65535;
}

static int conninfo_split_hosts(struct conninfo *c, char **ret_why) {
    const char *hosts = conninfo_get(c, "host"), *addresses = conninfo_get(c, "hostaddr");
    const char *ports = conninfo_get(c, "port");
    size_t n = list_count(addresses ? addresses : hosts ? hosts : "");
    bool one_port = !ports || list_count(ports) == 1;
    if (n > CONNINFO_MAX_HOSTS) {
        return conninfo_refuse("too many hosts", ret_why);
    }
    c->hosts = calloc(n, sizeof(*c->hosts));
    if (!c->hosts) {
        return -ENOMEM;
    }
    for (c->n_hosts = 0; c->n_hosts < n;) {
        size_t i = c->n_hosts++;
        struct host *host = &c->hosts[i];
        host->host = list_get(hosts, i);
        host->address = list_get(addresses, i);
        host->port = list_get(ports, one_port ? 0 : i);
        if (!host->host || !host->address || !host->port) {
            return -ENOMEM;
        }
        if (*host->port && !port_is_valid(host->port)) {
            return conninfo_refuse("the port is not a number from 1 to 65535", ret_why);
        }
        if (!*host->address && host_is_numeric(host->host)) {
            free(host->address);
            host->address = strdup(host->host);
            if (!host->address) {
                return -ENOMEM;
            }
        }
        // libpq takes '/' and '@' for a socket.
        host->to_resolve = !*host->address && *host->host && *host->host != '/' && *host->host != '@';
    }
    return 0;
}

static int conninfo_make_shown(struct conninfo *c) {
    struct strbuf text = STRBUF_EMPTY;
    for (size_t i = 0; i < c->n_hosts; i++) {
        struct conninfo_host host = conninfo_host(c, i);
        bool brackets = host.shown[0] != '/' && strchr(host.shown, ':');
        strbuf_addf(&text, brackets ? "%s[%s]:%s" : "%s%s:%s", i > 0 ? "," : "", host.shown, host.port);
    }
    strbuf_add(&text, ""); // no host at all is an empty text and no failure
    c->shown = strbuf_take(&text);
    return c->shown ? 0 : -ENOMEM;
}

int conninfo_parse(const char *text, struct conninfo **ret, char **ret_why) {
    CLEANUP(conninfo_freep) struct conninfo *c = calloc(1, sizeof(*c));
    *ret_why = NULL;
    if (!c) {
        return -ENOMEM;
    }
    int r = conninfo_parse_given(c, text, ret_why);
    if (r == 0) {
        r = conninfo_probe(c, ret_why);
    }
    if (r == 0 && conninfo_get(c, "replication")) {
        r = conninfo_refuse("\"replication\" makes a connection that cannot watch", ret_why);
    }
    if (r == 0) {
        r = conninfo_split_hosts(c, ret_why);
    }
    if (r == 0) {
        r = conninfo_make_shown(c);
    }
    if (r == 0) {
        *ret = TAKE_PTR(c);
    }
    return r;
}

int conninfo_set(struct conninfo *c, const char *keyword, const char *value) {
    int r = settings_set(&c->given, &c->n_given, keyword, value);
    return r < 0 ? r : settings_set(&c->effective, &c->n_effective, keyword, value);
}

const char *conninfo_get(const struct conninfo *c, const char *keyword) {
    if (strcmp(keyword, PROBE_KEYWORD) == 0) {
        return settings_get(c->given, c->n_given, keyword);
    }
    return settings_get(c->effective, c->n_effective, keyword);
}

const char *conninfo_shown(const struct conninfo *c) {
    return c->shown;
}

size_t conninfo_n_hosts(const struct conninfo *c) {
    return c->n_hosts;
}

struct conninfo_host conninfo_host(const struct conninfo *c, size_t i) {
    assert(i < c->n_hosts);
    const struct host *host = &c->hosts[i];
    const char *shown = *host->address ? host->address : "the default socket";
    if (*host->host) {
        shown = host->host;
    }
    return (struct conninfo_host){
        .name = host->to_resolve ? host->host : NULL,
        .port = host->port,
        .shown = shown,
    };
}

int conninfo_set_addresses(struct conninfo *c, size_t i, const char *const *addresses, size_t n_addresses) {
    assert(i < c->n_hosts && c->hosts[i].to_resolve);
    struct host *host = &c->hosts[i];
    host_clear_addresses(host);
    host->addresses = calloc(MAX(n_addresses, 1), sizeof(*host->addresses));
    if (!host->addresses) {
        return -ENOMEM;
    }
    for (size_t k = 0; k < n_addresses; k++) {
        host->addresses[k] = strdup(addresses[k]);
        if (!host->addresses[k]) {
            return -ENOMEM;
        }
        host->n_addresses++;
    }
    return 0;
}

static void params_set(struct conninfo_params *params, const char *keyword, const char *value) {
    assert(params->n < CONNINFO_MAX_PARAMS);
    params->keywords[params->n] = keyword;
    params->values[params->n++] = value;
}

static void params_add_host(struct conninfo_params *params, const struct host *host, const char *address, bool first) {
    const char *separator = first ? "" : ",";
    strbuf_addf(&params->hosts, "%s%s", separator, host->host);
    strbuf_addf(&params->addresses, "%s%s", separator, address);
    strbuf_addf(&params->ports, "%s%s", separator, host->port);
}

static size_t params_add_hosts(struct conninfo_params *params, const struct conninfo *c) {
    size_t n = 0;
    for (size_t i = 0; i < c->n_hosts; i++) {
        const struct host *host = &c->hosts[i];
        if (!host->to_resolve) {
            params_add_host(params, host, host->address, n++ == 0);
        }
        for (size_t k = 0; k < host->n_addresses; k++) {
            params_add_host(params, host, host->addresses[k], n++ == 0);
        }
    }
    return n;
}

// True when the string, the environment or a service file says something.
static bool conninfo_is_given(const struct conninfo *c, const char *keyword) {
    // gssencmode alone of ours has a default of libpq's; that it was written out cannot be told from it.
    const char *value = settings_get(c->effective, c->n_effective, keyword);
    return settings_get(c->given, c->n_given, keyword) ||
           (value && !(strcmp(keyword, "gssencmode") == 0 && strcmp(value, "prefer") == 0));
}

int conninfo_params_init(const struct conninfo *c, struct conninfo_params *ret) {
    struct conninfo_params params = {0};
    int r = 0;
    for (size_t i = 0; i < c->n_given; i++) {
        params_set(&params, c->given[i].keyword, c->given[i].value);
    }
    for (size_t i = 0; i < ARRAY_SIZE(conninfo_ours); i++) {
        if (!conninfo_is_given(c, conninfo_ours[i].keyword)) {
            params_set(&params, conninfo_ours[i].keyword, conninfo_ours[i].value);
        }
    }
    if (params_add_hosts(&params, c) == 0) {
        r = -EHOSTUNREACH;
    } else if (strbuf_error(&params.hosts) < 0 || strbuf_error(&params.addresses) < 0 ||
               strbuf_error(&params.ports) < 0) {
        r = -ENOMEM;
    }
    if (r < 0) {
        conninfo_params_deinit(&params);
        return r;
    }
    // A later keyword wins; an empty value counts as not given.
    params_set(&params, "host", strbuf_str(&params.hosts));
    params_set(&params, "hostaddr", strbuf_str(&params.addresses));
    params_set(&params, "port", strbuf_str(&params.ports));
    for (size_t i = 0; i < ARRAY_SIZE(conninfo_forced); i++) {
        params_set(&params, conninfo_forced[i].keyword, conninfo_forced[i].value);
    }
    *ret = params;
    return 0;
}

void conninfo_params_deinit(struct conninfo_params *params) {
    strbuf_deinit(&params->hosts);
    strbuf_deinit(&params->addresses);
    strbuf_deinit(&params->ports);
}
