// File: server/tokenizer/unicode_forms.h
//
// Unicode's normalization forms and small letters, with the data that Hugging Face's tokenizers have.

#ifndef SHIRA_SERVER_TOKENIZER_UNICODE_FORMS_H_
#define SHIRA_SERVER_TOKENIZER_UNICODE_FORMS_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/tokenizer/normalizer.h"

namespace shira {

// `form` is "NFC", "NFD", "NFKC" or "NFKD"; characters that came after Unicode 11 stay as they are.
// INTERNAL where ICU has no data.
absl::StatusOr<std::unique_ptr<const Normalizer>> MakeUnicodeForm(std::string_view form);

// Each character's small letter (or letters), whatever stands around it. REQUIRES: valid UTF-8.
std::string ToLower(std::string_view text);

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_UNICODE_FORMS_H_
