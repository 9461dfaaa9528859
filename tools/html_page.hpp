// SPDX-License-Identifier: BSD-3-Clause
// What pages that people look at are made of: one file each, drawn in SVG, nothing from elsewhere.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace caisson::tools {

std::string html_escaped(const std::string& text);

// Up to where the content begins; it ends with "</html>".
std::string html_head(const std::string& title);

struct Bar {
  std::string label;
  double value;
  std::string text;  // at its end
  bool bright = true;
};
// Horizontal bars, the longest as wide as the page allows, or one of value `full`, if not 0.
std::string html_bars(const std::vector<Bar>& rows, double full = 0);

struct Curve {
  std::string label;
  std::vector<std::pair<double, double>> points;  // drawn in this order
  bool bright = true;
};
// Curves over each other, each named beside its colour, pale ones dashed; y is logarithmic.
// `y_bytes`: y is told in bytes. Points that are not finite are left out.
std::string html_curves(std::vector<Curve> curves, const std::string& x_title,
                        const std::string& y_title, bool y_bytes, bool x_logarithmic = true);

}  // namespace caisson::tools
