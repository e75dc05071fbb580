// File: server/model/expert_routing.h
//
// Which tokens of a slice use which experts of a mixture, and with what weights. Experts multiply rows
// of their own: one for each token that uses them, an expert's behind each other in the tokens' order.

#ifndef SHIRA_SERVER_MODEL_EXPERT_ROUTING_H_
#define SHIRA_SERVER_MODEL_EXPERT_ROUTING_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "base/dtype.h"
#include "server/model/model_config.h"

namespace shira {

// Made again for each layer; all memory is there from the start.
//
//   for each token of the slice: routing.Choose(token, its scores);
//   routing.Sort(tokens);
//   // rows [first_row(e), first_row(e + 1)) are expert e's
class ExpertRouting {
 public:
  // Room for `max_tokens` tokens. `dtype` is that of the weights.
  ExpertRouting(const Mixture& mixture, DType dtype, int64_t max_tokens);

  // Chooses the experts of a token, by its scores alone: [experts], of the router. Of equal scores the
  // first counts; scores that are no numbers come last. Thread-safe for different tokens.
  void Choose(int64_t token, const float* scores);

  // Gives rows to the tokens [0, tokens), for each of which Choose() was called.
  void Sort(int64_t tokens);

  // The experts that a token uses, the one with the highest score first: [experts_per_token]. What
  // their outputs are multiplied with, and the rows in which they are, are in the same order.
  absl::Span<const int64_t> experts_of(int64_t token) const { return Of(experts_, token); }
  absl::Span<const float> weights_of(int64_t token) const { return Of(weights_, token); }
  absl::Span<const int64_t> rows_of(int64_t token) const { return Of(rows_, token); }

  // An expert's first row; of the number of experts: how many rows there are.
  int64_t first_row(int64_t expert) const { return first_rows_[expert]; }
  int64_t rows() const { return first_rows_.back(); }
  int64_t token_of(int64_t row) const { return tokens_[row]; }

 private:
  template <typename T>
  absl::Span<const T> Of(const std::vector<T>& values, int64_t token) const {
    return absl::MakeConstSpan(values).subspan(token * mixture_.experts_per_token,
                                               mixture_.experts_per_token);
  }

  const Mixture mixture_;
  const DType dtype_;
  std::vector<int64_t> experts_;     // [tokens, experts_per_token]
  std::vector<float> weights_;       // of the same
  std::vector<int64_t> rows_;        // of the same
  std::vector<int64_t> tokens_;      // by row
  std::vector<int64_t> first_rows_;  // [experts + 1]
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_EXPERT_ROUTING_H_
