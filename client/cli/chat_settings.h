// File: client/cli/chat_settings.h
//
// What `/set` changes in the middle of a conversation: the options of generation_options.h that
// have a value, under the same names, as fields of the request. Pure functions of it.

#ifndef SHIRA_CLIENT_CLI_CHAT_SETTINGS_H_
#define SHIRA_CLIENT_CLI_CHAT_SETTINGS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "shira/v1/inference.pb.h"

namespace shira::cli {

// "temperature" and so on, in the order in which they are shown.
std::vector<std::string> ChatSettingNames();

// Gives the setting a value, or takes it back for "default": then it is the server's to choose.
// INVALID_ARGUMENT, and the request stays as it is, for a name that does not exist (with what was
// probably meant) and for a value that is not of its type; whether it is in range is the server's
// to say.
absl::Status SetChatSetting(absl::string_view name, absl::string_view value,
                            v1::GenerateRequest& request);

// One line per setting: its name and value.
std::string FormatChatSettings(const v1::GenerateRequest& request);

}  // namespace shira::cli

#endif  // SHIRA_CLIENT_CLI_CHAT_SETTINGS_H_
