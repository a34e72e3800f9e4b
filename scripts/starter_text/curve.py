"""The loss curve of a run as a small picture (SVG), the same bytes each time."""

from __future__ import annotations

import csv
from pathlib import Path

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 240, 52, 34, 16


def points(curve: Path) -> list[tuple[float, float]]:
    """Millions of tokens and the running mean of the loss, from `curve.csv`; at most 300 of them."""
    with curve.open(newline="") as file:
        found = [(int(row[1]) / 1e6, float(row[3])) for row in csv.reader(file)]
    return found[:: max(1, len(found) // 300)]


def write_curve(curve: Path, target: Path) -> None:
    """Draw `curve.csv`; nothing where a run was too short to have one."""
    found = points(curve) if curve.exists() else []
    if len(found) < 2:
        return
    most = max(tokens for tokens, _ in found)
    low, high = min(loss for _, loss in found), max(loss for _, loss in found)
    low, high = low - 0.05 * (high - low), high + 0.05 * (high - low)
    wide, tall = WIDTH - LEFT - 12, HEIGHT - BOTTOM - TOP

    def at(tokens: float, loss: float) -> str:
        return f"{LEFT + wide * tokens / most:.1f},{TOP + tall * (high - loss) / (high - low):.1f}"

    labels = [
        f'<text x="{LEFT - 6}" y="{TOP + 8}" text-anchor="end">{high:.2f}</text>',
        f'<text x="{LEFT - 6}" y="{TOP + tall}" text-anchor="end">{low:.2f}</text>',
        f'<text x="{LEFT}" y="{HEIGHT - 12}">0</text>',
        f'<text x="{WIDTH - 12}" y="{HEIGHT - 12}" text-anchor="end">{most:.2f} M tokens</text>',
        f'<text x="{LEFT + 8}" y="{TOP + 8}">loss, nats a token, running mean</text>',
    ]
    axes = f'<path d="M{LEFT},{TOP}V{TOP + tall}H{WIDTH - 12}" fill="none" stroke="#888"/>'
    drawn = " ".join(at(*point) for point in found)
    line = f'<polyline points="{drawn}" fill="none" stroke="#2a6fb0" stroke-width="1.6"/>'
    look = 'font-family="sans-serif" font-size="12" fill="#666"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" {look}>'
    ground = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
    target.write_text("\n".join((head, ground, axes, line, *labels, "</svg>")) + "\n", encoding="utf-8", newline="\n")
