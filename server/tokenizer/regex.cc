#include "server/tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <cstdint>
#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/tokenizer/oniguruma_pattern.h"
#include "server/tokenizer/utf8.h"

namespace shira {
namespace {

// Of one attempt to match. Ordinary text stays thousands of times below.
constexpr uint32_t kMatchLimit = 10'000'000;
constexpr uint32_t kHeapLimitKib = 64 * 1024;
constexpr size_t kJitStackBytes = 8 * 1024 * 1024;

struct CompileContextDeleter {
  void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
};
struct MatchDataDeleter {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
struct JitStackDeleter {
  void operator()(pcre2_jit_stack* stack) const { pcre2_jit_stack_free(stack); }
};

// The stack of compiled code: one per thread, made when first needed. The 32 KiB of the machine
// stack that PCRE2 uses otherwise do not hold a long word that a group repeats over.
pcre2_jit_stack* JitStackOfThread(void*) {
  thread_local const std::unique_ptr<pcre2_jit_stack, JitStackDeleter> stack(
      pcre2_jit_stack_create(32 * 1024, kJitStackBytes, nullptr));
  return stack.get();
}

std::string PcreMessage(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

struct Regex::Code {
  Code(pcre2_code* compiled, pcre2_match_context* match_context)
      : code(compiled), context(match_context) {}
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;
  ~Code() {
    pcre2_match_context_free(context);
    pcre2_code_free(code);
  }

  pcre2_code* const code;
  pcre2_match_context* const context;
};

absl::StatusOr<Regex> Regex::Compile(std::string_view pattern) {
  SHIRA_ASSIGN_OR_RETURN(const std::string pcre, PcreFromOniguruma(pattern));
  return CompilePcre(pcre, pattern, PCRE2_MULTILINE);
}

absl::StatusOr<Regex> Regex::Literal(std::string_view text) {
  return CompilePcre(text, text, PCRE2_LITERAL);
}

absl::StatusOr<Regex> Regex::CompilePcre(std::string_view pattern, std::string_view shown,
                                         uint32_t options) {
  const std::unique_ptr<pcre2_compile_context, CompileContextDeleter> compile_context(
      pcre2_compile_context_create(nullptr));
  pcre2_set_newline(compile_context.get(), PCRE2_NEWLINE_LF);
  if (options != PCRE2_LITERAL) options |= PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C;
  int error = 0;
  PCRE2_SIZE error_offset = 0;
  pcre2_code* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                    options | PCRE2_UTF, &error, &error_offset, compile_context.get());
  if (code == nullptr) {
    return absl::InvalidArgumentError(StrCat("regular expression '", shown,
                                             "': ", PcreMessage(error), " at offset ", error_offset,
                                             " of '", pattern, "'"));
  }
  // Where this fails (no executable memory), PCRE2 interprets.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);

  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_set_match_limit(context, kMatchLimit);
  pcre2_set_heap_limit(context, kHeapLimitKib);
  pcre2_jit_stack_assign(context, &JitStackOfThread, nullptr);
  return Regex(std::string(shown), std::make_shared<Code>(code, context));
}

absl::StatusOr<std::vector<TextRange>> Regex::FindAll(std::string_view text) const {
  const std::unique_ptr<pcre2_match_data, MatchDataDeleter> match(
      pcre2_match_data_create_from_pattern(code_->code, nullptr));
  std::vector<TextRange> ranges;
  size_t offset = 0;
  while (offset <= text.size()) {
    const int found =
        pcre2_match(code_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), offset,
                    PCRE2_NO_UTF_CHECK, match.get(), code_->context);
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0) {
      return absl::ResourceExhaustedError(StrCat("regular expression '", shown_, "' on a text of ",
                                                 text.size(), " bytes: ", PcreMessage(found)));
    }
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(match.get());
    const TextRange range{bounds[0], bounds[1]};
    const bool empty_behind_match =
        range.begin == range.end && !ranges.empty() && ranges.back().end == range.end;
    if (empty_behind_match) {
      if (offset == text.size()) break;
      NextCharacter(text, &offset);
      continue;
    }
    ranges.push_back(range);
    offset = range.end;
  }
  return ranges;
}

absl::StatusOr<std::string> Regex::ReplaceAll(std::string_view text,
                                              std::string_view content) const {
  SHIRA_ASSIGN_OR_RETURN(const std::vector<TextRange> matches, FindAll(text));
  std::string result;
  size_t done = 0;
  for (const TextRange& match : matches) {
    result += text.substr(done, match.begin - done);
    result += content;
    done = match.end;
  }
  result += text.substr(done);
  return result;
}

}  // namespace shira
