# Sourced by the command retort: distill and generate, from an h5ad to results, on this machine or through Slurm.

demo_name=10x_pbmc68k_reduced

# The 700 PBMC of the scanpy wheel; leaves the file's path in `inputs`.
fetch_demo() {
  local folder=$share/build/demo python=$share/build/python/bin/python
  [[ $me == tools/retort ]] || folder=${XDG_CACHE_HOME:-$HOME/.cache}/retort python=python3
  inputs=$folder/$demo_name.h5ad
  [[ ! -e $inputs ]] || return 0
  say "fetching the 700 PBMC of the scanpy wheel"
  mkdir -p "$folder"
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$folder" scanpy==1.11.5 ||
    fail 1 "cannot fetch the 700 PBMC (pip says why above). Name an ATLAS.h5ad and its LABEL instead"
  unzip -q -o -j "$folder"/scanpy-*.whl "scanpy/datasets/$demo_name.h5ad" -d "$folder"
}

# config_file NAME: a path, or the name of a file in configs/.
config_file() {
  if [[ ! -r $1 && -r $share/configs/$1.ini ]]; then echo "$share/configs/$1.ini"; else echo "$1"; fi
}

# One INI serves all stages; each reads its own sections. The last of several values wins.
settings_text() {
  local config columns=''
  for config in ${configs[@]+"${configs[@]}"}; do cat "$config"; echo; done
  # A flow of an autoencoder's latents is told of all columns; without this it would take the first.
  [[ $(stages_of "$pipeline") != *train-vae* ]] || columns=$label
  printf '%s\n' ${inputs:+"ingest.input=$inputs"} ${label:+"ingest.label=$label"} \
    ${columns:+"diffusion.label=$columns"} ${foundation:+"foundation.import=$foundation"} \
    "run.folder=$run_folder" ${settings[@]+"${settings[@]}"} |
    awk -F. '{ section = $1; sub(/^[^.]*\./, ""); text[section] = text[section] $0 "\n" }
             END { for (s in text) printf "[%s]\n%s\n", s, text[s] }'
}

# read_arguments ARGUMENT...: into the variables that run_pipeline declares.
read_arguments() {
  local own='--(config|foundation|ranks|run-folder|set|model|nodes|time)'
  while (($#)); do
    if [[ $1 =~ ^$own=(.*)$ ]]; then set -- "${1%%=*}" "${1#*=}" "${@:2}"; fi
    [[ ! $1 =~ ^$own$ && $1 != --run.folder || -n ${2:-} ]] || usage_error "$1 needs a value"
    case $1 in
      --config) configs+=("$(config_file "$2")"); shift ;;
      --foundation) foundation=$2; shift ;;
      --model) pipeline=$2; shift ;;
      --ranks) ranks=$2; shift ;;
      --nodes) nodes=$2; shift ;;
      --time) time=$2; shift ;;
      --run-folder | --run.folder) run_folder=$2; shift ;;
      --run.folder=*) run_folder=${1#*=} ;;
      --set) [[ $2 =~ ^[a-z_]+\.[a-z_]+=.*$ ]] || usage_error "--set needs section.key=value, not '$2'"
        settings+=("$2"); shift ;;
      --[a-z]*.[a-z]*=*) settings+=("${1#--}") ;;  # as the programs take it
      --[a-z]*.[a-z]*) usage_error "$1 needs a value: $1=VALUE" ;;
      --dry-run) dry=yes ;;
      --print-config) prints=yes ;;
      -h | --help) tell "$verb"; exit 0 ;;
      -*) usage_error "unknown option '$1'" ;;
      *) positional+=("$1") ;;
    esac
    shift
  done
}

