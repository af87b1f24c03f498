"""Made-up feature rows as wide as IS09: five emotions that overlap, speakers that shift them."""

import numpy as np

N_FEATURES = 384
N_EMOTIONS = 5
UTTERANCES_PER_SPEAKER = 100


def rows(n, *, seed=0):
    """Return features (n, 384), emotion codes (n,) and speaker numbers (n,), in no order."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, N_EMOTIONS, n)
    speakers = np.arange(n) % max(2, n // UTTERANCES_PER_SPEAKER)
    emotion = 0.08 * rng.normal(size=(N_EMOTIONS, N_FEATURES))
    shift = 0.3 * rng.normal(size=(speakers.max() + 1, N_FEATURES))
    features = emotion[labels] + shift[speakers] + rng.normal(size=(n, N_FEATURES))
    return features.astype(np.float32), labels, speakers
