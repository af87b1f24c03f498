"""Multi-layer perceptrons with one hidden layer (relu, adam, at most 200 epochs), balanced by sample weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serbench.classifiers.record import Classifier, Setting, Training

if TYPE_CHECKING:
    import numpy as np


def make_mlp(setting: Setting, *, n_features: int, seed: int) -> Any:
    """Make a perceptron with `hidden` units and L2 penalty `alpha`."""
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier(
        hidden_layer_sizes=(int(setting["hidden"]),), alpha=float(setting["alpha"]), max_iter=200, random_state=seed
    )


def balanced_weights(training: Training) -> np.ndarray:
    """Weigh every emotion the same in total, times the rows' own weights."""
    from sklearn.utils.class_weight import compute_sample_weight

    balanced: np.ndarray = compute_sample_weight("balanced", training.labels)
    return balanced if training.weights is None else balanced * training.weights


def _mlp(hidden: int, alpha: float) -> Setting:
    return {"hidden": hidden, "alpha": alpha}


MLP = Classifier(
    name="mlp",
    title="multi-layer perceptron, one hidden layer",
    space=tuple(_mlp(hidden, alpha) for hidden in (64, 128, 256) for alpha in (1e-4, 1e-2, 1)),
    default=_mlp(128, 1e-4),
    parameters=("hidden", "alpha"),
    estimator=make_mlp,
    seconds=lambda n, d, settings: settings * (0.5 + 1.2e-6 * n * d),
    fit_weights=balanced_weights,
)
