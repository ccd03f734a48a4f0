// SPDX-License-Identifier: PostgreSQL
//
// The SQL that makes a role for pgvigil. One text for all versions: the server that runs it knows best which it is, and
// nothing has to be asked of it before there is a role to ask with.
#include <stdbool.h>
#include <string.h>

#include "commands.h"
#include "util/escape.h"
#include "util/strbuf.h"

#define SETUP_SQL_MAX_NAME 63 // bytes; PostgreSQL cuts longer names, and would so make a role of another name
#define SETUP_SQL_TAG "pgvigil"

struct setup_sql_options {
    const char *role;
};

static const struct option_row setup_sql_options[] = {
    {.name = "role",
     .kind = OPTION_STRING,
     .offset = offsetof(struct setup_sql_options, role),
     .argument = "NAME",
     .help = "the role's name; default pgvigil"},
};

// What comes before and after the name as a literal. The body is PL/pgSQL: nothing in it can be cut short by the name,
// see setup_sql_tag(). Names are looked up in pg_catalog alone, as a superuser is to run it.
static const char setup_sql_head[] =
    "DECLARE\n"
    "    version CONSTANT pg_catalog.int4 := pg_catalog.current_setting('server_version_num');\n";
static const char setup_sql_body[] =
    "    granted pg_catalog.name;\n"
    "    has record;\n"
    "BEGIN\n"
    "    PERFORM pg_catalog.set_config('search_path', 'pg_catalog', true); -- until the end of this statement\n"
    "    IF version < 130000 THEN\n"
    "        RAISE EXCEPTION 'pgvigil needs PostgreSQL 13 or newer, this is %', current_setting('server_version');\n"
    "    END IF;\n"
    "\n"
    "    SELECT * INTO has FROM pg_roles WHERE rolname = role;\n"
    "    IF NOT FOUND THEN\n"
    "        EXECUTE format('CREATE ROLE %I LOGIN', role);\n"
    "        RAISE NOTICE 'role % is new: give it a password, or a line in pg_hba.conf', quote_ident(role);\n"
    "    ELSIF has.rolsuper THEN\n"
    "        RAISE EXCEPTION 'role % is a superuser: pgvigil needs far fewer rights', quote_ident(role)\n"
    "            USING HINT = 'Choose another name by --role, or ALTER ROLE ... NOSUPERUSER first.';\n"
    "    ELSE\n"
    "        IF NOT has.rolcanlogin THEN\n"
    "            EXECUTE format('ALTER ROLE %I LOGIN', role);\n"
    "        END IF;\n"
    "        -- What it is a member of must be its own right; since 16 that is an option of each GRANT.\n"
    "        IF version < 160000 AND NOT has.rolinherit THEN\n"
    "            EXECUTE format('ALTER ROLE %I INHERIT', role);\n"
    "        END IF;\n"
    "        -- Never 1 or 2: the daemon, a restart of it and a command need 3.\n"
    "        IF has.rolconnlimit BETWEEN 0 AND 2 THEN\n"
    "            EXECUTE format('ALTER ROLE %I CONNECTION LIMIT -1', role);\n"
    "        END IF;\n"
    "    END IF;\n"
    "\n"
    "    -- To see the state of other sessions, to end them, and (16 and newer) to get in when the server is full.\n"
    "    FOREACH granted IN ARRAY ARRAY['pg_monitor', 'pg_signal_backend', 'pg_use_reserved_connections'] LOOP\n"
    "        IF to_regrole(granted) IS NULL OR pg_has_role(role, granted, 'USAGE') THEN\n"
    "            CONTINUE;\n"
    "        END IF;\n"
    "        BEGIN\n"
    "            EXECUTE format(CASE WHEN version >= 160000 THEN 'GRANT %I TO %I WITH INHERIT TRUE'\n"
    "                                ELSE 'GRANT %I TO %I' END, granted, role);\n"
    "        EXCEPTION WHEN insufficient_privilege THEN\n"
    "            -- Who is no superuser may lack it (hosted servers); the rest is worth having without.\n"
    "            IF granted <> 'pg_use_reserved_connections' THEN\n"
    "                RAISE;\n"
    "            END IF;\n"
    "            RAISE WARNING 'not granted: % (%): a full server refuses a pgvigil that restarts', granted, sqlerrm;\n"
    "        END;\n"
    "    END LOOP;\n"
    "\n"
    "    IF NOT has_database_privilege(role, current_database(), 'CONNECT') THEN\n"
    "        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), role);\n"
    "    END IF;\n"
    "\n"
    "    IF version < 160000 THEN\n"
    "        RAISE NOTICE 'before PostgreSQL 16 only superusers have reserved slots: start pgvigil before the server "
    "is full';\n"
    "    ELSIF current_setting('reserved_connections', true) = '0' THEN\n"
    "        RAISE NOTICE 'no slot is reserved: ALTER SYSTEM SET reserved_connections = 3, and restart the server, so "
    "that pgvigil gets in when it is full';\n"
    "    END IF;\n"
    "END\n";

