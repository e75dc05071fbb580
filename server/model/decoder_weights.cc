#include "server/model/decoder_weights.h"

#include <string>

#include "base/strings.h"

namespace shira {
namespace {

// Makes the views of one model, and counts their places.
class Viewer {
 public:
  explicit Viewer(const ResidentWeights& weights) : weights_(weights) {}

  DecoderWeights::Vector VectorAt(std::string_view name) {
    const ResidentWeights::Matrix matrix = weights_.Find(name);
    if (matrix.data == nullptr) return {};
    return {.data = matrix.data, .size = matrix.cols, .place = AddPlace(matrix)};
  }

  DecoderWeights::Projection ProjectionAt(const std::string& name) {
    const ResidentWeights::Matrix matrix = weights_.Find(name + ".weight");
    DecoderWeights::Projection projection;
    projection.place = AddPlace(matrix);
    projection.bias = VectorAt(name + ".bias");
    projection.weight = {.data = matrix.data,
                         .bias = projection.bias.data,
                         .dtype = weights_.dtype(),
                         .out = matrix.rows,
                         .in = matrix.cols};
    return projection;
  }

  int64_t places() const { return static_cast<int64_t>(places_.size()); }

  // The place whose memory holds the parameter's.
  DecoderWeights::Part PartOf(const ResidentParameter& parameter) const {
    const int64_t element_bytes = static_cast<int64_t>(DTypeSize(weights_.dtype()));
    for (size_t i = 0; i < places_.size(); ++i) {
      const ResidentWeights::Matrix& place = places_[i];
      const std::byte* end = place.data + place.rows * place.cols * element_bytes;
      if (parameter.data < place.data || parameter.data >= end) continue;
      const int64_t element = (parameter.data - place.data) / element_bytes;
      return {.place = static_cast<int64_t>(i),
              .first = place.rows == 1 ? element : element / place.cols};
    }
    return {};
  }

 private:
  int64_t AddPlace(const ResidentWeights::Matrix& matrix) {
    places_.push_back(matrix);
    return places() - 1;
  }

  const ResidentWeights& weights_;
  std::vector<ResidentWeights::Matrix> places_;
};

}  // namespace

DecoderWeights ViewWeights(const ResidentWeights& weights) {
  const ModelConfig& config = weights.config();
  Viewer viewer(weights);
  DecoderWeights views;
  views.dtype = weights.dtype();
  views.embedding = viewer.ProjectionAt("model.embed_tokens");
  views.final_norm = viewer.VectorAt("model.norm.weight");
  views.lm_head = config.tie_word_embeddings ? views.embedding : viewer.ProjectionAt("lm_head");
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const auto name = [i](std::string_view part) { return StrCat("model.layers.", i, ".", part); };
    views.layers.push_back({.input_norm = viewer.VectorAt(name("input_layernorm.weight")),
                            .qkv = viewer.ProjectionAt(name("self_attn.qkv_proj")),
                            .attention_out = viewer.ProjectionAt(name("self_attn.o_proj")),
                            .post_norm = viewer.VectorAt(name("post_attention_layernorm.weight")),
                            .gate_up = viewer.ProjectionAt(name("mlp.gate_up_proj")),
                            .down = viewer.ProjectionAt(name("mlp.down_proj"))});
  }
  views.places = viewer.places();
  for (const ResidentParameter& parameter : weights.parameters()) {
    views.parts.push_back(viewer.PartOf(parameter));
  }
  return views;
}

}  // namespace shira
