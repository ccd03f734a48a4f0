#!/bin/bash
# SPDX-License-Identifier: PostgreSQL
# pg-fetch.sh SUITE MAJOR DEST : the PostgreSQL server of another Debian suite (bullseye 13, trixie 17, sid 18) unpacked in
# DEST with its own libraries, by any user; the machine's packages and apt's state stay as they are. Needs patchelf.
# The programs are then in DEST/usr/lib/postgresql/MAJOR/bin. The mirror is the one that this machine's apt uses.
set -eu
suite=$1 major=$2
mkdir -p "$3"
dest=$(realpath "$3")
packages="postgresql-$major postgresql-client-$major libpq5 libc6 libgcc-s1 libstdc++6 zlib1g libgssapi-krb5-2 libkrb5-3
libkrb5support0 libk5crypto3 libcom-err2 libkeyutils1 libpam0g libaudit1 libcap-ng0 libselinux1 libpcre2-8-0 libsystemd0 libcap2
libgcrypt20 libgpg-error0 liblzma5 libuuid1 libtinfo6 libbsd0 libmd0 libedit2 libsasl2-2 libzstd1 liblz4-1"
case $suite in
bullseye) packages="$packages libreadline8 libssl1.1 libldap-2.4-2 libicu67 libxml2 libgnutls30 libffi7 libnettle8 libhogweed6
libp11-kit0 libtasn1-6 libidn2-0 libunistring2 libgmp10 libcrypt1" ;;
trixie) packages="$packages libreadline8t64 libssl3t64 libldap2 libicu76 libxml2" ;;
*) packages="$packages libreadline8t64 libssl3t64 libldap2 libicu78 libxml2-16 libnuma1 liburing2" ;;
esac
# shellcheck disable=SC2086  # a list of words
"$(dirname "$0")/debs-fetch.sh" "$suite" "$dest" $packages
loader=$(find "$dest" -name 'ld-linux-*.so.*' | head -n 1)
triplet=$(basename "$(dirname "$loader")")
libraries=$dest/lib/$triplet:$dest/usr/lib/$triplet
programs=$dest/usr/lib/postgresql/$major
for program in "$programs"/bin/*; do
    [ "$(head -c 4 "$program" | tail -c 3)" = ELF ] || continue
    patchelf --set-interpreter "$loader" --force-rpath --set-rpath "$libraries" "$program"
done
for library in "$programs"/lib/*.so; do
    patchelf --force-rpath --set-rpath "$libraries" "$library"
done
rm -rf "$programs/lib/bitcode" "$programs/lib/llvmjit.so" "$dest"/usr/share/{doc,locale,man}
chmod -R a+rX "$dest"
"$programs/bin/postgres" -V
