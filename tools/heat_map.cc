#include "tools/heat_map.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "base/strings.h"

namespace shira::tools {
namespace {

constexpr std::array<const char*, 8> kBars = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
// Up to this many layers, a cell is two columns wide.
constexpr size_t kWideLayers = 40;
constexpr int kTickEvery = 5;

// What the cells lie between.
struct Axes {
  std::vector<std::string> parts;
  int layers = 0;  // the largest layer + 1
  double smallest = 0;
  double largest = 0;

  // 0 for the smallest value, 1 for the largest, also where they are equal.
  double Share(double value) const {
    return largest > smallest ? (value - smallest) / (largest - smallest) : 1;
  }
};

Axes AxesOf(const HeatMap& map) {
  Axes axes;
  if (!map.empty()) axes.smallest = map.cells.begin()->second;
  std::set<std::string> parts;
  for (const auto& [key, value] : map.cells) {
    parts.insert(key.first);
    axes.layers = std::max(axes.layers, key.second + 1);
    axes.smallest = std::min(axes.smallest, value);
    axes.largest = std::max(axes.largest, value);
  }
  axes.parts.assign(parts.begin(), parts.end());
  return axes;
}

struct Color {
  double red, green, blue;
};

// The stops of matplotlib's viridis: even steps of lightness, and readable without colour vision.
constexpr std::array<Color, 6> kColors = {
    {{68, 1, 84}, {65, 68, 135}, {42, 120, 142}, {34, 168, 132}, {122, 209, 81}, {253, 231, 37}}};

std::string ColorOf(double share) {
  const double at = std::clamp(share, 0.0, 1.0) * (kColors.size() - 1);
  const size_t stop = std::min(static_cast<size_t>(at), kColors.size() - 2);
  const double part = at - static_cast<double>(stop);
  const auto mix = [&](double Color::*channel) {
    return static_cast<int>(
        std::lround(kColors[stop].*channel * (1 - part) + kColors[stop + 1].*channel * part));
  };
  return absl::StrFormat("#%02x%02x%02x", mix(&Color::red), mix(&Color::green), mix(&Color::blue));
}

std::string Escaped(const std::string& text) {
  return absl::StrReplaceAll(text,
                             {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}});
}

}  // namespace

std::string HeatMapText(const HeatMap& map) {
  const Axes axes = AxesOf(map);
  const size_t cell_width = static_cast<size_t>(axes.layers) <= kWideLayers ? 2 : 1;
  size_t label_width = 5;
  for (const std::string& part : axes.parts) label_width = std::max(label_width, part.size());

  std::string text =
      absl::StrFormat("%s (▁ is %.4g, █ is %.4g)\n", map.title, axes.smallest, axes.largest);
  std::string ticks;
  for (int layer = 0; layer < axes.layers; layer += kTickEvery) {
    ticks.resize(static_cast<size_t>(layer) * cell_width, ' ');
    StrAppend(&ticks, layer);
  }
  StrAppend(&text, absl::StrFormat("%-*s  ", static_cast<int>(label_width), "layer"), ticks, "\n");
  for (const std::string& part : axes.parts) {
    StrAppend(&text, absl::StrFormat("%-*s  ", static_cast<int>(label_width), part));
    for (int layer = 0; layer < axes.layers; ++layer) {
      const auto cell = map.cells.find({part, layer});
      const char* shape = "·";
      if (cell != map.cells.end()) {
        const double share = axes.Share(cell->second);
        shape =
            kBars[std::min<size_t>(kBars.size() - 1, static_cast<size_t>(share * kBars.size()))];
      }
      for (size_t i = 0; i < cell_width; ++i) text += shape;
    }
    text += "\n";
  }
  return text;
}

std::string HeatMapSvg(const HeatMap& map) {
  constexpr int kCell = 16, kGap = 1, kTop = 48, kCharacter = 7, kMargin = 12, kLegend = 160;
  const Axes axes = AxesOf(map);
  size_t label_width = 5;
  for (const std::string& part : axes.parts) label_width = std::max(label_width, part.size());
  const int left = kMargin + static_cast<int>(label_width) * kCharacter + 8;
  const int bottom = kTop + static_cast<int>(axes.parts.size()) * kCell;
  const int width = std::max(left + axes.layers * kCell, left + kLegend + 120) + kMargin;
  const int height = bottom + 52;

  std::string svg = absl::StrFormat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
      "font-family=\"sans-serif\" font-size=\"11\" fill=\"#222\">\n"
      "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n"
      "<text x=\"%d\" y=\"20\" font-size=\"13\" font-weight=\"bold\">%s</text>\n",
      width, height, width, height, kMargin, Escaped(map.title));
  for (int layer = 0; layer < axes.layers; layer += kTickEvery) {
    absl::StrAppendFormat(
        &svg, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\" fill=\"#666\">%d</text>\n",
        left + layer * kCell + kCell / 2, kTop - 6, layer);
  }
  for (size_t row = 0; row < axes.parts.size(); ++row) {
    const int y = kTop + static_cast<int>(row) * kCell;
    absl::StrAppendFormat(&svg, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", left - 8,
                          y + kCell - 4, Escaped(axes.parts[row]));
    for (int layer = 0; layer < axes.layers; ++layer) {
      const auto cell = map.cells.find({axes.parts[row], layer});
      if (cell == map.cells.end()) continue;
      absl::StrAppendFormat(
          &svg,
          "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"%s\"><title>layer %d, %s: "
          "%.4g</title></rect>\n",
          left + layer * kCell, y, kCell - kGap, kCell - kGap, ColorOf(axes.Share(cell->second)),
          layer, Escaped(axes.parts[row]), cell->second);
    }
  }
  svg += "<defs><linearGradient id=\"scale\">";
  for (size_t stop = 0; stop < kColors.size(); ++stop) {
    const double share = static_cast<double>(stop) / (kColors.size() - 1);
    absl::StrAppendFormat(&svg, "<stop offset=\"%g\" stop-color=\"%s\"/>", share, ColorOf(share));
  }
  absl::StrAppendFormat(
      &svg,
      "</linearGradient></defs>\n"
      "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"10\" fill=\"url(#scale)\"/>\n"
      "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%.4g</text>\n"
      "<text x=\"%d\" y=\"%d\">%.4g</text>\n</svg>\n",
      left, bottom + 22, kLegend, left - 8, bottom + 31, axes.smallest, left + kLegend + 8,
      bottom + 31, axes.largest);
  return svg;
}

}  // namespace shira::tools
