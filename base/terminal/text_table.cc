#include "base/terminal/text_table.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"

namespace shira {
namespace {

// Terminal columns of UTF-8 text, taken as one per code point.
size_t Width(absl::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

}  // namespace

std::string FormatBytes(int64_t bytes) {
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  constexpr std::array<const char*, 5> kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  // 1023.95 would be shown as 1024.0.
  while (value >= 1023.95 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return absl::StrFormat("%.1f %s", value, kUnits[unit]);
}

std::string FormatCount(int64_t count) {
  std::string text = absl::StrCat(count);
  const int64_t first_digit = count < 0 ? 1 : 0;
  for (int64_t i = static_cast<int64_t>(text.size()) - 3; i > first_digit; i -= 3)
    text.insert(i, 1, ',');
  return text;
}

std::string FormatTable(const std::vector<Column>& columns,
                        const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (size_t c = 0; c < columns.size(); ++c) {
    size_t width = Width(columns[c].heading);
    for (const auto& row : rows) width = std::max(width, Width(row[c]));
    widths.push_back(width);
  }
  std::string table;
  const auto append_row = [&](auto cell) {
    std::string line;
    for (size_t c = 0; c < columns.size(); ++c) {
      const std::string& text = cell(c);
      const std::string padding(widths[c] - Width(text), ' ');
      if (c > 0) line += "  ";
      line += columns[c].align == Align::kRight ? padding + text : text + padding;
    }
    absl::StrAppend(&table, line.substr(0, line.find_last_not_of(' ') + 1), "\n");
  };
  append_row([&](size_t c) -> const std::string& { return columns[c].heading; });
  for (const auto& row : rows) append_row([&](size_t c) -> const std::string& { return row[c]; });
  return table;
}

std::string FormatFields(const std::vector<std::pair<std::string, std::string>>& fields) {
  size_t width = 0;
  for (const auto& [name, value] : fields) width = std::max(width, Width(name));
  std::string text;
  for (const auto& [name, value] : fields) {
    absl::StrAppend(&text, name, ":", std::string(width - Width(name) + 1, ' '), value, "\n");
  }
  return text;
}

}  // namespace shira
