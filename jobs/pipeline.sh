#!/usr/bin/env bash
# Runs a pipeline of pipelines.txt: as a chain of Slurm jobs, each waiting for the one before, or on this machine. What
# is done is skipped. With several label columns (ingest.label=A,B), stages behind `|` run once per column: for the
# first in the run folder, for every other in RUN/labels/NAME, from the same atlas and features.
# usage: jobs/pipeline.sh CONFIG [--pipeline NAME] [--nodes N] [--time T] [--local RANKS] [--dry-run]
#                         [--section.key=VALUE]...
#   CONFIG       INI with the settings of all stages
#   --pipeline   distill (the default) or another name in jobs/pipelines.txt
#   --nodes N, --time T   per job, as in submit.sh
#   --local      runs under mpirun here; Ctrl-C checkpoints and leaves, the same line goes on
#   --dry-run    says what would run, and the plan of the first stage that is to do
#   --section.key=VALUE   a setting, for the stages that have its section; give the same ones when you go on
# Prints the number of the last job of each chain on stdout.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/launch.sh"
config='' pipeline=distill local='' dry='' options=() given=()
while (($#)); do
  case $1 in
    --nodes | --time) options+=("$1" "${2:?$1 needs a value}"); shift ;;
    --pipeline) pipeline=${2:?--pipeline needs a name}; shift ;;
    --dry-run) dry=yes ;;
    --local) local=${2:?--local needs a number of ranks}; shift ;;
    --*.*) given+=("$1") ;;
    -h | --help) help_of "$0"; exit 0 ;;
    -*) fail 2 "unknown option '$1'. See jobs/pipeline.sh --help" ;;
    *) [[ -z $config ]] || fail 2 "one CONFIG, not '$1' too"; config=$1 ;;
  esac
  shift
done
[[ -n $config ]] || fail 2 "a CONFIG is needed. See jobs/pipeline.sh --help"
[[ -r $config ]] || fail 66 "settings '$config' are missing. Check the path"
stages=$(stages_of "$pipeline")
[[ -n $stages ]] || fail 2 "there is no pipeline '$pipeline' (there are: $(pipelines | paste -sd ' ')). Choose one"
require_programs
read -ra shared <<<"${stages%%|*}"
per_label=()
if [[ $stages == *'|'* ]]; then read -ra per_label <<<"${stages#*|}"; fi
# A misspelt setting of the last stage is told before the first one starts.
check_settings "$(echo "${stages//|/}" | tr -s ' ' ,)" "$config" ${given[@]+"${given[@]}"}
IFS=, read -ra labels <<<"$(setting_of "$config" ingest label ${given[@]+"${given[@]}"})"
((${#labels[@]})) || fail 2 "ingest.label is empty (it names the column with the classes). Set it in '$config'"
((${#per_label[@]})) || labels=("${labels[0]}")  # all columns together
folder=$(run_folder "$config" ${given[@]+"${given[@]}"})
number=0 count=$((${#shared[@]} + ${#per_label[@]} * ${#labels[@]})) after=''

# run_stage STAGE SETTING...: runs it here, or submits it to wait for the job `after` and leaves its job there. In a dry
# run `after` is the stage that it would wait for.
run_stage() {
  local stage=$1 own name
  settings_for "$stage" ${given[@]+"${given[@]}"} "${@:2}"
  set -- ${own[@]+"${own[@]}"}
  local command=("$bin/retort-$stage" --config "$config" "$@")
  number=$((number + 1))
  name="[$number of $count] $stage"
  if [[ -n $label && ${#labels[@]} -gt 1 ]]; then name+=" ($label)"; fi
  if [[ -n $local && -z $dry ]]; then
    echo "$name" >&2
    start_local "$local" "${command[@]}"
  elif [[ -z $after ]] && "${command[@]}" --is-done 2>/dev/null; then
    say "$name is done"
  elif [[ -z $dry ]]; then
    after=$("$here/submit.sh" "$stage" "$config" "$@" ${options[@]+"${options[@]}"} ${after:+--after "$after"})
  elif [[ -n $after ]]; then  # its inputs are not there yet, so it cannot plan
    say "$name would follow $after"
    after=$stage
  else
    say "$name would be first:"
    "$here/submit.sh" "$stage" "$config" "$@" ${options[@]+"${options[@]}"} ${local:+--local "$local"} --dry-run
    after=$stage
  fi
}

label='' jobs=()
for stage in "${shared[@]}"; do run_stage "$stage"; done
features=$after
for label in "${labels[@]}"; do
  after=$features settings=()
  if [[ $label != "${labels[0]}" ]]; then settings=(--run.base="$folder" --run.folder="$folder/labels/$label"); fi
  for stage in ${per_label[@]+"${per_label[@]}"}; do
    more=(${settings[@]+"${settings[@]}"})
    # A page tells of the label that its results are of.
    [[ ${#more[@]} == 0 || $stage == report ]] || more+=("--${stage#train-}.label=$label")
    run_stage "$stage" ${more[@]+"${more[@]}"}
  done
  [[ -z $after ]] || jobs+=("$after")
done
if [[ -z $dry && -n ${jobs[*]} ]]; then printf '%s\n' "${jobs[@]}"; fi
