"""Made-up feature rows as wide as IS09: five emotions that overlap, speakers that shift them."""

import numpy as np

N_FEATURES = 384
EMOTIONS = ("anger", "fear", "happiness", "neutral", "sadness")
UTTERANCES_PER_SPEAKER = 100


def rows(n, *, seed=0):
    """Return features (n, 384) as float32, emotion codes (n,) and speaker numbers (n,), in no order."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(EMOTIONS), n)
    speakers = np.arange(n) % max(2, n // UTTERANCES_PER_SPEAKER)
    emotion = 0.08 * rng.normal(size=(len(EMOTIONS), N_FEATURES))
    shift = 0.3 * rng.normal(size=(speakers.max() + 1, N_FEATURES))
    features = emotion[labels] + shift[speakers] + rng.normal(size=(n, N_FEATURES))
    return features.astype(np.float32), labels, speakers


def standardised_rows(n):
    """Return n rows to train on and a tenth as many to predict, scaled by the former, with labels and speakers."""
    x, labels, speakers = rows(n + n // 10)
    scaled = (x - x[:n].mean(axis=0)) / x[:n].std(axis=0)
    return np.ascontiguousarray(scaled, dtype=np.float64), labels, speakers
