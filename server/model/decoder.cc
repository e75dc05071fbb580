#include "server/model/decoder.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/float_types.h"
#include "server/model/kernels/resident_types.h"
#include "server/model/kv_cache.h"

namespace shira {
namespace {

// Waking the other threads costs as much as about so many products of a small kernel.
constexpr int64_t kWorthThreads = 20'000;

KvCache& CacheOf(const BatchRow& row) { return static_cast<KvCache&>(*row.cache); }

// What embeddings are multiplied with.
double EmbeddingFactor(const ModelConfig& config, DType dtype) {
  double factor = config.embedding_scale.factor;
  if (!config.embedding_scale.rounded) return factor;
  WithResidentType(
      dtype, [&]<typename T>(T) { factor = ToFloat(FromFloat<T>(static_cast<float>(factor))); });
  return factor;
}

}  // namespace

AttentionShape AttentionShapeOf(const ModelConfig& config, DType dtype) {
  return {.dtype = dtype,
          .num_heads = config.num_heads,
          .num_kv_heads = config.num_kv_heads,
          .head_dim = config.head_dim,
          .score_scale = static_cast<float>(config.attention_scale),
          .softcap = static_cast<float>(config.attention_softcap)};
}

Decoder::Decoder(const ResidentWeights& weights, ParallelFor parallel_for, int64_t slice_tokens)
    : config_(weights.config()),
      dtype_(weights.dtype()),
      shape_(AttentionShapeOf(config_, dtype_)),
      groups_(GroupLayers(config_)),
      parallel_for_(std::move(parallel_for)),
      weights_(ViewWeights(weights)),
      attention_(shape_),
      activations_(config_, slice_tokens),
      routing_(config_.mixture, dtype_, slice_tokens) {
  for (const Rope& rope : config_.ropes) rotary_.emplace_back(rope, config_.head_dim, dtype_);
}

absl::Span<const float> Decoder::Forward(const CompiledState& resident,
                                         absl::Span<const BatchRow> rows) {
  plan_.Make(weights_, resident, rows, activations_.tokens);
  wanted_.clear();
  wanted_index_.clear();
  for (size_t i = 0; i < rows.size(); ++i) {
    const BatchRow& row = rows[i];
    CacheOf(row).Begin(static_cast<int64_t>(row.tokens.size()));
    for (RotaryTable& rotary : rotary_) {
      rotary.Reserve(row.cache->length() + static_cast<int64_t>(row.tokens.size()));
    }
    wanted_index_.push_back(static_cast<int64_t>(wanted_.size()));
    wanted_.resize(wanted_.size() + row.logits(),
                   {.state = plan_.state_of(static_cast<int64_t>(i)), .begin = 0, .end = 0});
  }
  if (const int64_t wanted = static_cast<int64_t>(wanted_.size()); wanted > wanted_room_) {
    final_ = AlignedBuffer(wanted * config_.hidden_size * 4);
    logits_ = AlignedBuffer(wanted * config_.vocab_size * 4);
    wanted_room_ = wanted;
  }

  for (const Slice& slice : plan_.slices()) {
    Embed(slice, rows);
    for (int64_t layer = 0; layer < config_.num_layers; ++layer) RunLayer(layer, slice, rows);
    KeepWanted(slice, rows);
  }
  const absl::Span<const float> logits = Logits();
  for (const BatchRow& row : rows) {
    CacheOf(row).Extend(static_cast<int64_t>(row.tokens.size()) - row.drafted);
  }
  return logits;
}

void Decoder::Embed(const Slice& slice, absl::Span<const BatchRow> rows) {
  const int64_t width = config_.hidden_size;
  const int64_t element_bytes = static_cast<int64_t>(DTypeSize(dtype_));
  const auto* table = static_cast<const std::byte*>(weights_.embedding.weight.data);
  const double factor = EmbeddingFactor(config_, dtype_);
  attention_rows_.clear();
  for (const Segment& segment : slice.segments) {
    const absl::Span<const WeightPatch> patches =
        plan_.patches(segment.state).at(weights_.embedding.place);
    for (int64_t i = 0; i < segment.tokens; ++i) {
      const int64_t token = rows[segment.row].tokens[segment.first + i];
      float* hidden = activations_.hidden + (segment.begin + i) * width;
      WidenRow(dtype_, table + token * width * element_bytes, width, hidden);
      for (const WeightPatch& patch : patches) PatchRow(dtype_, patch, token, hidden);
      if (factor != 1.0) ScaleRow(dtype_, factor, width, hidden);
    }
    const int64_t query_width = shape_.num_heads * shape_.head_dim;
    const int64_t stride = query_width + 2 * shape_.num_kv_heads * shape_.head_dim;
    attention_rows_.push_back({.queries = activations_.qkv + segment.begin * stride,
                               .query_stride = stride,
                               .pages = nullptr,  // the layer's
                               .layer_offset = 0,
                               .start = segment.position,
                               .tokens = segment.tokens,
                               .output = activations_.attended + segment.begin * query_width});
  }
  attention_.Plan(attention_rows_);
}

void Decoder::RunLayer(int64_t layer, const Slice& slice, absl::Span<const BatchRow> rows) {
  const DecoderWeights::Layer& weights = weights_.layers[layer];
  const bool is_first = layer == 0;
  const float* input =
      AddAndNorm(is_first ? Add::kNothing : Add::kBeforeNorm,
                 is_first ? DecoderWeights::Norm() : weights_.layers[layer - 1].mlp_post_norm,
                 weights.attention_norm, slice);
  QueriesKeysValues(weights.qkv, input, slice);
  PlaceAndStore(layer, slice, rows);
  PlaceSinks(layer, slice);
  attention_.Run(attention_rows_, parallel_for_);
  Multiply(weights.attention_out, activations_.attended, slice.groups, activations_.branch);
  if (!config_.parallel_residual) {
    input = AddAndNorm(Add::kBeforeNorm, weights.attention_post_norm, weights.mlp_norm, slice);
  } else {
    const float* own =
        AddAndNorm(Add::kAfterNorm, weights.attention_post_norm, weights.mlp_norm, slice);
    if (weights.mlp_norm.weight.data != nullptr) input = own;
  }
  RunMlp(layer, input, slice);
}

void Decoder::RunMlp(int64_t layer, const float* input, const Slice& slice) {
  const DecoderWeights::Layer& weights = weights_.layers[layer];
  if (config_.layers[layer].mlp == MlpKind::kMixture) return RunMixture(weights, input, slice);
  Multiply(weights.mlp.gate_up, input, slice.groups, activations_.gate_up);
  Activate(slice.tokens, config_.intermediate_size);
  Multiply(weights.mlp.down, activations_.gated, slice.groups, activations_.branch);
}

void Decoder::RunMixture(const DecoderWeights::Layer& weights, const float* input,
                         const Slice& slice) {
  const int64_t width = config_.hidden_size;
  const int64_t inner = config_.mixture.intermediate_size;
  const int64_t per_token = config_.mixture.experts_per_token;
  const auto experts = static_cast<int64_t>(weights.experts.size());
  Multiply(weights.router, input, slice.groups, activations_.scores);
  // An exponential costs as much as so many products.
  ForTokens(0, slice.tokens, 16 * experts,
            [&](int64_t token) { routing_.Choose(token, activations_.scores + token * experts); });
  routing_.Sort(slice.tokens);
  ForTokens(0, routing_.rows(), width, [&](int64_t row) {
    std::copy_n(input + routing_.token_of(row) * width, width,
                activations_.expert_rows + row * width);
  });
  const auto for_used_experts = [&](auto multiply) {
    for (int64_t expert = 0; expert < experts; ++expert) {
      const int64_t first = routing_.first_row(expert);
      if (first == routing_.first_row(expert + 1)) continue;
      multiply(weights.experts[expert], first, GroupsOf(expert, slice));
    }
  };
  for_used_experts(
      [&](const DecoderWeights::Mlp& expert, int64_t first, absl::Span<const StateGroup> groups) {
        const int64_t gate_up_width = expert.gate_up.weight.out;
        Multiply(expert.gate_up, activations_.expert_rows + first * width, groups,
                 activations_.gate_up + first * gate_up_width);
      });
  Activate(routing_.rows(), inner);
  for_used_experts(
      [&](const DecoderWeights::Mlp& expert, int64_t first, absl::Span<const StateGroup> groups) {
        Multiply(expert.down, activations_.gated + first * inner, groups,
                 activations_.expert_rows + first * width);
      });
  ForTokens(0, slice.tokens, per_token * width, [&](int64_t token) {
    SumWeightedRows(dtype_, config_.mixture.rounds_weights, activations_.expert_rows,
                    routing_.rows_of(token), routing_.weights_of(token), width,
                    activations_.branch + token * width);
  });
}

absl::Span<const StateGroup> Decoder::GroupsOf(int64_t expert, const Slice& slice) {
  expert_groups_.clear();
  const int64_t first = routing_.first_row(expert);
  auto group = slice.groups.begin();
  for (int64_t row = first; row < routing_.first_row(expert + 1); ++row) {
    while (routing_.token_of(row) >= group->end) ++group;
    if (expert_groups_.empty() || expert_groups_.back().state != group->state) {
      expert_groups_.push_back({.state = group->state, .begin = row - first, .end = row - first});
    }
    expert_groups_.back().end = row - first + 1;
  }
  return expert_groups_;
}

void Decoder::QueriesKeysValues(const DecoderWeights::Projection& projection, const float* input,
                                const Slice& slice) {
  if (config_.query_key_value_rows == QueryKeyValueRows::kStacked) {
    return Multiply(projection, input, slice.groups, activations_.qkv);
  }
  Multiply(projection, input, slice.groups, activations_.by_head);
  const int64_t width = 3 * shape_.num_heads * shape_.head_dim;
  ForTokens(0, slice.tokens, width, [&](int64_t token) {
    StackHeadsRow(activations_.by_head + token * width, shape_.num_heads, shape_.head_dim,
                  activations_.qkv + token * width);
  });
}

void Decoder::PlaceAndStore(int64_t layer, const Slice& slice, absl::Span<const BatchRow> rows) {
  const LayerSpec& spec = config_.layers[layer];
  const RotaryTable& rotary = rotary_[spec.rope];
  NormHeads(weights_.layers[layer].query_norm, 0, shape_.num_heads, slice);
  NormHeads(weights_.layers[layer].key_norm, shape_.num_heads, shape_.num_kv_heads, slice);
  const int64_t heads = shape_.num_heads + shape_.num_kv_heads;
  const int64_t kv_width = shape_.num_kv_heads * shape_.head_dim;
  const int64_t stride = heads * shape_.head_dim + kv_width;
  const LayerGroups::Place place = groups_.places[layer];
  const int64_t layer_offset = place.index * LayerBytesOfPage(shape_);
  for (size_t i = 0; i < attention_rows_.size(); ++i) {
    AttentionRow& row = attention_rows_[i];
    row.pages = CacheOf(rows[slice.segments[i].row]).addresses(place.group);
    row.layer_offset = layer_offset;
    row.window = spec.window;
  }
  ForTokens(0, slice.tokens, 4 * stride, [&](int64_t token) {
    const Segment& segment = slice.segment_of(token);
    const int64_t position = segment.position + token - segment.begin;
    float* queries = activations_.qkv + token * stride;
    float* keys = queries + shape_.num_heads * shape_.head_dim;  // turned with the queries
    if (spec.positions == Positions::kRotary) {
      RotateRow(dtype_, rotary.cos(position), rotary.sin(position), heads, shape_.head_dim,
                rotary.rotary_dim(), queries);
      if (const float scale = rotary.query_scale(position); scale != 1.0f) {
        ScaleRow(dtype_, scale, shape_.num_heads * shape_.head_dim, queries);
      }
    }
    StoreInPage(
        shape_, keys, keys + kv_width, position % kPageTokens,
        CacheOf(rows[segment.row]).addresses(place.group)[position / kPageTokens] + layer_offset);
  });
}

void Decoder::PlaceSinks(int64_t layer, const Slice& slice) {
  const DecoderWeights::Vector& sinks = weights_.layers[layer].sinks;
  const bool has_sinks = sinks.data != nullptr;
  sinks_.resize(has_sinks ? slice.groups.size() * sinks.size : 0);
  float* own = sinks_.data();
  size_t next = 0;  // segment; those of a group follow each other
  for (const StateGroup& group : slice.groups) {
    if (has_sinks) WidenRow(dtype_, VectorOf(sinks, group.state, patched_sinks_), sinks.size, own);
    for (; next < slice.segments.size() && slice.segments[next].begin < group.end; ++next) {
      attention_rows_[next].sinks = has_sinks ? own : nullptr;
    }
    own += sinks.size;
  }
}

void Decoder::AddBranch(const NormWeights& post_norm, int64_t token) const {
  const int64_t width = config_.hidden_size;
  float* branch = activations_.branch + token * width;
  if (post_norm.weight != nullptr) {
    NormRow(dtype_, config_.norm, branch, post_norm, config_.norm_eps, width, branch);
  }
  if (config_.residual_scale != 1.0) ScaleRow(dtype_, config_.residual_scale, width, branch);
  AddRow(dtype_, branch, width, activations_.hidden + token * width);
}

const float* Decoder::AddAndNorm(Add add, const DecoderWeights::Norm& post_norm,
                                 const DecoderWeights::Norm& norm, const Slice& slice) {
  const int64_t width = config_.hidden_size;
  for (const StateGroup& group : slice.groups) {
    const NormWeights post = NormOf(post_norm, group.state, patched_post_norm_);
    const NormWeights weights = NormOf(norm, group.state, patched_norm_);
    ForTokens(group.begin, group.end, width, [&](int64_t token) {
      if (add == Add::kBeforeNorm) AddBranch(post, token);
      if (weights.weight != nullptr) {
        NormRow(dtype_, config_.norm, activations_.hidden + token * width, weights,
                config_.norm_eps, width, activations_.normed + token * width);
      }
      if (add == Add::kAfterNorm) AddBranch(post, token);
    });
  }
  return norm.weight.data == nullptr ? activations_.hidden : activations_.normed;
}

void Decoder::NormHeads(const DecoderWeights::Norm& norm, int64_t first, int64_t heads,
                        const Slice& slice) {
  if (norm.weight.data == nullptr) return;
  const int64_t head_dim = shape_.head_dim;
  const int64_t stride = (shape_.num_heads + 2 * shape_.num_kv_heads) * head_dim;
  const bool whole = config_.head_norms == HeadNorms::kWhole;
  const int64_t parts = whole ? 1 : heads;
  const int64_t width = whole ? heads * head_dim : head_dim;
  const int64_t weight_bytes =
      config_.head_norms == HeadNorms::kOwn ? width * static_cast<int64_t>(DTypeSize(dtype_)) : 0;
  for (const StateGroup& group : slice.groups) {
    const NormWeights weights = NormOf(norm, group.state, patched_norm_);
    ForTokens(group.begin, group.end, heads * head_dim, [&](int64_t token) {
      float* part = activations_.qkv + token * stride + first * head_dim;
      NormWeights own = weights;
      for (int64_t i = 0; i < parts; ++i, part += width) {
        NormRow(dtype_, config_.norm, part, own, config_.norm_eps, width, part);
        own.weight = static_cast<const std::byte*>(own.weight) + weight_bytes;
      }
    });
  }
}

void Decoder::Activate(int64_t rows, int64_t width) {
  ForTokens(0, rows, 4 * width, [&](int64_t row) {
    float* gated = activations_.gated + row * width;
    if (config_.clamped_gate) {
      ClampedGateRow(dtype_, *config_.clamped_gate, activations_.gate_up + row * 2 * width, width,
                     gated);
    } else if (config_.gated_mlp) {
      GateRow(dtype_, config_.activation, activations_.gate_up + row * 2 * width, width, gated);
    } else {
      ActivateRow(dtype_, config_.activation, activations_.gate_up + row * width, width, gated);
    }
  });
}

void Decoder::KeepWanted(const Slice& slice, absl::Span<const BatchRow> rows) {
  const int64_t width = config_.hidden_size;
  for (const Segment& segment : slice.segments) {
    const BatchRow& row = rows[segment.row];
    // Among the row's tokens.
    const int64_t wanted = static_cast<int64_t>(row.tokens.size()) - row.logits();
    const int64_t first = std::max(segment.first, wanted);
    const int64_t end = segment.first + segment.tokens;
    if (first >= end) continue;
    const NormWeights post =
        NormOf(weights_.layers.back().mlp_post_norm, segment.state, patched_post_norm_);
    const NormWeights norm = NormOf(weights_.final_norm, segment.state, patched_norm_);
    for (int64_t i = first; i < end; ++i) {
      const int64_t token = segment.begin + i - segment.first;
      AddBranch(post, token);
      NormRow(dtype_, config_.norm, activations_.hidden + token * width, norm, config_.norm_eps,
              width, final_.floats() + (wanted_index_[segment.row] + i - wanted) * width);
    }
  }
}

absl::Span<const float> Decoder::Logits() {
  const int64_t wanted = static_cast<int64_t>(wanted_.size());
  for (int64_t begin = 0; begin < wanted; begin += activations_.tokens) {
    const int64_t count = std::min(activations_.tokens, wanted - begin);
    for (int64_t i = 0; i < count; ++i) {
      wanted_[begin + i].begin = i;
      wanted_[begin + i].end = i + 1;
    }
    Multiply(weights_.output, final_.floats() + begin * config_.hidden_size,
             absl::MakeConstSpan(wanted_).subspan(begin, count),
             logits_.floats() + begin * config_.vocab_size);
  }
  if (config_.logit_divisor != 1.0 || config_.logit_softcap != 0.0) {
    const int64_t count = config_.vocab_size;
    ForTokens(0, wanted, count,
              [&](int64_t i) { FinishLogits(count, logits_.floats() + i * count); });
  }
  return {logits_.floats(), static_cast<size_t>(wanted * config_.vocab_size)};
}

void Decoder::FinishLogits(int64_t count, float* logits) const {
  if (config_.logit_divisor != 1.0) DivideRow(dtype_, config_.logit_divisor, count, logits);
  if (config_.logit_softcap != 0.0) SoftcapRow(dtype_, config_.logit_softcap, count, logits);
}

void Decoder::Multiply(const DecoderWeights::Projection& projection, const float* x,
                       absl::Span<const StateGroup> groups, float* y) {
  const LinearWeight& weight = projection.weight;
  const bool patched_bias =
      weight.bias != nullptr && std::any_of(groups.begin(), groups.end(), [&](const auto& group) {
        return !plan_.patches(group.state).at(projection.bias.place).empty();
      });
  const auto multiply = [&](const LinearWeight& linear) {
    Linear(linear, x, row_groups_, y, activations_.linear_scratch, parallel_for_);
    row_groups_.clear();
  };
  row_groups_.clear();
  int64_t state = -1;
  for (const StateGroup& group : groups) {
    const absl::Span<const WeightPatch> patches = plan_.patches(group.state).at(projection.place);
    // What needs the same weights goes together, be it of one state or of several.
    const bool same =
        !row_groups_.empty() &&
        (state == group.state || (patches.empty() && row_groups_.back().patches.empty()));
    state = group.state;
    if (same) {
      row_groups_.back().end = group.end;
    } else {
      row_groups_.push_back({.begin = group.begin, .end = group.end, .patches = patches});
    }
    if (!patched_bias) continue;
    LinearWeight own = weight;
    own.bias = VectorOf(projection.bias, group.state, patched_bias_);
    multiply(own);
  }
  if (!patched_bias) multiply(weight);
}

const void* Decoder::VectorOf(const DecoderWeights::Vector& vector, int64_t state,
                              std::vector<std::byte>& copy) const {
  if (vector.data == nullptr) return nullptr;
  const absl::Span<const WeightPatch> patches = plan_.patches(state).at(vector.place);
  if (patches.empty()) return vector.data;
  const size_t element_bytes = DTypeSize(dtype_);
  const auto* resident = static_cast<const std::byte*>(vector.data);
  copy.assign(resident, resident + vector.size * element_bytes);
  for (const WeightPatch& patch : patches) {
    patch.table->ForEach([&](uint32_t entry, int64_t position) {
      std::memcpy(copy.data() + (patch.first_row + position) * element_bytes,
                  patch.values + entry * element_bytes, element_bytes);
    });
  }
  return copy.data();
}

NormWeights Decoder::NormOf(const DecoderWeights::Norm& norm, int64_t state, NormCopy& copy) const {
  return {.weight = VectorOf(norm.weight, state, copy.weight),
          .bias = VectorOf(norm.bias, state, copy.bias)};
}

template <typename Body>
void Decoder::ForTokens(int64_t begin, int64_t end, int64_t products, Body body) const {
  const auto run = [&](int64_t first, int64_t last) {
    for (int64_t token = begin + first; token < begin + last; ++token) body(token);
  };
  if ((end - begin) * products < kWorthThreads) {
    run(0, end - begin);
  } else {
    parallel_for_(end - begin, run);
  }
}

}  // namespace shira
