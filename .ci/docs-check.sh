#!/bin/sh
# Holds what the documents say of planted bugs to what there is: the names in docs/planted-bugs.md, kernel by kernel, and
# every "N planted bugs".
set -eu
cd "$(dirname "$0")/.."
list=$(.ci/planted-bugs.sh --list | awk '{ print $1 }' | grep -v '/unchanged$' | sort)
count=$(printf '%s\n' "$list" | wc -l)
documented=$(awk '
    /^### / { kernel = $2 }
    /^\| [a-z0-9-]+: / { name = $2; sub(/:$/, "", name); print kernel "/" name }' docs/planted-bugs.md | sort)
if [ "$list" != "$documented" ]; then
    printf 'docs/planted-bugs.md names other bugs than .ci/planted-bugs.sh --list:\n'
    printf '%s\n' "$list" > target/planted-bugs.list
    printf '%s\n' "$documented" | diff target/planted-bugs.list - || true
    exit 1
fi
wrong=$(grep -rnoE '[0-9]+ (planted )?bugs\b' README.md docs/*.md | grep -vE ":$count (planted )?bugs" || true)
if [ -n "$wrong" ]; then
    printf 'there are %s planted bugs, but:\n%s\n' "$count" "$wrong"
    exit 1
fi
echo "$count planted bugs, and all of them in docs/planted-bugs.md"
