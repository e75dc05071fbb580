// File: base/excerpt.h

#ifndef SHIRA_BASE_EXCERPT_H_
#define SHIRA_BASE_EXCERPT_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace shira {

// For messages that quote text of unbounded length from elsewhere, a name in a file for
// example: `text` itself, or if it has more than `max_bytes`, its beginning and its end with a note
// in between on how much was left out, which comes on top. Cuts no character of UTF-8 apart.
std::string Excerpt(std::string_view text, size_t max_bytes);

// Of a name in a message.
inline constexpr size_t kMaxNameBytes = 256;

}  // namespace shira

#endif  // SHIRA_BASE_EXCERPT_H_
