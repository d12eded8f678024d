#!/bin/sh
# Installs bugfender-hooks from a release on GitHub: downloads the archive for this system, verifies its checksum and, with
# the GitHub CLI, its build provenance, and puts the program into a directory. Changes nothing else.
#
#   curl -fsSL https://github.com/OWNER/bugfender-hooks/releases/latest/download/install.sh | sh
#
# After "sh -s --", or after the name of this file:
#   --version VERSION        such as 0.2.0 (default: the latest)
#   --to DIRECTORY           where the program goes (default: /usr/local/bin for root, else ~/.local/bin)
#   --repository OWNER/NAME  whose releases; those of a release know it
#   --from URL               where the releases are, if not on GitHub: such as https://mirror.example.com/releases
#   --attestation WHEN       verify the build provenance: always, auto (default: if the GitHub CLI is signed in), never
set -eu

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 1
}

get() {
    curl --proto "$protocols" --silent --show-error --fail --location --retry 3 "$@"
}

# The target of this system's archive.
target_of() {
    case "$(uname -s)-$(uname -m)" in
        Linux-x86_64) echo "x86_64-unknown-linux-$(libc)" ;;
        Linux-aarch64 | Linux-arm64) echo "aarch64-unknown-linux-$(libc)" ;;
        Darwin-arm64) echo aarch64-apple-darwin ;;
        Darwin-x86_64) echo x86_64-apple-darwin ;;
        MINGW*-x86_64 | MSYS*-x86_64) echo x86_64-pc-windows-msvc ;;
        *) fail "there is no release for $(uname -s) on $(uname -m)" ;;
    esac
}

# gnu where glibc is new enough, else musl, whose programs need no library.
libc() {
    glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null || true)
    case $glibc in
        'glibc '[0-9]*.[0-9]*)
            glibc=${glibc#glibc }
            major=${glibc%%.*}
            minor=${glibc#*.}
            minor=${minor%%[!0-9]*}
            if [ "$major" -gt 2 ] || { [ "$major" -eq 2 ] && [ "$minor" -ge 31 ]; }; then
                echo gnu
                return
            fi
            ;;
    esac
    echo musl
}

sha256() {
    if command -v sha256sum >/dev/null; then
        sha256sum "$1" | cut -d ' ' -f 1
    else
        shasum -a 256 "$1" | cut -d ' ' -f 1
    fi
}

read_arguments() {
    version=latest to='' from='' attestation=auto
    # A release puts the name of its repository here.
    repository='@REPOSITORY@'
    while [ $# -gt 0 ]; do
        [ $# -gt 1 ] || fail "$1 needs a value; the head of this script says which there are"
        case $1 in
            --version) version=$2 ;;
            --to) to=$2 ;;
            --repository) repository=$2 ;;
            --from) from=$2 ;;
            --attestation) attestation=$2 ;;
            *) fail "there is no option $1" ;;
        esac
        shift 2
    done
    case $attestation in always | auto | never) ;; *) fail "--attestation is always, auto or never, not $attestation" ;; esac
    case $repository in
        *[!A-Za-z0-9._/-]* | */*/* | /* | */ | '') fail "give the repository with the releases: --repository OWNER/NAME" ;;
        */*) ;;
        *) fail "give the repository with the releases: --repository OWNER/NAME" ;;
    esac
    [ -n "$from" ] || from=https://github.com/$repository/releases
    if [ -z "$to" ]; then
        if [ "$(id -u)" -eq 0 ]; then to=/usr/local/bin; else to=${HOME:?}/.local/bin; fi
    fi
    # Plain http only from this machine.
    case $from in
        http://127.0.0.1:*) protocols='=http,https' ;;
        *) protocols='=https' ;;
    esac
}

read_version() {
    if [ "$version" = latest ]; then
        tag=$(get --head --output /dev/null --write-out '%{url_effective}' "$from/latest") ||
            fail "$repository has no release, or is not public"
        version=${tag##*/}
    fi
    version=${version#v}
    case $version in
        *[!A-Za-z0-9.+-]*) fail "there is no version $version" ;;
        [0-9]*.[0-9]*.[0-9]*) ;;
        *) fail "there is no version $version" ;;
    esac
}

verify() {
    expected=$(awk -v name="$archive" '$2 == name || $2 == "*" name { print $1 }' SHA256SUMS)
    case $expected in
        '' | *[!0-9a-f]*) fail "SHA256SUMS does not name $archive" ;;
    esac
    [ "$(sha256 "$archive")" = "$expected" ] ||
        fail "the checksum of $archive is wrong: the download is damaged, or not what was released"
    case $attestation in
        never) return ;;
        auto)
            if ! command -v gh >/dev/null || ! gh auth status >/dev/null 2>&1; then
                echo "the checksum is right; the build provenance was not verified, which takes the GitHub CLI, signed in" >&2
                return
            fi
            ;;
        always) command -v gh >/dev/null || fail "the GitHub CLI is missing, which verifies the build provenance" ;;
    esac
    gh attestation verify "$archive" --repo "$repository" >&2 || fail "the build provenance of $archive could not be verified"
}

unpack() {
    case $archive in
        *.zip) unzip -q "$archive" ;;
        *) tar -xzf "$archive" ;;
    esac
    program=$(find . -type f \( -name bugfender-hooks -o -name bugfender-hooks.exe \) | head -n 1)
    [ -n "$program" ] || fail "there is no bugfender-hooks in $archive"
    chmod 755 "$program"
    # Before it takes the place of one that works.
    "$program" --version >/dev/null || fail "the program does not run on this system"
}

# In a function, so that half a download does nothing.
main() {
    read_arguments "$@"
    command -v curl >/dev/null || fail "curl is missing"
    read_version
    target=$(target_of)
    case $target in *-windows-*) kind=zip ;; *) kind=tar.gz ;; esac
    archive=bugfender-hooks-$version-$target.$kind
    mkdir -p "$to"
    to=$(cd "$to" && pwd)
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    cd "$scratch"
    for file in "$archive" SHA256SUMS; do
        get --output "$file" "$from/download/v$version/$file" || fail "$from/download/v$version/$file could not be downloaded"
    done
    verify
    unpack
    name=${program##*/}
    # One that runs goes on: it is replaced, not written to.
    # Whatever the umask is, everybody may run it.
    { cp "$program" "$to/.$name.new" && chmod 755 "$to/.$name.new" && mv -f "$to/.$name.new" "$to/$name"; } || fail "$to/$name could not be written"
    "$to/$name" --version
    echo "installed in $to" >&2
    case :$PATH: in
        *":$to:"*) ;;
        *) echo "$to is not on your PATH" >&2 ;;
    esac
}

main "$@"
