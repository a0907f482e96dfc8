#include "retort/cells/atlas.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "retort/files/anndata_encoding.hpp"
#include "retort/files/byte_file.hpp"
#include "retort/files/hdf5.hpp"
#include "retort/run/error.hpp"
#include "retort/run/hash.hpp"
#include "retort/run/index.hpp"

namespace fs = std::filesystem;

namespace retort {
namespace {

// One of X/data and X/indices: where its bytes lie, or the data set to read them through.
struct Values {
  NumberType type = NumberType::u8;
  std::optional<std::int64_t> offset;
  std::optional<Hdf5Dataset> set;
};

constexpr bool may_be_wrong(NumberType type) {
  return type != NumberType::u8 && type != NumberType::u16 && type != NumberType::u32 && type != NumberType::u64;
}

// Whether all are below `bound` and not negative.
template <class From>
bool widen_genes(std::span<From const> from, std::int32_t* into, std::int64_t bound) {
  bool ok = true;
  for (std::size_t k = 0; k < from.size(); ++k) {
    into[k] = static_cast<std::int32_t>(from[k]);
    bool fits = static_cast<std::uint64_t>(static_cast<std::int64_t>(from[k])) < static_cast<std::uint64_t>(bound);
    ok = ok & fits;
  }
  return ok;
}

// Whether all are finite and not negative.
template <class From>
bool widen_values(std::span<From const> from, float* into) {
  bool ok = true;
  for (std::size_t k = 0; k < from.size(); ++k) {
    into[k] = static_cast<float>(from[k]);
    ok = ok & (into[k] >= 0) & (into[k] <= std::numeric_limits<float>::max());
  }
  return ok;
}

std::string code_name(Part part) { return part == Part::test ? "test" : "train"; }

}  // namespace

std::string hash_of_genes(std::vector<std::string> const& names) {
  std::string text;
  for (auto const& name : names) text += name + '\n';
  return hash_text(text);
}

struct Atlas::State {
  fs::path file;
  std::int64_t cells = 0, genes = 0;
  std::vector<std::int64_t> indptr;
  std::vector<std::string> gene_names;
  std::string hash, label;
  bool holds_counts = true;
  std::vector<Part> parts;
  std::vector<std::int64_t> source_rows;
  Values data, indices;
  std::optional<ByteFile> bytes;

  explicit State(fs::path path) : file(std::move(path)) {
    auto const opened = Hdf5File::open(file);
    if (opened.kind("uns/retort") != Hdf5Kind::group)
      fail(ExitCode::bad_input, "'{}' is no atlas (it has no uns/retort). Make one of it with retort-ingest",
           file.string());
    read_shape(opened);
    read_notes(opened);
    read_rows(opened);
    read_starts(opened);
    bytes = ByteFile::open_for_reading(file);
    open_values(opened, "X/data", data);
    open_values(opened, "X/indices", indices);
  }

  void read_shape(Hdf5File const& opened) {
    auto const x = opened.group("X");
    auto const encoding = x.string_attribute("encoding-type").value_or("nothing");
    if (encoding != "csr_matrix")
      fail(ExitCode::bad_input, "{} is {} (an atlas holds a csr_matrix). Run retort-ingest again", x.place(), encoding);
    auto const shape = x.integers_attribute("shape");
    if (shape.size() != 2 || shape[0] < 0 || shape[1] < 1 || shape[1] > std::numeric_limits<std::int32_t>::max())
      fail(ExitCode::bad_input, "{} has shape [{}] (cells and genes are expected)", x.place(), fmt::join(shape, ", "));
    cells = shape[0];
    genes = shape[1];
    gene_names = read_row_names(opened.group("var"));
    if (std::ssize(gene_names) != genes)
      fail(ExitCode::bad_input, "'{}' var has {} genes (X has {} columns)", file.string(), gene_names.size(), genes);
    auto const obs = opened.group("obs");
    auto const names = obs.dataset(obs.string_attribute("_index").value_or("_index"));
    if (names.rows() != cells)
      fail(ExitCode::bad_input, "{} has {} names (X has {} rows)", names.place(), names.rows(), cells);
  }

  void read_notes(Hdf5File const& opened) {
    auto const notes = opened.group("uns/retort");
    hash = hash_of_genes(gene_names);
    auto const kept = notes.dataset("vocabulary_hash").read_strings();
    if (kept.size() != 1 || kept[0] != hash)
      fail(ExitCode::bad_input,
           "'{}' var is not the list of genes that ingest wrote (its hash is {}, uns/retort says {}). Run "
           "retort-ingest on it",
           file.string(), hash, fmt::join(kept, " "));
    auto const counts = notes.dataset("holds_counts").read<std::int8_t>();
    holds_counts = !counts.empty() && counts[0] != 0;
    auto const labels = notes.dataset("label").read_strings();
    label = labels.empty() ? "" : labels[0];
  }

