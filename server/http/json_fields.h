// File: server/http/json_fields.h
//
// Reads an object by the names of its fields, and refuses what nobody has asked for: a field that
// is not known must not be taken for one that has an effect. null is as good as absent.
//
//   JsonFields fields(body, "", problems);
//   request.sampling.top_p = fields.Number("top_p").value_or(1);
//   fields.RefuseOthers();

#ifndef SHIRA_SERVER_HTTP_JSON_FIELDS_H_
#define SHIRA_SERVER_HTTP_JSON_FIELDS_H_

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "server/generation/field_problems.h"
#include "server/http/json_body.h"

namespace shira {

// Thread-compatible. Problems are added under the field's whole name, "messages[0].content".
class JsonFields {
 public:
  // `object` and `problems` must outlive this object. What is no object has no fields, and is a
  // problem. `name`: of the object itself; empty: the body.
  JsonFields(const Json& object, std::string name, FieldProblems& problems);

  // nullptr: absent. From now on the field is known, as with all methods below.
  const Json* Find(std::string_view field);

  // nullopt: absent, or of another type, which is a problem.
  std::optional<std::string> Text(std::string_view field);
  std::optional<bool> Boolean(std::string_view field);
  std::optional<double> Number(std::string_view field);
  std::optional<int64_t> Integer(std::string_view field);
  std::optional<int32_t> Int32(std::string_view field);
  // A list, whose entries are still to be looked at; nullptr as nullopt above.
  const Json* List(std::string_view field);

  // These have no effect here, whatever they say.
  void Ignore(absl::Span<const std::string_view> fields);
  // This one is only taken with the value that says what is done anyway.
  void Only(std::string_view field, const Json& value, std::string_view why);
  // A problem for every field that no method was asked for.
  void RefuseOthers();

  void Problem(std::string_view field, std::string_view problem);
  // "name.field"
  std::string NameOf(std::string_view field) const;

 private:
  const Json* Typed(std::string_view field, bool (Json::*is)() const noexcept,
                    std::string_view expected);

  const Json& object_;
  const std::string name_;
  FieldProblems& problems_;
  std::set<std::string, std::less<>> known_;
};

// The entries of a list of int32 values. A problem, and nullopt, for anything else.
std::optional<std::vector<int32_t>> Int32List(const Json& list, std::string_view name,
                                              FieldProblems& problems);

}  // namespace shira

#endif  // SHIRA_SERVER_HTTP_JSON_FIELDS_H_
