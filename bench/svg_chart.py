"""Bars and lines as SVG, small enough to be read as text."""

import math
from xml.sax.saxutils import escape

WIDTH = 860
COLOURS = {"ours": "#1b7f5c", "ours_light": "#5cb894", "limit": "#b8c4ce", "llama.cpp": "#7a86c8", "transformers": "#c9703f", "peft": "#dfa27e"}


class Chart:
    """Panels below one another; every method appends one and moves on."""

    def __init__(self, title):
        self.title, self.body, self.y = title, [], 48

    def text(self, x, y, content, anchor="start", fill="#222", **attributes):
        more = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in attributes.items())
        self.body.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}"{more}>{escape(content)}</text>')

    def bars(self, heading, bars, unit, left=290):
        """bars: (label, value, colour, note)."""
        self.text(8, self.y, heading, font_weight="600")
        self.y += 10
        most = max(value for _, value, _, _ in bars)
        for label, value, colour, note in bars:
            width = (WIDTH - left - 250) * value / most
            self.text(left - 8, self.y + 13, label, "end")
            self.body.append(f'<rect x="{left}" y="{self.y}" width="{width:.1f}" height="17" fill="{colour}"/>')
            self.text(left + width + 5, self.y + 13, f"{value:.3g} {unit}{note}")
            self.y += 21
        self.y += 24

    def lines(self, heading, series, x_ticks, x_label, y_label, height=220, left=70):
        """series: (label, colour, [(x, y)], dashed); both axes logarithmic, x_ticks from end to end."""
        self.text(8, self.y, f"{heading}, {y_label}", font_weight="600")
        bottom, right = self.y + 14 + height, WIDTH - 190
        values = [y for _, _, points, _ in series for _, y in points]
        low, high = min(values), max(values)
        ticks = [m * 10 ** e for e in range(-3, 6) for m in (1, 2, 5)]
        low, high = max(t for t in ticks if t <= low), min(t for t in ticks if t >= high)

        def x_of(value):
            return left + (right - left) * math.log(value / x_ticks[0]) / math.log(x_ticks[-1] / x_ticks[0])

        def y_of(value):
            return bottom - height * math.log(value / low) / math.log(high / low)

        for tick in (t for t in ticks if low <= t <= high):
            self.body.append(f'<line x1="{left}" y1="{y_of(tick):.1f}" x2="{right}" y2="{y_of(tick):.1f}" stroke="#ddd"/>')
            self.text(left - 6, y_of(tick) + 4, f"{tick:g}", "end", "#666")
        for tick in x_ticks:
            self.text(x_of(tick), bottom + 16, f"{tick}", "middle", "#666")
        self.text((left + right) / 2, bottom + 32, x_label, "middle", "#666")
        labels = []
        for label, colour, points, dashed in series:
            path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in points)
            dash = ' stroke-dasharray="5 4"' if dashed else ""
            self.body.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
            if not dashed:
                self.body += [f'<circle cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="3" fill="{colour}"/>' for x, y in points]
            labels.append([y_of(points[-1][1]) + 4, label, colour])
        labels.sort()
        for above, below in zip(labels, labels[1:]):
            below[0] = max(below[0], above[0] + 15)
        for y, label, colour in labels:
            self.text(right + 10, y, label, fill=colour)
        self.y = bottom + 60

    def svg(self, foot):
        self.text(8, self.y, foot, fill="#666")
        return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{self.y + 16:.0f}" font-family="sans-serif" font-size="12">\n'
                f'<rect width="100%" height="100%" fill="white"/>\n'
                f'<text x="8" y="20" font-weight="600" font-size="14">{escape(self.title)}</text>\n' + "\n".join(self.body) + "\n</svg>\n")
