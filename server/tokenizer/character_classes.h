// File: server/tokenizer/character_classes.h
//
// What tokenizer.json's components think of characters where they use no regular expression. The
// libraries that Hugging Face's are made of have data of several versions of Unicode.

#ifndef SHIRA_SERVER_TOKENIZER_CHARACTER_CLASSES_H_
#define SHIRA_SERVER_TOKENIZER_CHARACTER_CLASSES_H_

namespace shira {

// The property White_Space.
bool IsWhiteSpace(char32_t character);

// \w of Unicode's regular expressions (UTS #18, annex C), Unicode 16.
bool IsWordCharacter(char32_t character);

// The characters that BertNormalizer takes out of a text: controls, formats and private use, of
// Unicode 8.
bool IsControlOfBert(char32_t character);
// The marks that it takes off letters: nonspacing ones, of Unicode 8.
bool IsAccentOfBert(char32_t character);
// The ideographs that it puts spaces around.
bool IsIdeographOfBert(char32_t character);

// What StripAccents takes out: all marks, of Unicode 9.
bool IsCombiningMark(char32_t character);

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_CHARACTER_CLASSES_H_
