#include "server/logging/log_setup.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "base/strings.h"
#include "server/logging/line_writer.h"
#include "server/logging/log_event.h"
#include "server/logging/request_scope.h"

namespace shira {
namespace {

constexpr char kLoggerName[] = "shira";
constexpr char kTextPattern[] = "%Y-%m-%dT%H:%M:%S.%e%z %l %v";

using Message = spdlog::details::log_msg;

void Append(std::string_view text, spdlog::memory_buf_t& into) {
  into.append(text.data(), text.data() + text.size());
}

std::string_view View(spdlog::string_view_t text) { return {text.data(), text.size()}; }

std::string ToJsonText(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// Formatters run on the thread that logs, where it is known which request that works for.
class TextFormatter final : public spdlog::formatter {
 public:
  void format(const Message& message, spdlog::memory_buf_t& into) override {
    const std::string_view id = RequestScope::CurrentRequestId();
    if (id.empty()) return pattern_.format(message, into);
    const std::string text = StrCat("[", id, "] ", View(message.payload));
    Message named = message;
    named.payload = text;
    pattern_.format(named, into);
  }
  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<TextFormatter>();
  }

 private:
  spdlog::pattern_formatter pattern_{kTextPattern};
};

class JsonFormatter final : public spdlog::formatter {
 public:
  void format(const Message& message, spdlog::memory_buf_t& into) override {
    Append(StrCat("{\"time\":\"",
                  absl::FormatTime("%Y-%m-%d%ET%H:%M:%E3S%Ez", absl::FromChrono(message.time),
                                   absl::UTCTimeZone()),
                  "\",\"level\":\"", View(spdlog::level::to_string_view(message.level)), "\""),
           into);
    if (const std::string_view id = RequestScope::CurrentRequestId(); !id.empty()) {
      Append(StrCat(",\"request\":", ToJsonText(id)), into);
    }
    const std::string_view text = View(message.payload);
    Append(text.starts_with(kJsonMembersMark) ? StrCat(",", text.substr(1))
                                              : StrCat(",\"message\":", ToJsonText(text)),
           into);
    Append("}\n", into);
  }
  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<JsonFormatter>();
  }
};

std::unique_ptr<spdlog::formatter> MakeFormatter(bool json) {
  if (json) return std::make_unique<JsonFormatter>();
  return std::make_unique<TextFormatter>();
}

std::string LostLine(bool json, int64_t lost) {
  const RequestScope none("");  // dropped lines do not belong to the request that logs next
  const std::string text =
      StrCat("log: ", lost, " lines were dropped here: their reader was too slow");
  spdlog::memory_buf_t line;
  MakeFormatter(json)->format(Message(kLoggerName, spdlog::level::warn, text), line);
  return std::string(line.data(), line.size());
}

class LineSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit LineSink(std::shared_ptr<LineWriter> writer) : writer_(std::move(writer)) {}

 private:
  void sink_it_(const Message& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    writer_->Write({line.data(), line.size()});
  }
  void flush_() override {}

  const std::shared_ptr<LineWriter> writer_;
};

// Where the default logger's lines go.
struct Current {
  absl::Mutex mutex;
  std::shared_ptr<LineWriter> writer;

  static Current& Get() {
    static auto& current = *new Current;
    return current;
  }
};

std::shared_ptr<LineWriter> CurrentWriter() {
  absl::MutexLock lock(&Current::Get().mutex);
  return Current::Get().writer;
}

}  // namespace

void StartLogging(const LogOptions& options) {
  auto writer = std::make_shared<LineWriter>(LineWriter::Options{
      .fd = options.fd,
      .lost_line = [json = options.json](int64_t lost) { return LostLine(json, lost); }});
  auto sink = std::make_shared<LineSink>(writer);
  sink->set_formatter(MakeFormatter(options.json));
  SetLogFormat(options.json ? LogFormat::kJson : LogFormat::kText);
  spdlog::set_default_logger(std::make_shared<spdlog::logger>(kLoggerName, std::move(sink)));
  spdlog::set_level(spdlog::level::from_str(options.level));
  absl::MutexLock lock(&Current::Get().mutex);
  Current::Get().writer = std::move(writer);
}

bool StopLogging(absl::Duration timeout) {
  const std::shared_ptr<LineWriter> writer = CurrentWriter();
  return writer == nullptr || writer->Close(timeout);
}

int64_t DroppedLogLines() {
  const std::shared_ptr<LineWriter> writer = CurrentWriter();
  return writer == nullptr ? 0 : writer->dropped();
}

}  // namespace shira
