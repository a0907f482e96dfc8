#include "hdf5_types.hpp"

#include <cstring>

#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort::hdf5_types {
namespace {

std::string in_place(char const* text, std::size_t size, H5T_str_t padding) {
  std::size_t length = strnlen(text, size);
  if (padding == H5T_STR_SPACEPAD)
    while (length > 0 && text[length - 1] == ' ') --length;
  return {text, length};
}

}  // namespace

void start() {
  static bool const started = [] {
    H5dont_atexit();  // files close themselves; a leaked parallel one must not wait for other ranks at the exit
    H5open();
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    H5PLset_loading_state(0);  // a file must not name code to load
    return true;
  }();
  static_cast<void>(started);
}

std::string last_words() {
  std::string words;
  auto const keep = [](unsigned, H5E_error2_t const* error, void* into) -> herr_t {
    if (error->desc && *error->desc) *static_cast<std::string*>(into) = error->desc;
    return 1;  // the innermost comes first
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep, &words);
  return words.empty() ? "no reason given" : words;
}

Hdf5Handle utf8_type() {
  Hdf5Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.id(), H5T_VARIABLE);
  H5Tset_cset(type.id(), H5T_CSET_UTF8);
  return type;
}

Hdf5Handle bool_type() {
  Hdf5Handle type(H5Tenum_create(H5T_STD_I8LE), H5Tclose);
  std::int8_t const off = 0, on = 1;
  H5Tenum_insert(type.id(), "FALSE", &off);
  H5Tenum_insert(type.id(), "TRUE", &on);
  return type;
}

void append_texts(hid_t type, hid_t record, hid_t space, hid_t transfer, std::int64_t count,
                  std::function<void(void*)> const& read, std::function<void(std::string const&)> const& refuse,
                  StringLimits const& limits, std::int64_t& total, std::vector<std::string>& into) {
  auto const take = [&](std::string text) {
    auto const length = static_cast<std::int64_t>(text.size());
    if (length > limits.longest)
      refuse(fmt::format("text {} has {} bytes (at most {} are read)", into.size(), length, limits.longest));
    if ((total -= length) < 0) refuse(fmt::format("has more than {} bytes of text (no more are read)", limits.total));
    into.push_back(std::move(text));
  };
  auto const size = H5Tget_size(type);
  if (H5Tis_variable_str(type) > 0) {
    std::vector<char*> texts(index(count), nullptr);
    struct GiveBack {
      hid_t record, space;
      std::vector<char*>& texts;
      hid_t transfer;
      ~GiveBack() { H5Dvlen_reclaim(record, space, transfer, texts.data()); }
    } const give_back{record, space, texts, transfer};
    read(texts.data());
    for (char const* text : texts) take(text ? text : "");
    return;
  }
  if (static_cast<std::int64_t>(size) > limits.longest)
    refuse(fmt::format("has texts of {} bytes (at most {} are read)", size, limits.longest));
  std::vector<char> texts(index(count) * size);
  read(texts.data());
  auto const padding = H5Tget_strpad(type);
  for (std::int64_t i = 0; i < count; ++i) take(in_place(texts.data() + index(i) * size, size, padding));
}

}  // namespace retort::hdf5_types
