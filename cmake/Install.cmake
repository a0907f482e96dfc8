# cmake --install build/cpu --prefix DIR: bin/ has the programs, share/retort/jobs the Slurm scripts, share/modulefiles/retort a module file.
# LibTorch stays where it was found; the programs remember the place.
include(GNUInstallDirs)
get_property(programs DIRECTORY src PROPERTY BUILDSYSTEM_TARGETS)
list(FILTER programs INCLUDE REGEX "^retort-")
install(TARGETS ${programs} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(PROGRAMS jobs/submit.sh jobs/pipeline.sh jobs/sweep.sh jobs/run.sbatch jobs/scaling.sbatch DESTINATION ${CMAKE_INSTALL_DATADIR}/retort/jobs)
install(FILES jobs/launch.sh jobs/site.env.example jobs/README.md DESTINATION ${CMAKE_INSTALL_DATADIR}/retort/jobs)
install(FILES bench/scaling.py bench/launch.py bench/inputs.py bench/data.ini bench/provenance.py DESTINATION ${CMAKE_INSTALL_DATADIR}/retort/bench)
configure_file(cmake/modulefile.in modulefile @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/modulefile DESTINATION ${CMAKE_INSTALL_DATADIR}/modulefiles/retort RENAME ${PROJECT_VERSION})
