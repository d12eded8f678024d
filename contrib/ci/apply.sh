#!/usr/bin/env bash
# Applies, on the main branch: errors as annotations, what was done as a job summary.
#
# Environment: BFH_MANIFEST and BFH_ARGS, a file and an argument a line.
set -euo pipefail

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
    # Indented, so that nothing in it is markup.
    printf '%s\n' "$applied" | sed 's/^/    /'
} >>"${GITHUB_STEP_SUMMARY:-/dev/null}"
exit "$code"
