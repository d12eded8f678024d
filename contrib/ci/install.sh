#!/usr/bin/env bash
# Installs bugfender-hooks from a release on GitHub: downloads the archive for this system, verifies its checksum and its
# build provenance, and puts the program on the PATH of the following steps.
#
# Environment:
#   BFH_REPOSITORY          OWNER/NAME of the repository with the releases
#   BFH_VERSION             such as 0.2.0, or latest; by default that of the source beside this script, so that who pins the
#                           action pins the program
#   BFH_COMMAND             what will be run: plan, apply, or none (default)
#   BFH_VERIFY_ATTESTATION  false: do not verify the build provenance, which takes the GitHub CLI
#   GH_TOKEN                the token that the GitHub CLI verifies with
# A release has bugfender-hooks-VERSION-TARGET.tar.gz (.zip for Windows) for each target, and SHA256SUMS.
set -euo pipefail

fail() {
    # The runner ends a line, and so an annotation, at a carriage return, too.
    local message=${1//'%'/%25}
    message=${message//$'\r'/%0D}
    printf '::error title=bugfender-hooks::%s\n' "${message//$'\n'/%0A}" >&2
    exit 1
}

case ${BFH_COMMAND:-none} in
    plan | apply | none) ;;
    *) fail "the command is plan, apply or none, not ${BFH_COMMAND}" ;;
esac

repository=${BFH_REPOSITORY:-}
# GitHub does not say it of an action that is used from the same checkout (uses: ./).
[[ $repository =~ ^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$ ]] ||
    fail "the repository with the releases is unknown: set the input 'repository' to OWNER/NAME"
releases=${GITHUB_SERVER_URL:-https://github.com}/$repository/releases
# Plain http only from this machine.
protocols='=https'
[[ ! $releases =~ ^http://127\.0\.0\.1:[0-9]+/ ]] || protocols='=http,https'
get() {
    curl --proto "$protocols" --silent --show-error --fail --location --retry 3 "$@"
}

version=${BFH_VERSION:-}
if [[ -z $version ]]; then
    source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
    version=$(sed -n '1,/^$/s/^version = "\(.*\)"$/\1/p' "$source/Cargo.toml") || version=unknown
elif [[ $version == latest ]]; then
    tag=$(get --head --output /dev/null --write-out '%{url_effective}' "$releases/latest") ||
        fail "$repository has no release, or is not public"
    version=${tag##*/}
fi
version=${version#v}
[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+[A-Za-z0-9.+-]*$ ]] || fail "there is no version $version"

kind=tar.gz
case "$(uname -s)-$(uname -m)" in
    Linux-x86_64) target=x86_64-unknown-linux-gnu ;;
    Linux-aarch64 | Linux-arm64) target=aarch64-unknown-linux-gnu ;;
    Darwin-arm64) target=aarch64-apple-darwin ;;
    Darwin-x86_64) target=x86_64-apple-darwin ;;
    MINGW*-x86_64 | MSYS*-x86_64) target=x86_64-pc-windows-msvc kind=zip ;;
    *) fail "there is no release for $(uname -s) on $(uname -m)" ;;
esac

archive=bugfender-hooks-$version-$target.$kind
directory=$(mktemp -d "${RUNNER_TEMP:-${TMPDIR:-/tmp}}/bugfender-hooks.XXXXXX")
cd "$directory"
for file in "$archive" SHA256SUMS; do
    get --output "$file" "$releases/download/v$version/$file" ||
        fail "$releases/download/v$version/$file could not be downloaded"
done

expected=$(awk -v name="$archive" '$2 == name || $2 == "*" name { print $1 }' SHA256SUMS)
[[ $expected =~ ^[0-9a-f]{64}$ ]] || fail "SHA256SUMS does not name $archive"
if command -v sha256sum >/dev/null; then
    actual=$(sha256sum "$archive")
else
    actual=$(shasum -a 256 "$archive")
fi
[[ ${actual%% *} == "$expected" ]] || fail "the checksum of $archive is wrong: the download is damaged, or not what was released"

if [[ ${BFH_VERIFY_ATTESTATION:-true} != false ]]; then
    command -v gh >/dev/null || fail "the GitHub CLI is missing, which verifies the build provenance"
    gh attestation verify "$archive" --repo "$repository" >&2 || fail "the build provenance of $archive could not be verified"
fi

if [[ $kind == zip ]]; then
    unzip -q "$archive"
else
    tar -xzf "$archive"
fi
program=$(find "$PWD" -type f \( -name bugfender-hooks -o -name bugfender-hooks.exe \) | head -n 1)
[[ -n $program ]] || fail "there is no bugfender-hooks in $archive"
chmod +x "$program"
"$program" --version
directory=$(dirname "$program")
# The runner on Windows reads paths as Windows writes them.
! command -v cygpath >/dev/null || directory=$(cygpath -w "$directory")
printf '%s\n' "$directory" >>"${GITHUB_PATH:-/dev/null}"
