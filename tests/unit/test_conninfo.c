// SPDX-License-Identifier: PostgreSQL
#include "pg/conninfo.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../src/pg/conninfo_impl.h"
#include "support/check.h"
#include "support/oom.h"

// Nothing of the machine's own settings.
static void environment_clear(void) {
    static const char *const names[] = {
        "PGHOST",    "PGHOSTADDR",   "PGPORT",    "PGUSER",           "PGDATABASE",           "PGPASSWORD", "PGSERVICE",
        "PGSSLMODE", "PGGSSENCMODE", "PGAPPNAME", "PGCLIENTENCODING", "PGTARGETSESSIONATTRS", "PGOPTIONS"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        (void)unsetenv(names[i]);
    }
    (void)setenv("PGSERVICEFILE", "/nonexistent", 1);
    (void)setenv("PGSYSCONFDIR", "/nonexistent", 1);
}

static struct conninfo *parse(const char *text) {
    struct conninfo *conninfo = NULL;
    char *why = NULL;
    check_context("%s", text);
    int r = conninfo_parse(text, &conninfo, &why);
    CHECK_STR(why, NULL);
    CHECK_EQ(r, 0);
    return conninfo;
}

static const char *param(const struct conninfo_params *params, const char *keyword) {
    const char *value = NULL;
    for (size_t i = 0; params->keywords[i]; i++) {
        if (strcmp(params->keywords[i], keyword) == 0) {
            value = params->values[i]; // the last one wins
        }
    }
    return value;
}

static void hosts(void) {
    environment_clear();
    CLEANUP(conninfo_freep)
    struct conninfo *c =
        parse("host=db.example,127.0.0.1,/run/pg,::1,named hostaddr=,,,,10.0.0.9 port=1,2,3,4,5 user=u dbname=d");
    CHECK_EQ(conninfo_n_hosts(c), 5);
    CHECK_STR(conninfo_shown(c), "db.example:1,127.0.0.1:2,/run/pg:3,[::1]:4,named:5");
    CHECK_STR(conninfo_host(c, 0).name, "db.example");
    CHECK_STR(conninfo_host(c, 0).port, "1");
    CHECK_STR(conninfo_host(c, 1).name, NULL);
    CHECK_STR(conninfo_host(c, 1).shown, "127.0.0.1");
    CHECK_STR(conninfo_host(c, 2).name, NULL);
    CHECK_STR(conninfo_host(c, 2).shown, "/run/pg");
    CHECK_STR(conninfo_host(c, 3).name, NULL);
    CHECK_STR(conninfo_host(c, 4).name, NULL);

    // An unresolved host is left out, a resolved one has an entry for each address.
    struct conninfo_params params;
    CHECK_EQ(conninfo_params_init(c, &params), 0);
    CHECK_STR(param(&params, "host"), "127.0.0.1,/run/pg,::1,named");
    CHECK_STR(param(&params, "hostaddr"), "127.0.0.1,,::1,10.0.0.9");
    CHECK_STR(param(&params, "port"), "2,3,4,5");
    conninfo_params_deinit(&params);
    static const char *const addresses[] = {"10.1.1.1", "fd00::1"};
    for (int again = 0; again < 2; again++) {
        CHECK_EQ(conninfo_set_addresses(c, 0, addresses, 2), 0);
    }
    CHECK_EQ(conninfo_params_init(c, &params), 0);
    CHECK_STR(param(&params, "host"), "db.example,db.example,127.0.0.1,/run/pg,::1,named");
    CHECK_STR(param(&params, "hostaddr"), "10.1.1.1,fd00::1,127.0.0.1,,::1,10.0.0.9");
    CHECK_STR(param(&params, "port"), "1,1,2,3,4,5");
    CHECK_STR(param(&params, "application_name"), "pgvigil");
    CHECK_STR(param(&params, "client_encoding"), "UTF8");
    CHECK_STR(param(&params, "gssencmode"), "disable");
    CHECK_STR(param(&params, "tcp_user_timeout"), "25000");
    conninfo_params_deinit(&params);
}

static void no_address_no_connect(void) {
    environment_clear();
    CLEANUP(conninfo_freep) struct conninfo *c = parse("host=a,b user=u");
    struct conninfo_params params;
    CHECK_EQ(conninfo_params_init(c, &params), -EHOSTUNREACH);
    CHECK_EQ(conninfo_set_addresses(c, 1, NULL, 0), 0);
    CHECK_EQ(conninfo_params_init(c, &params), -EHOSTUNREACH);
}

