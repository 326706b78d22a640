#!/bin/sh
# Installs Holdfast, or upgrades it, from a release page: any web server's folder, or a folder on a stick.
#
#   curl -fsSL https://downloads.example/holdfast/install.sh | sudo sh -s -- https://downloads.example/holdfast
#   sudo sh /media/stick/install.sh
#
# Where there is dpkg, the package for its architecture is taken, elsewhere the static program for this machine, which comes
# with its manual pages, completions and unit. Nothing is installed whose checksum is not the one in SHA256SUMS.
set -eu

# cross/release --url sets it.
default_base=''
public_key=holdfast.gpg

usage() {
    cat <<'USAGE'
usage: install.sh [OPTIONS] [URL or FOLDER]

  URL or FOLDER    where the release page is; by default HOLDFAST_URL, or the folder of this script
  --key FILE       SHA256SUMS must be signed by this key, which you have from elsewhere than the page (needs gpgv)
  --binary         take the static program where there is dpkg, too
  --prefix FOLDER  where the static program goes, /usr/local by default; elsewhere than /usr and /usr/local it is no service
  --uninstall      remove what --binary installed; configuration and held messages stay
USAGE
}

say() { printf '%s\n' "$*"; }

fail() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

read_arguments() {
    base=${HOLDFAST_URL:-$default_base} key='' binary='' prefix=/usr/local uninstall=''
    while [ $# -gt 0 ]; do
        case $1 in
            --key | --prefix) [ $# -ge 2 ] || fail "$1 needs a value" ;;
        esac
        case $1 in
            --key) key=$2 && shift ;;
            --prefix) prefix=$2 && shift ;;
            --binary) binary=yes ;;
            --uninstall) uninstall=yes ;;
            -h | --help) usage && exit 0 ;;
            -*) usage >&2 && fail "unknown option: $1" ;;
            *) base=$1 ;;
        esac
        shift
    done
    # A script that was piped into sh has no folder.
    if [ -z "$base" ] && [ -f "$0" ] && [ -f "$(dirname "$0")/SHA256SUMS" ]; then base=$(dirname "$0"); fi
    base=${base%/}
    case $prefix in
        /*) prefix=${prefix%/} ;;
        *) prefix=$PWD/$prefix ;;
    esac
    case $prefix in /usr | /usr/local) is_service=yes ;; *) is_service='' ;; esac
}

# fetch NAME: brings a file of the page into the folder for it.
fetch() {
    case $base in
        http://* | https://*)
            # What begins with TLS is not redirected to a place without.
            protocols='=http,https'
            case $base in https://*) protocols='=https' ;; esac
            if have curl; then
                curl --fail --silent --show-error --location --proto "$protocols" --retry 3 --connect-timeout 30 \
                    --output "$folder/$1" "$base/$1" || fail "cannot fetch $base/$1"
            elif have wget; then
                wget -q -T 30 -O "$folder/$1" "$base/$1" || fail "cannot fetch $base/$1"
            else
                fail "neither curl nor wget is here: install one of them, or copy the release page here and name its folder"
            fi
            ;;
        *://*) fail "$base is neither http:// nor https:// nor a folder" ;;
        *) cp "$base/$1" "$folder/$1" || fail "cannot read $base/$1" ;;
    esac
}

sha256_of() {
    if have sha256sum; then
        sum=$(sha256sum <"$1")
    elif have shasum; then
        sum=$(shasum -a 256 <"$1")
    elif have openssl; then
        sum=$(openssl dgst -sha256 -r <"$1")
    else
        fail "nothing here makes a SHA-256 checksum: install coreutils or openssl"
    fi
    say "${sum%% *}"
}

# Brings SHA256SUMS, signed by the key if one was given.
fetch_sums() {
    fetch SHA256SUMS
    if [ -z "$key" ]; then
        case $base in
            http://127.* | http://localhost[:/]* | "http://[::1]"*) ;;
            http://*) say "warning: $base comes without TLS, and anybody on the way can change it; --key FILE proves what comes" >&2 ;;
        esac
        return 0
    fi
    [ -r "$key" ] || fail "--key $key: cannot be read"
    have gpgv || fail "--key needs gpgv: install the package gpgv"
    if grep -q -e '-----BEGIN PGP' "$key"; then
        have gpg || fail "--key $key is armored, which needs gpg: take $public_key as it is"
        gpg --batch --quiet --dearmor --output "$folder/key.gpg" "$key" || fail "--key $key is no key"
    else
        cp "$key" "$folder/key.gpg"
    fi
    fetch SHA256SUMS.asc
    gpgv --quiet --keyring "$folder/key.gpg" "$folder/SHA256SUMS.asc" "$folder/SHA256SUMS" 2>"$folder/gpgv" \
        || fail "SHA256SUMS of $base is not signed by $key: $(cat "$folder/gpgv")"
    say "SHA256SUMS is signed by $key"
}

# The name of the file to take. The architecture of dpkg, not the kernel's: a 64-bit kernel often runs a 32-bit system. armhf is
# for ARMv6 and later, so that Raspberry Pi OS and Debian have the same one.
choose_file() {
    [ "$(uname -s)" = Linux ] || fail "Holdfast runs on Linux, and this is $(uname -s)"
    if [ -z "$binary" ] && have dpkg; then
        architecture=$(dpkg --print-architecture)
        case $architecture in
            arm64 | armhf | amd64) pattern="holdfast_.*_$architecture\\.deb" ;;
            *) say "There is no package for $architecture: taking the static program." && binary=yes ;;
        esac
    else
        binary=yes
    fi
    if [ -n "$binary" ]; then
        machine=$(uname -m)
        case $machine in
            x86_64 | amd64) architecture=x86_64 ;;
            aarch64 | arm64) architecture=aarch64 ;;
            armv6* | armv7* | armv8*) architecture=armv6 ;;
            *) fail "there is no Holdfast for $machine, only for x86_64, aarch64 and ARMv6 or later" ;;
        esac
        pattern="holdfast-.*-linux-$architecture\\.tar\\.gz"
    fi
    file=$(sed -n "s/^[0-9a-f]\\{64\\} [ *]\\($pattern\\)\$/\\1/p" "$folder/SHA256SUMS")
    case $file in
        '') fail "$base has nothing for $architecture: SHA256SUMS names no such file" ;;
        *"
"*) fail "$base has more than one file for $architecture: $(say "$file" | tr '\n' ' ')" ;;
    esac
}

fetch_file() {
    say "$file from $base"
    fetch "$file"
    wanted=$(sed -n "s/^\\([0-9a-f]\\{64\\}\\) [ *]$file\$/\\1/p" "$folder/SHA256SUMS")
    found=$(sha256_of "$folder/$file") || exit 1
    [ "$found" = "$wanted" ] || fail "$file is damaged or was changed: its SHA-256 is $found, and SHA256SUMS says $wanted"
}

# Of a package and a static program the unit and the path of one would hide the other.
refuse_both() {
    if [ -z "$binary" ]; then
        other=$(command -v holdfast || true)
        case $other in
            '' | /usr/bin/holdfast | /bin/holdfast) ;;
            *) fail "$other would hide the package: first remove it, with install.sh --uninstall if that has installed it" ;;
        esac
    elif [ -n "$is_service" ] && have dpkg-query && dpkg-query --show holdfast >/dev/null 2>&1; then
        fail "the package holdfast is installed here, and is upgraded without --binary; or first: apt-get remove holdfast"
    fi
}

install_package() {
    # apt-get brings what the package needs; an edited configuration stays.
    if have apt-get; then
        DEBIAN_FRONTEND=noninteractive apt-get install -q -y -o Dpkg::Options::=--force-confdef \
            -o Dpkg::Options::=--force-confold "$folder/$file" || fail "apt-get cannot install $file, for the reason above"
    else
        dpkg --install --force-confdef --force-confold "$folder/$file" || fail "dpkg cannot install $file, for the reason above"
    fi
}

# put MODE FILE TO: a program that runs is replaced, not overwritten.
put() {
    mkdir -p "$(dirname "$3")"
    if ! { cp "$2" "$3.new" && chmod "$1" "$3.new" && mv -f "$3.new" "$3"; }; then fail "cannot write $3"; fi
}

parts='share/man/man1/holdfast.1 share/man/man5/holdfast.toml.5 share/bash-completion/completions/holdfast
    share/zsh/site-functions/_holdfast share/fish/vendor_completions.d/holdfast.fish share/holdfast/holdfast.schema.json'
service_parts='lib/sysusers.d/holdfast.conf lib/systemd/system/holdfast.service'

install_program() {
    tar -xzf "$folder/$file" -C "$folder" || fail "cannot unpack $file"
    tree=$folder/${file%.tar.gz}
    version=$("$tree/bin/holdfast" --version) || fail "the program of $file does not run on this machine ($(uname -m))"
    put 755 "$tree/bin/holdfast" "$prefix/bin/holdfast"
    for part in $parts; do
        put 644 "$tree/$part" "$prefix/$part"
    done
    say "$version is in $prefix/bin"
    [ -z "$is_service" ] || install_service
}

# The user, the configuration unless there is one, and the unit.
install_service() {
    sed "s|/usr/bin/holdfast|$prefix/bin/holdfast|" "$tree/lib/systemd/system/holdfast.service" >"$folder/unit"
    mv "$folder/unit" "$tree/lib/systemd/system/holdfast.service"
    for part in $service_parts; do
        put 644 "$tree/$part" "$prefix/$part"
    done
    if have systemd-sysusers; then systemd-sysusers "$prefix/lib/sysusers.d/holdfast.conf" || fail "cannot make the user holdfast"; fi
    if [ ! -e /etc/holdfast/holdfast.toml ]; then
        put 644 "$tree/etc/holdfast/holdfast.toml" /etc/holdfast/holdfast.toml
        # It may come to hold secrets: for root and the agent only.
        if grep -q '^holdfast:' /etc/group; then
            chgrp holdfast /etc/holdfast/holdfast.toml && chmod 640 /etc/holdfast/holdfast.toml
        fi
    fi
    have systemctl || return 0
    if systemd_runs; then systemctl daemon-reload; fi
    systemctl enable --quiet holdfast
    if systemd_runs; then systemctl restart holdfast; fi
}

systemd_runs() { [ -d /run/systemd/system ]; }

remove_program() {
    if [ -n "$is_service" ] && have systemctl; then
        if systemd_runs; then systemctl stop holdfast || true; fi
        systemctl disable --quiet holdfast || true
    fi
    for part in bin/holdfast $parts ${is_service:+$service_parts}; do
        rm -f "$prefix/$part"
        # With the folders that were made for it.
        below=$(dirname "$part")
        while [ "$(dirname "$below")" != . ] && [ "$below" != share/man ] && rmdir "$prefix/$below" 2>/dev/null; do below=$(dirname "$below"); done
    done
    if [ -n "$is_service" ] && have systemctl && systemd_runs; then systemctl daemon-reload; fi
    say "Holdfast is removed from $prefix. /etc/holdfast and /var/lib/holdfast stay as they are."
}

say_what_next() {
    cat <<'NEXT'

What to do next:
  edit /etc/holdfast/holdfast.toml, then: holdfast check && systemctl reload holdfast
  holdfast test              each link and the broker, step by step
  holdfast status --watch    how it is
  man holdfast               all there is
NEXT
}

main() {
    read_arguments "$@"
    if [ "$(id -u)" != 0 ] && { [ -n "$is_service" ] || [ -z "$binary$uninstall" ]; }; then
        fail "root is needed: sudo sh install.sh …; without root: --binary --prefix \"\$HOME/.local\""
    fi
    if [ -n "$uninstall" ]; then
        remove_program
        exit 0
    fi
    [ -n "$base" ] || { usage >&2 && fail "where is the release page? Name its URL or folder"; }
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    trap 'exit 1' HUP INT TERM
    # apt reads the package as a user of its own.
    chmod 755 "$folder"
    fetch_sums
    choose_file
    refuse_both
    fetch_file
    if [ -n "$binary" ]; then install_program; else install_package; fi
    [ -z "$is_service" ] || say_what_next
}

# At the end: a script that was cut off on its way does nothing.
main "$@"
