#include "retort/files/safetensors.hpp"

#include <ATen/ATen.h>

#include <bit>
#include <fstream>
#include <nlohmann/json.hpp>

#include "retort/run/error.hpp"
#include "retort/run/run_folder.hpp"

namespace retort {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors are little-endian");
constexpr std::uint64_t largest_header = 100'000'000;  // the format's own limit

struct Entry {
  std::string name;
  at::ScalarType type;
  std::vector<std::int64_t> shape;
  std::uint64_t begin, end;
};

at::ScalarType type_of(std::string const& name, std::filesystem::path const& file, std::string const& tensor) {
  if (name == "F32") return at::kFloat;
  if (name == "I64") return at::kLong;
  if (name == "F16") return at::kHalf;
  if (name == "BF16") return at::kBFloat16;
  fail(ExitCode::bad_input, "'{}' holds tensor '{}' of type '{}' (only F32, F16, BF16 and I64 are read)", file.string(),
       tensor, name);
}

Entry checked_entry(std::string const& name, nlohmann::json const& fields, std::uint64_t data_bytes,
                    std::filesystem::path const& file) {
  auto const refuse = [&](char const* why) {
    fail(ExitCode::bad_input, "'{}' has a bad header for tensor '{}' ({})", file.string(), name, why);
  };
  auto const numbers = [](nlohmann::json const& list) {
    return list.is_array() &&
           std::all_of(list.begin(), list.end(), [](auto const& value) { return value.is_number_unsigned(); });
  };
  if (!fields.is_object() || !fields.contains("dtype") || !fields["dtype"].is_string()) refuse("no dtype");
  if (!fields.contains("shape") || !numbers(fields["shape"]) || fields["shape"].size() > 8) refuse("no shape");
  if (!fields.contains("data_offsets") || !numbers(fields["data_offsets"]) || fields["data_offsets"].size() != 2)
    refuse("no data_offsets");
  Entry entry{name,
              type_of(fields["dtype"].get<std::string>(), file, name),
              {},
              fields["data_offsets"][0].get<std::uint64_t>(),
              fields["data_offsets"][1].get<std::uint64_t>()};
  if (entry.begin > entry.end || entry.end > data_bytes) refuse("its bytes lie outside the file");
  std::uint64_t bytes = c10::elementSize(entry.type);
  for (auto const& length : fields["shape"]) {
    auto const size = length.get<std::uint64_t>();
    if (size > data_bytes || __builtin_mul_overflow(bytes, size, &bytes)) refuse("its shape is larger than the file");
    entry.shape.push_back(static_cast<std::int64_t>(size));
  }
  if (bytes != entry.end - entry.begin) refuse("shape and byte range disagree");
  return entry;
}

}  // namespace

void write_safetensors(std::filesystem::path const& file, Safetensors const& content) {
  nlohmann::json header = nlohmann::json::object();  // keys are sorted, and so are the tensors' bytes
  if (!content.metadata.empty()) header["__metadata__"] = content.metadata;
  std::uint64_t offset = 0;
  for (auto const& [name, tensor] : content.tensors) {
    bool const is_float = tensor.scalar_type() == at::kFloat;
    if (!is_float && tensor.scalar_type() != at::kLong)
      fail(ExitCode::failed, "tensor '{}' is neither float32 nor int64", name);
    std::uint64_t const end = offset + tensor.nbytes();
    header[name] = {
        {"dtype", is_float ? "F32" : "I64"}, {"shape", tensor.sizes().vec()}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the format pads with spaces, so that tensors are aligned
  std::uint64_t const length = text.size();
  std::ofstream stream(file, std::ios::binary | std::ios::trunc);
  stream.write(reinterpret_cast<char const*>(&length), sizeof length);
  stream.write(text.data(), static_cast<std::streamsize>(text.size()));
  for (auto const& [name, tensor] : content.tensors) {
    at::Tensor const bytes = tensor.detach().cpu().contiguous();
    stream.write(static_cast<char const*>(bytes.const_data_ptr()), static_cast<std::streamsize>(bytes.nbytes()));
  }
  stream.flush();
  if (!stream)
    fail(ExitCode::cannot_write, "cannot write '{}' ({}). Free space or choose another run.folder", file.string(),
         std::strerror(errno));
}

Safetensors read_safetensors(std::filesystem::path const& file) {
  require_input(file, "weights");
  std::ifstream stream(file, std::ios::binary);
  std::uint64_t const size = std::filesystem::file_size(file);
  std::uint64_t length = 0;
  stream.read(reinterpret_cast<char*>(&length), sizeof length);
  if (!stream || length > largest_header || length + sizeof length > size) {
    fail(ExitCode::bad_input, "'{}' is not a safetensors file (its header does not fit in it)", file.string());
  }
  std::string text(length, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(length));
  auto const header = nlohmann::json::parse(text, nullptr, false);
  if (!stream || !header.is_object())
    fail(ExitCode::bad_input, "'{}' is not a safetensors file (its header is not JSON)", file.string());

  Safetensors content;
  std::vector<Entry> entries;
  std::uint64_t const data_begin = length + sizeof length, data_bytes = size - data_begin;
  for (auto const& [name, fields] : header.items()) {
    if (name != "__metadata__") {
      entries.push_back(checked_entry(name, fields, data_bytes, file));
      continue;
    }
    for (auto const& [key, value] : fields.items()) {
      if (!value.is_string()) fail(ExitCode::bad_input, "'{}' has metadata '{}' that is not text", file.string(), key);
      content.metadata[key] = value.get<std::string>();
    }
  }
  std::sort(entries.begin(), entries.end(),
            [](Entry const& a, Entry const& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  std::uint64_t reached = 0;
  for (auto const& entry : entries) {
    if (entry.begin != reached)
      fail(ExitCode::bad_input, "'{}' has a gap or an overlap before tensor '{}'", file.string(), entry.name);
    reached = entry.end;
    at::Tensor tensor = at::empty(entry.shape, entry.type);
    stream.seekg(static_cast<std::streamoff>(data_begin + entry.begin));
    stream.read(static_cast<char*>(tensor.data_ptr()), static_cast<std::streamsize>(entry.end - entry.begin));
    if (!stream) fail(ExitCode::bad_input, "'{}' ended inside tensor '{}'", file.string(), entry.name);
    content.tensors[entry.name] = entry.type == at::kLong ? tensor : tensor.to(at::kFloat);
  }
  if (reached != data_bytes)
    fail(ExitCode::bad_input, "'{}' is {} bytes longer than its header says", file.string(), data_bytes - reached);
  return content;
}

}  // namespace retort
