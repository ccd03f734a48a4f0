#!/bin/bash
# SPDX-License-Identifier: PostgreSQL
# debs-fetch.sh SUITE DEST PACKAGE... : packages of a Debian suite unpacked in DEST, not installed, by any user; the
# machine's packages and apt's state stay as they are. Only those named: what they depend on is the caller's to name, or
# the machine's. The mirror is the one that this machine's apt uses.
set -eu
suite=$1
mkdir -p "$2"
dest=$(realpath "$2")
shift 2
state=$dest.apt
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -E '/debian/?$' | sort -u | head -n 1)
[ -n "$mirror" ] || { echo "apt knows no Debian mirror" >&2; exit 1; }
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
mkdir -p "$state"/{lists/partial,cache/archives/partial,none} "$dest/debs"
trap 'rm -rf "$state" "$dest/debs"' EXIT
: >"$state/status"
echo "deb [signed-by=$keyring] $mirror $suite main" >"$state/sources"
cat >"$state/apt.conf" <<CONF
Dir::State "$state"; Dir::State::status "$state/status"; Dir::State::Lists "$state/lists";
Dir::Cache "$state/cache"; Dir::Log "$state"; Dir::Etc::sourcelist "$state/sources";
Dir::Etc::sourceparts "$state/none"; Dir::Etc::parts "$state/none"; Dir::Etc::main "/dev/null";
Dir::Etc::preferences "/dev/null"; Dir::Etc::preferencesparts "$state/none";
Acquire::Languages "none"; Acquire::Check-Valid-Until "false"; APT::Sandbox::User "root";
CONF
export APT_CONFIG=$state/apt.conf
apt-get -qq update
cd "$dest/debs"
apt-get -qq download "$@"
for deb in *.deb; do
    dpkg-deb -x "$deb" "$dest"
done
