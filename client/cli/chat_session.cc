#include "client/cli/chat_session.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/closest_name.h"
#include "client/cli/adapter_names.h"
#include "client/cli/adapter_spec.h"
#include "client/cli/chat_json.h"
#include "client/cli/chat_settings.h"
#include "client/cli/conversation_options.h"
#include "client/cli/format.h"
#include "client/cli/generation_options.h"
#include "client/cli/text_input.h"

namespace shira::cli {
namespace {

constexpr absl::Duration kCompletionTimeout = absl::Seconds(1);

}  // namespace

struct ChatSession::SlashCommand {
  absl::string_view name;
  const char* arguments;
  const char* help;
  absl::StatusOr<Next> (ChatSession::*run)(const std::vector<std::string>& arguments);
};

absl::Span<const ChatSession::SlashCommand> ChatSession::SlashCommands() {
  static constexpr std::array<SlashCommand, 7> kCommands = {{
      {"/adapter", "NAME[:W]...",
       "answer with these adapters from now on; without a name: print which are in use",
       &ChatSession::UseAdapters},
      {"/adapters", "", "list the adapters of the server, and their aliases",
       &ChatSession::ListAdapters},
      {"/base", "", "answer with the base model from now on", &ChatSession::UseBase},
      {"/set", "[NAME VALUE]",
       "answer with this temperature, max-tokens and so on; alone: list them; VALUE default: what "
       "the server chooses",
       &ChatSession::Set},
      {"/reset", "", "forget the conversation, but not what the command line gave",
       &ChatSession::Reset},
      {"/help", "", "print this", &ChatSession::PrintHelp},
      {"/quit", "", "end; so does Ctrl-D", &ChatSession::Quit},
  }};
  return kCommands;
}

std::vector<std::string> ChatSession::SlashCommandNames() {
  std::vector<std::string> names;
  for (const SlashCommand& command : SlashCommands()) names.emplace_back(command.name);
  return names;
}

ChatSession::ChatSession(Session& session, v1::GenerateRequest settings, v1::ChatInput beginning,
                         bool interactive)
    : session_(session),
      beginning_(std::move(beginning)),
      interactive_(interactive),
      request_(std::move(settings)) {
  *request_.mutable_chat() = beginning_;
}

absl::StatusOr<ChatSession::Next> ChatSession::HandleLine(absl::string_view line) {
  const absl::string_view text = absl::StripAsciiWhitespace(line);
  if (text.empty()) return Next::kContinue;
  if (!absl::StartsWith(text, "/") || absl::StartsWith(text, "//")) {
    if (absl::Status status = Answer(absl::StartsWith(text, "//") ? text.substr(1) : text);
        !status.ok())
      return status;
    return Next::kContinue;
  }
  std::vector<std::string> words = absl::StrSplit(text, absl::ByAnyChar(" \t"), absl::SkipEmpty());
  const std::string name = words.front();
  words.erase(words.begin());
  for (const SlashCommand& command : SlashCommands()) {
    if (command.name != name) continue;
    if (*command.arguments == '\0' && !words.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(name, " takes no arguments"));
    }
    return (this->*command.run)(words);
  }
  const std::optional<std::string> meant = ClosestName(name, SlashCommandNames());
  return absl::InvalidArgumentError(
      absl::StrCat("There is no ", name, "; ",
                   meant.has_value() ? absl::StrCat("did you mean ", *meant, "? ") : "",
                   "/help lists all commands, and //text sends /text"));
}

Json ChatSession::Transcript() const {
  Json messages = Json::array();
  for (const v1::ChatMessage& message : request_.chat().messages()) {
    messages.push_back(ToJson(message));
  }
  return {{"messages", std::move(messages)}, {"turns", turns_}};
}

std::vector<std::string> ChatSession::CompletionsOf(absl::string_view line) {
  if (!absl::StartsWith(line, "/") || absl::StartsWith(line, "//")) return {};
  const std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
  const bool is_first = line.find_first_of(" \t") == absl::string_view::npos;
  if (is_first) return SlashCommandNames();
  if (words.front() == "/set" && words.size() - (absl::EndsWith(line, " ") ? 0 : 1) == 1)
    return ChatSettingNames();
  if (words.front() != "/adapter") return {};
  // A key was pressed: a user is waiting.
  return AdapterNames(session_.client(), {.timeout = kCompletionTimeout});
}

std::string ChatSession::Help() {
  std::string help;
  for (const SlashCommand& command : SlashCommands()) {
    absl::StrAppendFormat(&help, "  %-22s %s\n", absl::StrCat(command.name, " ", command.arguments),
                          command.help);
  }
  return help;
}

absl::StatusOr<ChatSession::Next> ChatSession::UseAdapters(const std::vector<std::string>& specs) {
  if (!specs.empty()) {
    absl::StatusOr<std::vector<v1::WeightedAdapter>> adapters = ParseAdapterSpecs(specs);
    if (!adapters.ok()) return adapters.status();
    // Now, and not with the next answer, is when the user wants to hear of a name that does not
    // exist.
    for (const v1::WeightedAdapter& adapter : *adapters) {
      const auto known = session_.Run("Asking", [&](const CallOptions& call) {
        return session_.client().GetAdapter(adapter.name(), call);
      });
      if (!known.ok()) return known.status();
    }
    request_.mutable_adapter()->mutable_adapters()->Assign(adapters->begin(), adapters->end());
  }
  Tell(DescribeSelection());
  return Next::kContinue;
}

