// select_candidates TEMPERATURE TOP_K TOP_P MIN_P PENALTY LOGITS SEEN
//
// Prints "token probability" for each token that a draw could choose. LOGITS is a file of floats,
// SEEN one of 32-bit token ids (distinct). For the comparison with transformers.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <numeric>
#include <string>
#include <vector>

#include "server/sampling/candidates.h"
#include "server/sampling/score_scan.h"

namespace {

template <typename T>
std::vector<T> ReadAll(const char* path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  std::vector<T> values(bytes.size() / sizeof(T));
  bytes.copy(reinterpret_cast<char*>(values.data()), values.size() * sizeof(T));
  return values;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 8) return EXIT_FAILURE;
  const shira::SamplingParams params = {.temperature = std::strtof(argv[1], nullptr),
                                        .top_k = std::atoi(argv[2]),
                                        .top_p = std::strtof(argv[3], nullptr),
                                        .min_p = std::strtof(argv[4], nullptr),
                                        .repetition_penalty = std::strtof(argv[5], nullptr)};
  std::vector<float> scores = ReadAll<float>(argv[6]);
  if (scores.empty() || !params.Validate(static_cast<int32_t>(scores.size())).ok())
    return EXIT_FAILURE;
  shira::PenaliseRepetition(params.repetition_penalty, ReadAll<int32_t>(argv[7]),
                            absl::MakeSpan(scores));
  shira::Candidates candidates;
  shira::SelectCandidates(params, scores, candidates);
  std::vector<float> weights;
  std::vector<double> block_sums;
  shira::Weigh(shira::LargestScore(candidates.scores), candidates.scores, weights, block_sums);
  const double total = std::accumulate(block_sums.begin(), block_sums.end(), 0.0);
  for (size_t i = 0; i < candidates.size(); ++i) {
    std::printf("%d %.9g\n", candidates.tokens[i], weights[i] / total);
  }
  return EXIT_SUCCESS;
}
