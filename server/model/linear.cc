#include "server/model/linear.h"

#include <ATen/Context.h>

#include <algorithm>
#include <cstdint>

namespace shira {
namespace {

class WithoutOneDnn {
 public:
  WithoutOneDnn() : was_enabled_(at::globalContext().userEnabledMkldnn()) {
    at::globalContext().setUserEnabledMkldnn(false);
  }
  ~WithoutOneDnn() { at::globalContext().setUserEnabledMkldnn(was_enabled_); }

 private:
  const bool was_enabled_;
};

// MKL's fp32 product with the weight on the left: for few tokens about twice as fast as at::linear.
at::Tensor WeightFirst(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  at::Tensor y = at::mm(weight, x.t()).t().contiguous();
  if (bias.defined()) y.add_(bias);
  return y;
}

// float16 by way of fp32, a block of weight rows at a time so that the wide copy stays in cache:
// where the CPU has no float16 product, LibTorch's own is several times slower.
at::Tensor ThroughFp32(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  constexpr int64_t kBlockRows = 1024;
  const int64_t out = weight.size(0);
  const at::Tensor wide_x = x.to(at::kFloat);
  at::Tensor y = at::empty({x.size(0), out}, x.options());
  for (int64_t row = 0; row < out; row += kBlockRows) {
    const int64_t rows = std::min(kBlockRows, out - row);
    at::Tensor block = at::linear(wide_x, weight.narrow(0, row, rows).to(at::kFloat));
    if (bias.defined()) block.add_(bias.narrow(0, row, rows));
    y.narrow(1, row, rows).copy_(block);
  }
  return y;
}

}  // namespace

at::Tensor Linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  // The limits are where the ways crossed when measured on an AVX-512 CPU with bfloat16 products.
  constexpr int64_t kWeightFirstTokens = 8;
  constexpr int64_t kThroughFp32Tokens = 16;
  const int64_t tokens = x.size(0);
  switch (x.scalar_type()) {
    case at::kFloat:
      if (tokens <= kWeightFirstTokens) return WeightFirst(x, weight, bias);
      break;
    case at::kHalf:
      if (tokens >= kThroughFp32Tokens) return ThroughFp32(x, weight, bias);
      [[fallthrough]];
    default:
      // For one token LibTorch's own 16-bit product streams the weight at memory speed; oneDNN's
      // does not.
      if (tokens == 1) {
        const WithoutOneDnn guard;
        return at::linear(x, weight, bias);
      }
  }
  return at::linear(x, weight, bias);
}

}  // namespace shira