check_arguments() {
  local config file files
  case ${#positional[@]} in
    0) [[ $verb == distill || ${#configs[@]} -gt 0 || -n $prints ]] ||
      usage_error "an ATLAS.h5ad and its LABEL are needed" ;;
    1) ((${#configs[@]})) || usage_error "an ATLAS.h5ad needs its LABEL column"
      inputs=${positional[0]} ;;
    2) inputs=${positional[0]} label=${positional[1]} ;;
    *) usage_error "an ATLAS.h5ad and its LABEL are enough (got ${#positional[@]} arguments)" ;;
  esac
  if [[ $verb == distill ]]; then
    [[ -z $pipeline ]] || usage_error "--model is an option of generate"
    pipeline=distill
  else
    [[ -z $foundation ]] || usage_error "--foundation is an option of distill"
    pipeline=${pipeline:-scldm}
    models | grep -x -e "$pipeline" >/dev/null ||
      usage_error "unknown model '$pipeline' (it is $(models | paste -sd , | sed 's/,/, /g'))"
  fi
  [[ $ranks =~ ^([1-9][0-9]*)?$ ]] || usage_error "--ranks needs a whole number above 0, not '$ranks'"
  [[ $nodes =~ ^([1-9][0-9]*)?$ ]] || usage_error "--nodes needs a whole number above 0, not '$nodes'"
  [[ -n $nodes || -z $time ]] || usage_error "--time is for Slurm, with --nodes"
  for config in ${configs[@]+"${configs[@]}"}; do
    [[ -r $config ]] || fail 66 "settings '$config' are missing (no such file, or no permission). Check --config"
  done
  [[ -z $foundation || -d $foundation ]] ||
    fail 66 "foundation model '$foundation' is missing (no such folder). Check --foundation"
  IFS=, read -ra files <<<"$inputs"
  for file in ${files[@]+"${files[@]}"}; do
    [[ -r $file ]] || fail 66 "input '$file' is missing (no such file, or no permission). Check the path"
  done
}

check_cluster() {
  [[ -z $ranks ]] || usage_error "--ranks is for this machine (RETORT_RANKS_PER_NODE in $site for Slurm)"
  [[ -r $site ]] || fail 66 "nothing is known of your cluster ('$site' is missing). Copy \
'$share/jobs/site.env.example' there and change the lines marked EDIT, or export RETORT_SITE=FILE"
  [[ -n $dry ]] || command -v sbatch >/dev/null ||
    fail 1 "sbatch is not on PATH (no Slurm on this machine). Start this on a login node, or leave --nodes out"
}

# The default run folder: runs/ATLAS, or runs/ATLAS-MODEL, with the names of the configs.
name_run() {
  local config names=(${inputs:+"$(basename "${inputs%%,*}" .h5ad)"})
  for config in ${configs[@]+"${configs[@]}"}; do names+=("$(basename "$config" .ini)"); done
  run_folder=runs/$(IFS=-; echo "${names[*]:-run}")
}

# What the run has come to, one line each, the page last.
tell_products() {
  local file folder what
  for folder in "$run_folder" "$run_folder"/labels/*; do
    for file in distilled.h5ad generated.h5ad results.json generation.json report.html; do
      case $file in
        distilled.h5ad) what='distilled cells' ;;
        generated.h5ad) what='new cells' ;;
        report.html) what='report, open this first' ;;
        *) what='scores' ;;
      esac
      [[ ! -e $folder/$file ]] || say "$what: $folder/$file"
    done
  done
}

# run_pipeline VERB ARGUMENT...: distill or generate.
run_pipeline() {
  local inputs='' label='' foundation='' run_folder='' pipeline='' ranks='' nodes='' time='' dry='' prints='' jobs file
  local configs=() settings=() positional=()
  read_arguments "${@:2}"
  check_arguments
  [[ -z $nodes ]] || check_cluster
  if [[ -z ${RETORT_BIN:-} && $me == tools/retort ]]; then
    "$share/tools/setup"
    bin=$(programs_folder)
  fi
  require_programs
  if [[ $verb == distill && -z $inputs$prints ]] && ((${#configs[@]} == 0)); then fetch_demo; label=bulk_labels; fi
  # The model's file of sizes comes first, so that everything that was asked for wins; and it names the run.
  [[ $verb == distill ]] || configs=("$share/configs/$pipeline.ini" ${configs[@]+"${configs[@]}"})
  [[ -n $run_folder ]] || name_run

  if [[ -n $dry$prints ]]; then
    file=$(mktemp)
    trap "rm -f '$file'" EXIT
  else
    file=$run_folder/settings.ini
    mkdir -p "$run_folder" 2>/dev/null ||
      fail 73 "cannot make the run folder '$run_folder' (no permission, or a file is in the way). Choose another \
--run-folder"
  fi
  settings_text >"$file" || fail 73 "cannot write in the run folder '$run_folder'. Choose another --run-folder"
  if [[ -n $prints ]]; then settings_of "$pipeline" --config "$file"; return; fi

  local command=("$share/jobs/pipeline.sh" "$file" --pipeline "$pipeline" ${dry:+--dry-run})
  if [[ -n $nodes ]]; then
    jobs=$("${command[@]}" --nodes "$nodes" ${time:+--time "$time"})
    if [[ -n $dry ]]; then
      [[ -z $jobs ]] || echo "$jobs"
    elif [[ -n $jobs ]]; then
      say "submitted; in the end the report is $run_folder/report.html. Logs: $run_folder/jobs"
    else
      say "nothing to submit; the report is $run_folder/report.html"
    fi
    return
  fi
  if [[ -z $ranks ]]; then ranks=$(($(nproc) > 4 ? 4 : $(nproc))); fi
  "${command[@]}" --local "$ranks"
  [[ -n $dry ]] || tell_products
}
