#include "retort/cells/atlas_writer.hpp"

#include <algorithm>
#include <array>
#include <numeric>

#include "retort/files/anndata_encoding.hpp"
#include "retort/files/byte_file.hpp"
#include "retort/files/compressed_chunks.hpp"
#include "retort/files/hdf5.hpp"
#include "retort/run/error.hpp"
#include "retort/run/hash.hpp"
#include "retort/run/index.hpp"
#include "retort/run/run_folder.hpp"
#include "retort/run/watchdog.hpp"

namespace fs = std::filesystem;

namespace retort {
namespace {

NumberType narrowest(std::int64_t largest) {
  if (largest <= 0xFF) return NumberType::u8;
  return largest <= 0xFFFF ? NumberType::u16 : NumberType::u32;
}

// Writes `from` (whole numbers, or bits of float32) as `type`, piece by piece through `buffer`.
void write_narrow(ByteFile const& file, std::int64_t offset, NumberType type, std::span<std::uint32_t const> from,
                  bool turn_to_float, Numbers& buffer) {
  constexpr std::size_t piece = 1 << 20;
  bool const as_they_are =
      (type == NumberType::u32 || type == NumberType::i32 || type == NumberType::f32) && !turn_to_float;
  if (as_they_are) return file.write(offset, from.data(), std::ssize(from) * 4);
  for (std::size_t begin = 0; begin < from.size(); begin += piece) {
    auto const part = from.subspan(begin, std::min(piece, from.size() - begin));
    buffer.resize(type, std::ssize(part));
    with_number_type(type, [&]<class Value>() {
      Value* const into = buffer.as<Value>().data();
      for (std::size_t i = 0; i < part.size(); ++i) into[i] = static_cast<Value>(part[i]);
    });
    std::int64_t const bytes = bytes_of(type);
    file.write(offset + static_cast<std::int64_t>(begin) * bytes, buffer.data(), std::ssize(part) * bytes);
  }
}

// All ranks' names at rank 0, in rank order; none elsewhere.
std::vector<std::string> gather_names(Communicator const& ranks, std::vector<std::string> const& own) {
  std::vector<std::vector<char>> to(index(ranks.size()));
  for (auto const& name : own)
    to[0].insert(to[0].end(), name.c_str(), name.c_str() + std::char_traits<char>::length(name.c_str()) + 1);
  auto const all = ranks.exchange(to);
  std::vector<std::string> names;
  for (auto at = all.begin(); at != all.end(); at += std::ssize(names.back()) + 1) names.emplace_back(&*at);
  return names;
}

std::vector<std::string> column_names(AtlasRows const& rows) {
  std::vector<std::string> names;
  for (auto const& column : rows.columns) names.push_back(column.name);
  return names;
}

constexpr char const* split_names[] = {"test", "train"};

// The columns that the atlas itself has, as one more categorical column and so on.
AtlasRows::Column split_column(std::vector<Part> const& parts) {
  AtlasRows::Column column{"split", {split_names[0], split_names[1]}, {}};
  for (Part const part : parts) column.codes.push_back(part == Part::test ? 0 : 1);
  return column;
}

}  // namespace

struct AtlasWriter::State {
  Communicator const& ranks;
  fs::path file, pending, raw;
  AtlasForm form;
  RowRange rows;
  NumberType value_type = NumberType::u8, gene_type = NumberType::u16;
  std::int64_t nonzeros = 0, begin = 0, end = 0, written = 0;  // [begin, end): this rank's, of all
  std::int64_t data_offset = 0, indices_offset = 0;
  std::optional<ByteFile> bytes;
  Numbers buffer;
  bool published = false;

  State(Communicator const& all, fs::path path, AtlasForm const& asked, RowRange own)
      : ranks(all),
        file(std::move(path)),
        pending(file.string() + ".pending"),
        raw(file.string() + ".raw"),
        form(asked),
        rows(own) {}

  ~State() {  // a failure gives the space back
    std::error_code ignored;
    if (!ranks.is_root() || published) return;
    fs::remove(pending, ignored);
    fs::remove(raw, ignored);
  }

  void choose_types() {
    value_type = form.plain || !form.whole ? NumberType::f32 : narrowest(ranks.max(form.largest));
    gene_type = form.plain ? NumberType::i32 : narrowest(form.genes - 1);
  }

  void place(std::span<std::int64_t const> row_nonzeros) {
    std::int64_t const own = std::accumulate(row_nonzeros.begin(), row_nonzeros.end(), std::int64_t{0});
    auto const all = ranks.gather(own);
    nonzeros = std::accumulate(all.begin(), all.end(), std::int64_t{0});
    begin = std::accumulate(all.begin(), all.begin() + ranks.rank(), std::int64_t{0});
    end = begin + own;
  }

