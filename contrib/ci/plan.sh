#!/usr/bin/env bash
# Plans, for a pull request: annotations where the manifest is wrong, the plan as a job summary, and the same as Markdown in
# a file, ready to be posted as a comment.
#
# Environment: BFH_MANIFEST and BFH_ARGS, a file and an argument a line; BFH_COMMENT_FILE.
# Outputs: changes (true or false), checksum, plan (the file).
set -euo pipefail

arguments=()
while IFS= read -r file; do
    [[ -z $file ]] || arguments+=(--file "$file")
done <<<"${BFH_MANIFEST:-hooks.toml}"
while IFS= read -r argument; do
    [[ -z $argument ]] || arguments+=("$argument")
done <<<"${BFH_ARGS:-}"
comment=${BFH_COMMENT_FILE:-${RUNNER_TEMP:-${TMPDIR:-/tmp}}/bugfender-hooks-plan.md}

code=0
bugfender-hooks plan "${arguments[@]}" --detailed-exitcode --output github || code=$?
changes=false
case $code in
    0) ;;
    10) changes=true ;;
    *) exit "$code" ;;
esac
bugfender-hooks plan "${arguments[@]}" --output markdown 2>/dev/null >"$comment"
checksum=$(bugfender-hooks plan "${arguments[@]}" --checksum --quiet 2>/dev/null)
cat "$comment" >>"${GITHUB_STEP_SUMMARY:-/dev/null}"
{
    echo "changes=$changes"
    echo "checksum=$checksum"
    echo "plan=$comment"
} >>"${GITHUB_OUTPUT:-/dev/null}"
