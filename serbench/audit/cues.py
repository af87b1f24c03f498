"""The simple-cue baseline: what duration and level alone tell of the emotion.

They are cues of emotion, so a high value is no fault of a corpus and there is no verdict; it is what features must be
better than.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serbench.audit.setup import Labels
from serbench.scores.metrics import confusion_matrix, uar


@dataclass(frozen=True, slots=True)
class Baseline:
    """UAR from simple cues alone over the test groups of a corpus, and what it was measured on."""

    uar: float
    emotions: tuple[str, ...]
    n_utterances: int
    n_groups: int

    @property
    def chance(self) -> float:
        """UAR of guessing."""
        return 1 / len(self.emotions)


def simple_cue_baseline(cues: np.ndarray, labels: Labels) -> Baseline | None:
    """Test each group on an SVM of the simple cues of all others: rbf, C 1, balanced, cues standardised in training.

    Parameters
    ----------
    cues : shape (n_utterances, 4), see `CUES`.
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    said = np.empty_like(labels.truth)
    if len(np.unique(labels.groups)) < 2:
        return None
    for group in np.unique(labels.groups):
        test = labels.groups == group
        if len(np.unique(labels.truth[~test])) < 2:  # nothing to tell apart: what is left is what it says
            said[test] = labels.truth[~test][0]
            continue
        model = make_pipeline(StandardScaler(), SVC(class_weight="balanced"))
        said[test] = model.fit(cues[~test], labels.truth[~test]).predict(cues[test])
    confusion = confusion_matrix(labels.truth, said, n_labels=len(labels.emotions))
    return Baseline(uar(confusion), labels.emotions, len(said), len(np.unique(labels.groups)))
