#include "client/cli/commands.h"

#include <array>

#include "absl/types/span.h"

namespace shira::cli {

absl::Span<const Command> Commands() {
  static constexpr std::array<Command, 22> kCommands = {{
      {"", "generate", &SetUpGenerate},
      {"", "chat", &SetUpChat},
      {"", "tokenize", &SetUpTokenize},
      {"", "detokenize", &SetUpDetokenize},
      {"", "upload", &SetUpUpload},
      {"adapter", "load", &SetUpAdapterLoad},
      {"adapter", "unload", &SetUpAdapterUnload},
      {"adapter", "list", &SetUpAdapterList},
      {"adapter", "show", &SetUpAdapterShow},
      {"adapter", "apply", &SetUpAdapterApply},
      {"adapter", "revert", &SetUpAdapterRevert},
      {"adapter", "pin", &SetUpAdapterPin},
      {"adapter", "unpin", &SetUpAdapterUnpin},
      {"alias", "set", &SetUpAliasSet},
      {"alias", "rollback", &SetUpAliasRollback},
      {"alias", "delete", &SetUpAliasDelete},
      {"alias", "list", &SetUpAliasList},
      {"blend", "create", &SetUpBlendCreate},
      {"", "verify", &SetUpVerify},
      {"", "status", &SetUpStatus},
      {"", "top", &SetUpTop},
      {"", "model", &SetUpModel},
  }};
  return kCommands;
}

}  // namespace shira::cli
