#include "server/tokenizer/decoder_stages.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/tokenizer/byte_level.h"
#include "server/tokenizer/utf8.h"
#include "server/tokenizer/vocabulary.h"

namespace shira {
namespace {

constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

// For stages that need each token whole: collects the parts of those that grow.
class WholeTokens : public TokenPartSink {
 public:
  explicit WholeTokens(TokenPartSink& next) : next_(next) {}

  void Take(TokenPart part) final {
    if (part.begins && part.ends) return TakeToken(std::move(part.text));
    token_ += part.text;
    if (part.ends) TakeToken(std::exchange(token_, {}));
  }
  void End() override { next_.End(); }

 protected:
  virtual void TakeToken(std::string token) = 0;
  void Emit(std::string token) { next_.Take({std::move(token)}); }

  TokenPartSink& next_;

 private:
  std::string token_;
};

// `text` with every `from`, which is not empty, replaced.
std::string ReplaceAll(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  size_t done = 0;
  for (size_t at = text.find(from); at != text.npos; at = text.find(from, done)) {
    result += text.substr(done, at - done);
    result += to;
    done = at + from.size();
  }
  result += text.substr(done);
  return result;
}

class ByteLevelStage final : public DecoderStage {
 public:
  explicit ByteLevelStage(bool alphabet) : alphabet_(alphabet) {}

  std::unique_ptr<TokenPartSink> Start(TokenPartSink& next) const override {
    return std::make_unique<State>(*this, next);
  }
  std::string MiddleOfText(std::string token, bool) const override {
    if (!alphabet_) return token;
    std::optional<std::string> bytes = ByteLevelToBytes(token);
    return bytes.has_value() ? *std::move(bytes) : token;
  }
  bool Fuses() const override { return true; }

 private:
  class State final : public WholeTokens {
   public:
    State(const ByteLevelStage& stage, TokenPartSink& next) : WholeTokens(next), stage_(stage) {}

    void TakeToken(std::string token) override {
      bytes_ += stage_.MiddleOfText(std::move(token), /*fused=*/false);
      const size_t whole = bytes_.size() - UnfinishedUtf8Suffix(bytes_);
      EmitPart(ReplaceInvalidUtf8(std::string_view(bytes_).substr(0, whole)), /*ends=*/false);
      bytes_.erase(0, whole);
    }
    void End() override {
      EmitPart(ReplaceInvalidUtf8(bytes_), /*ends=*/true);
      next_.End();
    }

   private:
    void EmitPart(std::string text, bool ends) {
      next_.Take({std::move(text), !std::exchange(begun_, true), ends});
    }

    const ByteLevelStage& stage_;
    std::string bytes_;  // the beginning of a character
    bool begun_ = false;
  };

  const bool alphabet_;
};

class ByteFallbackStage final : public DecoderStage {
 public:
  std::unique_ptr<TokenPartSink> Start(TokenPartSink& next) const override {
    return std::make_unique<State>(next);
  }
  std::string MiddleOfText(std::string token, bool fused) const override {
    const std::optional<unsigned char> byte = fused ? std::nullopt : ByteOfToken(token);
    return byte.has_value() ? std::string(1, static_cast<char>(*byte)) : token;
  }

 private:
  class State final : public WholeTokens {
   public:
    using WholeTokens::WholeTokens;

    void TakeToken(std::string token) override {
      if (const std::optional<unsigned char> byte = ByteOfToken(token); byte.has_value()) {
        run_.push_back(static_cast<char>(*byte));
        return;
      }
      EmitRun();
      Emit(std::move(token));
    }
    void End() override {
      EmitRun();
      next_.End();
    }

   private:
    void EmitRun() {
      const std::string run = std::exchange(run_, {});
      if (run.empty()) return;
      if (!FirstInvalidUtf8(run).has_value()) return Emit(run);
      for (size_t i = 0; i < run.size(); ++i) Emit(std::string(kReplacementCharacter));
    }

