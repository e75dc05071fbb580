#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "client/cli/commands.h"
#include "client/cli/key_input.h"
#include "client/cli/server_status.h"

namespace shira::cli {
namespace {

// Cursor to the top left, and everything behind it erased: without the flicker of an empty screen.
constexpr char kHome[] = "\x1b[H\x1b[J";

struct TopOptions {
  double interval = 1;
  int count = 0;  // screens; 0: until Ctrl-C
};

// False when the user wants to leave: by Ctrl-C, or by q.
bool Sleep(KeyInput& keys, absl::Duration duration) {
  const auto end = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(duration);
  while (true) {
    char key = 0;
    switch (keys.Wait(absl::FromChrono(end - std::chrono::steady_clock::now()), key)) {
      case KeyInput::Event::kTimeout:
        return true;
      case KeyInput::Event::kInterrupt:
        return false;
      case KeyInput::Event::kKey:
        if (key == 'q' || key == 'Q') return false;
    }
  }
}

absl::StatusOr<v1::GetServerStatusResponse> Ask(Session& session) {
  return session.Run(
      "", [&](const CallOptions& call) { return session.client().GetServerStatus(call); });
}

// --json: one object, with the rates of one interval.
absl::StatusOr<ExitCode> PrintRates(Session& session, absl::Duration interval) {
  const absl::StatusOr<v1::GetServerStatusResponse> before = Ask(session);
  if (!before.ok()) return before.status();
  const absl::Status slept = session.Run("", [&](const CallOptions& call) {
    call.cancellation->SleepFor(interval);
    return absl::OkStatus();
  });
  if (!slept.ok() || session.interrupted()) return absl::CancelledError("Interrupted");
  const absl::StatusOr<v1::GetServerStatusResponse> after = Ask(session);
  if (!after.ok()) return after.status();
  Json json = ToJson(*after);
  const std::optional<ServerRates> rates = RatesBetween(*before, *after);
  json["rates"] = rates.has_value() ? ToJson(*rates) : Json(nullptr);
  session.PrintJson(json);
  return ExitCode::kOk;
}

absl::StatusOr<ExitCode> Top(Session& session, const TopOptions& options) {
  if (absl::Status status = session.Connect(/*reachable_is_enough=*/true); !status.ok())
    return status;
  const absl::Duration interval = absl::Seconds(options.interval);
  if (session.json()) return PrintRates(session, interval);
  KeyInput keys;
  const std::string leave = absl::StrCat("\n", session.out().Dim("q leaves."), "\n");
  std::optional<v1::GetServerStatusResponse> before;
  for (int shown = 0; options.count == 0 || shown < options.count; ++shown) {
    if (shown > 0 && !Sleep(keys, interval)) return ExitCode::kOk;
    absl::StatusOr<v1::GetServerStatusResponse> now = Ask(session);
    if (session.interrupted()) return ExitCode::kOk;
    if (!now.ok()) return now.status();
    const std::string screen =
        FormatTop(*now, before.has_value() ? RatesBetween(*before, *now) : std::nullopt);
    const bool written = session.out().is_terminal()
                             ? session.out().Write(absl::StrCat(kHome, screen, leave))
                             : session.out().Write(absl::StrCat(shown > 0 ? "\n" : "", screen));
    if (!written) return ExitCode::kError;
    before = *std::move(now);
  }
  return ExitCode::kOk;
}

}  // namespace

CommandRunner SetUpTop(CLI::App& app) {
  app.description("Watch the server: streams, tokens per second, switches, memory");
  const auto options = std::make_shared<TopOptions>();
  app.add_option("--interval", options->interval, "Seconds between two looks")
      ->type_name("SECONDS")
      ->check(CLI::PositiveNumber.description(""))
      ->capture_default_str();
  app.add_option("--count", options->count, "Looks before the end (default: until q or Ctrl-C)")
      ->type_name("N")
      ->check(CLI::PositiveNumber.description(""));
  app.footer(
      "Needs the role read-only or admin. With --json: one object, with the rates of one "
      "interval.\n"
      "Examples:\n"
      "  shira top\n"
      "  shira top --interval 5 --count 2");
  return [options](Session& session) { return Top(session, *options); };
}

}  // namespace shira::cli
