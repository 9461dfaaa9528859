// SPDX-License-Identifier: BSD-3-Clause
#include "tests/checker/decode.hpp"

#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

namespace caisson::checker {

namespace {

using Json = nlohmann::json;

// What a line holds besides `process`, `op` and `result`, as bits.
enum Field : uint32_t {
  kValue = 1,
  kPosition = 2,
  kDurability = 4,
  kInvoke = 8,
  kReturn = 16,
  kTerm = 32,
  kBatch = 64,
  kCount = 128,
};
constexpr std::array<std::string_view, 8> kFieldNames = {
    "value", "position", "durability", "invoke_ns", "return_ns", "term", "batch", "count"};
constexpr std::string_view kAllNames =
    "process, op, value, position, durability, invoke_ns, return_ns, result, term, batch, count";

// Which fields an operation with that result has, and may have.
struct Shape {
  std::string_view name;
  Op op;
  Outcome result;
  uint32_t needs;
  uint32_t may;
};
constexpr uint32_t kBatched = kBatch | kCount;
constexpr std::array kShapes = {
    Shape{"append", Op::append, Outcome::ok, kValue | kPosition | kDurability | kInvoke | kReturn,
          kTerm | kBatched},
    Shape{"append", Op::append, Outcome::not_appended, kValue | kInvoke | kReturn,
          kTerm | kBatched},
    Shape{"append", Op::append, Outcome::unknown, kValue | kInvoke, kBatched},
    Shape{"attempt", Op::attempt, Outcome::not_appended, kValue | kInvoke | kReturn | kTerm,
          kBatched},
    Shape{"read", Op::read, Outcome::ok, kPosition | kInvoke | kReturn, kTerm},
    Shape{"read", Op::read, Outcome::unknown, kInvoke, 0},
    Shape{"deliver", Op::deliver, Outcome::ok, kPosition | kReturn, kValue | kInvoke | kTerm},
    Shape{"deliver", Op::deliver, Outcome::unreadable, kPosition | kReturn, kInvoke},
    Shape{"skip", Op::skip, Outcome::ok, kPosition | kReturn, kInvoke},
    Shape{"trim", Op::trim, Outcome::ok, kPosition | kReturn, kInvoke},
    Shape{"state", Op::state, Outcome::ok, kValue | kPosition | kReturn, kInvoke},
    Shape{"lead", Op::lead, Outcome::ok, kTerm | kReturn, kInvoke},
    Shape{"loss", Op::loss, Outcome::ok, kReturn, kInvoke},
    Shape{"damage", Op::damage, Outcome::ok, kReturn, kInvoke},
    Shape{"attach", Op::attach, Outcome::ok, kValue | kReturn, kInvoke},
    Shape{"apology", Op::apology, Outcome::ok, kValue | kPosition | kReturn | kCount, kInvoke},
    Shape{"taken", Op::taken, Outcome::ok, kValue | kPosition | kReturn, kInvoke},
    Shape{"takeover", Op::takeover, Outcome::ok, kPosition | kReturn | kCount, kInvoke},
    Shape{"end", Op::end, Outcome::ok, kReturn, kInvoke},
    Shape{"stall", Op::stall, Outcome::ok, kReturn, kInvoke},
};

constexpr std::array<std::pair<std::string_view, Level>, 5> kLevels = {
    {{"volatile", Level::volatile_},
     {"local", Level::local},
     {"replicated", Level::replicated},
     {"persisted", Level::persisted},
     {"all", Level::all}}};
constexpr std::array<std::pair<std::string_view, Outcome>, 4> kOutcomes = {
    {{"ok", Outcome::ok},
     {"not_appended", Outcome::not_appended},
     {"unknown", Outcome::unknown},
     {"unreadable", Outcome::unreadable}}};

template <class Table, class T>
bool find(const Table& table, std::string_view word, T& value) {
  for (const auto& [known, meaning] : table) {
    if (known != word) continue;
    value = meaning;
    return true;
  }
  return false;
}

std::string in_quotes(std::string_view text) {
  constexpr size_t kShownMax = 60;
  // Escaped, so that nothing in it moves a terminal.
  return Json(std::string(text.substr(0, kShownMax)))
      .dump(-1, ' ', true, Json::error_handler_t::replace);
}

// Takes a text apart from its front.
class Words {
 public:
  explicit Words(std::string_view text) : text_(text) {}
  bool number(uint64_t& value) {
    const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), value);
    if (error != std::errc()) return false;
    text_.remove_prefix(static_cast<size_t>(end - text_.data()));
    return true;
  }
  bool word(std::string_view word) {
    if (!text_.starts_with(word)) return false;
    text_.remove_prefix(word.size());
    return true;
  }
  bool digest(uint64_t& value) {
    constexpr size_t kDigits = 16;
    if (text_.size() < kDigits) return false;
    const auto [end, error] = std::from_chars(text_.data(), text_.data() + kDigits, value, 16);
    if (error != std::errc() || end != text_.data() + kDigits) return false;
    text_.remove_prefix(kDigits);
    return true;
  }
  bool stream(Id& id) { return number(id.client) && word(".") && number(id.incarnation); }
  bool place(Id& id) { return stream(id) && word(".") && number(id.sequence); }
  bool ended() const { return text_.empty(); }

