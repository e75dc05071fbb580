#include "server/model/layers.h"

#include <limits>
#include <optional>

namespace shira {

at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor scale = wide.square().mean(-1, /*keepdim=*/true).add_(eps).rsqrt_();
  return wide.mul(scale).to(x.scalar_type()).mul_(weight);
}

at::Tensor SiluGate(const at::Tensor& gate_up) {
  const int64_t width = gate_up.size(1) / 2;
  return at::silu(gate_up.narrow(1, 0, width)).mul_(gate_up.narrow(1, width, width));
}

void Attend(const AttentionShape& shape, const at::Tensor& queries, const at::Tensor& keys,
            const at::Tensor& values, const at::Tensor& mask, at::Tensor output) {
  const int64_t tokens = queries.size(0);
  const int64_t group = shape.queries_per_kv_head();
  // [tokens, kv_heads, group, head_dim]
  const at::Tensor grouped = queries.unflatten(1, {shape.num_kv_heads, group});
  at::Tensor attended;
  if (tokens == 1) {
    // One position sees everything, so the queries of a group are rows of one product.
    attended = at::scaled_dot_product_attention(grouped, keys.unsqueeze(0), values.unsqueeze(0));
  } else {
    // The key heads as the batch, so that a group shares its keys without a copy.
    const auto shared = [&](const at::Tensor& heads) {
      return heads.unsqueeze(1).expand({-1, group, -1, -1});
    };
    attended = at::scaled_dot_product_attention(
                   grouped.permute({1, 2, 0, 3}), shared(keys), shared(values),
                   mask.defined() ? std::optional<at::Tensor>(mask) : std::nullopt,
                   /*dropout_p=*/0.0, /*is_causal=*/!mask.defined())
                   .permute({2, 0, 1, 3});
  }
  output.view({tokens, shape.num_kv_heads, group, shape.head_dim}).copy_(attended);
}

at::Tensor CausalMask(int64_t tokens, int64_t length, at::ScalarType dtype) {
  if (tokens == 1 || tokens == length) return {};
  return at::full({tokens, length}, -std::numeric_limits<double>::infinity(), dtype)
      .triu_(length - tokens + 1);
}

}  // namespace shira