absl::StatusOr<ChatSession::Next> ChatSession::ListAdapters(const std::vector<std::string>&) {
  const auto adapters = session_.Run(
      "Asking", [&](const CallOptions& call) { return session_.client().ListAdapters(call); });
  if (!adapters.ok()) return adapters.status();
  std::vector<std::vector<std::string>> rows;
  for (const v1::Adapter& adapter : *adapters) {
    const bool selected = IsSelected(adapter.name()) ||
                          IsSelected(absl::StrCat(adapter.name(), "@", adapter.version())) ||
                          std::any_of(adapter.aliases().begin(), adapter.aliases().end(),
                                      [&](const std::string& alias) { return IsSelected(alias); });
    rows.push_back({selected ? "*" : "", adapter.name(), absl::StrCat(adapter.version()),
                    StateName(adapter.state()), absl::StrJoin(adapter.aliases(), " ")});
  }
  if (rows.empty()) {
    session_.err().Write("The server has no adapters; 'shira adapter load' loads some.\n");
  } else {
    session_.err().Write(
        FormatTable({{""}, {"NAME"}, {"VERSION", Align::kRight}, {"STATE"}, {"ALIASES"}}, rows));
  }
  return Next::kContinue;
}

absl::StatusOr<ChatSession::Next> ChatSession::Set(const std::vector<std::string>& arguments) {
  if (arguments.empty()) {
    session_.err().Write(FormatChatSettings(request_));
    return Next::kContinue;
  }
  if (arguments.size() == 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("/set ", arguments[0], ": expected a value, or default"));
  }
  // A stop string may have blanks in it.
  const std::string value = absl::StrJoin(arguments.begin() + 1, arguments.end(), " ");
  if (absl::Status status = SetChatSetting(arguments[0], value, request_); !status.ok())
    return status;
  Tell(absl::StrCat(arguments[0], " is ", value, " from now on."));
  return Next::kContinue;
}

absl::StatusOr<ChatSession::Next> ChatSession::UseBase(const std::vector<std::string>&) {
  request_.mutable_adapter()->clear_adapters();
  Tell(DescribeSelection());
  return Next::kContinue;
}

absl::StatusOr<ChatSession::Next> ChatSession::Reset(const std::vector<std::string>&) {
  *request_.mutable_chat() = beginning_;
  Tell("A new conversation.");
  return Next::kContinue;
}

absl::StatusOr<ChatSession::Next> ChatSession::PrintHelp(const std::vector<std::string>&) {
  session_.err().Write(Help());
  return Next::kContinue;
}

absl::StatusOr<ChatSession::Next> ChatSession::Quit(const std::vector<std::string>&) {
  return Next::kQuit;
}

absl::Status ChatSession::Answer(absl::string_view text) {
  if (absl::Status status = CheckUtf8(text); !status.ok()) return status;
  AddMessage("user", text, *request_.mutable_chat());
  std::string answer;
  const absl::Status status =
      session_.json() ? AnswerAsJson(request_, answer) : AnswerStreaming(request_, answer);
  if (status.ok() || (session_.interrupted() && !answer.empty())) {
    AddMessage("assistant", answer, *request_.mutable_chat());
  } else {
    request_.mutable_chat()->mutable_messages()->RemoveLast();
  }
  return status;
}

absl::Status ChatSession::AnswerStreaming(const v1::GenerateRequest& request, std::string& text) {
  const absl::StatusOr<v1::GenerateSummary> summary =
      session_.Run("", [&](const CallOptions& call) {
        return session_.client().StreamGenerate(
            request,
            [&](const v1::StreamGenerateResponse::Chunk& chunk) {
              text += chunk.text();
              return session_.out().Write(chunk.text());
            },
            call);
      });
  if (!session_.out().at_line_start()) session_.out().Write("\n");
  if (!summary.ok()) return summary.status();
  if (session_.err().is_terminal() || session_.verbose()) PrintFigures(*summary, session_.err());
  return absl::OkStatus();
}

absl::Status ChatSession::AnswerAsJson(const v1::GenerateRequest& request, std::string& text) {
  const absl::StatusOr<v1::GenerateResponse> response = session_.Run(
      "Generating",
      [&](const CallOptions& call) { return session_.client().Generate(request, call); });
  if (!response.ok()) return response.status();
  text = response->text();
  turns_.push_back(ToJson(*response));
  return absl::OkStatus();
}

void ChatSession::Tell(absl::string_view text) {
  if (interactive_) session_.err().Write(absl::StrCat(session_.err().Dim(text), "\n"));
}

std::string ChatSession::DescribeSelection() const {
  if (!request_.has_adapter()) return "Answers come from the server's default state.";
  if (request_.adapter().adapters().empty()) return "Answers come from the base model.";
  std::string names;
  for (const v1::WeightedAdapter& adapter : request_.adapter().adapters()) {
    absl::StrAppend(&names, names.empty() ? "" : " + ", adapter.name());
    if (adapter.has_weight()) absl::StrAppend(&names, " (weight ", adapter.weight(), ")");
  }
  return absl::StrCat("Answers come from ", names, ".");
}

bool ChatSession::IsSelected(absl::string_view name) const {
  const auto& adapters = request_.adapter().adapters();
  return std::any_of(adapters.begin(), adapters.end(),
                     [&](const v1::WeightedAdapter& adapter) { return adapter.name() == name; });
}

}  // namespace shira::cli
