#!/usr/bin/env bash
# Many settings of one program as an array job; submitted again, only the tasks that are not done yet.
# usage: jobs/sweep.sh VERB[,VERB...] CONFIG FILE [--nodes N] [--time T] [--dry-run]
#   FILE   one task per line: NAME --section.key=VALUE... Its run folder is RUN/sweep/NAME; what it reads and does not
#          have there (atlas, networks, features) is taken from RUN
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/launch.sh"
(($# >= 3)) || fail 2 "VERB, CONFIG and FILE are needed. See the first lines of jobs/sweep.sh"
verbs=$1 config=$2 file=$3
shift 3
[[ -r $config ]] || fail 66 "settings '$config' are missing. Check the path"
[[ -r $file ]] || fail 66 "the sweep '$file' is missing. Check the path"
require_programs
base=$(run_folder "$config")
missing=() number=0
while read -r name more; do
  number=$((number + 1))
  [[ -n $name ]] || fail 2 "line $number of '$file' is empty (line N is task N)"
  own=(--run.base="$base" --run.folder="$base/sweep/$name" $more)
  "$bin/retort-${verbs##*,}" --config "$config" "${own[@]}" --is-done 2>/dev/null || missing+=("$number")
done <"$file"
if ((${#missing[@]} == 0)); then
  say "all $number tasks are done"
  exit 0
fi
say "${#missing[@]} of $number tasks are to do"
exec "$here/submit.sh" "$verbs" "$config" --sweep "$file" --only "$(IFS=,; echo "${missing[*]}")" "$@"