  void read_rows(Hdf5File const& opened) {
    auto const obs = opened.group("obs");
    auto const split = read_categorical(obs, "split", cells);
    std::vector<Part> meant;
    for (auto const& name : split.categories) {
      if (name != code_name(Part::test) && name != code_name(Part::fit))
        fail(ExitCode::bad_input, "'{}' obs/split has a part '{}' (known are train and test)", file.string(), name);
      meant.push_back(name == code_name(Part::test) ? Part::test : Part::fit);
    }
    auto const held_out = of_cells<std::int8_t>(obs, "held_out");
    parts.resize(index(cells));
    for (std::size_t row = 0; row < parts.size(); ++row) {
      parts[row] = meant[index(split.codes[row])];
      if (parts[row] == Part::fit && held_out[row]) parts[row] = Part::held_out;
    }
    source_rows = of_cells<std::int64_t>(obs, "source_row");
    for (std::size_t row = 0; row < source_rows.size(); ++row)
      if (source_rows[row] < 0)
        fail(ExitCode::bad_input, "'{}' obs/source_row is {} in row {} (rows begin at 0)", file.string(),
             source_rows[row], row);
  }

  template <class Value>
  std::vector<Value> of_cells(Hdf5Group const& obs, char const* name) const {
    auto const set = obs.dataset(name);
    if (set.shape() != std::vector<std::int64_t>{cells})
      fail(ExitCode::bad_input, "{} has {} values (X has {} rows)", set.place(), set.size(), cells);
    return set.read<Value>();
  }

  void read_starts(Hdf5File const& opened) {
    auto const set = opened.dataset("X/indptr");
    if (set.shape() != std::vector<std::int64_t>{cells + 1})
      fail(ExitCode::bad_input, "{} has {} values (X has {} rows, so {} are expected)", set.place(), set.size(), cells,
           cells + 1);
    indptr = set.read<std::int64_t>();
    if (indptr[0] != 0) fail(ExitCode::bad_input, "{} begins with {} (0 is expected)", set.place(), indptr[0]);
    for (std::size_t row = 0; row + 1 < indptr.size(); ++row)
      if (indptr[row + 1] < indptr[row])
        fail(ExitCode::bad_input, "{} falls from {} to {} in row {} (it must not)", set.place(), indptr[row],
             indptr[row + 1], row);
    for (char const* name : {"X/data", "X/indices"}) {
      auto const values = opened.dataset(name);
      if (values.shape() != std::vector<std::int64_t>{indptr.back()})
        fail(ExitCode::bad_input, "{} has {} values (X/indptr ends with {} in row {})", values.place(), values.size(),
             indptr.back(), cells);
    }
  }

  void open_values(Hdf5File const& opened, char const* name, Values& values) const {
    auto set = opened.dataset(name);
    auto const type = set.number_type();
    if (!type) fail(ExitCode::bad_input, "{} holds no numbers", set.place());
    values.type = *type;
    values.offset = set.offset();
    if (values.offset && *values.offset + set.size() * bytes_of(*type) > bytes->size())
      fail(ExitCode::bad_input, "{} ends past the end of the file ({} bytes). It was cut short", set.place(),
           bytes->size());
    if (!values.offset) values.set = std::move(set);
  }

  void fetch(Values const& values, std::int64_t begin, std::int64_t count, Numbers& into) const {
    if (values.set) return values.set->read(into, begin, count);
    into.resize(values.type, count);
    bytes->read(values.offset.value_or(0) + begin * bytes_of(values.type), into.data(), count * bytes_of(values.type));
  }

  // Values [begin, begin + count) of the file to `at` of the block; false where something in them must be wrong.
  bool read_run(std::int64_t begin, std::int64_t count, std::int64_t at, CsrBlock& block, Numbers& buffer) const {
    bool ok = true;
    fetch(indices, begin, count, buffer);
    with_number_type(buffer.type(), [&]<class From>() {
      ok = widen_genes(std::as_const(buffer).as<From>(), block.indices.data() + at, genes);
    });
    ok = ok && !(indices.type == NumberType::f32 || indices.type == NumberType::f64);
    fetch(data, begin, count, buffer);
    with_number_type(buffer.type(), [&]<class From>() {
      ok &= widen_values(std::as_const(buffer).as<From>(), block.values.data() + at) || !may_be_wrong(data.type);
    });
    return ok;
  }

  // How often a gene does not exceed the one before it, rows not regarded, must be as often as that is at a row's
  // start.
  static bool rises(CsrBlock const& block) {
    auto const& genes = block.indices;
    std::int64_t falls = 0;
    for (std::size_t k = 1; k < genes.size(); ++k) falls += genes[k] <= genes[k - 1];
    for (std::size_t row = 1; row + 1 < block.indptr.size(); ++row) {
      auto const start = index(block.indptr[row]);
      bool const first = block.indptr[row] < block.indptr[row + 1] && start > 0;
      falls -= first && genes[start] <= genes[start - 1];
    }
    return falls == 0;
  }

