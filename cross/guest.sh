# Sourced after target.sh by what tries things in a Debian of its own: cross/rootfs's, unpacked, whose programs QEMU runs.

# Unpacks it into `guest`.
open_guest() {
    emulate
    guest=$(mktemp -d)
    as_root tar -C "$guest" --numeric-owner -xpf "$work/$target/rootfs.tar"
}

close_guest() { as_root rm -rf --one-file-system "$guest"; }

in_guest() { as_root chroot "$guest" /usr/bin/env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"; }

# expect WHAT COMMAND … fails unless the command succeeds.
expect() {
    local what=$1
    shift
    "$@" >/dev/null || fail "not so: $what"
    printf '  %s\n' "$what"
}

there() { as_root test -e "$guest/$1"; }
enabled() { as_root test -L "$guest/etc/systemd/system/multi-user.target.wants/holdfast.service"; }
not() { ! "$@"; }

# Whether systemd has nothing to say about the unit, whose manual pages it looks for; it exits with 0 whatever it has found.
unit_is_right() {
    local said
    said=$(in_guest systemd-analyze verify --man=yes holdfast.service 2>&1) && [ -z "$said" ] || { printf '%s\n' "$said" >&2; return 1; }
}
