#include "client/cli/hint.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "base/closest_name.h"
#include "client/error_info.h"

namespace shira::cli {
namespace {

// Names that a hint lists; of more it names the first.
constexpr size_t kMaxNames = 20;

struct ReasonHint {
  absl::string_view reason;
  const char* hint;
};

constexpr char kPathIsOnTheServer[] =
    "The path is the server's: absolute, or relative to one of its --adapter-root folders, and "
    "below one. 'shira upload PATH --name NAME' sends an adapter from this machine.";

constexpr ReasonHint kReasonHints[] = {
    {"ADAPTER_PATH_NOT_FOUND", kPathIsOnTheServer},
    {"ADAPTER_PATH_OUTSIDE_ROOTS", kPathIsOnTheServer},
    {"UPLOADS_DISABLED", "A server that is started with --upload-dir FOLDER takes them."},
};

std::string AboutAdapters(const std::string& wanted, const std::vector<std::string>& names) {
  // Also when this caller may not see them: nothing is claimed then.
  if (names.empty()) return "";
  // "pirate" of "pirate@3", where that version is what does not exist.
  const std::string name = wanted.substr(0, wanted.rfind('@'));
  const std::optional<std::string> meant = ClosestName(name, names);
  const size_t shown = std::min(names.size(), kMaxNames);
  return absl::StrCat(
      meant.has_value() && *meant != wanted ? absl::StrCat("Did you mean '", *meant, "'? ") : "",
      "The server has: ", absl::StrJoin(names.begin(), names.begin() + shown, ", "),
      names.size() > shown ? absl::StrCat(" and ", names.size() - shown, " more") : "",
      ". 'shira adapter load' and 'shira upload' add others.");
}

// The adapter that does not exist; of a blend or an alias, that is not its own name.
std::string AdapterAtFault(const ErrorInfo& info) {
  for (const char* key : {"part", "target", "name"}) {
    if (const auto value = info.metadata.find(key); value != info.metadata.end())
      return value->second;
  }
  return "";
}

}  // namespace

std::string HintFor(const absl::Status& status, const HintSources& sources) {
  const std::optional<ErrorInfo> info = GetErrorInfo(status);
  if (info.has_value()) {
    if (info->reason == "ADAPTER_NOT_FOUND")
      return AboutAdapters(AdapterAtFault(*info), sources.adapter_names());
    for (const ReasonHint& known : kReasonHints) {
      if (info->reason == known.reason) return known.hint;
    }
    return "";
  }
  // What follows was made by gRPC, on either side of the wire.
  // Where the reason is known (TLS on one side alone), the message says what to do.
  if (absl::IsUnavailable(status) && absl::StrContains(status.message(), "check that it runs")) {
    return "Start one with 'shira-server --model FOLDER', or say where it is: --server HOST:PORT, "
           "or the environment variable SHIRA_SERVER.";
  }
  if (absl::IsUnauthenticated(status)) {
    return "Give a token that the server knows with --token-file FILE, or in the environment "
           "variable SHIRA_TOKEN.";
  }
  if (absl::IsUnimplemented(status)) {
    const std::string server = sources.server_version();
    return absl::StrCat("This is shira ", SHIRA_VERSION, ", the server is ",
                        server.empty() ? "of another version, or no shira-server" : server,
                        ": use a client and a server of one version, and call the administration "
                        "at the server's own port (--admin-listen), not through a proxy.");
  }
  return "";
}

}  // namespace shira::cli
