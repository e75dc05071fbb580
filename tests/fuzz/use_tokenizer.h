// File: tests/fuzz/use_tokenizer.h

#ifndef SHIRA_TESTS_FUZZ_USE_TOKENIZER_H_
#define SHIRA_TESTS_FUZZ_USE_TOKENIZER_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "server/tokenizer/tokenizer.h"
#include "tests/fuzz/fuzz_target.h"

namespace shira::testing {

// Everything that the server does with a tokenizer that it could load.
inline void UseTokenizer(const Tokenizer& tokenizer) {
  for (const char* text :
       {"", "Hello, world 123", " \t\n", "Gr\u00fc\u00dfe <|im_end|> \U0001f600"}) {
    const auto ids = tokenizer.Encode(text, {});
    if (!ids.ok()) continue;
    for (const int32_t id : *ids) {
      Promise(id >= 0 && id < tokenizer.vocab_size(), "Encode() stays in the vocabulary");
    }
    Promise(tokenizer.Decode(*ids, /*skip_special_tokens=*/true).ok(), "own ids can be decoded");
  }
  for (int32_t id = 0; id < std::min(tokenizer.vocab_size(), 64); ++id) {
    Promise(tokenizer.TokenBytes(id, false).ok(), "every token of the vocabulary has bytes");
  }
  Promise(!tokenizer.TokenBytes(tokenizer.vocab_size(), false).ok(), "no token lies beyond it");
  Promise(!tokenizer.TokenBytes(-1, false).ok(), "no token lies before it");
}

}  // namespace shira::testing

#endif  // SHIRA_TESTS_FUZZ_USE_TOKENIZER_H_
