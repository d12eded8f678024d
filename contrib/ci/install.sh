#!/usr/bin/env bash
# Installs bugfender-hooks from a release on GitHub, as ../install/install.sh does: its checksum and its build provenance are
# verified. Puts the program on the PATH of the following steps.
#
# Environment:
#   BFH_REPOSITORY          OWNER/NAME of the repository with the releases
#   BFH_VERSION             such as 0.2.0, or latest; by default that of the source beside this script, so that who pins the
#                           action pins the program
#   BFH_COMMAND             what will be run: plan, apply, or none (default)
#   BFH_VERIFY_ATTESTATION  false: do not verify the build provenance, which takes the GitHub CLI
#   GH_TOKEN                the token that the GitHub CLI verifies with
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
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
version=${BFH_VERSION:-}
[[ -n $version ]] || version=$(sed -n '1,/^$/s/^version = "\(.*\)"$/\1/p' "$source/Cargo.toml") || version=unknown
attestation=always
[[ ${BFH_VERIFY_ATTESTATION:-true} != false ]] || attestation=never
directory=$(mktemp -d "${RUNNER_TEMP:-${TMPDIR:-/tmp}}/bugfender-hooks.XXXXXX")
log=$directory/install.log
installed=true
sh "$source/contrib/install/install.sh" --repository "$repository" --version "$version" --to "$directory/bin" \
    --from "${GITHUB_SERVER_URL:-https://github.com}/$repository/releases" --attestation "$attestation" 2>"$log" ||
    installed=false
grep -v '^error: ' "$log" >&2 || true
[[ $installed == true ]] || fail "$(sed -n 's/^error: //p' "$log" | tail -n 1)"

directory=$directory/bin
# The runner on Windows reads paths as Windows writes them.
! command -v cygpath >/dev/null || directory=$(cygpath -w "$directory")
printf '%s\n' "$directory" >>"${GITHUB_PATH:-/dev/null}"
