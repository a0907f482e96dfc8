# Sourced by the scripts beside it: this cluster's settings, where the programs are, how ranks are started.
retort_root=${RETORT_ROOT:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}
site=${RETORT_SITE:-$retort_root/jobs/site.env}
if [[ -e $site ]]; then source "$site"; fi
: "${RETORT_RANKS_PER_NODE:=4}" "${RETORT_GPUS_PER_NODE:=0}" "${RETORT_MPI:=pmix}" "${RETORT_STOP_SECONDS:=300}" "${RETORT_RESTARTS:=3}"
bin=${RETORT_BIN:-$retort_root/build/$(cat "$retort_root/build/preset" 2>/dev/null || echo cpu)/bin}
stages=(ingest train-foundation embed train-diffusion distill evaluate report)  # of the pipeline, in order

# Open MPI's single-copy transport is refused in most containers, and HDF5's file locks on most parallel file systems.
export OMPI_MCA_btl_vader_single_copy_mechanism=none HDF5_USE_FILE_LOCKING=FALSE

fail() { echo "${0##*/}: error: $2" >&2; exit "$1"; }

require_programs() {
  [[ -x $bin/retort-ingest ]] || fail 1 "no programs in '$bin' (not built yet?). Run tools/setup, or set RETORT_BIN"
}
# setting_of CONFIG SECTION KEY: its value, of the sections that ingest has.
setting_of() { "$bin/retort-ingest" --config "$1" --print-config | sed -n "/^\[$2\]/,/^\[/s/^$3 = //p"; }
# run_folder CONFIG: the run folder that it names.
run_folder() { setting_of "$1" run folder; }

# start_ranks PROGRAM ARGUMENT...: inside a Slurm job, one rank a task of it; RETORT_NODES and RETORT_RANKS: on a part of it.
start_ranks() {
  if [[ $RETORT_MPI == mpirun ]]; then
    mpirun --quiet --bind-to none ${RETORT_RANKS:+-n "$RETORT_RANKS" --map-by "ppr:$((RETORT_RANKS / RETORT_NODES)):node"} $([[ $EUID == 0 ]] && echo --allow-run-as-root) "$@"
  else  # one dead rank ends the step: the others would wait for it until the watchdog's deadline
    srun --mpi="$RETORT_MPI" --kill-on-bad-exit=1 --wait=60 --distribution=block $( ((RETORT_GPUS_PER_NODE)) && echo --gpu-bind=none) ${RETORT_RANKS:+--nodes="$RETORT_NODES" --ntasks="$RETORT_RANKS"} ${RETORT_SRUN:-} "$@"
  fi
}

# start_local RANKS PROGRAM ARGUMENT...: on this machine. INT and TERM ask the ranks to checkpoint and leave; mpirun, which
# would kill them within a second, does not hear them.
start_local() {
  local ranks=$1 code=0 launcher
  shift
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
