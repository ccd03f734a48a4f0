// SPDX-License-Identifier: PostgreSQL
#include "daemon/settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/check.h"
#include "util/strbuf.h"

static char file[64];

static void write_file(const char *text) {
    strcpy(file, "/tmp/pgvigil-test-settings-XXXXXX");
    int fd = mkstemp(file);
    CHECK_GE(fd, 0);
    FILE *f = fdopen(fd, "w");
    CHECK_NOT_NULL(f);
    CHECK_GE(fputs(text, f), 0);
    CHECK_EQ(fclose(f), 0);
}

static int load(const struct settings_options *options, struct diag_list *diags, struct settings **ret,
                struct strbuf *text) {
    int r = settings_load(options, diags, ret);
    diag_list_sort(diags);
    diag_list_render(diags, text);
    if (*file) {
        (void)unlink(file);
        *file = '\0';
    }
    return r;
}

static void reads_the_file(void) {
    CLEANUP(diag_list_deinit) struct diag_list diags = {0};
    CLEANUP(settings_freep) struct settings *settings = NULL;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    setenv("PGVIGIL_CONNINFO", "host=/other", 1); // the file wins
    write_file("enforce: true\ntargets:\n  a: { conninfo: host=/tmp port=1 }\n  b: { conninfo: host=/tmp port=2 }\n");
    CHECK_EQ(load(&(struct settings_options){.file = file}, &diags, &settings, &text), 0);
    CHECK_EQ(settings->config->n_targets, 2);
    CHECK_STR(conninfo_get(settings->conninfos[1], "port"), "2");
    CHECK(settings->config->policy->enforce);
    CHECK_NOT_NULL(settings->file);
    CHECK_STR(strbuf_str(&text), "");
}

static void observe_wins(void) {
    CLEANUP(diag_list_deinit) struct diag_list diags = {0};
    CLEANUP(settings_freep) struct settings *settings = NULL;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    write_file("enforce: true\ntargets:\n  a: { conninfo: host=/tmp }\n");
    CHECK_EQ(load(&(struct settings_options){.file = file, .observe = true}, &diags, &settings, &text), 0);
    CHECK(!settings->config->policy->enforce);
}

static void reports_conninfos_where_they_stand(void) {
    CLEANUP(diag_list_deinit) struct diag_list diags = {0};
    CLEANUP(settings_freep) struct settings *settings = NULL;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    write_file("targets:\n  a: { conninfo: host=/tmp }\n  b:\n    conninfo: host=/tmp pasword=s3cret\n"
               "  c:\n    conninfo: \"host='open\"\n");
    CHECK_EQ(load(&(struct settings_options){.file = file}, &diags, &settings, &text), -EINVAL);
    CHECK_NULL(settings);
    CHECK_EQ(diags.n_errors, 2);
    CHECK_CONTAINS(strbuf_str(&text), ":4:15: error: targets.b.conninfo: ");
    CHECK_CONTAINS(strbuf_str(&text), ":6:15: error: targets.c.conninfo: ");
    CHECK_LACKS(strbuf_str(&text), "s3cret");
}

static void reports_conninfos_beside_other_mistakes(void) {
    CLEANUP(diag_list_deinit) struct diag_list diags = {0};
    CLEANUP(settings_freep) struct settings *settings = NULL;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    write_file("targets:\n  a: { conninfo: host=/tmp prot=5432 }\ntimeouts:\n  idle: { state: idle, after: 10 }\n");
    CHECK_EQ(load(&(struct settings_options){.file = file}, &diags, &settings, &text), -EINVAL);
    CHECK_EQ(diags.n_errors, 2);
    CHECK_CONTAINS(strbuf_str(&text), ":2:18: error: targets.a.conninfo: ");
    CHECK_CONTAINS(strbuf_str(&text), ":4:31: error: timeouts.idle.after: ");
}

static void takes_a_conninfo_alone(void) {
    CLEANUP(diag_list_deinit) struct diag_list diags = {0};
    CLEANUP(settings_freep) struct settings *settings = NULL;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    setenv("PGVIGIL_CONNINFO", "host=/other", 1);
    CHECK_EQ(load(&(struct settings_options){.conninfo = "host=/tmp"}, &diags, &settings, &text), 0);
    CHECK_NULL(settings->file);
    CHECK_EQ(settings->config->n_targets, 1);
    CHECK_STR(conninfo_get(settings->conninfos[0], "host"), "/tmp");
    CHECK(!settings->config->policy->enforce);
}

