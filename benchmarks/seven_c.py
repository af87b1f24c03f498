"""Seven values of C of one RBF kernel at n rows: the sweep of svc against one fit of libsvm each.

Usage: seven_c.py N_TRAINING. Prints both times, and whether the labels of a tenth as many further rows are the same.
"""

import json
import sys
import time

import numpy as np
from synthetic import standardised_rows

from serbench.classifiers import Training, find_classifier, loop_sweep
from serbench.grid.fit import settle_process

SETTINGS = tuple({"kernel": "rbf", "C": c, "gamma": 1} for c in (1e-3, 1e-2, 1e-1, 1, 10, 100, 1000))


def main():
    """Time the sweep, then the loop of fits."""
    n = int(sys.argv[1])
    x, labels, speakers = standardised_rows(n)
    settle_process()
    svc = find_classifier("svc")
    training, held = Training(x[:n], labels[:n], None, speakers[:n], {}), x[n:]
    started = time.perf_counter()
    swept = svc.sweep(svc, SETTINGS, training, held, seed=0).predictions
    between = time.perf_counter()
    looped = loop_sweep(svc, SETTINGS, training, held, seed=0).predictions
    ended = time.perf_counter()
    same = int(np.sum(swept != looped))
    print(json.dumps({"sweep_s": between - started, "loop_s": ended - between, "labels_that_differ": same}))


if __name__ == "__main__":
    main()
