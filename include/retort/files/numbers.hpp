// Numbers of a type that is known only at run time, as they lie in a stranger's file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "retort/run/index.hpp"

namespace retort {

enum class NumberType : std::uint8_t { i8, i16, i32, i64, u8, u16, u32, u64, f32, f64 };

// Calls work.template operator()<T>() with the C++ type of `type`.
template <class Work>
decltype(auto) with_number_type(NumberType type, Work&& work) {
  switch (type) {
    case NumberType::i8:
      return work.template operator()<std::int8_t>();
    case NumberType::i16:
      return work.template operator()<std::int16_t>();
    case NumberType::i32:
      return work.template operator()<std::int32_t>();
    case NumberType::i64:
      return work.template operator()<std::int64_t>();
    case NumberType::u8:
      return work.template operator()<std::uint8_t>();
    case NumberType::u16:
      return work.template operator()<std::uint16_t>();
    case NumberType::u32:
      return work.template operator()<std::uint32_t>();
    case NumberType::u64:
      return work.template operator()<std::uint64_t>();
    case NumberType::f32:
      return work.template operator()<float>();
    case NumberType::f64:
      break;
  }
  return work.template operator()<double>();
}

inline std::int64_t bytes_of(NumberType type) {
  return with_number_type(type, []<class T>() { return static_cast<std::int64_t>(sizeof(T)); });
}

// An array of one such type. Its memory is kept when it is filled again, and is not cleared.
class Numbers {
 public:
  void resize(NumberType type, std::int64_t count) {
    auto const bytes = index(count * bytes_of(type));
    if (bytes > capacity_) {
      memory_.reset();  // before the new block, so that both never exist together
      memory_ = std::make_unique_for_overwrite<std::byte[]>(bytes);
      capacity_ = bytes;
    }
    type_ = type;
    count_ = count;
  }
  NumberType type() const { return type_; }
  std::int64_t size() const { return count_; }
  std::byte* data() { return memory_.get(); }
  template <class Value>
  std::span<Value const> as() const {
    return {reinterpret_cast<Value const*>(memory_.get()), index(count_)};
  }
  template <class Value>
  std::span<Value> as() {
    return {reinterpret_cast<Value*>(memory_.get()), index(count_)};
  }

 private:
  std::unique_ptr<std::byte[]> memory_;  // operator new aligns to 16 bytes, enough for every type
  std::size_t capacity_ = 0;
  NumberType type_ = NumberType::u8;
  std::int64_t count_ = 0;
};

}  // namespace retort
