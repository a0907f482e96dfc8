// The headers that are slow to parse and never change; see Rooms.cmake.
#pragma once

#include <mpi.h>
#include <torch/torch.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>
