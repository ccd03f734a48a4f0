#!/bin/sh
# SPDX-License-Identifier: PostgreSQL
# deps.sh build|demo|test : installs the Debian packages that are missing, quietly, and says which. As root or by sudo.
# No server is left running and no cluster is created by it.
set -eu

build="gcc libc6-dev meson ninja-build pkg-config libpq-dev libevent-dev libyaml-dev libsystemd-dev libjansson-dev libcurl4-openssl-dev uthash-dev"
demo="$build postgresql-15 postgresql-client-15 python3 python3-psycopg2 python3-sqlalchemy python3-asyncpg procps util-linux"
test="$demo clang libclang-rt-14-dev valgrind pgbouncer python3-pytest python3-pytest-xdist python3-pytest-timeout
python3-psycopg python3-yaml mmdebstrap systemd systemd-container dbus patchelf scdoc curl openssl zsh locales man-db prometheus
prometheus-alertmanager python3-prometheus-client"

# For postgres-meta; where they come from elsewhere they stay.
command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 || test="$test nodejs npm"

case ${1:-} in
build) wanted=$build ;;
demo) wanted=$demo ;;
test) wanted=$test ;;
*) echo "usage: deps.sh build|demo|test" >&2; exit 2 ;;
esac

missing=
for package in $wanted; do
    status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
    [ "$status" = "install ok installed" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1 || ! sudo -n true 2>/dev/null; then
        if [ -t 0 ] && command -v sudo >/dev/null 2>&1; then
            : # sudo will ask
        else
            echo "deps.sh: missing packages, and neither root nor sudo to install them: apt-get install$missing" >&2
            exit 1
        fi
    fi
    as_root=sudo
fi

echo "installing:$missing"
apt_get() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
        -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=120 "$@"
}

log=$(mktemp)
policy=/usr/sbin/policy-rc.d
own_policy=
finish() {
    rm -f "$log"
    [ -z "$own_policy" ] || $as_root rm -f "$policy"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM

# Packages must not start servers; an administrator's own policy stays.
if [ ! -e "$policy" ]; then
    own_policy=1
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod 755 "$policy"
fi
# Nor create a cluster that would start with the next boot.
case $missing in
*postgresql-15*)
    conf=/etc/postgresql-common/createcluster.conf
    if [ ! -e "$conf" ]; then
        $as_root mkdir -p "${conf%/*}"
        echo "create_main_cluster = false" | $as_root tee "$conf" >/dev/null
    fi
    ;;
esac

# The lists of a fresh machine are empty or old: only then they are fetched.
# shellcheck disable=SC2086  # a list of words
if ! apt_get install $missing >"$log" 2>&1; then
    apt_get update >>"$log" 2>&1 || true
    if ! apt_get install $missing >>"$log" 2>&1; then
        tail -n 30 "$log" >&2
        echo "deps.sh: could not install:$missing" >&2
        exit 1
    fi
fi
# Nor start with the next boot.
for service in pgbouncer prometheus prometheus-alertmanager; do
    case " $missing " in
    *[[:space:]]"$service"[[:space:]]*)
        if [ -d /run/systemd/system ]; then
            $as_root systemctl -q disable "$service.service" >/dev/null 2>&1 || true
        fi
        ;;
    esac
done
