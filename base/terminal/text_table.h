// File: base/terminal/text_table.h
//
// Numbers and tables for people, in UTF-8. Scripts use --json.

#ifndef SHIRA_BASE_TERMINAL_TEXT_TABLE_H_
#define SHIRA_BASE_TERMINAL_TEXT_TABLE_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace shira {

// "512 B", "7.4 MiB".
std::string FormatBytes(int64_t bytes);

// "610,560".
std::string FormatCount(int64_t count);

enum class Align { kLeft, kRight };

struct Column {
  std::string heading;
  Align align = Align::kLeft;
};

// Columns as wide as their widest cell, two spaces apart, one line per row. `rows` have one cell
// per column.
std::string FormatTable(const std::vector<Column>& columns,
                        const std::vector<std::vector<std::string>>& rows);

// "Name:   x" lines with the values in one column.
std::string FormatFields(const std::vector<std::pair<std::string, std::string>>& fields);

}  // namespace shira

#endif  // SHIRA_BASE_TERMINAL_TEXT_TABLE_H_