static void checks_a_conninfo_alone(void) {
    CLEANUP(diag_list_deinit) struct diag_list diags = {0};
    CLEANUP(settings_freep) struct settings *settings = NULL;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    CHECK_EQ(load(&(struct settings_options){.conninfo = "hosst=s3cret"}, &diags, &settings, &text), -EINVAL);
    CHECK_CONTAINS(strbuf_str(&text), "error: ");
    CHECK_LACKS(strbuf_str(&text), "s3cret");
}

static void skip_when_installed(void) {
    if (access(PGVIGIL_CONFIG_FILE, F_OK) == 0) {
        check_skip(PGVIGIL_CONFIG_FILE " exists");
    }
}

static void falls_back_to_the_environment(void) {
    CLEANUP(diag_list_deinit) struct diag_list diags = {0};
    CLEANUP(settings_freep) struct settings *settings = NULL;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    skip_when_installed();
    setenv("PGVIGIL_CONNINFO", "host=/other", 1);
    CHECK_EQ(load(&(struct settings_options){0}, &diags, &settings, &text), 0);
    CHECK_STR(conninfo_get(settings->conninfos[0], "host"), "/other");
}

static void needs_something(void) {
    CLEANUP(diag_list_deinit) struct diag_list diags = {0};
    CLEANUP(settings_freep) struct settings *settings = NULL;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    skip_when_installed();
    setenv("PGVIGIL_CONNINFO", "", 1);
    CHECK_EQ(load(&(struct settings_options){0}, &diags, &settings, &text), -ENOENT);
    CHECK_NULL(settings);
    CHECK_CONTAINS(strbuf_str(&text), PGVIGIL_CONFIG_FILE ": error: ");
    CHECK_CONTAINS(strbuf_str(&text), "--conninfo");
}

static void unset_rules(void) {
    unsetenv("PGVIGIL_ENFORCE");
    unsetenv("PGVIGIL_IDLE_TIMEOUT");
    unsetenv("PGVIGIL_IDLE_IN_TRANSACTION_TIMEOUT");
    unsetenv("PGVIGIL_LISTEN");
    unsetenv("PGVIGIL_CONTROL_SOCKET");
    unsetenv("PGVIGIL_PASSWORD_FILE");
    unsetenv("PGVIGIL_LOG_FORMAT");
}

static void takes_rules_from_the_environment(void) {
    CLEANUP(diag_list_deinit) struct diag_list diags = {0};
    CLEANUP(settings_freep) struct settings *settings = NULL;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    setenv("PGVIGIL_ENFORCE", "true", 1);
    setenv("PGVIGIL_IDLE_TIMEOUT", "10min", 1);
    setenv("PGVIGIL_IDLE_IN_TRANSACTION_TIMEOUT", "1min30s", 1);
    // What looks like YAML, or like a variable, is but a value.
    CHECK_EQ(load(&(struct settings_options){.conninfo = "host='/tmp' user='a: {b' password='${HOME} # x'"}, &diags,
                  &settings, &text),
             0);
    const struct policy *policy = settings->config->policy;
    CHECK_STR(strbuf_str(&text), "");
    CHECK(policy->enforce);
    CHECK_EQ(settings->config->n_targets, 1);
    CHECK_STR(conninfo_get(settings->conninfos[0], "password"), "${HOME} # x");
    CHECK_EQ(policy->n_timeouts, 2);
    CHECK_STR(policy->timeouts[0].name, "idle");
    CHECK_EQ(policy->timeouts[0].after, 10 * USEC_PER_MINUTE);
    CHECK_EQ(policy->timeouts[0].state, SESSION_STATE_BIT(SESSION_STATE_IDLE));
    CHECK_STR(policy->timeouts[1].name, "idle-in-transaction");
    CHECK_EQ(policy->timeouts[1].after, 90 * USEC_PER_SEC);
    CHECK(policy->timeouts[1].state & SESSION_STATE_BIT(SESSION_STATE_IDLE_IN_TRANSACTION_ABORTED));
    unset_rules();
}

