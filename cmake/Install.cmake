# cmake --install build/cpu --prefix DIR
#   DIR/bin                          the command retort and the programs
#   DIR/share/retort                 jobs/ (Slurm), configs/, command/ (parts of the command retort), bench/ (scaling)
#   DIR/share/modulefiles/retort     a module file
#   and completion for bash, zsh and fish where these shells look for it
# LibTorch stays where it was found; the programs remember the place.
include(GNUInstallDirs)
get_property(programs DIRECTORY src PROPERTY BUILDSYSTEM_TARGETS)
list(FILTER programs INCLUDE REGEX "^retort-")
set(share ${CMAKE_INSTALL_DATADIR}/retort)
install(TARGETS ${programs} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(PROGRAMS tools/retort DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY tools/command configs DESTINATION ${share})
install(PROGRAMS jobs/submit.sh jobs/pipeline.sh jobs/sweep.sh jobs/run.sbatch jobs/scaling.sbatch
        DESTINATION ${share}/jobs)
install(FILES jobs/launch.sh jobs/pipelines.txt jobs/site.env.example jobs/README.md DESTINATION ${share}/jobs)
install(FILES bench/scaling.py bench/launch.py bench/inputs.py bench/data.ini bench/provenance.py
        DESTINATION ${share}/bench)
foreach(place bash-completion/completions/retort zsh/site-functions/_retort fish/vendor_completions.d/retort.fish)
  string(REGEX MATCH "^[a-z]+" shell ${place})
  cmake_path(GET place PARENT_PATH folder)
  cmake_path(GET place FILENAME name)
  install(FILES tools/command/completion.${shell} DESTINATION ${CMAKE_INSTALL_DATADIR}/${folder} RENAME ${name})
endforeach()
# The module file names the place that --prefix chooses, so it is made when installing.
configure_file(cmake/modulefile.in modulefile.in @ONLY)
install(CODE "set(prefix \"\${CMAKE_INSTALL_PREFIX}\")
  configure_file(\"${CMAKE_CURRENT_BINARY_DIR}/modulefile.in\"
    \"\$ENV{DESTDIR}\${prefix}/${CMAKE_INSTALL_DATADIR}/modulefiles/retort/${PROJECT_VERSION}\")")
