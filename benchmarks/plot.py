"""Draws the ratios of a results.json as an SVG, for light pages and for dark ones: `python plot.py RESULTS PLOT`."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from plan import KINDS

WIDTH = 960
LEFT, RIGHT = 270, 850  # of the ratios
LEGEND_COLUMNS = 4
TOP, BAND, LINE = 82, 26, 18
TICKS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500]

# How each kind is drawn: shape, colour, and whether it is filled. What is ours comes last, and so on top.
MARKS = {
    "node-ws": ("square", "#3fb950", True),
    "floor": ("square", "#8b949e", True),
    "trio": ("square", "#8b949e", False),
    "trio-websocket": ("diamond", "#b58900", True),
    "websockets.trio": ("diamond", "#2aa198", False),
    "websockets": ("circle", "#2aa198", False),
    "websockets+uvloop": ("circle", "#2aa198", True),
    "aiohttp+uvloop": ("circle", "#4c8dff", True),
    "picows+uvloop": ("circle", "#8957e5", True),
    "ours-streams": ("diamond", "#e8552d", False),
    "ours-fast": ("diamond", "#e8552d", True),
    "ours-stdlib": ("square", "#e8552d", False),
    "ours-plain": ("circle", "#e8552d", False),
    "ours": ("circle", "#e8552d", True),
}
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 } .small { font-size: 11px; fill: #59636e }
.title { font-size: 17px; font-weight: 600 } .ours { font-weight: 600 } .back { fill: #ffffff }
.end { text-anchor: end } .middle { text-anchor: middle } .grid { stroke: #d1d9e0 } .one { stroke: #8957e5; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .small { fill: #9198a1 } .back { fill: #0d1117 } .grid { stroke: #3d444d }
}
"""


class Scale:
    """Where a ratio lies, on a logarithmic axis that holds all of them."""

    def __init__(self, ratios: list[float]) -> None:
        self.low = max([tick for tick in TICKS if tick <= min(ratios)], default=TICKS[0])
        self.high = min(
            [tick for tick in TICKS if tick >= max(ratios) and tick > self.low], default=TICKS[-1]
        )

    def ticks(self) -> list[float]:
        return [tick for tick in TICKS if self.low <= tick <= self.high]

    def x(self, ratio: float) -> float:
        share = math.log(ratio / self.low) / math.log(self.high / self.low)
        return LEFT + (RIGHT - LEFT) * min(1.0, max(0.0, share))


def text(x: float, y: float, content: str, style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}">{escape(content)}</text>'


def mark(kind: str, x: float, y: float) -> str:
    shape, colour, is_filled = MARKS[kind]
    size = 6.5 if kind == "ours" else 4.5
    paint = f'stroke="{colour}" stroke-width="2" fill="{colour if is_filled else "none"}"'
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size}" {paint}/>'
    turn = f' transform="rotate(45 {x:.1f} {y:.1f})"' if shape == "diamond" else ""
    return f'<rect x="{x - size + 0.5:.1f}" y="{y - size + 0.5:.1f}" width="8" height="8" {paint}{turn}/>'


def legend(kinds: list[str], top: float) -> Iterator[str]:
    for index, kind in enumerate(kinds):
        x = 24 + (WIDTH - 48) / LEGEND_COLUMNS * (index % LEGEND_COLUMNS)
        y = top + LINE * (index // LEGEND_COLUMNS)
        yield mark(kind, x, y - 4)
        yield text(x + 14, y, KINDS[kind].label, "ours" if kind == "ours" else "")


def bands(rows: list[dict[str, Any]], scale: Scale, top: float) -> Iterator[str]:
    bottom = top + BAND * len(rows)
    for tick in scale.ticks():
        style = "one" if tick == 1 else "grid"
        x = scale.x(tick)
        yield f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}" class="{style}"/>'
        yield text(x, top - 6, f"{tick:g}x", "small middle")
    yield text(WIDTH - 16, top - 6, KINDS["ours"].label, "small end")
    for index, row in enumerate(rows):
        y = top + BAND * (index + 0.5)
        yield text(LEFT - 16, y + 4, row["text"], "end")
        for kind in MARKS:
            ratio = row["kinds"].get(kind, {}).get("ratio")
            if ratio is not None:
                yield mark(kind, scale.x(ratio), y)
                if kind == "ours":
                    yield text(WIDTH - 16, y + 4, f"{ratio:.2f}x", "end ours")


def draw(results: dict[str, Any]) -> str:
    """An SVG with every row that has ratios; results as in results.json."""
    about = results["about"]
    measured = [row for row in results["rows"].values() if any(_ratios(row))]
    scale = Scale([ratio for row in measured for ratio in _ratios(row)] or [1.0])
    kinds = [kind for kind in KINDS if any(kind in row["kinds"] for row in measured)]
    top = TOP + LINE * math.ceil(len(kinds) / LEGEND_COLUMNS) + 28
    bottom = top + BAND * len(measured)
    height = bottom + 38
    where = f"{about['cpu']}, {about['system']}, {about['python']}, {about['date']}: {about['command']}"
    title = f"CPU time of a message, as a multiple of {about['baseline']}'s: less is better"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">',
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" class="back"/>',
        text(16, 28, title, "title"),
        text(16, 48, where, "small"),
        *legend(kinds, TOP),
        *bands(measured, scale, top),
        text(16, bottom + 24, about["versions"], "small"),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _ratios(row: dict[str, Any]) -> list[float]:
    return [kind["ratio"] for kind in row["kinds"].values() if kind["ratio"] is not None]


def main() -> None:
    source, target = map(Path, sys.argv[1:])
    target.write_text(draw(json.loads(source.read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main()
