#!/usr/bin/env bash
# Plans, for a pull request: annotations where the manifest is wrong, the plan as a job summary, and the same as Markdown in
# a file, ready to be posted as a comment.
#
# Environment: BFH_MANIFEST and BFH_ARGS, a file and an argument a line; BFH_COMMENT_FILE; BFH_STORE.
# Outputs: changes (true or false), checksum, plan (the file).
set -euo pipefail

[[ -z ${BFH_STORE:-} ]] || export BUGFENDER_HOOKS_STORE=$BFH_STORE

arguments=()
while IFS= read -r file; do
    [[ -z $file ]] || arguments+=(--file "$file")
done <<<"${BFH_MANIFEST:-hooks.toml}"
# The flags of apply are left out, so that both can have the same arguments, and --quiet, as there is a plan to show.
has_value=
while IFS= read -r argument; do
    if [[ -n $has_value ]]; then
        has_value=
        continue
    fi
    case $argument in
        '' | --initial | --allow-large-removal | --yes | -y | --quiet | -q) ;;
        --concurrency | --lock-timeout) has_value=yes ;;
        --concurrency=* | --lock-timeout=*) ;;
        *) arguments+=("$argument") ;;
    esac
done <<<"${BFH_ARGS:-}"
temporary=${RUNNER_TEMP:-${TMPDIR:-/tmp}}
comment=${BFH_COMMENT_FILE:-$temporary/bugfender-hooks-plan.md}
directory=$(mktemp -d "$temporary/bugfender-hooks.XXXXXX")

# Prints the plan in at most about this many bytes: of its table the last rows are left out.
shortened() {
    LC_ALL=C awk -v limit="$1" '
        /^\|/ && (left || size + length($0) >= limit) { left++; next }
        left && !told { print "\n" left " more: the log of the job has all."; told = 1 }
        { size += length($0) + 1; print }' "$directory/plan.md"
}

# For the log, with annotations.
code=0
bugfender-hooks plan "${arguments[@]}" --detailed-exitcode --output github || code=$?
((code == 0 || code == 10)) || exit "$code"

# All outputs are of one plan: the registry may change at any time.
code=0
bugfender-hooks plan "${arguments[@]}" --detailed-exitcode --output markdown \
    >"$directory/plan.md" 2>"$directory/messages" || code=$?
case $code in
    0) changes=false ;;
    10) changes=true ;;
    *)
        cat "$directory/messages" >&2
        exit "$code"
        ;;
esac
# The last line: whatever names and URLs say stands before it.
checksum=$(tail -n 1 "$directory/plan.md" | sed -n 's/^Checksum: .\([0-9a-f]*\).$/\1/p')
if [[ ! $checksum =~ ^[0-9a-f]{64}$ ]]; then
    echo "::error title=bugfender-hooks::what plan printed is no plan: do its arguments (args) select another output?" >&2
    exit 2
fi

# GitHub refuses comments of more than 65,536 characters, and shows no summary of more than 1 MiB.
shortened 60000 >"$comment"
shortened 900000 >>"${GITHUB_STEP_SUMMARY:-/dev/null}"
{
    echo "changes=$changes"
    echo "checksum=$checksum"
    echo "plan=$comment"
} >>"${GITHUB_OUTPUT:-/dev/null}"