static void takes_one_rule_alone(void) {
    CLEANUP(diag_list_deinit) struct diag_list diags = {0};
    CLEANUP(settings_freep) struct settings *settings = NULL;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    setenv("PGVIGIL_ENFORCE", "", 1);
    setenv("PGVIGIL_IDLE_IN_TRANSACTION_TIMEOUT", "5min", 1);
    CHECK_EQ(load(&(struct settings_options){.conninfo = "host=/tmp"}, &diags, &settings, &text), 0);
    CHECK(!settings->config->policy->enforce);
    CHECK_EQ(settings->config->policy->n_timeouts, 1);
    CHECK_STR(settings->config->policy->timeouts[0].name, "idle-in-transaction");
    unset_rules();
}

static void takes_addresses_from_the_environment(void) {
    CLEANUP(diag_list_deinit) struct diag_list diags = {0};
    CLEANUP(settings_freep) struct settings *settings = NULL;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    setenv("PGVIGIL_LISTEN", "[::]:9000", 1);
    CHECK_EQ(load(&(struct settings_options){.conninfo = "host=/tmp"}, &diags, &settings, &text), 0);
    CHECK_STR(settings->config->http.host, "::");
    CHECK_EQ(settings->config->http.port, 9000);
    CHECK(settings->config->http.is_written && !settings->config->control.is_written);
    CHECK_STR(settings->config->control.socket, CONTROL_SOCKET_DEFAULT);
    settings = settings_free(settings);
    setenv("PGVIGIL_LISTEN", "off", 1);
    setenv("PGVIGIL_CONTROL_SOCKET", "/tmp/x", 1);
    CHECK_EQ(load(&(struct settings_options){.conninfo = "host=/tmp"}, &diags, &settings, &text), 0);
    CHECK_STR(settings->config->http.listen, NULL);
    CHECK_STR(settings->config->control.socket, "/tmp/x");
    settings = settings_free(settings);
    setenv("PGVIGIL_LISTEN", "all", 1);
    CHECK_EQ(load(&(struct settings_options){.conninfo = "host=/tmp"}, &diags, &settings, &text), -EINVAL);
    CHECK_CONTAINS(strbuf_str(&text), "PGVIGIL_LISTEN: error: http.listen: ");
    unset_rules();
}

static void takes_password_and_format_from_the_environment(void) {
    CLEANUP(diag_list_deinit) struct diag_list diags = {0};
    CLEANUP(settings_freep) struct settings *settings = NULL;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    setenv("PGVIGIL_PASSWORD_FILE", "/run/secrets/password", 1);
    CHECK_EQ(load(&(struct settings_options){.conninfo = "host=/tmp"}, &diags, &settings, &text), 0);
    CHECK_STR(settings->config->targets[0].password_file, "/run/secrets/password");
    CHECK_EQ(settings->config->log.format, LOG_FORMAT_AUTO);
    settings = settings_free(settings);
    setenv("PGVIGIL_LOG_FORMAT", "json", 1);
    setenv("PGVIGIL_IDLE_TIMEOUT", "10min", 1);
    setenv("PGVIGIL_ENFORCE", "true", 1);
    setenv("PGVIGIL_LISTEN", "off", 1);
    CHECK_EQ(load(&(struct settings_options){.conninfo = "host=/tmp"}, &diags, &settings, &text), 0);
    CHECK_STR(settings->config->targets[0].password_file, "/run/secrets/password");
    CHECK_EQ(settings->config->log.format, LOG_FORMAT_JSON);
    CHECK_EQ(settings->config->policy->n_timeouts, 1);
    settings = settings_free(settings);
    setenv("PGVIGIL_PASSWORD_FILE", "password", 1);
    setenv("PGVIGIL_LOG_FORMAT", "xml", 1);
    CHECK_EQ(load(&(struct settings_options){.conninfo = "host=/tmp"}, &diags, &settings, &text), -EINVAL);
    CHECK_CONTAINS(strbuf_str(&text), "PGVIGIL_PASSWORD_FILE: error: targets.postgres.password_file: ");
    CHECK_CONTAINS(strbuf_str(&text), "PGVIGIL_LOG_FORMAT: error: outputs.log.format: ");
    unset_rules();
}

