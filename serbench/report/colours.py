"""One colour scale for page and figures: perceptually uniform, safe for the colour-blind, readable on every step.

Lightness rises in equal steps of OKLab (Ottosson, "A perceptual color space for image processing", 2020), so that equal
differences of a value look equal, in grey and to any eye. On a light page more is darker, on a dark one lighter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from serbench.report.table import Entry, Table

N_STEPS = 12
"""Steps of the scale."""

Lch = tuple[float, float, float]
"""Lightness 0..1, chroma, and hue in degrees."""

_ENDS: dict[str, tuple[Lch, Lch]] = {
    "light": ((0.975, 0.012, 215.0), (0.375, 0.115, 262.0)),
    "dark": ((0.235, 0.025, 262.0), (0.86, 0.065, 208.0)),
}


def scale(theme: str) -> tuple[str, ...]:
    """Colours from the lowest to the highest value, as #rrggbb; `theme` is light or dark."""
    low, high = _ENDS[theme]
    shares = [step / (N_STEPS - 1) for step in range(N_STEPS)]
    return tuple(_hex(*(a + (b - a) * share for a, b in zip(low, high, strict=True))) for share in shares)


def step_in(table: Table, entry: Entry) -> int | None:
    """Return the step of a place between the lowest and the highest value of its table."""
    if table.values is None or entry.value is None:
        return None
    values = table.values.to_numpy()
    return step_of(entry.value, float(np.nanmin(values)), float(np.nanmax(values)))


def step_of(value: float, low: float, high: float) -> int:
    """Return the step of a value on a scale from `low` to `high`; what lies beyond takes the last one.

    >>> step_of(0.2, 0.2, 0.8), step_of(0.8, 0.2, 0.8), step_of(0.1, 0.2, 0.8), step_of(0.3, 0.3, 0.3)
    (0, 11, 0, 0)
    """
    share = (value - low) / (high - low) if high > low else 0.0
    return round(min(max(share, 0.0), 1.0) * (N_STEPS - 1))


def ink(colour: str) -> str:
    """Black or white, whichever can be read better on a colour: always at 4.5 to 1 or more, as WCAG 2 AA asks.

    >>> ink("#ffffff"), ink("#20304f")
    ('#000000', '#ffffff')
    """
    return max(("#000000", "#ffffff"), key=lambda candidate: contrast(candidate, colour))


def contrast(first: str, second: str) -> float:
    """Contrast ratio of WCAG 2, 1 to 21.

    >>> contrast("#000000", "#ffffff")
    21.0
    """
    darker, lighter = sorted((_luminance(first), _luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return _dot((0.2126, 0.7152, 0.0722), linear)


def _hex(lightness: float, chroma: float, hue: float) -> str:
    """Convert a colour of OKLab to sRGB, with the matrices of Ottosson's page."""
    a, b = chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))
    to_cones = ((1, 0.3963377774, 0.2158037573), (1, -0.1055613458, -0.0638541728), (1, -0.0894841775, -1.2914855480))
    cones = [_dot(row, (lightness, a, b)) ** 3 for row in to_cones]
    to_linear = (
        (4.0767416621, -3.3077115913, 0.2309699292),
        (-1.2684380046, 2.6097574011, -0.3413193965),
        (-0.0041960863, -0.7034186147, 1.7076147010),
    )
    return "#" + "".join(f"{_encoded(_dot(row, cones)):02x}" for row in to_linear)


def _encoded(linear: float) -> int:
    shown = min(max(linear, 0.0), 1.0)
    return round(255 * (12.92 * shown if shown <= 0.0031308 else 1.055 * shown ** (1 / 2.4) - 0.055))


def _dot(weights: Sequence[float], values: Sequence[float]) -> float:
    return sum(weight * value for weight, value in zip(weights, values, strict=True))
