-- SPDX-License-Identifier: PostgreSQL
-- The roles of the stack, each with what it needs and no more. The image runs this once, as superuser, by psql, in the
-- database that POSTGRES_DB names; passwords come from the secrets and are in no log.
--
-- A role for each service, even where the drivers could share one: SQLAlchemy and asyncpg set no application_name, so
-- that the role is all by which an operator, and pgvigil, can tell whose connection it is.
--
-- No CONNECTION LIMIT: a role at its limit is refused, a role over its quota loses what it does not use.
\set pgvigil `cat "${SECRETS:-/run/secrets}/pgvigil_password"`
\set pgbouncer `cat "${SECRETS:-/run/secrets}/pgbouncer_password"`
\set authenticator `cat "${SECRETS:-/run/secrets}/authenticator_password"`
\set studio `cat "${SECRETS:-/run/secrets}/studio_password"`
\set worker `cat "${SECRETS:-/run/secrets}/worker_password"`
\set async_worker `cat "${SECRETS:-/run/secrets}/async_worker_password"`
\set ingest `cat "${SECRETS:-/run/secrets}/ingest_password"`
\set persistence `cat "${SECRETS:-/run/secrets}/persistence_password"`
\set web `cat "${SECRETS:-/run/secrets}/web_password"`

-- Passwords are hashed by the server here; statements with them must not be logged.
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
SET password_encryption = 'scram-sha-256';

SELECT current_database() AS database, current_setting('server_version_num')::int >= 160000 AS has_reserve \gset
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

-- The watchdog: sees every session, may end those that are not superusers', reads no table.
CREATE ROLE pgvigil LOGIN PASSWORD :'pgvigil';
GRANT pg_monitor, pg_signal_backend TO pgvigil;
\if :has_reserve
-- With reserved_connections > 0 it gets in even when the server is full.
GRANT pg_use_reserved_connections TO pgvigil;
\endif
GRANT CONNECT ON DATABASE :"database" TO pgvigil;

-- The tables belong to a role that nobody logs in as.
CREATE ROLE app_owner NOLOGIN;
CREATE SCHEMA app AUTHORIZATION app_owner;
CREATE TABLE app.item (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    made timestamptz NOT NULL DEFAULT now(),
    body text
);
ALTER TABLE app.item OWNER TO app_owner;

-- Those that read and write them.
CREATE ROLE app_user NOLOGIN;
GRANT CONNECT ON DATABASE :"database" TO app_user;
GRANT USAGE ON SCHEMA app TO app_user;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA app TO app_user;
ALTER DEFAULT PRIVILEGES FOR ROLE app_owner IN SCHEMA app GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO app_user;
CREATE ROLE worker LOGIN PASSWORD :'worker' IN ROLE app_user;
CREATE ROLE async_worker LOGIN PASSWORD :'async_worker' IN ROLE app_user;
CREATE ROLE ingest LOGIN PASSWORD :'ingest' IN ROLE app_user;
CREATE ROLE persistence LOGIN PASSWORD :'persistence' IN ROLE app_user;
CREATE ROLE web LOGIN PASSWORD :'web' IN ROLE app_user;

-- PostgREST logs in as authenticator, which may nothing but become anon for a request.
CREATE ROLE anon NOLOGIN;
GRANT USAGE ON SCHEMA app TO anon;
GRANT SELECT ON ALL TABLES IN SCHEMA app TO anon;
CREATE ROLE authenticator LOGIN NOINHERIT PASSWORD :'authenticator';
GRANT CONNECT ON DATABASE :"database" TO authenticator;
GRANT anon TO authenticator;

-- Studio's postgres-meta. Self-hosted stacks often let it log in as a superuser; then no watchdog can end what it
-- leaves behind, and it eats the connections that are reserved for the administrator.
CREATE ROLE studio LOGIN PASSWORD :'studio' IN ROLE app_owner;
GRANT CONNECT ON DATABASE :"database" TO studio;
GRANT pg_read_all_data, pg_monitor TO studio;

-- PgBouncer knows no passwords: it asks this function for those of the roles that may come through it.
CREATE ROLE pgbouncer LOGIN PASSWORD :'pgbouncer';
GRANT CONNECT ON DATABASE :"database" TO pgbouncer;
CREATE SCHEMA pgbouncer;
CREATE FUNCTION pgbouncer.lookup(INOUT name text, OUT password text)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS
$$SELECT rolname::text, rolpassword FROM pg_catalog.pg_authid
WHERE rolname = $1 AND rolcanlogin AND rolname IN ('web')$$;
REVOKE ALL ON FUNCTION pgbouncer.lookup(text) FROM PUBLIC;
GRANT USAGE ON SCHEMA pgbouncer TO pgbouncer;
GRANT EXECUTE ON FUNCTION pgbouncer.lookup(text) TO pgbouncer;
