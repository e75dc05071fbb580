// Rows whose weights differ from those in memory: what they get is what they would get with the
// switch engine's weights.

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "adapters/switch/switch_engine.h"
#include "server/model/decoder.h"
#include "tests/server/model/decoder_fixture.h"
#include "tests/testutil/adapter_builder.h"

namespace shira {
namespace {

using ::shira::testing::MakeAdapter;
using ::shira::testing::MakeDelta;
using ::shira::testing::RandomPositions;

class DecoderStatesTest : public ::testing::TestWithParam<TinyModel> {
 protected:
  DecoderStatesTest()
      : config_(GetParam().config()),
        weights_(RandomWeights(config_, GetParam().dtype)),
        memory_(HostWeightMemory::Create(weights_->dtype(), weights_->parameters()).value()),
        engine_(*memory_, {}),
        pool_(MakePool(config_, GetParam().dtype)),
        team_(2),
        decoder_(*weights_, team_.parallel_for()) {
    states_.push_back(engine_.base());
    const auto linears = [](const std::string& name) {
      return name.find("_proj.weight") != std::string::npos;
    };
    // Tables of its own; the same tables as that one with other values; everything there is.
    states_.push_back(StateOf("linears", linears, 1, 1));
    states_.push_back(StateOf("other values", linears, 1, 2));
    states_.push_back(StateOf("other places", linears, 2, 3));
    states_.push_back(StateOf(
        "everything", [](const std::string&) { return true; }, 3, 4));
    states_.push_back(StateOf(
        "small",
        [](const std::string& name) {
          return name.find("norm") != std::string::npos || name.find("bias") != std::string::npos ||
                 name.find("sinks") != std::string::npos ||
                 name == "model.layers.1.self_attn.v_proj.weight";
        },
        4, 5));
    for (size_t state = 0; state < states_.size(); ++state) {
      engine_.Apply(states_[state]);
      for (int64_t sequence = 0; sequence < kSequences; ++sequence) {
        fused_.push_back(Run({{sequence, state}}, states_[state]));
      }
    }
  }

  static constexpr int64_t kSequences = 16;
  static int64_t LengthOf(int64_t sequence) { return sequence % 4 == 3 ? 40 + sequence : 3; }

  template <typename Touches>
  std::shared_ptr<const CompiledState> StateOf(const char* name, Touches touches,
                                               uint32_t places_seed, uint32_t values_seed) {
    std::mt19937 places(places_seed), values(values_seed);
    std::vector<ParameterDelta> deltas;
    for (const ResidentParameter& parameter : weights_->parameters()) {
      if (!touches(parameter.name)) continue;
      const auto positions =
          RandomPositions(parameter.rows, parameter.cols, 1 + parameter.elements() / 15, places);
      deltas.push_back(
          MakeDelta(parameter.name, parameter.rows, parameter.cols, positions, values));
    }
    std::sort(deltas.begin(), deltas.end(), [](const ParameterDelta& a, const ParameterDelta& b) {
      return a.parameter < b.parameter;
    });
    return engine_.Compile({{MakeAdapter(name, std::move(deltas)), 1.0}}).value();
  }

  struct Request {
    int64_t sequence;
    size_t state;
  };
  // All of a sequence's tokens at once, then one more pass over its last token again; the logits of
  // both, by request.
  std::vector<std::vector<Logits>> RunAll(const std::vector<Request>& requests,
                                          const std::shared_ptr<const CompiledState>& resident) {
    std::vector<std::unique_ptr<KvCache>> caches;
    std::vector<std::vector<int32_t>> tokens;
    std::vector<BatchRow> rows;
    for (const Request& request : requests) {
      const int64_t length = LengthOf(request.sequence);
      caches.push_back(KvCache::Create(pool_, {.tokens = length + 1}).value());
      tokens.push_back(TokensOf(request.sequence, length));
    }
    for (size_t i = 0; i < requests.size(); ++i) {
      rows.push_back({caches[i].get(), tokens[i], true, states_[requests[i].state].get()});
    }
    std::vector<std::vector<Logits>> logits(requests.size());
    for (int pass = 0; pass < 2; ++pass) {
      const auto found = SplitLogits(decoder_.Forward(*resident, rows), config_.vocab_size);
      for (size_t i = 0; i < rows.size(); ++i) {
        logits[i].push_back(found[i]);
        rows[i].tokens = rows[i].tokens.last(1);
      }
    }
    return logits;
  }
  std::vector<Logits> Run(const std::vector<Request>& requests,
                          const std::shared_ptr<const CompiledState>& resident) {
    return RunAll(requests, resident)[0];
  }
  const std::vector<Logits>& Fused(const Request& request) const {
    return fused_[request.state * kSequences + request.sequence];
  }

