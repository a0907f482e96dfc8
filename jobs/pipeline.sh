#!/usr/bin/env bash
# From h5ad to distilled h5ad and its table: a chain of jobs, each waiting for the one before; what is done is skipped.
# Of several labels (ingest.label=A,B) the first is distilled in the run folder, every other in RUN/labels/NAME, from the same atlas
# and features.
# usage: jobs/pipeline.sh CONFIG [--nodes N] [--time T] [--dry-run] [--local RANKS]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/launch.sh"
config='' local='' dry='' options=()
while (($#)); do
  case $1 in
    --nodes | --time) options+=("$1" "${2:?$1 needs a value}"); shift ;;
    --dry-run) dry=yes ;;
    --local) local=${2:?--local needs a number of ranks}; shift ;;
    -*) fail 2 "unknown option '$1'. See the first lines of jobs/pipeline.sh" ;;
    *) [[ -z $config ]] || fail 2 "one CONFIG, not '$1' too"; config=$1 ;;
  esac
  shift
done
[[ -n $config ]] || fail 2 "a CONFIG is needed. See the first lines of jobs/pipeline.sh"
[[ -r $config ]] || fail 66 "settings '$config' are missing. Check the path"
require_programs
for stage in "${stages[@]}"; do  # a misspelt setting of the last stage is told before the first one starts
  "$bin/retort-$stage" --config "$config" --print-config >/dev/null
done
IFS=, read -ra labels <<<"$(setting_of "$config" ingest label)"
((${#labels[@]})) || fail 2 "ingest.label is empty (it names the column with the classes). Set it in '$config'"
folder=$(run_folder "$config")

# run_stage STAGE SETTING...: runs it here, or submits it to wait for `after` and leaves its job there.
run_stage() {
  local stage=$1
  shift
  if [[ -n $local ]]; then
    start_local "$local" "$bin/retort-$stage" --config "$config" "$@" ${dry:+--dry-run}
  elif [[ -z $after ]] && "$bin/retort-$stage" --config "$config" "$@" --is-done 2>/dev/null; then
    echo "pipeline.sh: $stage is done" >&2
  elif [[ -n $dry ]]; then
    echo "pipeline.sh: $stage would be submitted${after:+ after $after}" >&2
    after=$stage
  else
    after=$("$here/submit.sh" "$stage" "$config" "$@" ${options[@]+"${options[@]}"} ${after:+--after "$after"})
  fi
}

after='' features='' jobs=()
for stage in "${stages[@]}"; do
  run_stage "$stage"
  [[ $stage != embed ]] || features=$after
done
[[ -z $after ]] || jobs+=("$after")
for label in "${labels[@]:1}"; do
  after=$features
  for stage in train-diffusion distill evaluate report; do
    settings=(--run.base="$folder" --run.folder="$folder/labels/$label")
    [[ $stage == report ]] || settings+=("--${stage#train-}.label=$label")  # a page tells of the label that its results are of
    run_stage "$stage" "${settings[@]}"
  done
  [[ -z $after ]] || jobs+=("$after")
done
if [[ -z $dry && -n ${jobs[*]} ]]; then printf '%s\n' "${jobs[@]}"; fi
