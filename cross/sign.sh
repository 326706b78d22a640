# Sourced after target.sh by what signs: the key is the caller's, a file or one that gpg knows.

# open_key FILE|ID: from here on gpg has the key, and `signer` is its fingerprint. A file's key lives in a folder of its own until
# close_key.
open_key() {
    local key=$1
    keyring=''
    need gpg=gnupg
    if [ -f "$key" ]; then
        keyring=$(mktemp -d)
        export GNUPGHOME=$keyring
        gpg --batch --quiet --import "$key" || fail "--key $key: gpg finds no key in it"
        key=''
    fi
    signer=$(gpg --batch --with-colons --list-secret-keys ${key:+"$key"} 2>/dev/null | sed -n 's/^fpr:::::::::\([0-9A-F]*\):.*/\1/p' | head -1)
    [ -n "$signer" ] || fail "--key ${1}: there is no secret key of it, with which alone something can be signed"
}

close_key() {
    [ -n "${keyring:-}" ] || return 0
    gpgconf --kill all
    rm -rf "$keyring"
    keyring=''
}

# The password of a key is asked for on the terminal.
sign() {
    [ ! -t 0 ] || GPG_TTY=$(tty)
    export GPG_TTY=${GPG_TTY:-}
    gpg --quiet --yes --local-user "$signer" --digest-algo SHA512 "$@"
}

# The public key as a keyring, which apt and gpgv take as it is.
public_key() { gpg --batch --export "$signer"; }