    std::string run_;
  };
};

class FuseStage final : public DecoderStage {
 public:
  std::unique_ptr<TokenPartSink> Start(TokenPartSink& next) const override {
    return std::make_unique<State>(next);
  }
  std::string MiddleOfText(std::string token, bool) const override { return token; }
  bool Fuses() const override { return true; }

 private:
  class State final : public TokenPartSink {
   public:
    explicit State(TokenPartSink& next) : next_(next) {}
    void Take(TokenPart part) override {
      next_.Take({std::move(part.text), !std::exchange(begun_, true), /*ends=*/false});
    }
    void End() override {
      next_.Take({"", !begun_, /*ends=*/true});
      next_.End();
    }

   private:
    TokenPartSink& next_;
    bool begun_ = false;
  };
};

class ReplaceTextStage final : public DecoderStage {
 public:
  ReplaceTextStage(std::string text, std::string content)
      : text_(std::move(text)), content_(std::move(content)) {}

  std::unique_ptr<TokenPartSink> Start(TokenPartSink& next) const override {
    return std::make_unique<State>(*this, next);
  }
  std::string MiddleOfText(std::string token, bool) const override {
    return ReplaceAll(token, text_, content_);
  }

 private:
  class State final : public TokenPartSink {
   public:
    State(const ReplaceTextStage& stage, TokenPartSink& next) : stage_(stage), next_(next) {}

    void Take(TokenPart part) override {
      held_ += part.text;
      size_t behind = 0;  // the last match
      for (size_t at = held_.find(stage_.text_); at != held_.npos;
           at = held_.find(stage_.text_, behind)) {
        behind = at + stage_.text_.size();
      }
      const size_t keep = part.ends ? 0 : UnfinishedMatch(std::string_view(held_).substr(behind));
      const size_t settled = held_.size() - keep;
      part.text =
          ReplaceAll(std::string_view(held_).substr(0, settled), stage_.text_, stage_.content_);
      held_.erase(0, settled);
      next_.Take(std::move(part));
    }
    void End() override { next_.End(); }

   private:
    // How many bytes at the end of `text` are the beginning of what is looked for.
    size_t UnfinishedMatch(std::string_view text) const {
      size_t length = std::min(text.size(), stage_.text_.size() - 1);
      while (!text.ends_with(std::string_view(stage_.text_).substr(0, length))) --length;
      return length;
    }

    const ReplaceTextStage& stage_;
    TokenPartSink& next_;
    std::string held_;
  };

  const std::string text_;
  const std::string content_;
};

class ReplaceMatchesStage final : public DecoderStage {
 public:
  ReplaceMatchesStage(Regex pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}

  std::unique_ptr<TokenPartSink> Start(TokenPartSink& next) const override {
    return std::make_unique<State>(*this, next);
  }
  std::string MiddleOfText(std::string token, bool) const override {
    if (token.empty()) return token;
    const absl::StatusOr<std::string> replaced = pattern_.ReplaceAll(token, content_);
    return replaced.ok() ? *replaced : token;
  }

 private:
  class State final : public WholeTokens {
   public:
    State(const ReplaceMatchesStage& stage, TokenPartSink& next)
        : WholeTokens(next), stage_(stage) {}
    void TakeToken(std::string token) override {
      Emit(stage_.MiddleOfText(std::move(token), /*fused=*/false));
    }

   private:
    const ReplaceMatchesStage& stage_;
  };

  const Regex pattern_;
  const std::string content_;
};

class StripStage final : public DecoderStage {
 public:
  StripStage(char32_t content, uint64_t start, uint64_t stop)
      : content_(content), start_(start), stop_(stop) {}

  std::unique_ptr<TokenPartSink> Start(TokenPartSink& next) const override {
    return std::make_unique<State>(*this, next);
  }
  std::string MiddleOfText(std::string token, bool fused) const override {
    return fused ? token : Stripper(*this).Strip(token, /*ends=*/true);
  }

 private:
  // One token.
  class Stripper {
   public:
    explicit Stripper(const StripStage& stage) : stage_(stage) {}

