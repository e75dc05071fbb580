// File: server/jinja/numbers.h
//
// Numbers to text and back, as Python does it. Pure functions.

#ifndef SHIRA_SERVER_JINJA_NUMBERS_H_
#define SHIRA_SERVER_JINJA_NUMBERS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace shira::jinja {

// repr(float): the shortest digits that give the same number, "1.0", "1e+16", "nan".
std::string ReprFloat(double number);

// int(text, base) and float(text); nullopt where Python raises ValueError. `overflow` tells a
// number of more than 64 bits.
std::optional<int64_t> ParseInteger(std::string_view text, int base, bool& overflow);
std::optional<double> ParseFloat(std::string_view text);

}  // namespace shira::jinja

#endif  // SHIRA_SERVER_JINJA_NUMBERS_H_