static void variables_do_not_add_to_a_file(void) {
    CLEANUP(diag_list_deinit) struct diag_list diags = {0};
    CLEANUP(settings_freep) struct settings *settings = NULL;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    setenv("PGVIGIL_ENFORCE", "true", 1);
    setenv("PGVIGIL_IDLE_TIMEOUT", "10min", 1);
    write_file("targets:\n  a: { conninfo: host=/tmp }\n");
    CHECK_EQ(load(&(struct settings_options){.file = file}, &diags, &settings, &text), 0);
    CHECK(!settings->config->policy->enforce);
    CHECK_EQ(settings->config->policy->n_timeouts, 0);
    unset_rules();
}

static void mistakes_name_the_variable(void) {
    CLEANUP(diag_list_deinit) struct diag_list diags = {0};
    CLEANUP(settings_freep) struct settings *settings = NULL;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    setenv("PGVIGIL_ENFORCE", "maybe", 1);
    setenv("PGVIGIL_IDLE_TIMEOUT", "10", 1);
    setenv("PGVIGIL_IDLE_IN_TRANSACTION_TIMEOUT", "soon", 1);
    CHECK_EQ(load(&(struct settings_options){.conninfo = "hosst=s3cret"}, &diags, &settings, &text), -EINVAL);
    CHECK_EQ(diags.n_errors, 3);
    CHECK_CONTAINS(strbuf_str(&text), "PGVIGIL_ENFORCE: error: enforce: ");
    CHECK_CONTAINS(strbuf_str(&text), "PGVIGIL_IDLE_TIMEOUT: error: timeouts.idle.after: ");
    CHECK_CONTAINS(strbuf_str(&text),
                   "PGVIGIL_IDLE_IN_TRANSACTION_TIMEOUT: error: timeouts.idle-in-transaction.after: ");
    unset_rules();
    setenv("PGVIGIL_IDLE_TIMEOUT", "10s", 1);
    CLEANUP(diag_list_deinit) struct diag_list more = {0};
    strbuf_clear(&text);
    CHECK_EQ(load(&(struct settings_options){.conninfo = "hosst=s3cret"}, &more, &settings, &text), -EINVAL);
    CHECK_CONTAINS(strbuf_str(&text), "command line: error: targets.postgres.conninfo: ");
    CHECK_LACKS(strbuf_str(&text), "s3cret");
    unset_rules();
    // Without another variable, too.
    CLEANUP(diag_list_deinit) struct diag_list alone = {0};
    strbuf_clear(&text);
    setenv("PGVIGIL_CONNINFO", "hosst=s3cret", 1);
    CHECK_EQ(load(&(struct settings_options){0}, &alone, &settings, &text), -EINVAL);
    CHECK_CONTAINS(strbuf_str(&text), "PGVIGIL_CONNINFO: error: targets.postgres.conninfo: ");
    unsetenv("PGVIGIL_CONNINFO");
}

static void names_its_source(void) {
    static const struct {
        const char *file, *conninfo, *variable, *source;
    } cases[] = {{file, NULL, "host=/a", NULL},
                 {NULL, "host=/a", "host=/b", "command line"},
                 {NULL, NULL, "host=/b", "PGVIGIL_CONNINFO"}};
    write_file("targets:\n  a: { conninfo: host=/tmp }\n");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(diag_list_deinit) struct diag_list diags = {0};
        CLEANUP(settings_freep) struct settings *settings = NULL;
        CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
        const struct settings_options options = {.file = cases[i].file, .conninfo = cases[i].conninfo};
        setenv("PGVIGIL_CONNINFO", cases[i].variable, 1);
        CHECK_EQ(load(&options, &diags, &settings, &text), 0);
        CHECK_STR(settings->source, cases[i].source ? cases[i].source : settings->file);
        unsetenv("PGVIGIL_CONNINFO");
    }
}

// What `check --print` says of the effective configuration.
static void print_loaded(const char *conninfo, struct strbuf *printed) {
    CLEANUP(diag_list_deinit) struct diag_list diags = {0};
    CLEANUP(settings_freep) struct settings *settings = NULL;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    strbuf_clear(printed);
    CHECK_EQ(load(&(struct settings_options){.conninfo = conninfo}, &diags, &settings, &text), 0);
    CHECK_EQ(config_print(settings->config, printed), 0);
    CHECK_LACKS(strbuf_str(printed), "s3cret");
}

