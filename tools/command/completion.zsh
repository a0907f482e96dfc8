#compdef retort
# Completes the command retort in zsh: verbs, --section.key= settings (asked from the programs) and files.
_retort() {
  local -a found
  if ((CURRENT == 2)); then
    found=(${(f)"$(${words[1]} completion verbs 2>/dev/null)"})
    compadd -- $found --help --version
  elif [[ ${words[CURRENT - 1]} == --model ]]; then
    found=(${(f)"$(${words[1]} completion models 2>/dev/null)"})
    compadd -- $found
  elif [[ ${words[2]} == completion ]]; then
    compadd -- bash zsh fish
  elif [[ ${words[CURRENT]} == -* && ${words[CURRENT]} != *=* ]]; then
    found=(${(f)"$(${words[1]} completion settings ${words[2]} 2>/dev/null)"})
    compadd -S '' -- $found
    compadd -- --help --ranks --config
    [[ ${words[2]} != (distill|generate) ]] || compadd -- --run-folder --nodes --time --set --dry-run --print-config
    [[ ${words[2]} != generate ]] || compadd -- --model
    [[ ${words[2]} != distill ]] || compadd -- --foundation
  else
    compset -P '*='
    _files
  fi
}
if [[ ${funcstack[1]:-} == _retort ]]; then _retort "$@"; else compdef _retort retort; fi
