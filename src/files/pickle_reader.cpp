#include "pickle_reader.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cstring>
#include <map>
#include <stdexcept>

namespace retort {
namespace {

using Kind = PickleValue::Kind;

[[noreturn]] void refuse(std::string const& why) { throw std::runtime_error(why); }

PickleNode node(Kind kind, std::int64_t integer = 0, std::string text = "") {
  auto value = std::make_shared<PickleValue>();
  value->kind = kind;
  value->integer = integer;
  value->text = std::move(text);
  return value;
}

PickleNode const& expect(PickleNode const& value, Kind kind, char const* what) {
  if (value->kind != kind) refuse(fmt::format("a pickle value is not {}", what));
  return value;
}

std::vector<std::int64_t> integers(PickleNode const& value) {
  std::vector<std::int64_t> list;
  for (auto const& item : expect(value, Kind::sequence, "a tuple")->items)
    list.push_back(expect(item, Kind::integer, "a number")->integer);
  return list;
}

class Machine {
 public:
  Machine(std::string_view bytes,
          std::function<at::Tensor(std::string const&, at::ScalarType, std::int64_t)> const& storage)
      : bytes_(bytes), storage_(storage) {}

  PickleNode run() {
    for (;;) {
      auto const code = static_cast<unsigned char>(take(1)[0]);
      if (code == '.') return pop();
      step(code);
    }
  }

 private:
  std::string_view take(std::size_t count) {
    if (count > bytes_.size() - at_) refuse("the pickle ends too early");
    auto const part = bytes_.substr(at_, count);
    at_ += count;
    return part;
  }
  template <class Value>
  Value number() {
    Value value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::string line() {
    auto const end = bytes_.find('\n', at_);
    if (end == std::string_view::npos) refuse("the pickle ends too early");
    std::string const text(take(end - at_));
    take(1);
    return text;
  }

  void push(PickleNode value) { stack_.push_back(std::move(value)); }
  PickleNode pop() {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) refuse("the pickle takes from an empty stack");
    auto value = std::move(stack_.back());
    stack_.pop_back();
    return value;
  }
  PickleNode const& top() {
    if (stack_.empty()) refuse("the pickle looks at an empty stack");
    return stack_.back();
  }
  std::vector<PickleNode> pop_to_mark() {
    if (marks_.empty()) refuse("the pickle has no mark");
    std::vector<PickleNode> items(stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back()), stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return items;
  }
  void push_tuple(std::size_t count) {
    auto value = node(Kind::sequence);
    for (std::size_t i = 0; i < count; ++i) value->items.insert(value->items.begin(), pop());
    push(value);
  }
  void set_items(std::vector<PickleNode> const& items) {
    auto const& target = expect(top(), Kind::dictionary, "a dictionary");
    if (items.size() % 2) refuse("a pickle dictionary has a key without a value");
    for (std::size_t i = 0; i < items.size(); i += 2) target->pairs.emplace_back(items[i], items[i + 1]);
  }
  void get(std::uint32_t place) {
    auto const found = memo_.find(place);
    if (found == memo_.end()) refuse("the pickle refers to a value that it did not keep");
    push(found->second);
  }

  void step(unsigned char code);
  void reduce();
  void persistent();
  void long_integer();