    std::string Strip(std::string_view part, bool ends) {
      std::string result;
      for (size_t offset = 0; offset < part.size();) {
        const char32_t character = NextCharacter(part, &offset);
        const bool content = character == stage_.content_;
        if (at_start_ && content && stripped_ < stage_.start_) {
          ++stripped_;
          continue;
        }
        at_start_ = false;
        if (content && held_ < stage_.stop_) {
          ++held_;
          continue;
        }
        // One of a run of them is as good as another: a further one takes the place of the first.
        if (!content) {
          for (; held_ > 0; --held_) AppendUtf8(stage_.content_, &result);
        }
        AppendUtf8(character, &result);
      }
      if (ends) {
        at_start_ = true;
        stripped_ = 0;
        held_ = 0;
      }
      return result;
    }

   private:
    const StripStage& stage_;
    bool at_start_ = true;
    uint64_t stripped_ = 0;
    uint64_t held_ = 0;  // characters that may be the last ones
  };

  class State final : public TokenPartSink {
   public:
    State(const StripStage& stage, TokenPartSink& next) : stripper_(stage), next_(next) {}
    void Take(TokenPart part) override {
      part.text = stripper_.Strip(part.text, part.ends);
      next_.Take(std::move(part));
    }
    void End() override { next_.End(); }

   private:
    Stripper stripper_;
    TokenPartSink& next_;
  };

  const char32_t content_;
  const uint64_t start_;
  const uint64_t stop_;
};

class MetaspaceStage final : public DecoderStage {
 public:
  MetaspaceStage(char32_t replacement, shira::Metaspace::Prepend prepend)
      : drops_first_(prepend != shira::Metaspace::Prepend::kNever) {
    AppendUtf8(replacement, &replacement_);
  }

  std::unique_ptr<TokenPartSink> Start(TokenPartSink& next) const override {
    return std::make_unique<State>(*this, next);
  }
  std::string MiddleOfText(std::string token, bool) const override {
    return ReplaceAll(token, replacement_, " ");
  }

 private:
  class State final : public TokenPartSink {
   public:
    State(const MetaspaceStage& stage, TokenPartSink& next) : stage_(stage), next_(next) {}
    void Take(TokenPart part) override {
      const bool drop = first_ && stage_.drops_first_;
      if (part.ends) first_ = false;
      part.text = ReplaceAll(part.text, stage_.replacement_, drop ? "" : " ");
      next_.Take(std::move(part));
    }
    void End() override { next_.End(); }

   private:
    const MetaspaceStage& stage_;
    TokenPartSink& next_;
    bool first_ = true;
  };

