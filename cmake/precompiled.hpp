// The headers that are slow to parse and never change; see Rooms.cmake. What is not here: torch/torch.h, a precompiled
// header of 700 MB that costs more to load than it saves, and autograd's headers. g++ instantiates the templates that a
// precompiled header leaves pending in every source that loads it: 2.7 s with autograd, 1.7 s without, measured on an
// empty source; twenty sources include autograd, and pay for it themselves.
#pragma once

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <mpi.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>
