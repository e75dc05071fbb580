#include "server/logging/log_event.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "base/strings.h"
#include "server/logging/request_scope.h"

namespace shira {
namespace {

std::atomic<LogFormat> log_format{LogFormat::kText};

std::string ToJsonText(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

struct TextOf {
  std::string operator()(const std::string& text) const {
    const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
      return absl::ascii_isgraph(static_cast<unsigned char>(c)) && c != '"' && c != '=' &&
             c != '\\';
    });
    return plain ? text : StrCat("\"", absl::Utf8SafeCHexEscape(text), "\"");
  }
  std::string operator()(int64_t number) const { return absl::StrCat(number); }
  std::string operator()(double number) const { return absl::StrFormat("%.3f", number); }
};

struct JsonOf {
  std::string operator()(const std::string& text) const { return ToJsonText(text); }
  std::string operator()(int64_t number) const { return absl::StrCat(number); }
  // Three decimals of a millisecond are enough, and NaN is no JSON.
  std::string operator()(double number) const {
    return std::isfinite(number) ? absl::StrFormat("%.3f", number) : "null";
  }
};

}  // namespace

void SetLogFormat(LogFormat format) { log_format.store(format); }
LogFormat GetLogFormat() { return log_format.load(); }

std::string FormatEventAsText(std::string_view event, absl::Span<const LogField> fields) {
  std::string line(event);
  for (const LogField& field : fields) {
    StrAppend(&line, " ", field.name, "=", std::visit(TextOf(), field.value));
  }
  return line;
}

std::string FormatEventAsJson(std::string_view event, absl::Span<const LogField> fields) {
  std::string members = StrCat("\"event\":", ToJsonText(event));
  for (const LogField& field : fields) {
    StrAppend(&members, ",", ToJsonText(field.name), ":", std::visit(JsonOf(), field.value));
  }
  return members;
}

void LogEvent(spdlog::level::level_enum level, std::string_view event,
              absl::Span<const LogField> fields) {
  if (!spdlog::should_log(level)) return;
  const RequestScope none("");  // the id is a field
  const std::string line =
      GetLogFormat() == LogFormat::kJson
          ? StrCat(std::string(1, kJsonMembersMark), FormatEventAsJson(event, fields))
          : FormatEventAsText(event, fields);
  spdlog::default_logger_raw()->log(level, spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace shira
