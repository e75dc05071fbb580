#include "server/http/json_body.h"

#include <utility>
#include <vector>

#include "base/strings.h"
#include "server/generation/error_details.h"

namespace shira {
namespace {

// Reads a text without building anything, up to what is wrong with it.
class Checker final : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return Count(); }
  bool boolean(bool) override { return Count(); }
  bool number_integer(number_integer_t) override { return Count(); }
  bool number_unsigned(number_unsigned_t) override { return Count(); }
  bool number_float(number_float_t, const string_t& text) override {
    if (text.find_first_of(".eE") != std::string::npos) return Count();
    return Refuse(StrCat("the integer ", text.substr(0, 40), " has more than 64 bits"));
  }
  bool string(string_t&) override { return Count(); }
  bool binary(binary_t&) override { return Count(); }
  bool start_object(std::size_t) override { return Open(); }
  bool key(string_t&) override {
    if (++keys_.back() > kMaxJsonBodyKeys) {
      return Refuse(StrCat("an object has more than ", kMaxJsonBodyKeys, " keys"));
    }
    // Each is compared with those before it.
    comparisons_ += keys_.back();
    return comparisons_ <= kMaxJsonBodyKeyComparisons || Refuse("too many keys in its objects");
  }
  bool end_object() override { return Close(); }
  bool start_array(std::size_t) override { return Open(); }
  bool end_array() override { return Close(); }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    return Refuse(StrCat("malformed JSON at byte ", position));
  }

  const std::string& problem() const { return problem_; }

 private:
  bool Refuse(std::string problem) {
    problem_ = std::move(problem);
    return false;
  }
  bool Count() {
    return ++values_ <= kMaxJsonBodyValues ||
           Refuse(StrCat("JSON of more than ", kMaxJsonBodyValues, " values"));
  }
  bool Open() {
    keys_.push_back(0);
    if (keys_.size() <= static_cast<size_t>(kMaxJsonBodyDepth)) return Count();
    return Refuse(StrCat("JSON nested in more than ", kMaxJsonBodyDepth, " levels"));
  }
  bool Close() {
    keys_.pop_back();
    return true;
  }

  int64_t values_ = 0;
  int64_t comparisons_ = 0;
  std::vector<int> keys_;  // of the objects and lists that are open
  std::string problem_;
};

absl::Status InvalidBody(std::string_view problem) {
  return WithReason(absl::InvalidArgumentError(StrCat("the request's body: ", problem)),
                    "INVALID_REQUEST");
}

}  // namespace

absl::StatusOr<Json> ParseJsonBody(std::string_view body) {
  Checker checker;
  if (!Json::sax_parse(body.begin(), body.end(), &checker)) return InvalidBody(checker.problem());
  Json json = Json::parse(body.begin(), body.end(), /*cb=*/nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    return InvalidBody(StrCat("expected a JSON object, found ", KindOf(json)));
  }
  return json;
}

std::string JsonText(const Json& json) {
  return json.dump(/*indent=*/-1, /*indent_char=*/' ', /*ensure_ascii=*/false,
                   Json::error_handler_t::replace);
}

std::string_view KindOf(const Json& json) {
  switch (json.type()) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return "a list";
    case Json::value_t::string:
      return "a string";
    case Json::value_t::boolean:
      return "a boolean";
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
      return "an integer";
    case Json::value_t::number_float:
      return "a number";
    case Json::value_t::binary:
    case Json::value_t::discarded:
      break;
  }
  return "nothing";
}

}  // namespace shira
