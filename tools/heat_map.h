// File: tools/heat_map.h
//
// Numbers by layer and part of a model, as a picture: in text for a terminal, and as SVG.

#ifndef SHIRA_TOOLS_HEAT_MAP_H_
#define SHIRA_TOOLS_HEAT_MAP_H_

#include <map>
#include <string>
#include <utility>

namespace shira::tools {

struct HeatMap {
  std::string title;
  std::map<std::pair<std::string, int>, double> cells;  // by part and layer; not negative

  bool empty() const { return cells.empty(); }
};

// One line per part, one cell per layer: a bar whose height goes from the smallest value to the
// largest, a dot where there is none. Ends with a line feed.
std::string HeatMapText(const HeatMap& map);

// A whole file, in the same range. Cells have their value as a tooltip.
std::string HeatMapSvg(const HeatMap& map);

}  // namespace shira::tools

#endif  // SHIRA_TOOLS_HEAT_MAP_H_
