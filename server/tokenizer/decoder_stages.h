// File: server/tokenizer/decoder_stages.h
//
// The components of a decoder. In tokenizer.json each of them is a function from a list of tokens
// to a list of tokens; here they are stages that tokens pass through as they come, with the same
// outcome.

#ifndef SHIRA_SERVER_TOKENIZER_DECODER_STAGES_H_
#define SHIRA_SERVER_TOKENIZER_DECODER_STAGES_H_

#include <cstdint>
#include <memory>
#include <string>

#include "server/tokenizer/metaspace.h"
#include "server/tokenizer/regex.h"

namespace shira {

// A token, or a part of one that is still growing (what Fuse makes of a text). Parts of a token
// follow each other; together they are one that begins and one that ends, which may be the same.
struct TokenPart {
  std::string text;  // valid UTF-8, but for the tokens of Bytes()
  bool begins = true;
  bool ends = true;
};

// What takes tokens. Thread-compatible.
class TokenPartSink {
 public:
  virtual ~TokenPartSink() = default;
  virtual void Take(TokenPart part) = 0;
  // There are no more. Called once, between tokens.
  virtual void End() = 0;
};

// Immutable and thread-safe.
class DecoderStage {
 public:
  // All tokens become one: their bytes, each token in the byte-level alphabet or, with a character
  // outside of it, for itself. What is no UTF-8 becomes U+FFFD.
  static std::unique_ptr<const DecoderStage> ByteLevel();
  // The same of tokens that are bytes already.
  static std::unique_ptr<const DecoderStage> Bytes();
  // Each run of tokens "<0x41>" becomes the text of these bytes or, if they are none, as many
  // U+FFFD. So a run is held back until it ends.
  static std::unique_ptr<const DecoderStage> ByteFallback();
  static std::unique_ptr<const DecoderStage> Fuse();
  // Replaces every `text`, which is not empty, in each token.
  static std::unique_ptr<const DecoderStage> ReplaceText(std::string text, std::string content);
  // The same of every match. A token on which the pattern reaches its limits stays as it is; one
  // that Fuse makes is held back to its end.
  static std::unique_ptr<const DecoderStage> ReplaceMatches(Regex pattern, std::string content);
  // Takes up to `start` characters `content` from the beginning of each token and up to `stop` from
  // its end.
  static std::unique_ptr<const DecoderStage> Strip(char32_t content, uint64_t start, uint64_t stop);
  // `replacement` becomes a space, in the first token nothing unless `prepend` is kNever.
  static std::unique_ptr<const DecoderStage> Metaspace(char32_t replacement,
                                                       shira::Metaspace::Prepend prepend);
  // A token that begins with `prefix` continues the one before it; a space is put before others.
  // `cleanup` takes spaces before punctuation away.
  static std::unique_ptr<const DecoderStage> WordPiece(std::string prefix, bool cleanup);
  // `suffix` becomes a space, in the last token nothing.
  static std::unique_ptr<const DecoderStage> WordSuffix(std::string suffix);
  static std::unique_ptr<const DecoderStage> JoinWithSpaces();

  virtual ~DecoderStage() = default;

  // The stage for one text; `this` and `next` must outlive it.
  virtual std::unique_ptr<TokenPartSink> Start(TokenPartSink& next) const = 0;

  // What becomes of a token that is neither the first nor the last one of a text; `fused` says that
  // it is no more than a part of one by now.
  virtual std::string MiddleOfText(std::string token, bool fused) const = 0;
  // Whether all that comes out of it is one token.
  virtual bool Fuses() const { return false; }
};

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_DECODER_STAGES_H_
