// Mutates real h5ad files at the level of HDF5's objects and reads each as ingest does, in this process.
// usage: h5ad_mutations FOLDER_OF_SEEDS COUNT [SEED]   prints how many were refused and how many read
// Built with the preset sanitize, so that a read past an array ends it. A file that lies about its bytes (HDF5's own
// structures damaged) is HDF5's to refuse and is not made here, but for files that were cut short.
#include <hdf5.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "read_stranger.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace fs = std::filesystem;

namespace {

using Draw = std::mt19937_64;
std::size_t below(Draw& draw, std::size_t bound) { return bound ? draw() % bound : 0; }

struct Objects {
  std::vector<std::string> datasets, groups;
};

Objects objects_of(hid_t file) {
  Objects found;
  auto const visit = [](hid_t, char const* name, H5O_info_t const* info, void* into) -> herr_t {
    auto& objects = *static_cast<Objects*>(into);
    (info->type == H5O_TYPE_DATASET ? objects.datasets : objects.groups).push_back(name);
    return 0;
  };
  H5Ovisit2(file, H5_INDEX_NAME, H5_ITER_INC, visit, &found, H5O_INFO_BASIC);
  return found;
}

double extreme(Draw& draw) {
  double const values[] = {-1,
                           0,
                           1,
                           2,
                           3.5,
                           -0.5,
                           255,
                           256,
                           65535,
                           65536,
                           2147483647.0,
                           -2147483648.0,
                           4294967296.0,
                           9.2e18,
                           -9.2e18,
                           1e300,
                           std::numeric_limits<double>::infinity(),
                           std::numeric_limits<double>::quiet_NaN()};
  return values[below(draw, std::size(values))];
}

// Some elements of a data set of numbers become other numbers; of text, other texts.
void change_values(hid_t file, std::string const& name, Draw& draw) {
  hid_t const set = H5Dopen2(file, name.c_str(), H5P_DEFAULT), space = H5Dget_space(set), type = H5Dget_type(set);
  auto const size = H5Sget_simple_extent_npoints(space);
  auto const kind = H5Tget_class(type);
  if (size > 0 && (kind == H5T_INTEGER || kind == H5T_FLOAT || kind == H5T_ENUM)) {
    if (kind == H5T_ENUM) {
      std::vector<signed char> values(retort::index(size), 0);
      H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
      values[below(draw, values.size())] = static_cast<signed char>(draw());
      H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
    } else {
      std::vector<double> values(retort::index(size));
      H5Dread(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
      for (std::size_t n = 1 + below(draw, 3); n > 0; --n) values[below(draw, values.size())] = extreme(draw);
      H5Dwrite(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
    }
  }
  H5Tclose(type), H5Sclose(space), H5Dclose(set);
}

// An attribute becomes other numbers or another text, or goes.
void change_attribute(hid_t file, std::string const& name, Draw& draw) {
  hid_t const object = H5Oopen(file, name.c_str(), H5P_DEFAULT);
  std::vector<std::string> names;
  H5Aiterate2(
      object, H5_INDEX_NAME, H5_ITER_INC, nullptr,
      [](hid_t, char const* attribute, H5A_info_t const*, void* into) -> herr_t {
        static_cast<std::vector<std::string>*>(into)->push_back(attribute);
        return 0;
      },
      &names);
  if (!names.empty()) {
    auto const& chosen = names[below(draw, names.size())];
    H5Adelete(object, chosen.c_str());
    if (auto const how = below(draw, 3); how == 1) {
      hsize_t const count = 1 + below(draw, 3);
      std::vector<double> numbers;
      for (hsize_t i = 0; i < count; ++i) numbers.push_back(extreme(draw));
      hid_t const space = H5Screate_simple(1, &count, nullptr);
      hid_t const attribute = H5Acreate2(object, chosen.c_str(), below(draw, 2) ? H5T_NATIVE_INT64 : H5T_NATIVE_DOUBLE,
                                         space, H5P_DEFAULT, H5P_DEFAULT);
      H5Awrite(attribute, H5T_NATIVE_DOUBLE, numbers.data());
      H5Aclose(attribute), H5Sclose(space);
    } else if (how == 2) {
      char const* const texts[] = {"csr_matrix", "csc_matrix",       "array",        "categorical",
                                   "dataframe",  "nullable-integer", "string-array", "",
                                   "\xff\xfe",   "_index",           "obs"};
      char const* const text = texts[below(draw, std::size(texts))];
      hid_t const type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
      H5Tset_size(type, H5T_VARIABLE);
      hid_t const attribute = H5Acreate2(object, chosen.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT);
      H5Awrite(attribute, type, &text);
      H5Aclose(attribute), H5Sclose(space), H5Tclose(type);
    }
  }
  H5Oclose(object);
}

// A data set becomes one of another shape or type, with numbers of its own.
void replace(hid_t file, std::string const& name, Draw& draw) {
  hid_t const set = H5Dopen2(file, name.c_str(), H5P_DEFAULT), space = H5Dget_space(set);
  auto const size = static_cast<hsize_t>(std::max<hssize_t>(0, H5Sget_simple_extent_npoints(space)));
  H5Sclose(space), H5Dclose(set);
  H5Ldelete(file, name.c_str(), H5P_DEFAULT);
  hid_t const types[] = {H5T_NATIVE_INT8,   H5T_NATIVE_UINT16, H5T_NATIVE_INT32, H5T_NATIVE_INT64,
                         H5T_NATIVE_UINT64, H5T_NATIVE_FLOAT,  H5T_NATIVE_DOUBLE};
  hsize_t const shapes[][2] = {{size, 1}, {size, 3}, {size + 1, 1}, {size ? size - 1 : 0, 1},
                               {0, 1},    {1, size}, {size / 2, 2}};
  auto const& shape = shapes[below(draw, std::size(shapes))];
  int const axes = below(draw, 4) == 0 ? 2 : 1;
  std::vector<double> values(shape[0] * shape[1]);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = below(draw, 8) ? static_cast<double>(i % 7) : extreme(draw);
  hid_t const made_space = H5Screate_simple(axes, shape, nullptr);
  hid_t const made = H5Dcreate2(file, name.c_str(), types[below(draw, std::size(types))], made_space, H5P_DEFAULT,
                                H5P_DEFAULT, H5P_DEFAULT);
  if (made >= 0) H5Dwrite(made, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), H5Dclose(made);
  H5Sclose(made_space);
}

void mutate(fs::path const& path, Draw& draw) {
  if (below(draw, 12) == 0) {
    fs::resize_file(path, below(draw, fs::file_size(path)));
    return;
  }
  hid_t const file = H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  for (std::size_t n = 1 + below(draw, 3); n > 0; --n) {
    auto const objects = objects_of(file);
    if (objects.datasets.empty() || objects.groups.size() < 2) break;
    auto const& set = objects.datasets[below(draw, objects.datasets.size())];
    auto const& group = objects.groups[1 + below(draw, objects.groups.size() - 1)];  // the first is the file itself
    auto const& any = below(draw, 2) ? set : group;
    auto const& other = objects.datasets[below(draw, objects.datasets.size())];
    switch (below(draw, 8)) {
      case 0:
      case 1:
        change_values(file, set, draw);
        break;
      case 2:
      case 3:
        change_attribute(file, any, draw);
        break;
      case 4:
        replace(file, set, draw);
        break;
      case 5:
        H5Ldelete(file, any.c_str(), H5P_DEFAULT);
        break;
      case 6:
        H5Ldelete(file, set.c_str(), H5P_DEFAULT);
        below(draw, 2) ? H5Lcreate_soft(("/" + other).c_str(), file, set.c_str(), H5P_DEFAULT, H5P_DEFAULT)
                       : H5Lcreate_external("/etc/passwd", "/X", file, set.c_str(), H5P_DEFAULT, H5P_DEFAULT);
        break;
      default:  // two objects change places
        if (set != other) {
          H5Lmove(file, set.c_str(), file, "moved", H5P_DEFAULT, H5P_DEFAULT);
          H5Lmove(file, other.c_str(), file, set.c_str(), H5P_DEFAULT, H5P_DEFAULT);
          H5Lmove(file, "moved", file, other.c_str(), H5P_DEFAULT, H5P_DEFAULT);
        }
    }
  }
  H5Fclose(file);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return std::fprintf(stderr, "usage: h5ad_mutations FOLDER_OF_SEEDS COUNT [SEED]\n"), 2;
  std::vector<fs::path> seeds;
  for (auto const& entry : fs::directory_iterator(argv[1])) seeds.push_back(entry.path());
  std::sort(seeds.begin(), seeds.end());
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  Draw draw(argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1);
  fs::path const file = fs::temp_directory_path() / ("retort_mutant_" + std::to_string(getpid()) + ".h5ad");
  long const count = std::atol(argv[2]);
  long refused = 0, read = 0;
  std::map<int, long> codes;
  for (auto const& seed : seeds) retort::read_stranger(seed);  // they are good
  for (long i = 0; i < count; ++i) {
    fs::copy_file(seeds[below(draw, seeds.size())], file, fs::copy_options::overwrite_existing);
    mutate(file, draw);
    alarm(20);  // a hang is a failure
    try {
      retort::read_stranger(file);
      ++read;
    } catch (retort::Failure const& failure) {
      ++refused;
      ++codes[static_cast<int>(failure.code)];
      if (std::string(failure.what()).find("retort_mutant") == std::string::npos)
        return std::fprintf(stderr, "refused without the file's name: %s\n", failure.what()), 1;
    }
    alarm(0);
  }
  fs::remove(file);
  std::printf("%ld mutants: %ld read, %ld refused", count, read, refused);
  for (auto const& [code, times] : codes) std::printf(", %ld with %d", times, code);
  std::printf("\n");
  return codes.size() > 1 || refused == 0 || read == 0;  // one code: bad input
}
