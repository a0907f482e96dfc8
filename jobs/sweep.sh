#!/usr/bin/env bash
# Many settings of one program as an array job; submitted again, only the tasks that are not done yet.
# usage: jobs/sweep.sh VERB[,VERB...] CONFIG FILE [--nodes N] [--time T] [--dry-run]
#   FILE   one task per line: NAME --section.key=VALUE... Its run folder is RUN/sweep/NAME; what it reads and does not
#          have there (atlas, networks, features) is taken from RUN. Each VERB takes the settings of its own sections
# Every line is checked before anything is submitted. The log of a task is RUN/jobs/NAME.log.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/launch.sh"
for option in "$@"; do
  case $option in -h | --help) help_of "$0"; exit 0 ;; esac
done
[[ $# -ge 3 && $1 != -* && $2 != -* && $3 != -* ]] ||
  fail 2 "VERB, CONFIG and FILE come first. See jobs/sweep.sh --help"
verbs=$1 config=$2 file=$3
shift 3
[[ -r $config ]] || fail 66 "settings '$config' are missing. Check the path"
[[ -r $file ]] || fail 66 "the sweep '$file' is missing. Check the path"
require_programs
base=$(run_folder "$config")
for verb in ${verbs//,/ }; do
  [[ -x $bin/retort-$verb ]] || fail 2 "there is no program '$verb'. See retort --help for those there are"
  settings_for "$verb"  # reads its sections once for all lines
done
missing=() number=0
while read -r name more; do
  number=$((number + 1))
  [[ -n $name ]] || fail 2 "line $number of '$file' is empty (line N is task N)"
  [[ $name =~ ^[A-Za-z0-9_][A-Za-z0-9._+=-]*$ ]] ||
    fail 2 "line $number of '$file' starts with '$name', which is not a NAME (letters, digits and ._+=-). Name the task"
  task=(--run.base="$base" --run.folder="$base/sweep/$name" $more)
  why=$(check_settings "$verbs" "$config" "${task[@]}" 2>&1) ||
    fail 2 "line $number of '$file': ${why##*error: }"
  for verb in ${verbs//,/ }; do
    settings_for "$verb" "${task[@]}"
    "$bin/retort-$verb" --config "$config" "${own[@]}" --is-done 2>/dev/null || { missing+=("$number"); break; }
  done
done <"$file"
if ((${#missing[@]} == 0)); then
  say "all $number tasks are done"
  exit 0
fi
say "${#missing[@]} of $number tasks are to do"
exec "$here/submit.sh" "$verbs" "$config" --sweep "$file" --only "$(IFS=,; echo "${missing[*]}")" "$@"
