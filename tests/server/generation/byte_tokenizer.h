// File: tests/server/generation/byte_tokenizer.h
//
// A tokenizer for tests: a token is a byte, and there are two special tokens. Text becomes visible
// in token ids, and characters can be cut in two.

#ifndef SHIRA_TESTS_SERVER_GENERATION_BYTE_TOKENIZER_H_
#define SHIRA_TESTS_SERVER_GENERATION_BYTE_TOKENIZER_H_

#include <array>
#include <string>
#include <vector>

#include "base/strings.h"
#include "server/tokenizer/tokenizer.h"
#include "server/tokenizer/utf8.h"

namespace shira::testing {

class ByteTokenizer final : public Tokenizer {
 public:
  static constexpr int32_t kBos = 256;
  static constexpr int32_t kEos = 257;

  // Adds kBos when asked to add special tokens; knows "<eos>" when asked to parse them.
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text,
                                              const EncodeOptions& options) const override {
    std::vector<int32_t> ids;
    if (options.add_special_tokens) ids.push_back(kBos);
    while (!text.empty()) {
      if (text.front() == '!') return absl::InvalidArgumentError("'!' cannot be tokenised");
      if (options.parse_special_tokens && text.starts_with(eos_)) {
        ids.push_back(kEos);
        text.remove_prefix(eos_.size());
      } else {
        ids.push_back(static_cast<unsigned char>(text.front()));
        text.remove_prefix(1);
      }
    }
    return ids;
  }

  absl::StatusOr<std::string> TokenBytes(int32_t id, bool skip_special_tokens) const override {
    if (id < 0 || id >= vocab_size()) return absl::OutOfRangeError(StrCat("no token ", id));
    if (IsSpecial(id)) {
      return skip_special_tokens ? std::string() : id == kBos ? bos_ : eos_;
    }
    return std::string(1, static_cast<char>(id));
  }

  absl::StatusOr<std::string> Decode(absl::Span<const int32_t> ids,
                                     bool skip_special_tokens) const override {
    std::string text;
    for (const int32_t id : ids) {
      absl::StatusOr<std::string> bytes = TokenBytes(id, skip_special_tokens);
      if (!bytes.ok()) return bytes.status();
      text += *bytes;
    }
    return text;
  }

  std::unique_ptr<TokenDecoding> StartDecoding(bool skip_special_tokens) const override {
    return std::make_unique<Decoding>(*this, skip_special_tokens);
  }

  int32_t vocab_size() const override { return 258; }
  std::optional<int32_t> TokenId(std::string_view token) const override {
    if (token == bos_) return kBos;
    if (token == eos_) return kEos;
    if (token.size() == 1) return static_cast<unsigned char>(token.front());
    return std::nullopt;
  }
  bool IsSpecial(int32_t id) const override { return id == kBos || id == kEos; }
  absl::Span<const NamedToken> named_tokens() const override { return names_; }
  absl::Span<const int32_t> end_of_generation_ids() const override { return end_ids_; }

 private:
  // Holds back the beginning of a character.
  class Decoding final : public TokenDecoding {
   public:
    Decoding(const ByteTokenizer& tokenizer, bool skip_special_tokens)
        : tokenizer_(tokenizer), skip_special_tokens_(skip_special_tokens) {}

    absl::StatusOr<std::string> Append(int32_t id) override {
      absl::StatusOr<std::string> bytes = tokenizer_.TokenBytes(id, skip_special_tokens_);
      if (!bytes.ok()) return bytes.status();
      bytes_ += *bytes;
      const size_t whole = bytes_.size() - UnfinishedUtf8Suffix(bytes_);
      const std::string text = ReplaceInvalidUtf8(std::string_view(bytes_).substr(0, whole));
      bytes_.erase(0, whole);
      return text;
    }
    std::string Finish() override { return ReplaceInvalidUtf8(bytes_); }

   private:
    const ByteTokenizer& tokenizer_;
    const bool skip_special_tokens_;
    std::string bytes_;
  };

  const std::string bos_ = "<bos>";
  const std::string eos_ = "<eos>";
  const std::array<NamedToken, 2> names_ = {NamedToken{"bos_token", bos_},
                                            NamedToken{"eos_token", eos_}};
  const std::array<int32_t, 1> end_ids_ = {kEos};
};

}  // namespace shira::testing

#endif  // SHIRA_TESTS_SERVER_GENERATION_BYTE_TOKENIZER_H_
