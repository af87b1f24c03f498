"""What the intervals and tests of serbench.scores do on data with known truth: writes docs/statistics.md's figures.

Usage: intervals.py [--runs N] [PAGE.md]. A population of speakers is made up, of which each run draws a few.

First with given models: a speaker's recall of an emotion is a draw around that of the population; utterances are draws
around the speaker's. The truth is the value over the whole population, from a million of its speakers.

Then with models that are trained: each run draws features of its speakers' utterances, and a linear model of all other
speakers (least squares on the emotions as 0 and 1) predicts each speaker. The truth is what models of as many speakers
give on average on others.
"""

import argparse
import platform
from collections import Counter
from datetime import date
from importlib.metadata import version
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from tabulate import tabulate

from serbench.scores.metrics import METRICS
from serbench.scores.statistics import (
    ALPHA,
    against_best,
    difference_of,
    jackknife_interval,
    smallest_p,
)

SPEAKERS = (4, 6, 10, 24)
EMOTIONS = 5
POPULATIONS = {
    "near chance": (-0.9, 0.4),
    "as in the tables": (0.9, 0.6),
    "near the ceiling": (2.6, 0.6),
}
"""Log-odds of a recall in the middle of the population, and how far emotions lie apart."""
SPEAKER_SD, VOICE_SD = 0.5, 0.5
"""Spread of the log-odds over speakers, and over the emotions of one speaker beyond that."""
UTTERANCES = 8
"""Mean number of utterances of an emotion by a speaker; the numbers differ as they do in EmoDB."""
CELLS = (2, 6, 12)
FEATURES, EMOTIONS_SD, OFFSET_SD, OWN_WAY_SD, NOISE_SD, SHARED = 32, 0.5, 0.5, 0.4, 1.0, 0.5
"""Features of trained models: how many, and their spread over emotions, over speakers, over how each speaker expresses
an emotion, and over utterances; and the share of the variance over utterances that all cells have in common."""
BEGIN, END = "<!-- figures, written by benchmarks/intervals.py -->\n", "<!-- end of figures -->\n"


