#include "base/excerpt.h"

#include "base/strings.h"

namespace shira {
namespace {

// Whether a character of UTF-8 goes on here.
bool IsInside(std::string_view text, size_t position) {
  return position < text.size() && (static_cast<unsigned char>(text[position]) & 0xC0) == 0x80;
}

}  // namespace

std::string Excerpt(std::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return std::string(text);
  size_t head = max_bytes - max_bytes / 3;
  while (head > 0 && IsInside(text, head)) --head;
  size_t tail = text.size() - max_bytes / 3;
  while (IsInside(text, tail)) ++tail;
  return StrCat(text.substr(0, head), "... (", tail - head, " bytes left out) ...",
                text.substr(tail));
}

}  // namespace shira
