#include "server/model/layer_groups.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <utility>

namespace shira {
namespace {

using ::testing::ElementsAre;

LayerGroups Of(const std::vector<int64_t>& windows) {
  ModelConfig config;
  config.max_position = 1000;
  config.num_layers = static_cast<int64_t>(windows.size());
  for (const int64_t window : windows) config.layers.push_back({.window = window});
  return GroupLayers(config);
}

TEST(LayerGroupsTest, LayersOfOneKindAreOneGroup) {
  const LayerGroups none = Of({0, 0, 0});
  EXPECT_EQ(none.layers_per_group, 3);
  EXPECT_THAT(none.windows, ElementsAre(0));
  const LayerGroups all = Of({40, 40, 40, 40});
  EXPECT_EQ(all.layers_per_group, 4);
  EXPECT_THAT(all.windows, ElementsAre(40));
}

TEST(LayerGroupsTest, AWindowAsLongAsTheContextIsNone) {
  EXPECT_THAT(Of({1000, 0, 2000}).windows, ElementsAre(0));
  EXPECT_THAT(Of({999, 999}).windows, ElementsAre(999));
}

TEST(LayerGroupsTest, AllGroupsHaveEquallyManyLayersAndEachLayerAPlace) {
  const std::vector<int64_t> windows = {40, 40, 40, 0, 40, 40, 40, 0, 40, 40, 70, 70, 70, 70};
  const LayerGroups groups = Of(windows);  // 8, 2 and 4
  EXPECT_EQ(groups.layers_per_group, 2);
  EXPECT_THAT(groups.windows, ElementsAre(40, 40, 40, 40, 0, 70, 70));
  std::set<std::pair<int64_t, int64_t>> places;
  for (size_t layer = 0; layer < windows.size(); ++layer) {
    const auto [group, index] = groups.places[layer];
    EXPECT_EQ(groups.windows[group], windows[layer]);
    EXPECT_TRUE(index >= 0 && index < 2);
    EXPECT_TRUE(places.emplace(group, index).second);
  }
}

}  // namespace
}  // namespace shira
