// File: base/strings.h
//
// Debian builds abseil with a string_view class of its own, which neither takes nor gives
// std::string_view. This is the bridge: StrCat and StrAppend as abseil's, but for std::string_view
// too; ToAbsl for everything else.

#ifndef SHIRA_BASE_STRINGS_H_
#define SHIRA_BASE_STRINGS_H_

#include <string>
#include <string_view>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace shira {

inline absl::string_view ToAbsl(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view ToStd(absl::string_view text) { return {text.data(), text.size()}; }

namespace strings_internal {

template <typename T>
decltype(auto) Forward(const T& part) {
  if constexpr (std::is_same_v<T, std::string_view>) {
    return ToAbsl(part);
  } else {
    return (part);
  }
}

}  // namespace strings_internal

// What absl::StrCat takes, and std::string_view.
template <typename... Parts>
std::string StrCat(const Parts&... parts) {
  return absl::StrCat(strings_internal::Forward(parts)...);
}

template <typename... Parts>
void StrAppend(std::string* text, const Parts&... parts) {
  absl::StrAppend(text, strings_internal::Forward(parts)...);
}

}  // namespace shira

#endif  // SHIRA_BASE_STRINGS_H_
