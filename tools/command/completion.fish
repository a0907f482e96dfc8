# Completes the command retort in fish: verbs, --section.key= settings (asked from the programs) and files.
function __retort_settings
    set -l words (commandline -opc)
    set -q words[2]; and $words[1] completion settings $words[2] 2>/dev/null
end
complete -c retort -n 'test (count (commandline -opc)) -eq 1' -f -a '(retort completion verbs 2>/dev/null)'
complete -c retort -n '__fish_seen_subcommand_from completion' -f -a 'bash zsh fish'
complete -c retort -n 'test (count (commandline -opc)) -gt 1; and string match -q -- "-*" (commandline -ct)' \
    -a '(__retort_settings)'
complete -c retort -l help -d 'arguments of the verb'
complete -c retort -l ranks -x -d 'MPI ranks on this machine'
complete -c retort -l config -r -d 'settings from an INI file'
complete -c retort -n '__fish_seen_subcommand_from distill generate' -l run-folder -r -d 'where everything goes'
complete -c retort -n '__fish_seen_subcommand_from distill generate' -l nodes -x -d 'submit to Slurm'
complete -c retort -n '__fish_seen_subcommand_from distill generate' -l time -x -d 'time limit per job'
complete -c retort -n '__fish_seen_subcommand_from distill generate' -l dry-run -d 'says what would run'
complete -c retort -n '__fish_seen_subcommand_from generate' -l model -x -a '(retort completion models 2>/dev/null)'
complete -c retort -n '__fish_seen_subcommand_from distill' -l foundation -r -d 'folder of a trained foundation'