static void prints_where_values_are_from(void) {
    static const char *const others[][2] = {
        {"PGVIGIL_LISTEN", "off"}, {"PGVIGIL_ENFORCE", "true"}, {"PGVIGIL_IDLE_TIMEOUT", "10s"}, {"PGVIGIL_NONE", ""}};
    CLEANUP(strbuf_deinit) struct strbuf printed = STRBUF_EMPTY;

    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        setenv(others[i][0], others[i][1], 1);
        print_loaded("password=s3cret", &printed);
        CHECK_CONTAINS(strbuf_str(&printed), "  postgres: # 1 of 1, command line\n");
        CHECK_CONTAINS(strbuf_str(&printed), "    conninfo: (set) # command line\n");
        unsetenv(others[i][0]);
    }
    setenv("PGVIGIL_IDLE_TIMEOUT", "10s", 1);
    setenv("PGVIGIL_LISTEN", "off", 1);
    print_loaded("password=s3cret", &printed);
    CHECK_CONTAINS(strbuf_str(&printed), "  listen: off # PGVIGIL_LISTEN\n");
    CHECK_CONTAINS(strbuf_str(&printed), "  idle: # 1 of 1, PGVIGIL_IDLE_TIMEOUT\n");
    CHECK_CONTAINS(strbuf_str(&printed), "    after: 10s # PGVIGIL_IDLE_TIMEOUT\n");
    if (access(PGVIGIL_CONFIG_FILE, F_OK) != 0) {
        setenv("PGVIGIL_CONNINFO", "password=s3cret", 1);
        print_loaded(NULL, &printed);
        CHECK_CONTAINS(strbuf_str(&printed), "conninfo: \"${PGVIGIL_CONNINFO}\" # PGVIGIL_CONNINFO\n");
        unsetenv("PGVIGIL_CONNINFO");
    }
    unset_rules();
}

static void refuses_what_is_not_text(void) {
    CLEANUP(diag_list_deinit) struct diag_list diags = {0};
    CLEANUP(settings_freep) struct settings *settings = NULL;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    setenv("PGVIGIL_PASSWORD_FILE", "/\xff", 1);
    CHECK_EQ(load(&(struct settings_options){.conninfo = "host=/tmp"}, &diags, &settings, &text), -EINVAL);
    CHECK_STR(strbuf_str(&text), "PGVIGIL_PASSWORD_FILE: error: targets.postgres.password_file: "
                                 "${PGVIGIL_PASSWORD_FILE} holds bytes that are not UTF-8 (set it to UTF-8 text)\n");
    unset_rules();
}

static void tells_a_missing_file(void) {
    CLEANUP(diag_list_deinit) struct diag_list diags = {0};
    CLEANUP(settings_freep) struct settings *settings = NULL;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    CHECK_EQ(load(&(struct settings_options){.file = "/nonexistent/pgvigil.yaml"}, &diags, &settings, &text), -EINVAL);
    CHECK_CONTAINS(strbuf_str(&text), "/nonexistent/pgvigil.yaml: error: ");
}

CHECK_MAIN({"reads_the_file", reads_the_file}, {"observe_wins", observe_wins},
           {"reports_conninfos_where_they_stand", reports_conninfos_where_they_stand},
           {"reports_conninfos_beside_other_mistakes", reports_conninfos_beside_other_mistakes},
           {"takes_a_conninfo_alone", takes_a_conninfo_alone}, {"checks_a_conninfo_alone", checks_a_conninfo_alone},
           {"falls_back_to_the_environment", falls_back_to_the_environment}, {"needs_something", needs_something},
           {"takes_rules_from_the_environment", takes_rules_from_the_environment},
           {"takes_one_rule_alone", takes_one_rule_alone},
           {"takes_addresses_from_the_environment", takes_addresses_from_the_environment},
           {"takes_password_and_format_from_the_environment", takes_password_and_format_from_the_environment},
           {"variables_do_not_add_to_a_file", variables_do_not_add_to_a_file},
           {"mistakes_name_the_variable", mistakes_name_the_variable}, {"names_its_source", names_its_source},
           {"prints_where_values_are_from", prints_where_values_are_from},
           {"refuses_what_is_not_text", refuses_what_is_not_text}, {"tells_a_missing_file", tells_a_missing_file})
