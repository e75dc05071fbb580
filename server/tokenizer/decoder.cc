#include "server/tokenizer/decoder.h"

#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/tokenizer/json_fields.h"
#include "server/tokenizer/metaspace.h"
#include "server/tokenizer/pattern.h"
#include "server/tokenizer/utf8.h"

namespace shira {
namespace {

using Stages = std::vector<std::unique_ptr<const DecoderStage>>;

absl::StatusOr<std::unique_ptr<const DecoderStage>> MakeReplace(const nlohmann::json& json,
                                                                std::string_view where) {
  SHIRA_ASSIGN_OR_RETURN(std::string content, JsonString(json, "content", where));
  SHIRA_ASSIGN_OR_RETURN(const std::string literal, LiteralOfPattern(json, where));
  if (!literal.empty()) return DecoderStage::ReplaceText(literal, std::move(content));
  SHIRA_ASSIGN_OR_RETURN(Regex pattern, PatternFromJson(json, where));
  return DecoderStage::ReplaceMatches(std::move(pattern), std::move(content));
}

absl::StatusOr<std::unique_ptr<const DecoderStage>> MakeStrip(const nlohmann::json& json,
                                                              std::string_view where) {
  SHIRA_ASSIGN_OR_RETURN(const char32_t content, JsonCharacter(json, "content", where));
  SHIRA_ASSIGN_OR_RETURN(const uint64_t start, JsonCount(json, "start", where));
  SHIRA_ASSIGN_OR_RETURN(const uint64_t stop, JsonCount(json, "stop", where));
  return DecoderStage::Strip(content, start, stop);
}

absl::StatusOr<std::unique_ptr<const DecoderStage>> MakeWordPiece(const nlohmann::json& json,
                                                                  std::string_view where) {
  SHIRA_ASSIGN_OR_RETURN(std::string prefix, JsonString(json, "prefix", where));
  SHIRA_ASSIGN_OR_RETURN(const bool cleanup, JsonBool(json, "cleanup", where));
  return DecoderStage::WordPiece(std::move(prefix), cleanup);
}

absl::Status AppendStages(const nlohmann::json& json, std::string_view where, int depth,
                          Stages& stages) {
  SHIRA_ASSIGN_OR_RETURN(const std::string type, ComponentType(json, where, depth));
  if (type == "Sequence") {
    SHIRA_ASSIGN_OR_RETURN(const nlohmann::json* elements, JsonArray(json, "decoders", where));
    int index = 0;
    for (const nlohmann::json& element : *elements) {
      const std::string place = StrCat(where, ".decoders[", index++, "]");
      SHIRA_RETURN_IF_ERROR(AppendStages(element, place, depth + 1, stages));
    }
  } else if (type == "ByteLevel") {
    stages.push_back(DecoderStage::ByteLevel());
  } else if (type == "ByteFallback") {
    stages.push_back(DecoderStage::ByteFallback());
  } else if (type == "Fuse") {
    stages.push_back(DecoderStage::Fuse());
  } else if (type == "Replace") {
    SHIRA_ASSIGN_OR_RETURN(auto stage, MakeReplace(json, where));
    stages.push_back(std::move(stage));
  } else if (type == "Strip") {
    SHIRA_ASSIGN_OR_RETURN(auto stage, MakeStrip(json, where));
    stages.push_back(std::move(stage));
  } else if (type == "Metaspace") {
    SHIRA_ASSIGN_OR_RETURN(const Metaspace metaspace, Metaspace::FromJson(json, where));
    stages.push_back(DecoderStage::Metaspace(metaspace.replacement, metaspace.prepend));
  } else if (type == "WordPiece") {
    SHIRA_ASSIGN_OR_RETURN(auto stage, MakeWordPiece(json, where));
    stages.push_back(std::move(stage));
  } else if (type == "BPEDecoder") {
    SHIRA_ASSIGN_OR_RETURN(std::string suffix, JsonString(json, "suffix", where));
    stages.push_back(DecoderStage::WordSuffix(std::move(suffix)));
  } else {
    return UnknownComponent(where, type,
                            "ByteLevel, Replace, ByteFallback, Fuse, Strip, Metaspace, WordPiece, "
                            "BPEDecoder and Sequence");
  }
  return absl::OkStatus();
}

}  // namespace

std::string Decoding::Append(std::string token) {
  stages_.back()->Take({std::move(token), /*begins=*/true, /*ends=*/true});
  return std::exchange(output_.text, {});
}

std::string Decoding::Finish() {
  stages_.back()->End();
  return std::exchange(output_.text, {});
}

absl::StatusOr<Decoder> Decoder::FromJson(const nlohmann::json& json, std::string_view where) {
  Stages stages;
  if (json.is_null()) {
    stages.push_back(DecoderStage::JoinWithSpaces());
  } else {
    SHIRA_RETURN_IF_ERROR(AppendStages(json, where, /*depth=*/0, stages));
  }
  return Decoder(std::move(stages));
}

std::unique_ptr<Decoding> Decoder::Start() const {
  auto result = std::make_unique<Decoding>();
  // Without any stage the tokens are the text.
  if (stages_.empty()) result->stages_.push_back(DecoderStage::Fuse()->Start(result->output_));
  for (auto stage = stages_.rbegin(); stage != stages_.rend(); ++stage) {
    TokenPartSink& next = result->stages_.empty() ? result->output_ : *result->stages_.back();
    result->stages_.push_back((*stage)->Start(next));
  }
  return result;
}

std::string Decoder::TokenBytes(std::string token) const {
  bool fused = false;
  for (const auto& stage : stages_) {
    // A part of a character, which the stages behind would see as a whole one.
    if (FirstInvalidUtf8(token).has_value()) break;
    token = stage->MiddleOfText(std::move(token), fused);
    fused = fused || stage->Fuses();
  }
  return token;
}

}  // namespace shira
