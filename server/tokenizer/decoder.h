// File: server/tokenizer/decoder.h
//
// The "decoder" of tokenizer.json: from the texts of tokens to text. One implementation serves a
// whole text and one that comes token by token.

#ifndef SHIRA_SERVER_TOKENIZER_DECODER_H_
#define SHIRA_SERVER_TOKENIZER_DECODER_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "server/tokenizer/decoder_stages.h"

namespace shira {

// One text on its way. Thread-compatible.
class Decoding {
 public:
  // Takes the next token. Returns what no later token changes any more: valid UTF-8, perhaps
  // nothing.
  std::string Append(std::string token);
  // The rest of the text. REQUIRES: nothing follows.
  std::string Finish();

 private:
  friend class Decoder;

  class Output final : public TokenPartSink {
   public:
    void Take(TokenPart part) override { text += part.text; }
    void End() override {}

    std::string text;
  };

  Output output_;
  std::vector<std::unique_ptr<TokenPartSink>> stages_;  // the last one first
};

// Immutable and thread-safe.
class Decoder {
 public:
  // ByteLevel, Replace, ByteFallback, Fuse, Strip, Metaspace, WordPiece, BPEDecoder and Sequence;
  // null puts spaces between the tokens. UNIMPLEMENTED for another type, INVALID_ARGUMENT for a
  // malformed one; messages name `where`.
  static absl::StatusOr<Decoder> FromJson(const nlohmann::json& json, std::string_view where);

  // Each part takes what the one before it makes.
  explicit Decoder(std::vector<std::unique_ptr<const DecoderStage>> stages)
      : stages_(std::move(stages)) {}

  // The decoder must outlive it.
  std::unique_ptr<Decoding> Start() const;

  // The bytes that one token in the middle of a text stands for: not necessarily whole characters.
  std::string TokenBytes(std::string token) const;

 private:
  std::vector<std::unique_ptr<const DecoderStage>> stages_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_DECODER_H_
