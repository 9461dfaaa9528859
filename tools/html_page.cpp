// SPDX-License-Identifier: BSD-3-Clause
#include "tools/html_page.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <sstream>

#include "tools/command.hpp"

namespace caisson::tools {

namespace {

constexpr char kStyle[] =
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
    "color:#1c2733;background:#fff}"
    "h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}"
    "table{border-collapse:collapse;width:100%}td,th{padding:.25rem .5rem;text-align:right;"
    "border-bottom:1px solid #d5dde5}td:first-child,th:first-child{text-align:left}"
    "tr.engine td{font-weight:600}svg{width:100%}svg text{font:13px "
    "system-ui,sans-serif;fill:#1c2733}"
    "rect.bright{fill:#1f6f8b}rect.pale{fill:#b8c4ce}p.note{color:#55626e}line.grid{stroke:#d5dde5}"
    "@media(prefers-color-scheme:dark){body{background:#12181e;color:#e3e9ee}svg text{fill:#e3e9ee}"
    "td,th{border-color:#2c3742}line.grid{stroke:#2c3742}rect.bright{fill:#4fb3d0}rect.pale{fill:#"
    "55626e}p.note{color:#"
    "9aa7b3}}";

}  // namespace

std::string html_escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '&': out += "&amp;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string html_head(const std::string& title) {
  const std::string text = html_escaped(title);
  return "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' "
         "content='width=device-width'><title>" +
         text + "</title><style>" + kStyle + "</style><h1>" + text + "</h1>";
}

std::string html_bars(const std::vector<Bar>& rows, double full) {
  constexpr int kRow = 30, kLabel = 240, kWide = 480;
  double longest = full;
  if (full == 0) {
    for (const Bar& row : rows) longest = std::max(longest, row.value);
  }
  std::ostringstream svg;
  svg << "<svg viewBox='0 0 900 " << rows.size() * kRow << "' role='img'>";
  int y = 0;
  for (const Bar& row : rows) {
    const double width = longest > 0 ? row.value / longest * kWide : 0;
    svg << "<text x='" << kLabel - 8 << "' y='" << y + 20 << "' text-anchor='end'>"
        << html_escaped(row.label) << "</text><rect class='" << (row.bright ? "bright" : "pale")
        << "' x='" << kLabel << "' y='" << y + 6 << "' width='" << width
        << "' height='18'/><text x='" << kLabel + width + 6 << "' y='" << y + 20 << "'>"
        << html_escaped(row.text) << "</text>";
    y += kRow;
  }
  svg << "</svg>";
  return svg.str();
}

namespace {

constexpr double kLeft = 80, kRight = 640, kTop = 10, kBottom = 300;
constexpr const char* kColours[] = {"#1f6f8b", "#c8553d", "#588157", "#8e6bbf", "#d4a017",
                                    "#3a86c8", "#b5446e", "#6b705c", "#2a9d8f", "#9c6644"};

// One direction of a plot.
class Axis {
 public:
  Axis(double from, double to, bool logarithmic) : from_(from), to_(to), logarithmic_(logarithmic) {
    if (logarithmic_) {
      from_ = std::log10(std::max(from, 1e-9));
      to_ = std::log10(std::max(to, 1e-9));
    }
    if (to_ - from_ < 1e-9) to_ = from_ + 1;
  }
  void note(double value) {
    const double at = placed(value);
    from_ = std::min(from_, at);
    to_ = std::max(to_, at);
  }
  double share(double value) const { return (placed(value) - from_) / (to_ - from_); }
  // Where lines are drawn: powers of ten, or of two where these are too few.
  std::vector<double> ticks() const {
    std::vector<double> at;
    if (!logarithmic_) {
      for (int i = 0; i <= 4; ++i) at.push_back(from_ + (to_ - from_) * i / 4);
      return at;
    }
    const double step = to_ - from_ < 2.5 ? std::log10(2.0) : 1;
    for (double t = std::ceil(from_ / step - 1e-9) * step; t <= to_ + 1e-9; t += step) {
      at.push_back(std::pow(10, t));
    }
    return at;
  }

 private:
  double placed(double value) const {
    return logarithmic_ ? std::log10(std::max(value, 1e-9)) : value;
  }
  double from_;
  double to_;
  const bool logarithmic_;
};

}  // namespace

std::string html_curves(std::vector<Curve> curves, const std::string& x_title,
                        const std::string& y_title, bool y_bytes, bool x_logarithmic) {
  for (Curve& curve : curves) {
    std::erase_if(curve.points, [](const auto& point) {
      return !std::isfinite(point.first) || !std::isfinite(point.second);
    });
  }
  const std::pair<double, double>* first = nullptr;
  for (const Curve& curve : curves) {
    if (!curve.points.empty()) first = &curve.points.front();
  }
  if (first == nullptr) return "<p class='note'>Nothing was measured.</p>";
  Axis x(first->first, first->first, x_logarithmic), y(first->second, first->second, true);
  for (const Curve& curve : curves) {
    for (const auto& [at, value] : curve.points) {
      x.note(at);
      y.note(value);
    }
  }
  const auto x_of = [&](double at) { return kLeft + x.share(at) * (kRight - kLeft); };
  const auto y_of = [&](double value) { return kBottom - y.share(value) * (kBottom - kTop); };
  const double height = std::max(kBottom + 50, kTop + 22 * static_cast<double>(curves.size()) + 20);
  std::ostringstream svg;
  svg << "<svg viewBox='0 0 1000 " << height << "' role='img'>";
  for (const double at : x.ticks()) {
    svg << "<line class='grid' x1='" << x_of(at) << "' x2='" << x_of(at) << "' y1='" << kTop
        << "' y2='" << kBottom << "'/><text x='" << x_of(at) << "' y='" << kBottom + 18
        << "' text-anchor='middle'>" << human_count(at) << "</text>";
  }
  for (const double value : y.ticks()) {
    svg << "<line class='grid' x1='" << kLeft << "' x2='" << kRight << "' y1='" << y_of(value)
        << "' y2='" << y_of(value) << "'/><text x='" << kLeft - 6 << "' y='" << y_of(value) + 4
        << "' text-anchor='end'>" << (y_bytes ? human_bytes(value) : human_count(value))
        << "</text>";
  }
  svg << "<text x='" << (kLeft + kRight) / 2 << "' y='" << kBottom + 40 << "' text-anchor='middle'>"
      << html_escaped(x_title + " · " + y_title) << "</text>";
  double label_y = kTop + 12;
  for (size_t i = 0; i < curves.size(); ++i) {
    const std::string stroke = std::string("fill='none' stroke-width='2' stroke='") +
                               kColours[i % std::size(kColours)] + "'" +
                               (curves[i].bright ? "" : " stroke-dasharray='5 4'");
    svg << "<polyline " << stroke << " points='";
    for (const auto& [at, value] : curves[i].points) svg << x_of(at) << ',' << y_of(value) << ' ';
    svg << "'/><line " << stroke << " x1='" << kRight + 20 << "' x2='" << kRight + 44 << "' y1='"
        << label_y - 4 << "' y2='" << label_y - 4 << "'/><text x='" << kRight + 50 << "' y='"
        << label_y << "'>" << html_escaped(curves[i].label) << "</text>";
    label_y += 22;
  }
  svg << "</svg>";
  return svg.str();
}

}  // namespace caisson::tools