def main():
    """Run all simulations on every core and put what came out into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=4000)
    parser.add_argument("page", nargs="?", default="docs/statistics.md")
    given = parser.parse_args()
    with Pool() as pool:
        covered = pool.starmap(coverage, [(p, k, given.runs) for p in POPULATIONS for k in SPEAKERS], chunksize=1)
        widths = pool.starmap(bootstrap_coverage, [(k, given.runs // 4) for k in SPEAKERS], chunksize=1)
        chosen = [(m, k, spread, given.runs // 4) for m in CELLS for k in SPEAKERS for spread in ("equal", "unequal")]
        wrong = pool.starmap(false_positives, chosen, chunksize=1)
        trained = pool.starmap(trained_models, [(m, k, given.runs // 4) for m in CELLS for k in SPEAKERS], chunksize=1)
    page = Path(given.page)
    before, _, rest = page.read_text().partition(BEGIN)
    told = figures(covered, widths, wrong, trained, given.runs)
    page.write_text(before + BEGIN + told + END + rest.partition(END)[2])


def recalls_of(population, n, rng):
    """Recalls of n speakers of a population, shape (n, EMOTIONS)."""
    middle, apart = POPULATIONS[population]
    emotions = middle + apart * np.linspace(-1, 1, EMOTIONS)
    odds = emotions + SPEAKER_SD * rng.normal(size=(n, 1)) + VOICE_SD * rng.normal(size=(n, EMOTIONS))
    return 1 / (1 + np.exp(-odds))


def confusions_of(recalls, counts, rng):
    """Confusion matrices of speakers, shape (n, EMOTIONS, EMOTIONS); the next emotion takes half of the errors."""
    stack = np.zeros((len(recalls), EMOTIONS, EMOTIONS), dtype=np.int64)
    for speaker, emotion in np.ndindex(recalls.shape):
        shares = shares_of(recalls[speaker, emotion], emotion)
        stack[speaker, emotion] = rng.multinomial(counts[speaker, emotion], shares)
    return stack


def shares_of(recall, emotion):
    """How the answers to one emotion are spread."""
    shares = np.full(EMOTIONS, (1 - recall) / 2 / (EMOTIONS - 2))
    shares[(emotion + 1) % EMOTIONS] = (1 - recall) / 2
    shares[emotion] = recall
    return shares


def truth_of(population):
    """Every metric over the whole population, every emotion as frequent as the others."""
    rng = np.random.default_rng(1)
    recalls = np.mean([recalls_of(population, 100_000, rng).mean(axis=0) for _ in range(10)], axis=0)
    expected = np.array([shares_of(recall, emotion) for emotion, recall in enumerate(recalls)])
    return {name: metric(np.round(expected * 10**9).astype(np.int64)) for name, metric in METRICS.items()}


def counts_of(n, rng):
    """How many utterances of each emotion each speaker has; at least one."""
    return 1 + rng.poisson(UTTERANCES - 1, size=(n, EMOTIONS))


def coverage(population, n_speakers, runs):
    """Share of the runs whose interval holds the truth, by metric."""
    rng = np.random.default_rng([n_speakers, len(population)])
    truth, hits = truth_of(population), Counter()
    for _ in range(runs):
        recalls = recalls_of(population, n_speakers, rng)
        stack = confusions_of(recalls, counts_of(n_speakers, rng), rng)
        for metric, value in truth.items():
            interval = jackknife_interval(stack, METRICS[metric], bounds=METRICS[metric].bounds)
            hits[metric] += interval is not None and interval.low <= value <= interval.high
    return population, n_speakers, {metric: hits[metric] / runs for metric in truth}


def bootstrap_coverage(n_speakers, runs, population="as in the tables", draws=1000):
    """The same for UAR and a percentile bootstrap over speakers, which serbench does not use."""
    rng = np.random.default_rng([n_speakers, 7])
    truth, hits = truth_of(population)["uar"], 0
    for _ in range(runs):
        stack = confusions_of(recalls_of(population, n_speakers, rng), counts_of(n_speakers, rng), rng)
        drawn = stack[rng.integers(n_speakers, size=(draws, n_speakers))].sum(axis=1)
        uars = (np.diagonal(drawn, axis1=1, axis2=2) / drawn.sum(axis=2)).mean(axis=1)
        low, high = np.quantile(uars, [0.025, 0.975])
        hits += low <= truth <= high
    return n_speakers, hits / runs


def false_positives(n_cells, n_speakers, spread, runs):
    """Share of the runs in which any of equally good cells is called worse, and coverage of a difference of two.

    All cells hear the same speakers and utterances. `unequal`: some cells vary from speaker to speaker four times as
    much as others.
    """
    rng = np.random.default_rng([n_cells, n_speakers, len(spread)])
    sds = np.geomspace(0.3, 1.2, n_cells) if spread == "unequal" else np.full(n_cells, 0.6)
    wrong = inside = 0
    for _ in range(runs if smallest_p(n_speakers) <= ALPHA else 0):
        stacks = equal_cells(n_speakers, sds, rng)
        wrong += any(comparison.is_different for comparison in against_best(stacks, "uar")[1].values())
        inside += holds_zero(stacks)
    return n_cells, n_speakers, spread, wrong / runs, inside / runs


def holds_zero(stacks):
    """Whether the interval of the difference between the first two of equal cells holds 0, or there is none."""
    pair = np.stack([stacks[0], stacks[1]], axis=1)
    interval = jackknife_interval(pair, difference_of(METRICS["uar"]), bounds=(-1, 1))
    return interval is None or interval.low <= 0 <= interval.high


def trained_models(n_cells, n_speakers, runs):
    """Coverage of UAR and of a difference, and how often any of equal cells is called worse, when models are trained.

    Cells are the same classifier on features of their own, of one law: none is better than another on average.
    """
    rng = np.random.default_rng([n_cells, n_speakers, 99])
    truth = np.mean([METRICS["uar"](linear_models(drawn(n_speakers, 1, rng))[0].sum(axis=0)) for _ in range(10 * runs)])
    wrong = covered = inside = 0
    for _ in range(runs):
        stacks = dict(enumerate(linear_models(drawn(n_speakers, n_cells, rng))))
        interval = jackknife_interval(stacks[0], METRICS["uar"], bounds=(0, 1))
        covered += interval is not None and interval.low <= truth <= interval.high
        inside += holds_zero(stacks)
        wrong += any(comparison.is_different for comparison in against_best(stacks, "uar")[1].values())
    return n_cells, n_speakers, covered / runs, wrong / runs, inside / runs


def drawn(n_speakers, n_cells, rng):
    """Features, shape (n_cells, n_speakers, EMOTIONS, UTTERANCES, FEATURES); each run has speakers of its own."""
    size = (n_cells, n_speakers, EMOTIONS, UTTERANCES, FEATURES)
    emotions = np.random.default_rng(5).normal(0, EMOTIONS_SD, size=(1, 1, EMOTIONS, 1, FEATURES))
    speakers = OFFSET_SD * rng.normal(size=(1, n_speakers, 1, 1, FEATURES))
    ways = OWN_WAY_SD * rng.normal(size=(1, n_speakers, EMOTIONS, 1, FEATURES))
    common, own = rng.normal(size=(1, *size[1:])), rng.normal(size=size)
    noise = NOISE_SD * (np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * own)
    return emotions + speakers + ways + noise


def linear_models(features):
    """Confusion matrices by cell and speaker, each predicted by a linear model of all other speakers."""
    n_cells, n_speakers = features.shape[:2]
    X = features.reshape(n_cells, n_speakers, EMOTIONS * UTTERANCES, FEATURES)
    X = np.concatenate([X, np.ones((*X.shape[:3], 1))], axis=3)
    Y = np.repeat(np.eye(EMOTIONS), UTTERANCES, axis=0)
    squares, products = np.swapaxes(X, 2, 3) @ X, np.swapaxes(X, 2, 3) @ Y
    of_others = (of.sum(axis=1, keepdims=True) - of for of in (squares, products))
    said = (X @ np.linalg.solve(*of_others)).argmax(axis=3).reshape(n_cells, n_speakers, EMOTIONS, UTTERANCES)
    return (said[..., np.newaxis] == np.arange(EMOTIONS)).sum(axis=3)


def percent(share):
    """Word a share."""
    return f"{100 * share:.1f}"


def equal_cells(n_speakers, sds, rng):
    """Confusion matrices of cells that are equally good over all speakers, by the number of the cell."""
    counts, speaker = counts_of(n_speakers, rng), SPEAKER_SD * rng.normal(size=(n_speakers, 1))
    recalls = []
    for sd in sds:
        odds = 0.9 + speaker + sd * rng.normal(size=(n_speakers, EMOTIONS))
        recalls.append(0.7 + 0.12 * np.tanh(odds - 0.9))  # symmetric, so that all have the mean 0.7
    return {cell: confusions_of(recall, counts, rng) for cell, recall in enumerate(recalls)}


def figures(covered, widths, wrong, trained, runs):
    """All tables, and what they were made with."""
    by_bootstrap = dict(widths)
    first = table(("population", "speakers", *METRICS), [(p, n, *map(percent, of.values())) for p, n, of in covered])
    second = table(("speakers", "bootstrap, UAR"), [(n, percent(by_bootstrap[n])) for n in SPEAKERS])
    called, inside = "any called worse", "interval of a difference holds 0"
    third = table(
        ("equal cells", "speakers", "spread", called, inside),
        [
            (m, n, spread, *(map(percent, of) if smallest_p(n) <= ALPHA else ("cannot be tested", "")))
            for m, n, spread, *of in wrong
        ],
    )
    fourth = table(
        ("equal cells", "speakers", "interval of UAR holds the truth", called, inside),
        [
            (m, n, percent(held), percent(of) if smallest_p(n) <= ALPHA else "cannot be tested", percent(zero))
            for m, n, held, of, zero in trained
        ],
    )
    packages = ", ".join(f"{name} {version(name)}" for name in ("serbench", "numpy", "scipy"))
    return (
        f"Given models. Coverage of 95 % intervals in per cent, {runs} runs each:\n\n{first}\n\n"
        f"A percentile bootstrap over speakers, which serbench does not use, {runs // 4} runs each:\n\n{second}\n\n"
        f"Tests at {100 * ALPHA:g} %, in per cent of {runs // 4} runs each:\n\n{third}\n\n"
        f"Trained models, leave-one-speaker-out, in per cent of {runs // 4} runs each:\n\n{fourth}\n\n"
        f"Measured on {date.today()}: Python {platform.python_version()}, {packages}.\n"
    )


def table(header, rows):
    """Word rows as Markdown."""
    return tabulate(rows, headers=header, tablefmt="pipe", disable_numparse=True)


if __name__ == "__main__":
    main()
