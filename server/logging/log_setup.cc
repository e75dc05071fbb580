#include "server/logging/log_setup.h"

#include <spdlog/async.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "absl/time/time.h"
#include "base/strings.h"
#include "server/logging/log_event.h"
#include "server/logging/request_scope.h"

namespace shira {
namespace {

constexpr size_t kQueuedLines = 8192;
constexpr char kLoggerName[] = "shira";
constexpr char kTextPattern[] = "%Y-%m-%dT%H:%M:%S.%e%z %l %v";
// Between the request's id and the rest, from the thread that logs to the one that writes JSON.
constexpr char kIdMark = '\x1f';

void Append(std::string_view text, spdlog::memory_buf_t& into) {
  into.append(text.data(), text.data() + text.size());
}

std::string ToJsonText(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string_view LevelName(spdlog::level::level_enum level) {
  const spdlog::string_view_t name = spdlog::level::to_string_view(level);
  return {name.data(), name.size()};
}

class JsonFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& into) override {
    std::string_view text(message.payload.data(), message.payload.size());
    Append(StrCat("{\"time\":\"",
                  absl::FormatTime("%Y-%m-%d%ET%H:%M:%E3S%Ez", absl::FromChrono(message.time),
                                   absl::UTCTimeZone()),
                  "\",\"level\":\"", LevelName(message.level), "\""),
           into);
    if (text.starts_with(kIdMark)) {
      const size_t end = text.find(kIdMark, 1);
      Append(StrCat(",\"request\":", ToJsonText(text.substr(1, end - 1))), into);
      text.remove_prefix(end + 1);
    }
    Append(text.starts_with(kJsonMembersMark) ? StrCat(",", text.substr(1))
                                              : StrCat(",\"message\":", ToJsonText(text)),
           into);
    Append("}\n", into);
  }
  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<JsonFormatter>();
  }
};

// Runs on the thread that logs, where it is known which request that works for, and hands the line
// on to the logger that has a thread of its own.
class RequestIdSink final : public spdlog::sinks::sink {
 public:
  RequestIdSink(std::shared_ptr<spdlog::logger> next, bool json)
      : next_(std::move(next)), json_(json) {}

  void log(const spdlog::details::log_msg& message) override {
    const std::string_view id = RequestScope::CurrentRequestId();
    if (id.empty()) {
      next_->log(message.time, message.source, message.level, message.payload);
      return;
    }
    const std::string_view text(message.payload.data(), message.payload.size());
    const std::string mark(1, kIdMark);
    next_->log(message.time, message.source, message.level,
               json_ ? StrCat(mark, id, mark, text) : StrCat("[", id, "] ", text));
  }
  void flush() override { next_->flush(); }
  void set_pattern(const std::string& /*pattern*/) override {}
  void set_formatter(std::unique_ptr<spdlog::formatter> /*formatter*/) override {}

 private:
  const std::shared_ptr<spdlog::logger> next_;
  const bool json_;
};

}  // namespace

void StartLoggingTo(std::shared_ptr<spdlog::sinks::sink> sink, const LogOptions& options) {
  spdlog::init_thread_pool(kQueuedLines, 1);
  auto writer =
      std::make_shared<spdlog::async_logger>(kLoggerName, std::move(sink), spdlog::thread_pool(),
                                             spdlog::async_overflow_policy::overrun_oldest);
  if (options.json) {
    writer->set_formatter(std::make_unique<JsonFormatter>());
  } else {
    writer->set_pattern(kTextPattern);
  }
  writer->set_level(spdlog::level::trace);  // what comes here has been chosen
  SetLogFormat(options.json ? LogFormat::kJson : LogFormat::kText);
  auto logger = std::make_shared<spdlog::logger>(
      kLoggerName, std::make_shared<RequestIdSink>(std::move(writer), options.json));
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
  spdlog::set_level(spdlog::level::from_str(options.level));
}

void StartLogging(const LogOptions& options) {
  StartLoggingTo(std::make_shared<spdlog::sinks::stderr_sink_mt>(), options);
}

}  // namespace shira
