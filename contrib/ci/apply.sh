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
    [[ -z $argument ]] || arguments+=("$argument")
done <<<"${BFH_ARGS:-}"

code=0
applied=$(bugfender-hooks apply "${arguments[@]}" --yes --output github) || code=$?
printf '%s\n' "$applied"
{
    echo '### Hooks of Bugfender'
    echo
    # Indented, so that nothing in it is markup; GitHub shows no summary of more than 1 MiB.
    printf '%s\n' "${applied:0:200000}" | sed 's/^/    /'
} >>"${GITHUB_STEP_SUMMARY:-/dev/null}"
exit "$code"