  void create(std::span<std::int64_t const> row_nonzeros) {
    ranks.together([&] {
      if (ranks.is_root()) ByteFile::create(pending);  // says why where it cannot
    });
    Operation waiting("creation of the atlas");
    auto created = Hdf5File::create(ranks, pending);
    lay_out_x(created, row_nonzeros);
    ranks.together([&] { created.close(); });
  }

  void lay_out_x(Hdf5File& created, std::span<std::int64_t const> row_nonzeros) {
    auto x = created.create_group("X");
    std::vector<std::int64_t> starts{begin};
    for (std::int64_t const count : row_nonzeros) starts.push_back(starts.back() + count);
    if (ranks.rank() + 1 < ranks.size()) starts.pop_back();  // the next rank's first, or the end
    bool const short_starts = form.plain && nonzeros <= 0x7FFFFFFF;
    auto indptr = x.create_dataset("indptr", short_starts ? NumberType::i32 : NumberType::i64, {form.cells + 1});
    indptr.write(rows.begin, std::span<std::int64_t const>(starts), true);
    if (form.gzip > 0) {
      indices_offset = nonzeros * bytes_of(value_type);
    } else {
      data_offset = x.create_dataset("data", value_type, {nonzeros}).require_offset();
      indices_offset = x.create_dataset("indices", gene_type, {nonzeros}).require_offset();
    }
  }

  void open_for_values() {
    ranks.together([&] {
      if (form.gzip > 0 && ranks.is_root()) ByteFile::create(raw);
    });
    ranks.together([&] { bytes = ByteFile::open_for_writing(form.gzip > 0 ? raw : pending); });
  }

  // Collective: what is said of the rows, as far as it is numbers.
  void write_columns(AtlasRows const& said, std::vector<AtlasRows::Column const*> const& categorical) {
    Operation waiting("columns of the atlas");
    auto opened = Hdf5File::extend(ranks, pending);
    write_obs_numbers(opened, said, categorical);
    ranks.together([&] { opened.close(); });
  }

  void write_obs_numbers(Hdf5File& opened, AtlasRows const& said,
                         std::vector<AtlasRows::Column const*> const& categorical) {
    auto obs = opened.create_group("obs");
    if (ranks.max(said.source_rows.empty() ? 0 : 1)) {
      auto set = obs.create_dataset("source_row", NumberType::i64, {form.cells});
      set.write(rows.begin, std::span<std::int64_t const>(said.source_rows), true);
    }
    if (ranks.max(said.parts.empty() ? 0 : 1)) {
      std::vector<std::int8_t> held;
      for (Part const part : said.parts) held.push_back(part == Part::held_out);
      auto set = obs.create_bools("held_out", {form.cells});
      set.write(rows.begin, std::span<std::int8_t const>(held), true);
    }
    for (auto const* column : categorical) {
      auto codes = obs.create_group(column->name)
                       .create_dataset("codes", code_type(std::ssize(column->categories)), {form.cells});
      codes.write(rows.begin, std::span<std::int32_t const>(column->codes), true);
    }
  }

  // Rank 0: text and attributes.
  void write_text(Hdf5File& opened, std::vector<std::string> names,
                  std::vector<AtlasRows::Column const*> const& categorical, AtlasGenes const& genes,
                  AtlasNotes const& notes) const {
    auto x = opened.group("X");
    encode_csr(x, form.cells, form.genes);
    if (names.empty())
      for (std::int64_t row = 0; row < form.cells; ++row) names.push_back(std::to_string(row));
    auto obs = opened.group("obs");
    std::vector<std::string> columns;
    for (char const* own : {"source_row", "held_out"}) {
      if (!obs.has(own)) continue;
      auto set = obs.dataset(own);
      encode_as(set, "array");
      columns.emplace_back(own);
    }
    for (auto const* column : categorical) {
      auto group = obs.group(column->name);
      encode_categorical(group, column->categories);
      columns.push_back(column->name);
    }
    encode_frame(obs, columns, names);
    write_genes(opened, genes);
    auto uns = opened.create_group("uns");
    encode_as(uns, "dict");
    if (form.plain) {
      for (auto const& [key, value] : notes.details.items()) write_json(uns, key, value);
    } else {
      auto all = notes.details;
      all.update({{"vocabulary_hash", hash_of_genes(genes.names)},
                  {"holds_counts", notes.holds_counts},
                  {"label", notes.label},
                  {"shuffle_seed", notes.shuffle_seed}});
      write_json(uns, "retort", all);
    }
    encode_root(opened);
  }