 private:
  std::string_view text_;
};

// C.I.S:D, or a kind and its digest; a session says whose it is: session:C.I:anew:D.
bool entry_value(std::string_view text, Value& value) {
  Words words(text);
  value.kind = Kind::data;
  if (words.place(value.id)) return words.word(":") && words.digest(value.digest) && words.ended();
  value.id = {};
  for (const Kind kind :
       {Kind::noop, Kind::view, Kind::term, Kind::session, Kind::checkpoint, Kind::receipt}) {
    Words rest(text);
    if (!rest.word(name(kind)) || !rest.word(":")) continue;
    value.kind = kind;
    if (kind == Kind::session) {
      if (!rest.stream(value.id) || !rest.word(":")) return false;
      value.resumes = rest.word("resumed:");
      if (!value.resumes && !rest.word("anew:")) return false;
    }
    return rest.digest(value.digest) && rest.ended();
  }
  return false;
}

// Empty, or what a value of such an operation looks like.
std::string_view read_value(Op op, std::string_view text, Value& value) {
  Words words(text);
  switch (op) {
    case Op::append:
    case Op::attempt:
      if (entry_value(text, value) && value.kind == Kind::data && value.id.sequence != 0) return {};
      return "client.incarnation.sequence:digest, with a digest of 16 hexadecimal digits";
    case Op::state:
      value.kind = Kind::digest;
      if (words.digest(value.digest) && words.ended()) return {};
      return "a digest of 16 hexadecimal digits";
    case Op::attach:
    case Op::taken:
      value.kind = Kind::stream;
      if (words.stream(value.id) && words.ended()) return {};
      return "client.incarnation";
    case Op::apology:
      value.kind = Kind::place;
      if (words.place(value.id) && words.ended()) return {};
      return "client.incarnation.sequence";
    default:
      if (entry_value(text, value)) return {};
      return "client.incarnation.sequence:digest, kind:digest or null";
  }
}

// Fills in an operation, field by field; what it refuses ends the parsing.
class Sax : public nlohmann::json_sax<Json> {
 public:
  explicit Sax(Operation& operation) : o_(operation) {}
  std::string why;

  bool null() override { return opened("null") && take_null(); }
  bool boolean(bool) override { return wrong("a boolean"); }
  bool number_integer(number_integer_t) override { return wrong("a negative number"); }
  bool number_float(number_float_t, const string_t&) override {
    return wrong("no whole number below 2^64");
  }
  bool number_unsigned(number_unsigned_t number) override {
    if (!opened("a number")) return false;
    std::optional<uint64_t>* const slot = number_slot();
    if (slot == nullptr) return wrong("a number");
    if (field_ == "position" && number > kPositionMax) return wrong("beyond any log's end");
    *slot = number;
    return true;
  }
  bool string(string_t& text) override { return opened("a string") && take_string(text); }
  bool binary(binary_t&) override { return wrong("binary"); }
  bool start_object(size_t) override {
    if (depth_++ == 0) return true;
    return wrong("an object");
  }
  bool end_object() override { return true; }
  bool start_array(size_t) override { return wrong("an array"); }
  bool end_array() override { return true; }
  bool key(string_t& text) override {
    field_ = text;
    for (size_t i = 0; i < kKeys.size(); ++i) {
      if (kKeys[i] != text) continue;
      if (seen_ >> i & 1) return refuse("the field " + in_quotes(text) + " stands there twice");
      seen_ |= 1u << i;
      return true;
    }
    return refuse("there is no field " + in_quotes(text) + "; the fields are " +
                  std::string(kAllNames));
  }
  bool parse_error(size_t at, const std::string&, const Json::exception&) override {
    return refuse("it is not JSON from byte " + std::to_string(at) +
                  " on; a line is one object with the fields " + std::string(kAllNames));
  }

