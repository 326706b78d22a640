# Sourced by the scripts beside it: what the targets are, where things lie, and how a program that is missing comes here.
set -euo pipefail

cross=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$cross")
# Everything that is downloaded or made lies here: git ignores it, and it may be deleted at any time.
work=$root/target/cross
mkdir -p "$work"
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$root/Cargo.toml")

say() { printf '\n==> %s\n' "$*"; }

fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# choose arm64 | armv6 | amd64 | arm64-static | amd64-static
#
# armv6 is static in any case, and is Debian's and Raspberry Pi OS's armhf at once: Debian's means ARMv7 and later, Raspberry
# Pi OS's means ARMv6, and what runs on the older one runs on both.
choose() {
    target=${1:-}
    case $target in
        arm64) triple=aarch64-unknown-linux-gnu glibc=2.28 ;;
        arm64-static) triple=aarch64-unknown-linux-musl glibc='' ;;
        armv6) triple=arm-unknown-linux-musleabihf glibc='' ;;
        amd64) triple=x86_64-unknown-linux-gnu glibc=2.28 ;;
        amd64-static) triple=x86_64-unknown-linux-musl glibc='' ;;
        *) fail "no such target: '$target' (arm64, armv6, amd64, arm64-static or amd64-static)" ;;
    esac
    case $target in
        arm64*) debian=arm64 uname=aarch64 oci=arm64 machine=AArch64 qemu=qemu-aarch64-static ;;
        armv6) debian=armhf uname=armv6 oci=arm machine=ARM qemu=qemu-arm-static ;;
        amd64*) debian=amd64 uname=x86_64 oci=amd64 machine=X86-64 qemu='' ;;
    esac
    binary=$work/$target/holdfast
    package=$work/$target/holdfast_$version-1_$debian.deb
}

# When the commit was made, in seconds: the same commit gives the same files.
commit_time() { git -C "$root" log -1 --format=%ct 2>/dev/null || stat -c %Y "$root/Cargo.lock"; }

# lay_pages FOLDER puts the pages there as they lie in the repository, with all that they link to.
lay_pages() {
    local file
    for file in README.md SECURITY.md LICENSE-APACHE LICENSE-MIT systemd/holdfast.toml systemd/holdfast.service \
        tests/e2e/peers/ack_server.py; do
        install -D -m 644 "$root/$file" "$1/$file"
    done
    mkdir -p "$1/agent"
    cp -r "$root/agent/doc" "$1/agent/doc"
}

# as_root COMMAND … keeps the environment.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo --preserve-env "$@"
    else
        fail "root is needed for: $*"
    fi
}

# need PROGRAM=PACKAGE … (or FILE=PACKAGE) installs the Debian packages of what is missing, or says which they are.
need() {
    local pair packages=()
    for pair; do
        PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%=*}" >/dev/null || [ -e "${pair%%=*}" ] || packages+=("${pair#*=}")
    done
    [ ${#packages[@]} = 0 ] && return
    command -v apt-get >/dev/null || fail "missing, install by hand (Debian's names): ${packages[*]}"
    say "installing ${packages[*]}"
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${packages[@]}"
}

# Has the kernel run the programs of the chosen target by QEMU.
emulate() {
    [ -n "$qemu" ] || return 0
    need "$qemu=qemu-user-static"
    local misc=/proc/sys/fs/binfmt_misc name=${qemu%-static}
    [ -e "$misc/$name" ] && return
    [ -e "$misc/register" ] || as_root mount -t binfmt_misc binfmt_misc "$misc"
    [ -e "$misc/$name" ] || as_root sh -c "cat '/usr/lib/binfmt.d/$name.conf' >'$misc/register'"
}

# compile COMMAND ARGUMENTS… is cargo for the chosen target, with zig as the linker and the C compiler.
compile() {
    local command=$1 arguments=(--locked --target "$triple${glibc:+.$glibc}")
    shift
    local std
    std=$(cat "$work/$target/std")
    if [ "$std" = debian-source ]; then
        export CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc
    fi
    if [ "$std" != rustup ]; then
        # Cargo builds std beside everything else, which only a nightly would do without being told.
        export RUSTC_BOOTSTRAP=1
        arguments+=(-Zbuild-std)
        # zig has the start files and the libc that such a std lacks.
        local variable=CARGO_TARGET_${triple^^}_RUSTFLAGS
        [ -n "$glibc" ] || export "${variable//-/_}=-Clink-self-contained=no"
    fi
    PATH=$work/venv/bin:$PATH CARGO_TARGET_DIR=$work/$target/build cargo-zigbuild "$command" "${arguments[@]}" "$@"
}
