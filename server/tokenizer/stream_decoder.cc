#include "server/tokenizer/stream_decoder.h"

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <utility>

#include "base/status_macros.h"

namespace shira {
namespace {

// Where a stop string begins in a text that may go on.
struct StopPlace {
  size_t begin;  // text.size(): nowhere
  const std::string* stop_string =
      nullptr;  // null: it may begin here, the text is too short to tell
};

// The first place that counts, and of several stop strings there the shortest, which ends first.
StopPlace FindStop(std::string_view text, const std::vector<std::string>& stop_strings,
                   bool text_is_complete) {
  for (size_t begin = 0; begin < text.size(); ++begin) {
    const std::string_view rest = text.substr(begin);
    StopPlace place{begin};
    bool may_begin = false;
    for (const std::string& stop : stop_strings) {
      if (rest.starts_with(stop)) {
        const bool shorter =
            place.stop_string == nullptr || stop.size() < place.stop_string->size();
        if (shorter) place.stop_string = &stop;
      } else if (std::string_view(stop).starts_with(rest)) {
        may_begin = !text_is_complete;
      }
    }
    if (place.stop_string != nullptr || may_begin) return place;
  }
  return {text.size()};
}

}  // namespace

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, Options options)
    : options_(std::move(options)),
      decoding_(tokenizer.StartDecoding(options_.skip_special_tokens)) {}

absl::StatusOr<StreamDecoder::Chunk> StreamDecoder::Append(int32_t token) {
  SHIRA_ASSIGN_OR_RETURN(const std::string text, decoding_->Append(token));
  held_text_ += text;
  return Emit(/*text_is_complete=*/false);
}

StreamDecoder::Chunk StreamDecoder::Finish() {
  held_text_ += decoding_->Finish();
  return Emit(/*text_is_complete=*/true);
}

StreamDecoder::Chunk StreamDecoder::Emit(bool text_is_complete) {
  const StopPlace stop = FindStop(held_text_, options_.stop_strings, text_is_complete);
  Chunk chunk;
  chunk.text = held_text_.substr(0, stop.begin);
  if (stop.stop_string == nullptr) {
    held_text_.erase(0, stop.begin);
    return chunk;
  }
  chunk.stopped = true;
  chunk.stop_string = *stop.stop_string;
  if (options_.include_stop_string) chunk.text += chunk.stop_string;
  held_text_.clear();
  return chunk;
}

}  // namespace shira
