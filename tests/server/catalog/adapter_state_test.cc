#include "server/catalog/adapter_state.h"

#include <gtest/gtest.h>

#include <set>
#include <utility>

namespace shira {
namespace {

constexpr AdapterState kStates[] = {AdapterState::kLoading, AdapterState::kReady,
                                    AdapterState::kUnloading, AdapterState::kFailed};

TEST(AdapterStateTest, HasExactlyTheArrowsOfTheDiagram) {
  const std::set<std::pair<AdapterState, AdapterState>> arrows = {
      {AdapterState::kLoading, AdapterState::kReady},
      {AdapterState::kLoading, AdapterState::kFailed},
      {AdapterState::kReady, AdapterState::kUnloading},
      {AdapterState::kUnloading, AdapterState::kReady},
      {AdapterState::kFailed, AdapterState::kLoading}};
  for (const AdapterState from : kStates) {
    for (const AdapterState to : kStates) {
      EXPECT_EQ(IsLegalTransition(from, to), arrows.contains({from, to}))
          << AdapterStateName(from) << " -> " << AdapterStateName(to);
    }
  }
}

TEST(AdapterStateTest, NamesEveryStateAsTheApiDoes) {
  EXPECT_EQ(AdapterStateName(AdapterState::kLoading), "LOADING");
  EXPECT_EQ(AdapterStateName(AdapterState::kReady), "READY");
  EXPECT_EQ(AdapterStateName(AdapterState::kUnloading), "UNLOADING");
  EXPECT_EQ(AdapterStateName(AdapterState::kFailed), "FAILED");
}

}  // namespace
}  // namespace shira
