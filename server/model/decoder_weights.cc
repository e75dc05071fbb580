#include "server/model/decoder_weights.h"

#include <map>

namespace shira {
namespace {

// Makes the views of one model, and counts their places.
class Viewer {
 public:
  explicit Viewer(const ResidentWeights& weights) : weights_(weights) {}

  DecoderWeights::Vector VectorAt(const TensorPlace& place) {
    const ResidentWeights::Matrix matrix = weights_.At(place);
    if (matrix.data == nullptr) return {};
    return {.data = matrix.data, .size = matrix.cols, .place = AddPlace(place)};
  }

  DecoderWeights::Norm NormAt(TensorPlace place) {
    DecoderWeights::Norm norm;
    norm.weight = VectorAt(place);
    place.bias = true;
    norm.bias = VectorAt(place);
    return norm;
  }

  DecoderWeights::Projection ProjectionAt(TensorPlace place) {
    const ResidentWeights::Matrix matrix = weights_.At(place);
    DecoderWeights::Projection projection;
    if (matrix.data == nullptr) return projection;
    projection.place = AddPlace(place);
    place.bias = true;
    projection.bias = VectorAt(place);
    projection.weight = {.data = matrix.data,
                         .bias = projection.bias.data,
                         .dtype = weights_.dtype(),
                         .out = matrix.rows,
                         .in = matrix.cols};
    return projection;
  }

  // Of a layer, or of one of its experts.
  DecoderWeights::Mlp MlpAt(int64_t layer, int64_t expert) {
    return {
        .gate_up = ProjectionAt({.role = TensorRole::kGateUp, .layer = layer, .expert = expert}),
        .down = ProjectionAt({.role = TensorRole::kDown, .layer = layer, .expert = expert})};
  }

  int64_t places() const { return static_cast<int64_t>(places_.size()); }

  // Where a parameter of a place is.
  DecoderWeights::Part PartOf(const ResidentParameter& parameter, const TensorPlace& place) const {
    const ResidentWeights::Matrix whole = weights_.At(place);
    const int64_t element =
        (parameter.data - whole.data) / static_cast<int64_t>(DTypeSize(weights_.dtype()));
    return {.place = places_.at(place), .first = whole.rows == 1 ? element : element / whole.cols};
  }

 private:
  int64_t AddPlace(const TensorPlace& place) { return places_[place] = places(); }

  const ResidentWeights& weights_;
  std::map<TensorPlace, int64_t> places_;
};

}  // namespace

DecoderWeights ViewWeights(const ResidentWeights& weights) {
  const ModelConfig& config = weights.config();
  Viewer viewer(weights);
  DecoderWeights views;
  views.dtype = weights.dtype();
  views.embedding = viewer.ProjectionAt({.role = TensorRole::kEmbedding});
  views.final_norm = viewer.NormAt({.role = TensorRole::kFinalNorm});
  views.output = config.tie_word_embeddings ? views.embedding
                                            : viewer.ProjectionAt({.role = TensorRole::kOutput});
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const auto at = [i](TensorRole role) { return TensorPlace{.role = role, .layer = i}; };
    views.layers.push_back(
        {.attention_norm = viewer.NormAt(at(TensorRole::kAttentionNorm)),
         .qkv = viewer.ProjectionAt(at(TensorRole::kQueryKeyValue)),
         .query_norm = viewer.NormAt(at(TensorRole::kQueryNorm)),
         .key_norm = viewer.NormAt(at(TensorRole::kKeyNorm)),
         .sinks = viewer.VectorAt(at(TensorRole::kAttentionSinks)),
         .attention_out = viewer.ProjectionAt(at(TensorRole::kAttentionOutput)),
         .attention_post_norm = viewer.NormAt(at(TensorRole::kAttentionPostNorm)),
         .mlp_norm = viewer.NormAt(at(TensorRole::kMlpNorm)),
         .mlp = viewer.MlpAt(i, TensorPlace::kWholeLayer),
         .router = viewer.ProjectionAt(at(TensorRole::kRouter)),
         .experts = {},
         .mlp_post_norm = viewer.NormAt(at(TensorRole::kMlpPostNorm))});
    if (config.layers[i].mlp != MlpKind::kMixture) continue;
    for (int64_t expert = 0; expert < config.mixture.experts; ++expert) {
      views.layers.back().experts.push_back(viewer.MlpAt(i, expert));
    }
  }
  views.places = viewer.places();
  for (size_t i = 0; i < weights.parameters().size(); ++i) {
    views.parts.push_back(viewer.PartOf(weights.parameters()[i], weights.places()[i]));
  }
  return views;
}

}  // namespace shira