static void what_is_given_stays(void) {
    environment_clear();
    (void)setenv("PGGSSENCMODE", "require", 1);
    (void)setenv("PGPORT", "6000", 1);
    CLEANUP(conninfo_freep)
    struct conninfo *c =
        parse("postgresql://u:p%20w@/d?host=/tmp&application_name=me&client_encoding=LATIN1&keepalives_idle=99"
              "&target_session_attrs=read-write&connect_timeout=3");
    struct conninfo_params params;
    CHECK_EQ(conninfo_params_init(c, &params), 0);
    CHECK_STR(param(&params, "gssencmode"), NULL); // libpq takes the environment's
    CHECK_STR(param(&params, "application_name"), "pgvigil");
    CHECK_STR(param(&params, "client_encoding"), "UTF8");
    CHECK_STR(param(&params, "keepalives_idle"), "99");
    CHECK_STR(param(&params, "target_session_attrs"), "read-write");
    CHECK_STR(param(&params, "password"), "p w");
    CHECK_STR(param(&params, "port"), "6000");
    conninfo_params_deinit(&params);
    CHECK_STR(conninfo_get(c, "target_session_attrs"), "read-write");
    CHECK_STR(conninfo_get(c, "user"), "u");
    CHECK_STR(conninfo_get(c, "gssencmode"), "require");
    CHECK_STR(conninfo_get(c, "sslcert"), NULL);
    CHECK_EQ(conninfo_set(c, "password", "new"), 0);
    CHECK_EQ(conninfo_set(c, "password", "newer"), 0);
    CHECK_STR(conninfo_get(c, "password"), "newer");
    CHECK_EQ(conninfo_params_init(c, &params), 0);
    CHECK_STR(param(&params, "password"), "newer");
    conninfo_params_deinit(&params);
    environment_clear();
}

static void nothing_given(void) {
    environment_clear();
    CLEANUP(conninfo_freep) struct conninfo *c = parse("");
    CHECK_EQ(conninfo_n_hosts(c), 1);
    CHECK_STR(conninfo_host(c, 0).name, NULL);
    CHECK_STR(conninfo_host(c, 0).port, "5432");
    struct conninfo_params params;
    CHECK_EQ(conninfo_params_init(c, &params), 0);
    conninfo_params_deinit(&params);
}

static void service(void) {
    environment_clear();
    char path[] = "/tmp/pgvigil-service-XXXXXX";
    int fd = mkstemp(path);
    CHECK_GE(fd, 0);
    static const char text[] = "[here]\nhost=svc.example\nport=7000\ndbname=sdb\nuser=su\n";
    CHECK_EQ(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
    (void)close(fd);
    (void)setenv("PGSERVICEFILE", path, 1);
    CLEANUP(conninfo_freep) struct conninfo *c = parse("service=here user=own");
    CHECK_STR(conninfo_host(c, 0).name, "svc.example");
    CHECK_STR(conninfo_host(c, 0).port, "7000");
    CHECK_STR(conninfo_get(c, "dbname"), "sdb");
    CHECK_STR(conninfo_get(c, "user"), "own");
    (void)unlink(path);
    environment_clear();
}

static void mistakes(void) {
    static const struct {
        const char *text, *what;
    } cases[] = {
        {"host=db password=SECRET two", "missing \"=\""},
        {"password=two SECRET", "missing \"=\""},
        {"password='SECRET", "no closing quote"},
        {"password='SEC\\'RET", "no closing quote"},
        {"password=two SECRET=words", "unknown keyword"},
        {"SECRET=1", "unknown keyword"},
        {"postgresql://u:SECRET@h:p:q/d", "port"},
        {"postgres://u@h/d?SECRET=1", "not a valid connection URI"},
        {"postgresql://u:%zzSECRET@h/d", "not a valid connection URI"},
        {"host=a sslmode=SECRET", "libpq refuses it"},
        {"host=a,b port=1,2,3", "libpq refuses it"},
        {"host=a,b hostaddr=127.0.0.1", "libpq refuses it"},
        {"service=SECRET", "service"},
        {"host=a port=SECRET", "port"},
        {"host=a port=0", "port"},
        {"host=a port=65536", "port"},
        {"host=a replication=database", "replication"},
        {"host=a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,"
         "a,a,"
         "a,a,a,a,a,a,a,a,a,a,a,a,a,a,a",
         "too many hosts"},
    };
    environment_clear();
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct conninfo *c = NULL;
        char *why = NULL;
        check_context("%s", cases[i].text);
        CHECK_EQ(conninfo_parse(cases[i].text, &c, &why), -EINVAL);
        CHECK_NULL(c);
        CHECK_NOT_NULL(why);
        CHECK_CONTAINS(why, cases[i].what);
        CHECK_LACKS(why, "SECRET");
        free(why);
    }
}

static int parse_without_memory(void *userdata) {
    (void)userdata;
    static const char *const addresses[] = {"10.1.1.1"};
    CLEANUP(conninfo_freep) struct conninfo *c = NULL;
    struct conninfo_params params;
    char *why = NULL;
    int r = conninfo_parse("host=a,127.0.0.1 port=1 user=u password=p", &c, &why);
    CHECK_NULL(why);
    if (r == 0) {
        r = conninfo_set(c, "password", "q");
    }
    if (r == 0) {
        r = conninfo_set_addresses(c, 0, addresses, 1);
    }
    if (r == 0) {
        r = conninfo_params_init(c, &params);
    }
    if (r == 0) {
        conninfo_params_deinit(&params);
    }
    return r;
}

static void out_of_memory(void) {
    environment_clear();
    oom_sweep(parse_without_memory, NULL);
}

CHECK_MAIN({"hosts", hosts}, {"no_address_no_connect", no_address_no_connect},
           {"what_is_given_stays", what_is_given_stays}, {"nothing_given", nothing_given}, {"service", service},
           {"mistakes", mistakes}, {"out_of_memory", out_of_memory})
