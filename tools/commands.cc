#include "tools/commands.h"

#include <array>

namespace shira::tools {

absl::Span<const Command> Commands() {
  static constexpr std::array<Command, 6> kCommands = {{
      {"", "inspect", &SetUpInspect},
      {"", "convert", &SetUpConvert},
      {"", "extract", &SetUpExtract},
      {"", "from-lora", &SetUpFromLora},
      {"", "diff", &SetUpDiff},
      {"", "verify", &SetUpVerify},
  }};
  return kCommands;
}

}  // namespace shira::tools
