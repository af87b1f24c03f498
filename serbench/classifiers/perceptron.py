"""scikit-learn's multi-layer perceptron, its passes over whole matrices fused: the same numbers, bit for bit.

Follows sklearn/neural_network/_multilayer_perceptron.py and _stochastic_optimizers.py of scikit-learn 1.9.1, where a
step of Adam makes eight new arrays of the size of the weights. Here one loop goes through them in place, with the same
operations in the same order. BLAS multiplies as before.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.neural_network._base import ACTIVATIONS, LOSS_FUNCTIONS

from serbench.classifiers import compiled
from serbench.classifiers.record import Classifier, Setting, Swept, Training, loop_sweep

if TYPE_CHECKING:
    from serbench.features.table import Rows

Array = np.ndarray
Arrays = list[Array]


def sweep_mlp(
    classifier: Classifier, settings: Sequence[Setting], training: Training, evaluation: Rows, *, seed: int
) -> Swept:
    """Sweep with fused passes; with scikit-learn's own where a network is another one or numbers would differ."""
    make = classifier.estimator

    def fused(setting: Setting, *, n_features: int, seed: int) -> MLPClassifier:
        network = make(setting, n_features=n_features, seed=seed)
        kind = type(network), len(network.hidden_layer_sizes), network.activation, network.solver
        is_followed = kind == (MLPClassifier, 1, "relu", "adam")
        return Perceptron(**network.get_params()) if is_followed else network

    if classifier.fit_weights(training) is not None and compiled.agrees(equals_scikit_learn):
        classifier = replace(classifier, estimator=fused)
    return loop_sweep(classifier, settings, training, evaluation, seed=seed)


def equals_scikit_learn() -> bool:
    """Fit a few small networks here and by scikit-learn and compare every weight."""
    random = np.random.default_rng(0)
    X, labels, weights = random.normal(size=(230, 9)), random.integers(0, 3, 230), random.uniform(0.5, 2, 230)
    for classes in (2, 3):
        rows = labels < classes
        given: dict[str, Any] = {"hidden_layer_sizes": (7,), "alpha": 0.1, "max_iter": 4, "random_state": 1}
        pair = [kind(**given) for kind in (Perceptron, MLPClassifier)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            ours, theirs = (each.fit(X[rows], labels[rows], sample_weight=weights[rows]) for each in pair)
        if not all(map(np.array_equal, ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_)):
            return False
    return True


class Perceptron(MLPClassifier):  # type: ignore[misc]
    """`MLPClassifier` with one hidden layer, relu and Adam, fitted with sample weights."""

    def _backprop(
        self, X: Array, y: Array, weights: Array, _: Arrays, deltas: Arrays, coefs: Arrays, intercepts: Arrays
    ) -> tuple[float, Arrays, Arrays]:
        """Do the whole step of a batch, Adam's too; scikit-learn, which does that last, is given no gradients."""
        parameters = self.coefs_ + self.intercepts_
        if self._optimizer.t == 0:  # large arrays, made once: what each batch makes anew costs as much as it computes
            self._gradients, self._means, self._squares = (list(map(np.zeros_like, parameters)) for _ in range(3))
            self._hidden, self._back = np.empty((2, len(X), self.coefs_[0].shape[1]))
        hidden, back, total = self._hidden[: len(X)], self._back[: len(X)], weights.sum()
        rectify(np.matmul(X, self.coefs_[0], out=hidden), self.intercepts_[0])
        out = hidden @ self.coefs_[1]
        out += self.intercepts_[1]
        ACTIVATIONS[self.out_activation_](out)
        loss = LOSS_FUNCTIONS["binary_log_loss" if self.out_activation_ == "logistic" else "log_loss"](y, out, weights)
        loss += (0.5 * self.alpha) * sum(np.dot(coef.ravel(), coef.ravel()) for coef in self.coefs_) / total
        out -= y
        out *= weights.reshape(-1, 1)
        pass_active(hidden, np.matmul(out, self.coefs_[1].T, out=back))
        np.matmul(X.T, back, out=self._gradients[0])
        np.matmul(hidden.T, out, out=self._gradients[1])
        self._gradients[2:] = np.sum(back, axis=0) / total, np.sum(out, axis=0) / total
        t = self._optimizer.t + 1  # it counts when it is given nothing, too
        rate = self.learning_rate_init * np.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t)
        moved = zip(parameters, self._gradients, self._means, self._squares, strict=True)
        for i, arrays in enumerate(moved):
            decay = (self.alpha, total) if i < len(self.coefs_) else (0.0, 0.0)
            given = (*decay, rate, self.beta_1, self.beta_2, self.epsilon)
            adam(*(array.reshape(-1) for array in arrays), tuple(map(float, given)))
        return loss, [], []


@compiled.function
def rectify(hidden: Array, intercepts: Array) -> None:
    """Add the intercepts and set what is negative to 0; `inplace_relu` of neural_network/_base.py."""
    for i in range(hidden.shape[0]):
        for j in range(hidden.shape[1]):
            value = hidden[i, j] + intercepts[j]
            hidden[i, j] = value if value > 0 else 0.0


@compiled.function
def pass_active(hidden: Array, back: Array) -> None:
    """Set the errors of inactive units to 0; `inplace_relu_derivative` of neural_network/_base.py."""
    for i in range(hidden.shape[0]):
        for j in range(hidden.shape[1]):
            back[i, j] = back[i, j] if hidden[i, j] != 0 else 0.0


@compiled.function
def adam(parameters: Array, gradients: Array, means: Array, squares: Array, given: tuple[float, ...]) -> None:
    """Move parameters by a step of Adam, in place; `AdamOptimizer` of neural_network/_stochastic_optimizers.py.

    With a `total` of weights, the gradients are first decayed and divided, as `_compute_loss_grad` does.
    """
    alpha, total, rate, beta_1, beta_2, epsilon = given
    for i in range(parameters.size):
        gradient = gradients[i]
        if total:
            gradient = (gradient + alpha * parameters[i]) / total
        means[i] = beta_1 * means[i] + (1 - beta_1) * gradient
        squares[i] = beta_2 * squares[i] + (1 - beta_2) * (gradient * gradient)
        parameters[i] += -rate * means[i] / (np.sqrt(squares[i]) + epsilon)


prepare = functools.partial(compiled.prepare, "mlp", adam, equals_scikit_learn)