  // What the whole of it lacks.
  std::string finish() {
    if (o_.process.empty()) return "it has no \"process\": say who did it";
    if (op_.empty()) return "it has no \"op\": say what was done";
    const Shape* found = nullptr;
    bool known = false;
    for (const Shape& shape : kShapes) {
      if (shape.name != op_) continue;
      known = true;
      o_.op = shape.op;
      if (shape.result == o_.result) found = &shape;
    }
    if (!known) return "there is no op " + in_quotes(op_) + ": docs/history.md lists them";
    if (found == nullptr) return "the op " + in_quotes(op_) + " has no such \"result\"";
    return shape(*found);
  }

 private:
  static constexpr std::array<std::string_view, 11> kKeys = {
      "process",   "op",     "value", "position", "durability", "invoke_ns",
      "return_ns", "result", "term",  "batch",    "count"};

  std::string shape(const Shape& shape) {
    const std::array<bool, 8> given = {value_.has_value(),        o_.position.has_value(),
                                       o_.durability.has_value(), o_.invoke_ns.has_value(),
                                       o_.return_ns.has_value(),  o_.term.has_value(),
                                       o_.batch.has_value(),      o_.count.has_value()};
    for (size_t i = 0; i < given.size(); ++i) {
      const uint32_t bit = 1u << i;
      const std::string which = "\"" + std::string(kFieldNames[i]) + "\" of an op " +
                                in_quotes(op_) + " with this result";
      if (!given[i] && (shape.needs & bit)) return which + " is missing";
      if (given[i] && !((shape.needs | shape.may) & bit)) return which + " has to be null";
    }
    if (value_) {
      const std::string_view form = read_value(o_.op, *value_, o_.value);
      if (!form.empty()) {
        return "the value " + in_quotes(*value_) + " is none of an op " + in_quotes(op_) +
               ": it wants " + std::string(form);
      }
    }
    const bool entry = o_.op == Op::append || o_.op == Op::deliver;
    if (entry && o_.position == 0u) return "there is no entry at position 0: the first is 1";
    if (o_.batch.has_value() != o_.count.has_value() &&
        (o_.op == Op::append || o_.op == Op::attempt)) {
      return "\"batch\" and \"count\" go together";
    }
    if (o_.invoke_ns && o_.return_ns && *o_.return_ns < *o_.invoke_ns) {
      return "it returns before it is invoked: both times are of one monotonic clock";
    }
    return {};
  }

  bool refuse(std::string what) {
    if (why.empty()) why = std::move(what);
    return false;
  }
  bool wrong(const char* what) {
    if (depth_ == 0) return opened(what);
    return refuse("\"" + field_ + "\" is " + what + ": see docs/history.md for what it has to be");
  }
  bool opened(const char* what) {
    return depth_ > 0 || refuse(std::string("it is ") + what + ", not an object");
  }
  bool take_null() {
    if (field_ == "process" || field_ == "op" || field_ == "result") return wrong("null");
    return true;
  }
  bool take_string(const std::string& text) {
    if (field_ == "process")
      o_.process = text;
    else if (field_ == "op")
      op_ = text;
    else if (field_ == "value")
      value_ = text;
    else if (field_ == "result") {
      if (!find(kOutcomes, text, o_.result)) {
        return refuse("there is no result " + in_quotes(text) +
                      ": it is ok, not_appended, unknown or unreadable");
      }
    } else if (field_ == "durability") {
      Level level{};
      if (!find(kLevels, text, level)) {
        return refuse("there is no durability " + in_quotes(text) +
                      ": it is volatile, local, replicated, persisted or all");
      }
      o_.durability = level;
    } else {
      return wrong("a string");
    }
    return true;
  }
  std::optional<uint64_t>* number_slot() {
    if (field_ == "position") return &o_.position;
    if (field_ == "invoke_ns") return &o_.invoke_ns;
    if (field_ == "return_ns") return &o_.return_ns;
    if (field_ == "term") return &o_.term;
    if (field_ == "batch") return &o_.batch;
    if (field_ == "count") return &o_.count;
    return nullptr;
  }

  Operation& o_;
  std::string field_;
  std::string op_;
  std::optional<std::string> value_;
  uint32_t seen_ = 0;
  uint32_t depth_ = 0;
};

}  // namespace

std::string decode(std::string_view line, Operation& operation) {
  operation = {};
  Sax sax(operation);
  if (!Json::sax_parse(line.begin(), line.end(), &sax)) return sax.why;
  return sax.finish();
}

}  // namespace caisson::checker
