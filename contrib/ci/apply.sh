#!/usr/bin/env bash
# Applies, on the main branch: errors as annotations, what was done as a job summary.
#
# Environment: BFH_MANIFEST and BFH_ARGS, a file and an argument a line; BFH_STORE.
set -euo pipefail

[[ -z ${BFH_STORE:-} ]] || export BUGFENDER_HOOKS_STORE=$BFH_STORE

arguments=()
while IFS= read -r file; do
    [[ -z $file ]] || arguments+=(--file "$file")
done <<<"${BFH_MANIFEST:-hooks.toml}"
while IFS= read -r argument; do
    case $argument in
        '' | --yes | -y) ;;
        *) arguments+=("$argument") ;;
    esac
done <<<"${BFH_ARGS:-}"

directory=$(mktemp -d "${RUNNER_TEMP:-${TMPDIR:-/tmp}}/bugfender-hooks.XXXXXX")

# The annotations of a log as plain text.
annotations() {
    awk '/^::(error|warning)/ {
        sub(/^::/, ""); sub(/::/, ": ")
        gsub(/%0A/, "\n"); gsub(/%0D/, ""); gsub(/%3A/, ":"); gsub(/%2C/, ","); gsub(/%25/, "%")
        print }' "$1"
}

# Indented, so that nothing in it is markup; GitHub shows no summary of more than 1 MiB.
block() {
    [[ -n $1 ]] || return 0
    printf '%s\n' "${1:0:200000}" | sed 's/^/    /'
    echo
}

# Messages are shown as they come, and kept.
code=0
applied=$({ bugfender-hooks apply "${arguments[@]}" --yes --output github 2>&1 >&3 3>&- |
    tee "$directory/messages" >&2; } 3>&1) || code=$?
[[ -z $applied ]] || printf '%s\n' "$applied"
messages=$(annotations "$directory/messages")
{
    echo '### Hooks of Bugfender'
    echo
    block "$messages"
    block "$applied"
} >>"${GITHUB_STEP_SUMMARY:-/dev/null}"
exit "$code"
