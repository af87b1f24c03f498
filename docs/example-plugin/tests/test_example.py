"""What the example must keep: serbench's contract, and what it says of itself."""

import numpy as np
import pytest
from serbench_example.centroid import NEAREST_CENTROID
from serbench_example.loudness import LOUDNESS, levels

from serbench.testing import check_classifier, check_feature_set


def test_feature_set_keeps_the_contract():
    check_feature_set(LOUDNESS)


def test_classifier_keeps_the_contract():
    check_classifier(NEAREST_CENTROID)


def test_level_of_a_sine_is_3_db_below_its_amplitude_and_of_silence_the_floor():
    sine = 0.1 * np.sin(2 * np.pi * 200 * np.arange(16000) / 16000)
    assert levels(sine) == pytest.approx(np.full(98, -20 - 10 * np.log10(2)), abs=1e-3)
    assert levels(np.zeros(16000)) == pytest.approx(np.full(98, -100))


def test_slope_is_the_change_of_the_level_per_second():
    time_s = np.arange(16000) / 16000
    fading = (0.5 * 10 ** (-12 * time_s / 20) * np.sign(np.sin(2 * np.pi * 200 * time_s + 0.1))).astype(np.float32)
    row = dict(zip(LOUDNESS.open().columns, LOUDNESS.open()(fading), strict=True))
    assert row["level_slope_db_per_s"] == pytest.approx(-12, abs=0.1)
