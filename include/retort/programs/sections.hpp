// The sections of the settings, and which programs declare each: one INI file serves a whole pipeline, so a program
// skips the sections of the others, and refuses a section that is nobody's.
#pragma once

#include <array>
#include <string>

#include "retort/run/option_table.hpp"

namespace retort {

struct DeclaredSection {
  char const* name;
  char const* programs;  // without "retort-", separated by spaces; "*": every program
};

// A new section is entered here; tests/tools/sections_test.py holds this list to what the programs print.
inline constexpr std::array declared_sections{
    DeclaredSection{"run", "*"},
    DeclaredSection{"simulate", "simulate"},
    DeclaredSection{"ingest", "ingest"},
    DeclaredSection{"cells", "ingest"},
    DeclaredSection{"foundation", "train-foundation"},
    DeclaredSection{"embed", "embed"},
    DeclaredSection{"vae", "train-vae"},
    DeclaredSection{"diffusion", "train-diffusion"},
    DeclaredSection{"generate", "generate"},
    DeclaredSection{"evaluate_generated", "evaluate-generated"},
    DeclaredSection{"distill", "distill"},
    DeclaredSection{"evaluate", "evaluate"},
    DeclaredSection{"head", "distill evaluate"},
    DeclaredSection{"report", "report"},
    DeclaredSection{"measure", "measure"},
};

// The table of retort-`verb`, still without settings; it skips the sections above that it is not given.
OptionTable program_table(std::string const& verb, std::string const& purpose);

}  // namespace retort