  [[noreturn]] void refuse(CsrBlock const& block, std::function<std::int64_t(std::size_t)> const& row_of) const {
    for (std::size_t row = 0; row + 1 < block.indptr.size(); ++row) {
      for (auto k = index(block.indptr[row]); k < index(block.indptr[row + 1]); ++k) {
        bool const first = k == index(block.indptr[row]);
        if (block.indices[k] < 0 || block.indices[k] >= genes)
          fail(ExitCode::bad_input, "'{}' X/indices is {} in row {} (there are {} genes)", file.string(),
               block.indices[k], row_of(row), genes);
        if (!first && block.indices[k] <= block.indices[k - 1])
          fail(ExitCode::bad_input, "'{}' X/indices goes from {} to {} in row {} (genes must rise within a row)",
               file.string(), block.indices[k - 1], block.indices[k], row_of(row));
        if (!(block.values[k] >= 0 && std::isfinite(block.values[k])))
          fail(ExitCode::bad_input, "'{}' X/data is {} in row {} (counts are finite and not negative)", file.string(),
               block.values[k], row_of(row));
      }
    }
    fail(ExitCode::bad_input, "'{}' X/indices is {} (whole numbers are expected)", file.string(),
         name_of(indices.type));
  }

  template <class RowOf>
  CsrBlock read(std::int64_t count, RowOf const& row_of) const {
    CsrBlock block;
    block.genes = genes;
    block.indptr.reserve(index(count) + 1);
    for (std::int64_t i = 0; i < count; ++i) {
      auto const row = row_of(i);
      if (row < 0 || row >= cells)
        fail(ExitCode::failed, "row {} was asked of '{}' (it has {})", row, file.string(), cells);
      block.indptr.push_back(block.indptr.back() + indptr[index(row) + 1] - indptr[index(row)]);
    }
    block.indices.resize(index(block.nonzeros()));
    block.values.resize(index(block.nonzeros()));
    Numbers buffer;
    bool ok = true;
    for (std::int64_t i = 0, next = 0; i < count; i = next) {
      for (next = i + 1; next < count && row_of(next) == row_of(next - 1) + 1;) ++next;
      auto const at = block.indptr[index(i)];
      ok &= read_run(indptr[index(row_of(i))], block.indptr[index(next)] - at, at, block, buffer);
    }
    if (!ok || !rises(block)) refuse(block, [&](std::size_t i) { return row_of(static_cast<std::int64_t>(i)); });
    return block;
  }
};

Atlas::Atlas(fs::path const& file) : state_(std::make_unique<State>(file)) {}
Atlas::~Atlas() = default;
Atlas::Atlas(Atlas&&) noexcept = default;

fs::path const& Atlas::file() const { return state_->file; }
std::int64_t Atlas::cells() const { return state_->cells; }
std::int64_t Atlas::genes() const { return state_->genes; }
std::int64_t Atlas::nonzeros() const { return state_->indptr.back(); }
std::vector<std::string> const& Atlas::gene_names() const { return state_->gene_names; }
std::string Atlas::vocabulary_hash() const { return state_->hash; }
std::string Atlas::identity() const {
  auto const& at = *state_;
  std::uint64_t hash = hash_bytes(at.source_rows.data(), at.source_rows.size() * sizeof(at.source_rows[0]));
  hash = hash_bytes(at.parts.data(), at.parts.size() * sizeof(at.parts[0]), hash);
  return hash_text(fmt::format("{} {} {} {}", hash, at.hash, cells(), nonzeros()));
}
bool Atlas::holds_counts() const { return state_->holds_counts; }
std::vector<Part> const& Atlas::parts() const { return state_->parts; }
std::vector<std::int64_t> const& Atlas::source_rows() const { return state_->source_rows; }

Labels Atlas::labels(std::string const& asked) const {
  auto const obs = Hdf5File::open(file()).group("obs");
  std::string const column = asked.empty() ? state_->label : asked;
  if (column.empty() || obs.kind(column) != Hdf5Kind::group) {
    std::vector<std::string> known;
    for (auto const& name : obs.names())
      if (name != "split" && obs.kind(name) == Hdf5Kind::group) known.push_back("'" + name + "'");
    fail(ExitCode::bad_input, "'{}' has no label column '{}' (it has {}). Name one of them", file().string(), column,
         known.empty() ? "none" : fmt::format("{}", fmt::join(known, ", ")));
  }
  auto read = read_categorical(obs, column, cells());
  return {column, std::move(read.categories), std::move(read.codes)};
}

bool Atlas::reads_from_threads() const { return state_->data.offset && state_->indices.offset; }
CsrBlock Atlas::read(std::int64_t begin, std::int64_t end) const {
  return state_->read(std::max<std::int64_t>(0, end - begin), [begin](std::int64_t i) { return begin + i; });
}
CsrBlock Atlas::read(std::span<std::int64_t const> rows) const {
  return state_->read(std::ssize(rows), [rows](std::int64_t i) { return rows[index(i)]; });
}
CsrBlock Atlas::read_log(std::int64_t begin, std::int64_t end) const {
  auto block = read(begin, end);
  if (holds_counts()) log_normalise(block);
  return block;
}
CsrBlock Atlas::read_log(std::span<std::int64_t const> rows) const {
  auto block = read(rows);
  if (holds_counts()) log_normalise(block);
  return block;
}

}  // namespace retort
