// File: client/cli/format.h
//
// What the server says, for people. Scripts use --json.

#ifndef SHIRA_CLIENT_CLI_FORMAT_H_
#define SHIRA_CLIENT_CLI_FORMAT_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/terminal/text_table.h"
#include "google/protobuf/duration.pb.h"
#include "shira/v1/adapter_admin.pb.h"
#include "shira/v1/inference.pb.h"

namespace shira::cli {

absl::Duration ToDuration(const google::protobuf::Duration& duration);

// "0 ms", "2.61 ms", "1.25 s", "3 min 5 s".
std::string FormatTimeSpan(absl::Duration duration);

// The first 12 digits of a SHA-256, which tell any two apart in practice.
std::string ShortDigest(absl::string_view sha256);

// "pirate v1 + json v2 (weight 0.5)"; "base" for an empty set. Works on anything that iterates over
// v1::AdapterIdentity.
template <typename Adapters>
std::string FormatAdapters(const Adapters& adapters);
std::string FormatAdapter(const v1::AdapterIdentity& adapter);

// "READY" for ADAPTER_STATE_READY and so on; the number for a value that this program does not
// know.
std::string StateName(v1::AdapterState state);
std::string ResidencyName(v1::AdapterResidency residency);

template <typename Adapters>
std::string FormatAdapters(const Adapters& adapters) {
  std::string text;
  for (const v1::AdapterIdentity& adapter : adapters) {
    if (!text.empty()) text += " + ";
    text += FormatAdapter(adapter);
  }
  return text.empty() ? "base" : text;
}

}  // namespace shira::cli

#endif  // SHIRA_CLIENT_CLI_FORMAT_H_
