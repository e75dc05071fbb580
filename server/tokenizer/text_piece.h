// File: server/tokenizer/text_piece.h
//
// What normalizers and pre-tokenizers work on.

#ifndef SHIRA_SERVER_TOKENIZER_TEXT_PIECE_H_
#define SHIRA_SERVER_TOKENIZER_TEXT_PIECE_H_

#include <string>

namespace shira {

// A stretch of a text, perhaps rewritten.
struct TextPiece {
  std::string text;
  // Whether its first character stands for the first one of the whole text, as the text was before
  // any normalization. A component may treat the beginning differently (Metaspace).
  bool at_start = false;
};

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_TEXT_PIECE_H_
