#!/bin/sh
# SPDX-License-Identifier: PostgreSQL
# make-secrets.sh [FOLDER] : the passwords of the stack, made by chance, a file each; those that are there stay.
#
# Compose mounts such files into the containers as they are, owner and mode included, and each service runs as a user of
# its own there. So the files can be read by everybody, and the folder (on this host) by its owner alone.
set -eu
folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
chmod 700 "$folder"

# No line break at the end: postgres-meta takes the file as it is. Nothing that would need quoting in a URI.
write() {
    [ -s "$folder/$1" ] || printf '%s' "$2" >"$folder/$1"
    chmod 444 "$folder/$1"
}
random() {
    od -An -N 24 -t x1 /dev/urandom | tr -d ' \n'
}

for name in postgres pgvigil pgbouncer authenticator studio worker async_worker ingest persistence web; do
    write "${name}_password" "$(random)"
done
write studio_crypto_key "$(random)"
# PostgREST reads its whole connection URI from one file.
write postgrest_uri "postgresql://authenticator:$(cat "$folder/authenticator_password")@db:5432/app"
# The list of users that PgBouncer itself knows: the one as whom it asks the database about all others.
write pgbouncer_users "\"pgbouncer\" \"$(cat "$folder/pgbouncer_password")\"
"
