# Sourced by the scripts beside it and by the command retort: where the programs are, which stages a pipeline has, this
# cluster's settings, how ranks are started.
retort_root=${RETORT_ROOT:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}
site=${RETORT_SITE:-$retort_root/jobs/site.env}
if [[ -e $site ]]; then source "$site"; fi
: "${RETORT_RANKS_PER_NODE:=4}" "${RETORT_GPUS_PER_NODE:=0}" "${RETORT_MPI:=pmix}"
: "${RETORT_STOP_SECONDS:=300}" "${RETORT_RESTARTS:=3}"

# Open MPI's single-copy transport is refused in most containers, and HDF5's file locks on most parallel file systems.
export OMPI_MCA_btl_vader_single_copy_mechanism=none HDF5_USE_FILE_LOCKING=FALSE

say() { echo "${RETORT_SPEAKER:-${0##*/}}: $*" >&2; }
fail() { say "error: $2"; exit "$1"; }

# The folder of the programs: of the newest tools/setup in the source tree; DIR/bin where this is DIR/share/retort/jobs.
programs_folder() {
  if [[ -n ${RETORT_BIN:-} ]]; then
    echo "$RETORT_BIN"
  elif [[ ! -e $retort_root/CMakeLists.txt && -x $retort_root/../../bin/retort-ingest ]]; then
    cd "$retort_root/../../bin" && pwd
  else
    echo "$retort_root/build/$(cat "$retort_root/build/preset" 2>/dev/null || echo cpu)/bin"
  fi
}
bin=$(programs_folder)

require_programs() {
  [[ -x $bin/retort-ingest ]] || fail 1 "no programs in '$bin' (not built yet?). Run tools/setup, or set RETORT_BIN"
}

# pipelines: the names in pipelines.txt. stages_of PIPELINE: its line there.
pipelines() { sed -n 's/^\([a-z][a-z-]*\):.*/\1/p' "$retort_root/jobs/pipelines.txt"; }
stages_of() { sed -n "s/^$1: *//p" "$retort_root/jobs/pipelines.txt"; }

# help_of SCRIPT: its first comment lines.
help_of() { sed -n '2,${/^#/!q;s/^# \{0,1\}//p}' "$1"; }

# settings_for VERB SETTING...: leaves in `own` those of the sections that the program has.
declare -A sections=()
settings_for() {
  local verb=$1 setting section
  shift
  own=()
  [[ -n ${sections[$verb]:-} ]] ||
    sections[$verb]=$("$bin/retort-$verb" --print-config | sed -n 's/^\[\(.*\)\]$/[\1]/p')
  for setting in "$@"; do
    section=${setting#--}
    [[ ${sections[$verb]} != *"[${section%%.*}]"* ]] || own+=("$setting")
  done
}

# check_settings VERB[,VERB...] CONFIG SETTING...: a misspelt setting is told here, not in the queue.
check_settings() {
  local verbs=$1 config=$2 verb setting known=() own
  shift 2
  for verb in ${verbs//,/ }; do
    settings_for "$verb" "$@"
    known+=(${own[@]+"${own[@]}"})
    "$bin/retort-$verb" --config "$config" ${own[@]+"${own[@]}"} --print-config >/dev/null || exit
  done
  for setting in "$@"; do
    [[ " ${known[*]-} " == *" $setting "* ]] ||
      fail 2 "unknown setting '$setting' (not one of ${verbs//,/, }). See retort VERB --help for those there are"
  done
}

# setting_of CONFIG SECTION KEY SETTING...: its value, for the sections that ingest has.
setting_of() {
  local own
  settings_for ingest "${@:4}"
  "$bin/retort-ingest" --config "$1" ${own[@]+"${own[@]}"} --print-config | sed -n "/^\[$2\]/,/^\[/s/^$3 = //p"
}
# run_folder CONFIG SETTING...: the run folder that they name.
run_folder() { setting_of "$1" run folder "${@:2}"; }

# seconds_of LIMIT: a time limit as sbatch takes it, in seconds; 0: none. Fails where it has another form.
seconds_of() {
  local parts
  case ${1^^} in UNLIMITED | INFINITE) echo 0; return ;; esac
  [[ $1 =~ ^([0-9]+-)?[0-9]+(:[0-9]+)?(:[0-9]+)?$ ]] || return 1
  IFS=:- read -ra parts <<<"$1"
  if [[ $1 != *-* ]]; then
    case ${#parts[@]} in
      1 | 2) parts=(0 0 "${parts[@]}") ;;  # M, M:S
      3) parts=(0 "${parts[@]}") ;;        # H:M:S
    esac
  fi
  echo $((((10#${parts[0]} * 24 + 10#${parts[1]}) * 60 + 10#${parts[2]:-0}) * 60 + 10#${parts[3]:-0}))
}

# start_ranks PROGRAM ARGUMENT...: inside a Slurm job, one rank per task. RETORT_NODES and RETORT_RANKS choose a part of
# the job.
start_ranks() {
  local launcher
  if [[ $RETORT_MPI == mpirun ]]; then
    launcher=(mpirun --quiet --bind-to none)
    [[ -z ${RETORT_RANKS:-} ]] || launcher+=(-n "$RETORT_RANKS" --map-by "ppr:$((RETORT_RANKS / RETORT_NODES)):node")
    ((EUID)) || launcher+=(--allow-run-as-root)
  else  # one dead rank ends the step: the others would wait for it until the watchdog's deadline
    launcher=(srun --mpi="$RETORT_MPI" --kill-on-bad-exit=1 --wait=60 --distribution=block)
    ((RETORT_GPUS_PER_NODE == 0)) || launcher+=(--gpu-bind=none)
    [[ -z ${RETORT_RANKS:-} ]] || launcher+=(--nodes="$RETORT_NODES" --ntasks="$RETORT_RANKS")
    launcher+=(${RETORT_SRUN:-})
  fi
  "${launcher[@]}" "$@"
}

# start_local RANKS PROGRAM ARGUMENT...: on this machine. INT and TERM ask the ranks to checkpoint and leave; mpirun,
# which would kill them within a second, does not hear them.
start_local() {
  local ranks=$1 code=0 launcher
  shift
  command -v mpirun >/dev/null || fail 1 "mpirun is not on PATH. Load the MPI that retort was built with"
  local mpirun=(mpirun --quiet -n "$ranks" --bind-to none --oversubscribe)
  if ((EUID == 0)); then mpirun+=(--allow-run-as-root); fi
  if ((ranks > $(nproc))); then mpirun+=(--mca mpi_yield_when_idle 1); fi
  setsid "${mpirun[@]}" "$@" </dev/null &
  launcher=$!
  trap 'kill -USR2 "$launcher" 2>/dev/null' INT TERM
  while true; do
    code=0
    wait "$launcher" || code=$?
    kill -0 "$launcher" 2>/dev/null || break  # a trapped signal ends wait, not the run
  done
  trap - INT TERM
  return "$code"
}