  std::string_view bytes_;
  std::size_t at_ = 0;
  std::function<at::Tensor(std::string const&, at::ScalarType, std::int64_t)> const& storage_;
  std::vector<PickleNode> stack_;
  std::vector<std::size_t> marks_;
  std::map<std::uint32_t, PickleNode> memo_;
};

void Machine::step(unsigned char code) {
  switch (code) {
    case 0x80:
      take(1);
      break;  // PROTO
    case '(':
      marks_.push_back(stack_.size());
      break;  // MARK
    case 'N':
      push(node(Kind::none));
      break;
    case 0x88:
      push(node(Kind::boolean, 1));
      break;  // NEWTRUE
    case 0x89:
      push(node(Kind::boolean, 0));
      break;  // NEWFALSE
    case 'K':
      push(node(Kind::integer, number<std::uint8_t>()));
      break;  // BININT1
    case 'M':
      push(node(Kind::integer, number<std::uint16_t>()));
      break;  // BININT2
    case 'J':
      push(node(Kind::integer, number<std::int32_t>()));
      break;  // BININT
    case 0x8a:
      long_integer();
      break;  // LONG1
    case 'G':
      take(8);
      push(node(Kind::none));
      break;  // BINFLOAT: no tensor is made of one
    case 'X':
      push(node(Kind::text, 0, std::string(take(number<std::uint32_t>()))));
      break;     // BINUNICODE
    case 'c': {  // GLOBAL
      auto const module = line();
      push(node(Kind::global, 0, module + " " + line()));
      break;
    }
    case ')':
      push(node(Kind::sequence));
      break;  // EMPTY_TUPLE
    case ']':
      push(node(Kind::sequence));
      break;  // EMPTY_LIST
    case '}':
      push(node(Kind::dictionary));
      break;     // EMPTY_DICT
    case 't': {  // TUPLE
      auto items = pop_to_mark();
      push(node(Kind::sequence));
      top()->items = std::move(items);
      break;
    }
    case 0x85:
      push_tuple(1);
      break;
    case 0x86:
      push_tuple(2);
      break;
    case 0x87:
      push_tuple(3);
      break;
    case 'a': {  // APPEND
      auto const item = pop();
      expect(top(), Kind::sequence, "a list")->items.push_back(item);
      break;
    }
    case 'e': {  // APPENDS
      auto const items = pop_to_mark();
      auto& list = expect(top(), Kind::sequence, "a list")->items;
      list.insert(list.end(), items.begin(), items.end());
      break;
    }
    case 's': {  // SETITEM
      auto const value = pop(), key = pop();
      set_items({key, value});
      break;
    }
    case 'u':
      set_items(pop_to_mark());
      break;  // SETITEMS
    case 'q':
      memo_[number<std::uint8_t>()] = top();
      break;  // BINPUT
    case 'r':
      memo_[number<std::uint32_t>()] = top();
      break;  // LONG_BINPUT
    case 'h':
      get(number<std::uint8_t>());
      break;  // BINGET
    case 'j':
      get(number<std::uint32_t>());
      break;  // LONG_BINGET
    case 'Q':
      persistent();
      break;  // BINPERSID
    case 'R':
      reduce();
      break;     // REDUCE
    case 'b': {  // BUILD: attributes of a state dict
      pop();
      expect(top(), Kind::dictionary, "a dictionary with attributes");
      break;
    }
    default:
      refuse(fmt::format("pickle opcode {:#x} is not used by torch checkpoints", code));
  }
}

void Machine::long_integer() {
  auto const digits = take(number<std::uint8_t>());
  if (digits.size() > 8) refuse("a pickle number has more than 64 bits");
  std::uint64_t value = !digits.empty() && static_cast<unsigned char>(digits.back()) & 0x80 ? ~std::uint64_t{0} : 0;
  std::memcpy(&value, digits.data(), digits.size());
  push(node(Kind::integer, static_cast<std::int64_t>(value)));
}

// ("storage", torch.FloatStorage, record, device, length)
void Machine::persistent() {
  static std::map<std::string, at::ScalarType> const types{
      {"torch FloatStorage", at::kFloat},       {"torch DoubleStorage", at::kDouble}, {"torch HalfStorage", at::kHalf},
      {"torch BFloat16Storage", at::kBFloat16}, {"torch LongStorage", at::kLong},     {"torch IntStorage", at::kInt}};
  auto const value = pop();
  auto const& items = expect(value, Kind::sequence, "a tuple")->items;
  if (items.size() != 5 || items[0]->text != "storage") refuse("the pickle refers to something that is no storage");
  auto const type = types.find(expect(items[1], Kind::global, "a storage type")->text);
  if (type == types.end()) refuse(fmt::format("storages of type '{}' are not read", items[1]->text));
  auto storage = node(Kind::storage, expect(items[4], Kind::integer, "a number")->integer,
                      expect(items[2], Kind::text, "a text")->text);
  storage->type = type->second;
  push(storage);
}

void Machine::reduce() {
  auto const arguments = expect(pop(), Kind::sequence, "a tuple");
  auto const function = expect(pop(), Kind::global, "a function");
  auto const& items = arguments->items;
  if (function->text == "collections OrderedDict" && items.empty()) return push(node(Kind::dictionary));
  if (function->text == "torch._utils _rebuild_parameter" && !items.empty())
    return push(expect(items[0], Kind::tensor, "a tensor"));
  if (function->text != "torch._utils _rebuild_tensor_v2" || items.size() < 4)
    refuse(fmt::format("the pickle calls '{}', which is refused", function->text));
  auto const& storage = expect(items[0], Kind::storage, "a storage");
  auto const offset = expect(items[1], Kind::integer, "a number")->integer;
  auto const sizes = integers(items[2]), strides = integers(items[3]);
  if (sizes.size() != strides.size() || sizes.size() > 8 || offset < 0) refuse("a tensor has a bad shape");
  __int128 last = offset, elements = 1;
  bool empty = false;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] < 0 || strides[i] < 0) refuse("a tensor has a bad shape");
    empty = empty || sizes[i] == 0;
    elements *= sizes[i];
    if (elements > storage->integer || (sizes[i] > 1 && strides[i] > storage->integer))
      refuse("a tensor is larger than its storage");
    last += static_cast<__int128>(std::max<std::int64_t>(0, sizes[i] - 1)) * strides[i];
  }
  if (!empty && last >= storage->integer) refuse("a tensor lies outside its storage");
  auto result = node(Kind::tensor);
  result->tensor =
      empty ? at::empty(sizes, storage->type)
            : storage_(storage->text, storage->type, storage->integer).as_strided(sizes, strides, offset).clone();
  push(result);
}

}  // namespace

PickleNode read_pickle(std::string_view bytes,
                       std::function<at::Tensor(std::string const&, at::ScalarType, std::int64_t)> const& storage) {
  return Machine(bytes, storage).run();
}

}  // namespace retort
