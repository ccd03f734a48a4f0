// SPDX-License-Identifier: PostgreSQL

// Running out of memory while a configuration is read.

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "support/check.h"
#include "support/oom.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

#define TARGETS "targets: { db: { conninfo: host=db } }\n"

static const char *lookup(const char *name, void *userdata) {
    (void)userdata;
    return strcmp(name, "USER") == 0 ? "pgvigil" : NULL;
}

static int load(const char *text) {
    struct diag_list list = {0};
    struct config *config = NULL;
    int r = config_load_buffer("x.yaml", text, strlen(text), lookup, NULL, &list, &config);
    config_free(config);
    diag_list_deinit(&list);
    return r;
}

// Mistakes are -EINVAL with or without memory to spare; what the sweep must see is -ENOMEM when there was none.
static int sweep_bad(void *userdata) {
    (void)userdata;
    static const char text[] =
        "targets: { a b: { coninfo: x, poll_interval: 5, enforce: yes }, s: { conninfo: '${UNSET}' } }\n"
        "targets: { }\n"
        "apps: { x: { match: { user: [], usr: a, app: b } }, y: { match: { user: '/(/', client_addr: z } } }\n"
        "timeouts: { t: { state: disabled, action: kill, match: { app: z } }, u: { state: idel, after: 1d9x, keep: -1 "
        "} }\n"
        "timeouts: *nobody\n"
        "protect: { builtin: { psql: x }, match: { target: q } }\n"
        "outputs: { query_text: on }\n"
        "x: { <<: 1, [a]: b }\n"
        "y: !tag\n"
        "z: [\n";
    struct diag_list list = {0};
    struct strbuf sb = STRBUF_EMPTY;
    struct config *config = NULL;
    int r = config_load_buffer("x.yaml", text, strlen(text), lookup, NULL, &list, &config);
    diag_list_render(&list, &sb);
    if (r == -EINVAL) {
        r = strbuf_error(&sb);
    }
    strbuf_deinit(&sb);
    config_free(config);
    diag_list_deinit(&list);
    return r;
}

static int sweep_semantic(void *userdata) {
    (void)userdata;
    static const char text[] =
        "targets: { a b: { coninfo: x, poll_interval: 5, connect_timeout: 9d, enforce: yes }, s: { conninfo: '' } }\n"
        "apps: { x: { match: { user: [], usr: a, app: b } }, y: { match: { user: '/(/', client_addr: z } } }\n"
        "timeouts: { t: { state: disabled, action: kill, match: { app: z } }, u: { state: idel, after: 1d9x, keep: -1 "
        "} }\n"
        "protect: { builtin: { psql: x, pg_dump: '//' }, match: { target: q, app: '*' } }\n"
        "quotas: { q: { max: 0%, per: [app, hst], evict: [idle, idle] } }\n"
        "alarms: { a: { metric: usage, match: { query: 'x' }, above: { warning: 80, critical: 1min } } }\n"
        "outputs: { query_text: on }\n";
    int r = load(text);
    return r == -EINVAL ? 0 : r;
}

static int sweep_good(void *userdata) {
    (void)userdata;
    static const char text[] = TARGETS
        "apps: { w: { match: { user: '${USER}', application_name: ['', 'w*'] } }, v: { match: &v { user: v } },\n"
        "  u: { match: *v } }\n"
        "protect: { builtin: { pg_dump: root }, match: [ { user: r } ] }\n"
        "timeouts: { t: { state: [idle, active], after: 1s, match: { app: w }, ignore: { app: '/^v$/' } } }\n"
        "quotas: { q: { max: 3, per: [app], match: { query: [/a/, /b/i] } } }\n"
        "alarms: { a: { metric: idle, match: { superuser: true, query: /a/ }, above: { warning: 3 } } }\n";
    struct diag_list list = {0};
    struct strbuf sb = STRBUF_EMPTY;
    struct config *config = NULL;
    int r = config_load_buffer("x.yaml", text, strlen(text), lookup, NULL, &list, &config);
    if (r == 0) {
        r = config_print(config, &sb);
    }
    strbuf_deinit(&sb);
    config_free(config);
    diag_list_deinit(&list);
    return r;
}

static int sweep_files(void *userdata) {
    struct config_source source = {.file = userdata, .with_conf_d = true, .lookup = lookup};
    struct diag_list list = {0};
    struct config *config = NULL;
    int r = config_load(&source, &list, &config);
    config_free(config);
    diag_list_deinit(&list);
    return r;
}

static int sweep_values(void *userdata) {
    (void)userdata;
    static const struct config_value values[] = {
        {.keys = {"targets", "db", "conninfo"}, .source = "command line", .text = "host=x"},
        {.keys = {"enforce"}, .source = "UNSET"},
        {.keys = {"targets", "db", "password_file"}, .source = "USER"},
    };
    struct diag_list list = {0};
    struct config *config = NULL;
    int r = config_load_values(values, ARRAY_SIZE(values), lookup, NULL, &list, &config);
    config_free(config);
    diag_list_deinit(&list);
    return r == -EINVAL ? 0 : r;
}

static int sweep_webhooks(void *userdata) {
    static const char text[] = TARGETS
        "outputs: { webhooks: {\n"
        "  a: { url: 'https://x', format: json, headers: { X-A: b, X-C: d }, ca_file: /ca, proxy: 'http://p' },\n"
        "  b: { url_file: /u, format: slack, bearer_token_file: /t } } }\n";
    (void)userdata;
    return load(text);
}

static void out_of_memory(void) {
    oom_sweep(sweep_good, NULL);
    oom_sweep(sweep_bad, NULL);
    oom_sweep(sweep_semantic, NULL);
    oom_sweep(sweep_values, NULL);
    oom_sweep(sweep_webhooks, NULL);
    CLEANUP(strbuf_deinit) struct strbuf path = STRBUF_EMPTY;
    strbuf_addf(&path, "%s/tests/config/merge/01-overlay/pgvigil.yaml", getenv("PGVIGIL_SOURCE"));
    char *file = strbuf_take(&path);
    oom_sweep(sweep_files, file);
    free(file);
}

// libyaml's own allocations, which the sweep above does not reach.
static void out_of_memory_in_libyaml(void) {
    static const char text[] = TARGETS "apps: { w: { match: &m { user: [ \"a\", 'b', c ] } }, v: { match: *m } }\n";
    bool fired = true;
    for (unsigned n = 1; fired && n < 100000; n++) {
        struct diag_list list = {0};
        struct config *config = NULL;
        size_t before = oom_n_live();
        oom_arm_libc(n);
        int r = config_load_buffer("x.yaml", text, strlen(text), lookup, NULL, &list, &config);
        fired = oom_disarm();
        config_free(config);
        diag_list_deinit(&list);
        check_context("allocation %u", n);
        CHECK_EQ(r, fired ? -ENOMEM : 0);
        CHECK_EQ(oom_n_live(), before);
    }
    CHECK(!fired);
}

CHECK_MAIN({"out_of_memory", out_of_memory}, {"out_of_memory_in_libyaml", out_of_memory_in_libyaml})