// A tag of the dollar quotes that the name does not contain.
static void setup_sql_tag(struct strbuf *sb, const char *name) {
    CLEANUP(strbuf_deinit) struct strbuf quote = STRBUF_EMPTY;

    for (unsigned i = 0;; i++) {
        strbuf_clear(&quote);
        strbuf_addf(&quote, i == 0 ? "$%s" : "$%s%u", SETUP_SQL_TAG, i);
        if (strbuf_error(&quote) < 0 || !strstr(name, strbuf_str(&quote))) {
            break;
        }
    }
    sb->failed |= strbuf_error(&quote) < 0;
    strbuf_addf(sb, "%s$", strbuf_str(&quote));
}

// A literal whatever standard_conforming_strings says.
static void setup_sql_literal(struct strbuf *sb, const char *name) {
    strbuf_add(sb, strchr(name, '\\') ? "E'" : "'");
    for (const char *s = name; *s != '\0'; s++) {
        strbuf_add(sb, *s == '\'' ? "'" : *s == '\\' ? "\\" : "");
        strbuf_add_char(sb, *s);
    }
    strbuf_add_char(sb, '\'');
}

// As psql reads an argument of its own commands: an identifier between double quotes.
static void setup_sql_identifier(struct strbuf *sb, const char *name) {
    strbuf_add_char(sb, '"');
    for (const char *s = name; *s != '\0'; s++) {
        strbuf_add(sb, *s == '"' ? "\"" : "");
        strbuf_add_char(sb, *s);
    }
    strbuf_add_char(sb, '"');
}

static bool setup_sql_is_ascii(const char *name) {
    for (; *name != '\0'; name++) {
        if ((unsigned char)*name >= 0x80) {
            return false;
        }
    }
    return true;
}

int setup_sql_render(const char *role, struct strbuf *sb) {
    CLEANUP(strbuf_deinit) struct strbuf tag = STRBUF_EMPTY;

    setup_sql_tag(&tag, role);
    sb->failed |= strbuf_error(&tag) < 0;
    strbuf_add(
        sb,
        "-- The role that pgvigil connects as, and its rights, on PostgreSQL 13 and newer. For a superuser, or who\n"
        "-- may make roles and grant these; once for each server, in the database that pgvigil connects to. Run\n"
        "-- again it changes what is not as it should be, and nothing else:\n"
        "--   pgvigil setup-sql | psql -X -v ON_ERROR_STOP=1 -d postgres\n"
        "-- It sets no password. In psql, afterwards (the password does not go over the line in the clear):\n"
        "--   \\password ");
    setup_sql_identifier(sb, role);
    strbuf_add(sb, "\n");
    if (!setup_sql_is_ascii(role)) {
        strbuf_add(sb, "SET client_encoding = 'UTF8';\n");
    }
    strbuf_addf(sb, "DO %s\n%s    role CONSTANT pg_catalog.name := ", strbuf_str(&tag), setup_sql_head);
    setup_sql_literal(sb, role);
    strbuf_addf(sb, ";\n%s%s;\n", setup_sql_body, strbuf_str(&tag));
    return strbuf_error(sb);
}

// What is wrong with the name; NULL: nothing.
static const char *setup_sql_check_name(const char *name) {
    CLEANUP(strbuf_deinit) struct strbuf safe = STRBUF_EMPTY;

    if (*name == '\0') {
        return "is empty";
    }
    if (strlen(name) > SETUP_SQL_MAX_NAME) {
        return "is longer than the 63 bytes of a name";
    }
    for (const char *s = name; *s != '\0';) {
        unsigned code;
        size_t n = utf8_decode(s, strlen(s), &code);
        if (n == 0) {
            return "is not UTF-8";
        }
        // A backslash is escaped for people, and fine in a name.
        if (*s != '\\') {
            escape_text_bytes(&safe, s, n);
            if (strbuf_error(&safe) < 0 || safe.len != n) {
                return "contains a character that cannot be seen";
            }
        }
        strbuf_clear(&safe);
        s += n;
    }
    return NULL;
}

static int setup_sql_run(const struct command *command, int argc, char **argv) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    struct setup_sql_options options = {.role = "pgvigil"};
    int status;

    if (!cli_parse(command, argc, argv, &options, NULL, &status)) {
        return status;
    }
    const char *why = setup_sql_check_name(options.role);
    if (why) {
        CLEANUP(strbuf_deinit) struct strbuf shown = STRBUF_EMPTY;
        escape_text(&shown, options.role);
        return cli_usage_error(command, "%s: the role's name '%s' %s", command->name, strbuf_str(&shown), why);
    }
    if (setup_sql_render(options.role, &text) < 0) {
        return cli_out_of_memory();
    }
    return cli_write(&text);
}

const struct command command_setup_sql = {
    .name = "setup-sql",
    .summary = "Prints the SQL that makes a role with the rights pgvigil needs.",
    .description = "One text for PostgreSQL 13 and newer, to be run by a superuser; running it again\n"
                   "changes nothing that is right. It contains no password.\n"
                   "    pgvigil setup-sql | psql -X -v ON_ERROR_STOP=1 -d postgres\n",
    .options = setup_sql_options,
    .n_options = ARRAY_SIZE(setup_sql_options),
    .fn = setup_sql_run,
};
