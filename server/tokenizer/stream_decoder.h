// File: server/tokenizer/stream_decoder.h
//
// Turns generated tokens into text as they come: whole UTF-8 characters only, and never a part of a
// stop string.

#ifndef SHIRA_SERVER_TOKENIZER_STREAM_DECODER_H_
#define SHIRA_SERVER_TOKENIZER_STREAM_DECODER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/tokenizer/tokenizer.h"

namespace shira {

// One generation's decoder. Thread-compatible. The concatenation of every chunk equals
// Tokenizer::Decode() of all tokens, cut before the first occurrence of a stop string: the one that
// begins first and, of several that begin there, the shortest. So a stop string that is complete
// still waits while a longer one that began before it may follow.
class StreamDecoder {
 public:
  struct Options {
    std::vector<std::string> stop_strings = {};  // none is empty
    bool include_stop_string = false;  // keep the stop string itself at the end of the text
    bool skip_special_tokens = true;
  };

  struct Chunk {
    std::string text;      // valid UTF-8, possibly empty
    bool stopped = false;  // a stop string was found: the text is complete, nothing more is emitted
    std::string stop_string;  // which one, when stopped
  };

  // `tokenizer` must outlive this object.
  StreamDecoder(const Tokenizer& tokenizer, Options options);

  // Takes the next token. Holds back text that later tokens may change (an unfinished character) and
  // text that may be the beginning of a stop string. OUT_OF_RANGE for an unknown id. REQUIRES: neither stopped nor
  // finished.
  absl::StatusOr<Chunk> Append(int32_t token);

  // The end of the generation: emits what was held back (an unfinished character as U+FFFD), up to
  // a stop string that waited.
  Chunk Finish();

 private:
  Chunk Emit(bool text_is_complete);

  Options options_;
  std::unique_ptr<TokenDecoding> decoding_;
  std::string held_text_;  // may begin a stop string
};

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_STREAM_DECODER_H_