  static void write_genes(Hdf5File& opened, AtlasGenes const& genes) {
    auto var = opened.create_group("var");
    std::vector<std::string> columns;
    for (auto const& column : genes.columns) {
      columns.push_back(column.name);
      if (column.is_flag) {
        std::vector<std::int8_t> flags;
        for (double const value : column.values) flags.push_back(value != 0);
        auto set = var.create_bools(column.name, {std::ssize(flags)});
        set.write(0, std::span<std::int8_t const>(flags));
        encode_as(set, "array");
      } else {
        auto set = var.write_numbers(column.name, column.values);
        encode_as(set, "array");
      }
    }
    encode_frame(var, columns, genes.names);
  }

  // Collective.
  void compress(std::optional<Hdf5File>& opened) {
    std::optional<Hdf5Group> x;
    if (opened) x = opened->group("X");
    auto const write = [&](char const* name, NumberType type, std::int64_t offset) {
      write_compressed(ranks, x ? &*x : nullptr, name, type, nonzeros, form.gzip,
                       [&](std::int64_t from, std::int64_t count, void* into) {
                         bytes->read(offset + from * bytes_of(type), into, count * bytes_of(type));
                       });
    };
    write("data", value_type, data_offset);
    write("indices", gene_type, indices_offset);
  }
};

AtlasWriter::AtlasWriter(Communicator const& ranks, fs::path file, AtlasForm const& form, RowRange rows,
                         std::span<std::int64_t const> row_nonzeros)
    : state_(std::make_unique<State>(ranks, std::move(file), form, rows)) {
  state_->choose_types();
  state_->place(row_nonzeros);
  state_->create(row_nonzeros);
  state_->open_for_values();
}
AtlasWriter::~AtlasWriter() = default;

void AtlasWriter::append(std::span<std::uint32_t const> genes, std::span<std::uint32_t const> values) {
  auto& at = *state_;
  auto const first = at.begin + at.written;
  if (genes.size() != values.size() || first + std::ssize(genes) > at.end)
    fail(ExitCode::failed, "more values were given to '{}' than its rows were said to have", at.file.string());
  write_narrow(*at.bytes, at.data_offset + first * bytes_of(at.value_type), at.value_type, values,
               at.form.plain && at.form.whole, at.buffer);
  write_narrow(*at.bytes, at.indices_offset + first * bytes_of(at.gene_type), at.gene_type, genes, false, at.buffer);
  at.bytes->begin_flush(at.data_offset + first * bytes_of(at.value_type), std::ssize(values) * bytes_of(at.value_type));
  at.bytes->begin_flush(at.indices_offset + first * bytes_of(at.gene_type), std::ssize(genes) * bytes_of(at.gene_type));
  at.written += std::ssize(genes);
}

void AtlasWriter::finish(AtlasRows const& rows, AtlasGenes const& genes, AtlasNotes const& notes) {
  auto& at = *state_;
  at.ranks.together([&] {
    if (at.begin + at.written != at.end)
      fail(ExitCode::failed, "fewer values were given to '{}' than its rows were said to have", at.file.string());
    for (std::string const& name : column_names(rows)) {
      if (name == "split" || name == "held_out" || name == "source_row" || name == "_index")
        fail(ExitCode::bad_input,
             "a column is called '{}' (an atlas has its own of that name). Leave it out or rename it", name);
    }
    at.bytes->flush();
  });
  AtlasRows::Column const split = split_column(rows.parts);
  std::vector<AtlasRows::Column const*> categorical;
  if (at.ranks.max(rows.parts.empty() ? 0 : 1)) categorical.push_back(&split);
  for (auto const& column : rows.columns) categorical.push_back(&column);
  at.write_columns(rows, categorical);
  auto names = gather_names(at.ranks, rows.names);
  at.ranks.barrier();

  std::optional<Hdf5File> opened;
  at.ranks.together([&] {
    if (at.ranks.is_root()) opened = Hdf5File::extend(at.pending);
  });
  if (at.form.gzip > 0) at.compress(opened);
  at.ranks.together([&] {
    if (!opened) return;
    at.write_text(*opened, std::move(names), categorical, genes, notes);
    opened->close();
  });
  at.bytes.reset();
  at.ranks.together([&] {
    if (!at.ranks.is_root()) return;
    publish(at.pending, at.file);
    at.published = true;
    std::error_code ignored;
    fs::remove(at.raw, ignored);
  });
}

}  // namespace retort