  std::string replacement_;
  const bool drops_first_;
};

// What "cleanup" does to a token, in this order.
constexpr std::pair<std::string_view, std::string_view> kCleanup[] = {
    {" .", "."},   {" ?", "?"},     {" !", "!"},     {" ,", ","},
    {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},   {" do not", " don't"},
    {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
};

class WordPieceStage final : public DecoderStage {
 public:
  WordPieceStage(std::string prefix, bool cleanup)
      : prefix_(std::move(prefix)), cleanup_(cleanup) {}

  std::unique_ptr<TokenPartSink> Start(TokenPartSink& next) const override {
    return std::make_unique<State>(*this, next);
  }
  std::string MiddleOfText(std::string token, bool fused) const override {
    return fused ? token : TextOf(std::move(token), /*first=*/false);
  }

 private:
  class State final : public WholeTokens {
   public:
    State(const WordPieceStage& stage, TokenPartSink& next) : WholeTokens(next), stage_(stage) {}
    void TakeToken(std::string token) override {
      Emit(stage_.TextOf(std::move(token), std::exchange(first_, false)));
    }

   private:
    const WordPieceStage& stage_;
    bool first_ = true;
  };

  std::string TextOf(std::string token, bool first) const {
    if (!first) {
      if (token.starts_with(prefix_)) {
        token.erase(0, prefix_.size());
      } else {
        token.insert(0, 1, ' ');
      }
    }
    if (cleanup_) {
      for (const auto& [from, to] : kCleanup) token = ReplaceAll(token, from, to);
    }
    return token;
  }

  const std::string prefix_;
  const bool cleanup_;
};

class WordSuffixStage final : public DecoderStage {
 public:
  explicit WordSuffixStage(std::string suffix) : suffix_(std::move(suffix)) {}

  std::unique_ptr<TokenPartSink> Start(TokenPartSink& next) const override {
    return std::make_unique<State>(*this, next);
  }
  std::string MiddleOfText(std::string token, bool) const override { return TextOf(token, " "); }

 private:
  class State final : public WholeTokens {
   public:
    State(const WordSuffixStage& stage, TokenPartSink& next) : WholeTokens(next), stage_(stage) {}
    void TakeToken(std::string token) override {
      if (last_.has_value()) Emit(stage_.TextOf(*last_, " "));
      last_ = std::move(token);
    }
    void End() override {
      if (last_.has_value()) Emit(stage_.TextOf(*last_, ""));
      next_.End();
    }

   private:
    const WordSuffixStage& stage_;
    std::optional<std::string> last_;
  };

  std::string TextOf(const std::string& token, std::string_view replacement) const {
    return suffix_.empty() ? token : ReplaceAll(token, suffix_, replacement);
  }

  const std::string suffix_;
};

class JoinWithSpacesStage final : public DecoderStage {
 public:
  std::unique_ptr<TokenPartSink> Start(TokenPartSink& next) const override {
    return std::make_unique<State>(next);
  }
  std::string MiddleOfText(std::string token, bool) const override { return " " + token; }

 private:
  class State final : public TokenPartSink {
   public:
    explicit State(TokenPartSink& next) : next_(next) {}
    void Take(TokenPart part) override {
      if (part.begins && !std::exchange(first_, false)) part.text.insert(0, 1, ' ');
      next_.Take(std::move(part));
    }
    void End() override { next_.End(); }

   private:
    TokenPartSink& next_;
    bool first_ = true;
  };
};

}  // namespace

std::unique_ptr<const DecoderStage> DecoderStage::ByteLevel() {
  return std::make_unique<ByteLevelStage>(/*alphabet=*/true);
}
std::unique_ptr<const DecoderStage> DecoderStage::Bytes() {
  return std::make_unique<ByteLevelStage>(/*alphabet=*/false);
}
std::unique_ptr<const DecoderStage> DecoderStage::ByteFallback() {
  return std::make_unique<ByteFallbackStage>();
}
std::unique_ptr<const DecoderStage> DecoderStage::Fuse() { return std::make_unique<FuseStage>(); }
std::unique_ptr<const DecoderStage> DecoderStage::ReplaceText(std::string text,
                                                              std::string content) {
  return std::make_unique<ReplaceTextStage>(std::move(text), std::move(content));
}
std::unique_ptr<const DecoderStage> DecoderStage::ReplaceMatches(Regex pattern,
                                                                 std::string content) {
  return std::make_unique<ReplaceMatchesStage>(std::move(pattern), std::move(content));
}
std::unique_ptr<const DecoderStage> DecoderStage::Strip(char32_t content, uint64_t start,
                                                        uint64_t stop) {
  return std::make_unique<StripStage>(content, start, stop);
}
std::unique_ptr<const DecoderStage> DecoderStage::Metaspace(char32_t replacement,
                                                            shira::Metaspace::Prepend prepend) {
  return std::make_unique<MetaspaceStage>(replacement, prepend);
}
std::unique_ptr<const DecoderStage> DecoderStage::WordPiece(std::string prefix, bool cleanup) {
  return std::make_unique<WordPieceStage>(std::move(prefix), cleanup);
}
std::unique_ptr<const DecoderStage> DecoderStage::WordSuffix(std::string suffix) {
  return std::make_unique<WordSuffixStage>(std::move(suffix));
}
std::unique_ptr<const DecoderStage> DecoderStage::JoinWithSpaces() {
  return std::make_unique<JoinWithSpacesStage>();
}

}  // namespace shira
