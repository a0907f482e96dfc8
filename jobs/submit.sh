#!/usr/bin/env bash
# Submits a program as a Slurm job, or runs it on this machine.
# usage: jobs/submit.sh VERB[,VERB...] CONFIG [--nodes N] [--time T] [--after JOB] [--sweep FILE [--only N,N]]
#                       [--dry-run] [--local RANKS] [--section.key=VALUE]...
#   VERB        a program retort-VERB: ingest, embed, distill, ...; several run one after the other in one job
#   CONFIG      INI with the settings of all programs (any program's --print-config is a start)
#   --after     waits until that job has ended well
#   --nodes, --time   of the job: 1 node and RETORT_TIME (site.env) without them; M, M:S, H:M:S, D-H, D-H:M, D-H:M:S
#   --sweep     an array job, one task per line of FILE: NAME --section.key=VALUE...; see sweep.sh
#   --dry-run   prints the sbatch line and the program's plan (rows, bytes and memory per rank), submits nothing
#   --section.key=VALUE   a setting; of several programs, each takes those of its own sections
#   --local     runs under mpirun here; Ctrl-C checkpoints and leaves, the same line goes on
# Prints the job's number on stdout.
set -euo pipefail
source "$(cd "$(dirname "$0")" && pwd)/launch.sh"
nodes=1 time=${RETORT_TIME:-4:00:00} after='' sweep='' only='' dry='' ranks='' settings=() positional=()
while (($#)); do
  case $1 in
    --nodes) nodes=${2:?--nodes needs a number}; shift ;;
    --time) time=${2:?--time needs a limit}; shift ;;
    --after) after=${2:?--after needs a job}; shift ;;
    --sweep) sweep=$(realpath "${2:?--sweep needs a file}"); shift ;;
    --only) only=${2:?--only needs line numbers}; shift ;;
    --dry-run) dry=yes ;;
    --local) ranks=${2:?--local needs a number of ranks}; shift ;;
    --*.*) settings+=("$1") ;;
    -h | --help) help_of "$0"; exit 0 ;;
    -*) fail 2 "unknown option '$1'. See jobs/submit.sh --help" ;;
    *) positional+=("$1") ;;
  esac
  shift
done
((${#positional[@]} == 2)) ||
  fail 2 "a VERB and a CONFIG are needed (got ${#positional[@]} arguments). See jobs/submit.sh --help"
verbs=${positional[0]} config=${positional[1]}
[[ -r $config ]] || fail 66 "settings '$config' are missing. Check the path"
config=$(realpath "$config")
require_programs
for verb in ${verbs//,/ }; do
  [[ -x $bin/retort-$verb ]] ||
    fail 2 "there is no program '$verb' (programs: $(cd "$bin" && echo retort-* | sed 's/retort-//g'))"
done
check_settings "$verbs" "$config" ${settings[@]+"${settings[@]}"}

if [[ -n $ranks ]]; then
  for verb in ${verbs//,/ }; do
    settings_for "$verb" ${settings[@]+"${settings[@]}"}
    start_local "$ranks" "$bin/retort-$verb" --config "$config" ${own[@]+"${own[@]}"} ${dry:+--dry-run}
  done
  exit 0
fi

limit=$(seconds_of "$time") ||
  fail 2 "the time limit '$time' has no form that sbatch takes. Write --time (or RETORT_TIME) as minutes or H:MM:SS"
# Slurm's signal comes up to a minute early; without a margin every start would be told to leave at once.
((limit == 0 || limit >= 2 * RETORT_STOP_SECONDS)) ||
  fail 2 "the time limit '$time' is too short (its last $RETORT_STOP_SECONDS s are for leaving: RETORT_STOP_SECONDS). \
Raise --time to twice that, or lower RETORT_STOP_SECONDS"
folder=$(run_folder "$config" ${settings[@]+"${settings[@]}"})
mkdir -p "$folder/jobs" || fail 73 "cannot make '$folder/jobs'. Choose another run.folder"
folder=$(realpath "$folder")
log=%x-%j.log
[[ -z $sweep ]] || log=%x-%A_%a.log  # and NAME.log leads there
line=(sbatch --parsable --job-name="retort-${verbs//,/+}" --output="$folder/jobs/$log"
      --nodes="$nodes" --ntasks-per-node="$RETORT_RANKS_PER_NODE" --time="$time" --signal="USR2@$RETORT_STOP_SECONDS"
      --export="ALL,RETORT_ROOT=$retort_root${sweep:+,RETORT_SWEEP=$sweep}")
[[ -z ${RETORT_ACCOUNT:-} ]] || line+=(--account="$RETORT_ACCOUNT")
[[ -z ${RETORT_PARTITION:-} ]] || line+=(--partition="$RETORT_PARTITION")
((RETORT_GPUS_PER_NODE == 0)) || line+=(--gpus-per-node="$RETORT_GPUS_PER_NODE")
[[ -z $after ]] || line+=(--dependency="afterok:$after" --kill-on-invalid-dep=yes)
[[ -z $sweep ]] || line+=(--array="${only:-1-$(grep -c . "$sweep")}")
line+=(${RETORT_SBATCH:-} "$retort_root/jobs/run.sbatch" "$verbs" "$config" ${settings[@]+"${settings[@]}"})
if [[ -n $dry ]]; then
  printf '%q ' "${line[@]}"
  echo
  for verb in ${verbs//,/ }; do
    settings_for "$verb" ${settings[@]+"${settings[@]}"}
    "$bin/retort-$verb" --config "$config" ${own[@]+"${own[@]}"} --dry-run
  done
  exit 0
fi
job=$("${line[@]}")
say "$verbs is job ${job%%;*}; log: $folder/jobs"
echo "${job%%;*}"
