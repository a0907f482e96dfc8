// The headers that are slow to parse and never change; see Rooms.cmake. torch/torch.h is not among them: the whole C++
// frontend makes a precompiled header of 700 MB that costs more to load than it saves.
#pragma once

#include <ATen/ATen.h>
#include <mpi.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

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
