"""Learning curves -> small plots, one per pair of corpora: what page and figures draw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from serbench.report.across import Curve
from serbench.report.table import bracketed
from serbench.report.transfer import Setup

WIDTH, HEIGHT = 260.0, 150.0
"""Size of the plotting area of a page, in its own units."""


@dataclass(frozen=True, slots=True)
class Point:
    """A value over k, with the ends of its interval."""

    k: int
    uar: float
    low: float
    high: float
    told: str


@dataclass(frozen=True, slots=True)
class Line:
    """The curve of one feature set and classifier."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Plot:
    """All curves of one pair of corpora; `low` and `high` are the ends of the axis, alike in all plots of a setup."""

    setup: Setup
    title: str
    lines: tuple[Line, ...]
    numbers: tuple[int, ...]
    low: float
    high: float

    def x(self, k: int) -> float:
        """Place of a number of utterances: they stand at equal distances."""
        return WIDTH * self.numbers.index(k) / max(len(self.numbers) - 1, 1)

    def y(self, uar: float) -> float:
        """Place of a value, from above."""
        return HEIGHT * (self.high - min(max(uar, self.low), self.high)) / (self.high - self.low)

    @property
    def ticks(self) -> list[float]:
        """Values that the axis names."""
        steps = round((self.high - self.low) * 10)
        return [round(self.low + i / 10, 1) for i in range(0, steps + 1, max(1, steps // 4))]

    def path(self, line: Line) -> str:
        """Points of a line as SVG wants them."""
        return " ".join(f"{self.x(p.k):.1f},{self.y(p.uar):.1f}" for p in line.points)

    def band(self, line: Line) -> str:
        """Outline of the intervals of a line."""
        above = [(self.x(p.k), self.y(p.high)) for p in line.points]
        below = [(self.x(p.k), self.y(p.low)) for p in reversed(line.points)]
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in (*above, *below))


def plots(found: Sequence[Curve]) -> dict[Setup, list[Plot]]:
    """Put the curves of each setup into plots, a pair of corpora each."""
    by_setup: dict[Setup, list[Curve]] = {}
    for curve in found:
        by_setup.setdefault(curve.setup, []).append(curve)
    return {setup: _plots(setup, of) for setup, of in by_setup.items()}


def _plots(setup: Setup, found: Sequence[Curve]) -> list[Plot]:
    numbers = tuple(sorted({k for curve in found for k in curve.points}))
    by_pair: dict[str, list[Line]] = {}
    for curve in found:
        by_pair.setdefault(f"{curve.pair[0]} → {curve.pair[1]}", []).append(_line(curve))
    ends = [end for lines in by_pair.values() for line in lines for p in line.points for end in (p.low, p.high)]
    low, high = math.floor(min(*ends, setup.chance) * 10) / 10, math.ceil(max(*ends, setup.chance) * 10) / 10
    return [Plot(setup, pair, tuple(lines), numbers, max(low, 0.0), min(high, 1.0)) for pair, lines in by_pair.items()]


def _line(curve: Curve) -> Line:
    points = []
    for k, value in curve.points.items():
        low, high = (value.interval.low, value.interval.high) if value.interval else (value.uar, value.uar)
        points.append(Point(k, value.uar, low, high, f"{value.uar:.3f} {bracketed(value.interval)}".strip()))
    return Line(f"{' '.join(curve.row)}{curve.weight}", tuple(points))