  const ModelConfig config_;
  const std::unique_ptr<ResidentWeights> weights_;
  const std::unique_ptr<HostWeightMemory> memory_;
  SwitchEngine engine_;
  const std::shared_ptr<KvPagePool> pool_;
  ThreadTeam team_;
  Decoder decoder_;
  std::vector<std::shared_ptr<const CompiledState>> states_;
  std::vector<std::vector<Logits>> fused_;  // by state and sequence
};

TEST_P(DecoderStatesTest, EveryStateGivesOtherLogits) {
  std::set<Logits> distinct;
  for (size_t state = 0; state < states_.size(); ++state) distinct.insert(Fused({0, state})[0]);
  EXPECT_EQ(distinct.size(), states_.size());
}

TEST_P(DecoderStatesTest, APatchedRowEqualsAFusedOneWhateverStateIsResident) {
  for (const auto& resident : states_) {
    engine_.Apply(resident);
    for (size_t state = 0; state < states_.size(); ++state) {
      for (const int64_t sequence : {2, 3}) {
        ASSERT_EQ(Run({{sequence, state}}, resident), Fused({sequence, state}))
            << "state " << state << ", resident " << &resident - states_.data();
      }
    }
  }
}

TEST_P(DecoderStatesTest, AnyMixOfStatesInABatchGivesEachRowItsOwn) {
  std::mt19937 random(9);
  for (int round = 0; round < 24; ++round) {
    const auto& resident = states_[random() % states_.size()];
    engine_.Apply(resident);
    const int64_t count = 1 + static_cast<int64_t>(random() % kSequences);
    const size_t kinds = 1 + random() % states_.size();
    std::vector<Request> requests;
    for (int64_t i = 0; i < count; ++i) requests.push_back({i, random() % kinds});
    const auto found = RunAll(requests, resident);
    for (int64_t i = 0; i < count; ++i) {
      ASSERT_EQ(found[i], Fused(requests[i])) << "row " << i << " of " << count;
    }
  }
}

TEST_P(DecoderStatesTest, PatchingWritesNoWeight) {
  engine_.Apply(states_[1]);
  RunAll({{0, 0}, {1, 2}, {2, 3}, {3, 4}, {4, 5}}, states_[1]);
  EXPECT_TRUE(engine_.Verify().matches_expected);
}

INSTANTIATE_TEST_SUITE_P(
    All, DecoderStatesTest,
    ::testing::Values(
        TinyModel{DType::kF32}, TinyModel{DType::kF32, kTinyLlama, false}, TinyModel{DType::kBF16},
        TinyModel{DType::kBF16, kTinyLlama, false}, TinyModel{DType::kF16},
        TinyModel{DType::kF16, kTinyLlama, false}, TinyModel{DType::kF32, kTinyMixed},
        TinyModel{DType::kBF16, kTinyMixed, false}, TinyModel{DType::kF32, kTinyGemma},
        TinyModel{DType::kBF16, kTinyGemma, false}, TinyModel{DType::kF32, kTinyStableLm, false},
        TinyModel{DType::kBF16, kTinyStableLm}, TinyModel{DType::kF32, kTinyMixture},
        TinyModel{DType::kBF16, kTinyMixture, false}, TinyModel{DType::kF16, kTinyMixture},
        TinyModel{DType::kF32, kTinyGptOss, false}, TinyModel{DType::kBF16, kTinyGptOss}),
    TinyModelName);

}  // namespace
}  // namespace shira
