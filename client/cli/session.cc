#include "client/cli/session.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "client/cancellation.h"
#include "client/cli/adapter_names.h"
#include "client/cli/exit_code.h"
#include "client/cli/format.h"
#include "client/cli/hint.h"
#include "client/cli/interrupt.h"
#include "client/cli/progress.h"
#include "client/error_info.h"

namespace shira::cli {

Session::Session(const GlobalOptions& options)
    : TerminalSession("shira", options.json), options_(options) {}

absl::Status Session::Connect(bool reachable_is_enough) {
  BlockInterrupts();
  absl::StatusOr<ClientOptions> client = MakeClientOptions(options_.server, options_.credentials);
  if (!client.ok()) return client.status();
  client_.emplace(*std::move(client));
  return Run(absl::StrCat("Waiting for the server at ", options_.server),
             [&](const CallOptions& call) {
               return client_->WaitUntilReady({.timeout = absl::Seconds(options_.connect_timeout),
                                               .reachable_is_enough = reachable_is_enough,
                                               .cancellation = call.cancellation});
             });
}

void Session::RunCancellable(absl::string_view waiting,
                             absl::FunctionRef<void(const CallOptions&)> call) {
  Cancellation cancellation;
  CancelOnInterrupt watch(cancellation);
  {
    Progress progress(std::string(waiting), err());
    call({.timeout = options_.timeout ? absl::Seconds(*options_.timeout) : absl::InfiniteDuration(),
          .cancellation = &cancellation});
  }
  interrupted_ = cancellation.cancelled();
}

void Session::PrintError(const absl::Status& status) {
  const ErrorInfo info = GetErrorInfo(status).value_or(ErrorInfo{});
  std::string line = ErrorLine(status);
  if (!info.reason.empty()) absl::StrAppend(&line, " [", info.reason, "]");
  if (info.retry_delay.has_value())
    absl::StrAppend(&line, " (try again in ", FormatTimeSpan(*info.retry_delay), ")");
  err().Write(line + "\n");
  if (const std::string hint = Hint(status); !hint.empty()) err().Write(hint + "\n");
}

std::string Session::Hint(const absl::Status& status) {
  // The error is there already: what is looked up for a hint must not delay it.
  constexpr absl::Duration kLookupTimeout = absl::Seconds(2);
  const auto names = [&]() -> std::vector<std::string> {
    if (!client_.has_value()) return {};
    return AdapterNames(*client_, {.timeout = kLookupTimeout});
  };
  const auto version = [&]() -> std::string {
    if (!client_.has_value()) return "";
    const absl::StatusOr<v1::GetModelResponse> model =
        client_->GetModel({.timeout = kLookupTimeout});
    return model.ok() ? model->server_version() : "";
  };
  return HintFor(status, {.adapter_names = names, .server_version = version});
}

ExitCode Session::ReportError(const absl::Status& error) {
  const ExitCode code = ExitCodeFor(error, interrupted_);
  if (json()) {
    PrintJson(ErrorToJson(error));
  } else if (code == ExitCode::kInterrupted) {
    if (err().is_terminal()) err().Write("\n");
  } else {
    if (!out().at_line_start() && out().is_terminal()) out().Write("\n");
    PrintError(error);
  }
  return code;
}

}  // namespace shira::cli
