// File: server/catalog/version_numbers.h
//
// Which version a name gets next: a version is never used twice for a name. What is remembered for
// that does not grow with the names that ever were: of names without any version left, the last
// kMaxGoneNames are remembered one by one, and of all others together the highest version that one
// of them had. A name that is not remembered begins above it.

#ifndef SHIRA_SERVER_CATALOG_VERSION_NUMBERS_H_
#define SHIRA_SERVER_CATALOG_VERSION_NUMBERS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace shira {

// Thread-compatible.
class VersionNumbers {
 public:
  static constexpr size_t kMaxGoneNames = 256;

  // The last version of every name that is remembered. `forgotten`: the highest one of all names
  // that are not; 0 if none was ever forgotten.
  struct Saved {
    std::map<std::string, int64_t, std::less<>> last;
    int64_t forgotten = 0;

    bool operator==(const Saved&) const = default;
  };

  // The name has versions from now on; this is its next one.
  int64_t Next(std::string_view name);
  // None of the name's versions is there any more.
  void Gone(std::string_view name);

  Saved Save() const;
  // As it was saved. Every name counts as gone until Keep() says otherwise: first all of those that
  // are there, since restoring forgets none.
  void Restore(const Saved& saved);
  // The name has versions.
  void Keep(std::string_view name);

 private:
  struct Name {
    int64_t last = 0;
    std::optional<std::list<std::string>::iterator> gone;  // its place in gone_
  };

  void Remember(Name& name);

  std::map<std::string, Name, std::less<>> names_;
  std::list<std::string> gone_;  // the one that went first comes first
  int64_t forgotten_ = 0;
};

}  // namespace shira

#endif  // SHIRA_SERVER_CATALOG_VERSION_NUMBERS_H_
