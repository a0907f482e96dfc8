#include "retort/cells/feature_file.hpp"

#include <nlohmann/json.hpp>

#include "retort/files/anndata_encoding.hpp"
#include "retort/files/byte_file.hpp"
#include "retort/files/hdf5.hpp"
#include "retort/run/error.hpp"
#include "retort/run/run_folder.hpp"

namespace fs = std::filesystem;

namespace retort {
namespace {

constexpr char const* matrix_name = "X_retort";

// Rank 0: what describes the cells comes from the atlas; no genes.
void describe(fs::path const& pending, Atlas const& atlas, std::string const& encoder) {
  auto opened = Hdf5File::extend(pending);
  {
    auto obsm = opened.group("obsm");
    encode_as(obsm, "dict");
    auto matrix = obsm.dataset(matrix_name);
    encode_as(matrix, "array");
    opened.copy_group(Hdf5File::open(atlas.file()).group("obs"), "obs");
    auto var = opened.create_group("var");
    encode_frame(var, {}, {});
    write_json(opened, "uns", {{"retort", {{"encoder", encoder}, {"atlas", atlas.identity()}}}});
    encode_root(opened);
  }
  opened.close();
}

}  // namespace

void write_features(Communicator const& ranks, fs::path const& file, Atlas const& atlas, RowRange rows,
                    std::span<float const> values, std::int64_t width, std::string const& encoder) {
  fs::path const pending = file.string() + ".pending";
  ranks.together([&] {
    if (std::ssize(values) != rows.size() * width)
      fail(ExitCode::failed, "cannot write '{}' ({} features of {} rows do not have width {})", file.string(),
           values.size(), rows.size(), width);
    if (ranks.is_root()) ByteFile::create(pending);
  });
  std::int64_t offset = 0;
  auto created = Hdf5File::create(ranks, pending);
  offset = created.create_group("obsm")
               .create_dataset(matrix_name, NumberType::f32, {atlas.cells(), width})
               .require_offset();
  ranks.together([&] { created.close(); });
  ranks.together([&] {
    auto const bytes = ByteFile::open_for_writing(pending);
    bytes.write(offset + rows.begin * width * 4, values.data(), std::ssize(values) * 4);
    bytes.flush();
  });
  ranks.together([&] {
    if (!ranks.is_root()) return;
    describe(pending, atlas, encoder);
    publish(pending, file);
  });
}

Features read_features(fs::path const& file, RowRange rows) {
  auto const opened = Hdf5File::open(file);
  auto const matrix = opened.dataset(std::string("obsm/") + matrix_name);
  if (matrix.shape().size() != 2 || matrix.number_type() != NumberType::f32)
    fail(ExitCode::bad_input, "{} is no float32 matrix [cells, features]. Make it with retort-embed", matrix.place());
  if (rows.end < 0) rows = {0, matrix.rows()};
  Features features{rows.size(), matrix.shape()[1], {}, "", ""};
  features.values = matrix.read<float>(rows.begin, rows.size());
  auto const encoder = opened.dataset("uns/retort/encoder").read_strings();
  features.encoder = encoder.empty() ? "" : encoder[0];
  auto const atlas =
      opened.has("uns/retort/atlas") ? opened.dataset("uns/retort/atlas").read_strings() : std::vector<std::string>{};
  features.atlas = atlas.empty() ? "" : atlas[0];
  return features;
}

void require_features_of(Atlas const& atlas, fs::path const& file, Features const& features) {
  if (features.atlas != atlas.identity())
    fail(ExitCode::bad_input,
         "'{}' holds features of other cells than '{}' (another file, order or split, so rows would not belong "
         "together). Run retort-embed again, for latents retort-train-vae",
         file.string(), atlas.file().string());
}

}  // namespace retort
