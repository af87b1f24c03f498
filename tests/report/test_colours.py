"""The colour scale can be read in both themes, and equal differences look equal."""

import numpy as np
import pytest

from serbench.report.colours import N_STEPS, contrast, ink, scale


def grey_level(colour):
    """Lightness L* of CIELAB, from the contrast with black."""
    luminance = contrast("#000000", colour) * 0.05 - 0.05
    return 116 * luminance ** (1 / 3) - 16


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_on_every_step_reaches_the_contrast_that_wcag_asks_for(theme):
    assert len(scale(theme)) == len(set(scale(theme))) == N_STEPS
    assert min(contrast(ink(colour), colour) for colour in scale(theme)) >= 4.5


@pytest.mark.parametrize(("theme", "direction"), [("light", -1), ("dark", 1)])
def test_steps_are_equal_in_grey(theme, direction):
    steps = direction * np.diff([grey_level(colour) for colour in scale(theme)])
    assert steps.min() > 3
    assert steps.max() < 1.5 * steps.min()
