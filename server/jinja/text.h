// File: server/jinja/text.h
//
// Python's str operations on UTF-8: templates index, strip and change the case of text by code
// point and by Python's definitions of white space and case. Every argument is valid UTF-8, and so
// is every result. Pure functions.

#ifndef SHIRA_SERVER_JINJA_TEXT_H_
#define SHIRA_SERVER_JINJA_TEXT_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace shira::jinja {

std::u32string ToCodePoints(std::string_view text);
std::string FromCodePoints(std::u32string_view code_points);
size_t CodePointCount(std::string_view text);

bool IsSpace(char32_t code_point);            // str.isspace
bool IsIdentifierStart(char32_t code_point);  // str.isidentifier, first character
bool IsIdentifierPart(char32_t code_point);   // and the others

enum class Side { kLeft, kRight, kBoth };
// Without `characters`, strips white space.
std::string_view Strip(std::string_view text, Side side,
                       std::optional<std::string_view> characters = std::nullopt);

// Removes the affix if it is there; returns whether it was.
bool ConsumePrefix(std::string_view& text, std::string_view prefix);
bool ConsumeSuffix(std::string_view& text, std::string_view suffix);

std::string Upper(std::string_view text);
std::string Lower(std::string_view text);
std::string Title(std::string_view text);       // str.title
std::string Capitalize(std::string_view text);  // str.capitalize
std::string SwapCase(std::string_view text);

// The str.is...() predicates: true for a non-empty text whose characters all satisfy it.
bool IsUpper(std::string_view text);
bool IsLower(std::string_view text);
bool IsTitle(std::string_view text);
bool IsAlpha(std::string_view text);
bool IsDigit(std::string_view text);
bool IsDecimal(std::string_view text);
bool IsNumeric(std::string_view text);
bool IsAlnum(std::string_view text);
bool IsAllSpace(std::string_view text);

// At most `max_splits` splits; negative: no bound. Without a separator splits at runs of white
// space and drops empty ends.
std::vector<std::string> Split(std::string_view text, std::optional<std::string_view> separator,
                               int64_t max_splits);
std::vector<std::string> SplitFromRight(std::string_view text,
                                        std::optional<std::string_view> separator,
                                        int64_t max_splits);
std::vector<std::string> SplitLines(std::string_view text, bool keep_ends);

// At most `count` replacements; negative: all. An empty `from` matches between all characters.
// nullopt past `max_bytes`.
std::optional<std::string> Replace(std::string_view text, std::string_view from,
                                   std::string_view to, int64_t count, size_t max_bytes);

// repr(): quoted and escaped as Python prints a string in a list.
std::string ReprString(std::string_view text);

// & < > ' " as markupsafe writes them.
std::string EscapeHtml(std::string_view text);

}  // namespace shira::jinja

#endif  // SHIRA_SERVER_JINJA_TEXT_H_
