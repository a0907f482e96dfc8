# Completes the command retort in bash: verbs, options, --section.key= settings (asked from the programs) and files.
# bash also uses this for a path that ends in /retort.
declare -gA _retort_lists

# Leaves what `retort completion ARGUMENT...` lists in _retort_list; each list is asked for once per shell.
_retort_ask() {
  local key=$*
  if [[ ! -v _retort_lists[$key] ]]; then _retort_lists[$key]=$("${COMP_WORDS[0]}" completion "$@" 2>/dev/null); fi
  _retort_list=${_retort_lists[$key]}
}

_retort() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} verb=${COMP_WORDS[1]:-} _retort_list
  local options='--help --ranks'
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    _retort_ask verbs
    mapfile -t COMPREPLY < <(compgen -W "$_retort_list --help --version" -- "$word")
    return
  fi
  case $verb in
    completion) mapfile -t COMPREPLY < <(compgen -W 'bash zsh fish' -- "$word"); return ;;
    distill) options+=' --config --foundation --run-folder --nodes --time --set --dry-run --print-config' ;;
    generate) options+=' --model --config --run-folder --nodes --time --set --dry-run --print-config' ;;
    report) options='--help' ;;
    *) options+=' --config --print-config --dry-run --is-done' ;;
  esac
  case $before in
    --model) _retort_ask models; mapfile -t COMPREPLY < <(compgen -W "$_retort_list" -- "$word"); return ;;
    --ranks | --nodes | --time) return ;;
  esac
  if [[ $word == -* ]]; then
    _retort_ask settings "$verb"
    mapfile -t COMPREPLY < <(compgen -W "$options $_retort_list" -- "$word")
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *= ]]; then compopt -o nospace 2>/dev/null; fi
    return
  fi
  [[ $word != '=' ]] || word=''  # bash cuts --section.key=value in three
  compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(compgen -f -- "$word")
}
complete -F _retort retort
