// File: server/model/linear.h
//
// The one matrix product of the model: activations times a resident weight.

#ifndef SHIRA_SERVER_MODEL_LINEAR_H_
#define SHIRA_SERVER_MODEL_LINEAR_H_

#include <ATen/ATen.h>

namespace shira {

// x [tokens, in] times weight [out, in] transposed, plus bias [out] where it is defined: [tokens,
// out]. All of one dtype. Uses whichever of LibTorch's ways is fastest for this number of tokens.
// Not thread-safe: it may switch oneDNN off for the time of the call.
at::Tensor Linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_LINEAR_H_
