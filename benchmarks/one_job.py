"""Run one job of a classifier on made-up rows and print its seconds and the peak memory of this process as JSON.

Usage: one_job.py CLASSIFIER N_TRAINING [N_SETTINGS]. A tenth as many rows as it trains on are predicted.
"""

import json
import resource
import sys
import time

import numpy as np
from synthetic import rows

from serbench.classifiers import Held, Training, find_classifier
from serbench.jobs import settle_process


def main():
    classifier, n = find_classifier(sys.argv[1]), int(sys.argv[2])
    settings = classifier.space[: int(sys.argv[3])] if len(sys.argv) > 3 else classifier.space
    x, labels, speakers = rows(n + n // 10)
    x = np.ascontiguousarray((x - x[:n].mean(axis=0)) / x[:n].std(axis=0), dtype=np.float64)
    settle_process()
    training = Training(x[:n], labels[:n], None, speakers[:n], {})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    swept = classifier.sweep(classifier, settings, training, Held(x[n:]), seed=0)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    right = (swept.predictions == labels[n:]).mean(axis=1)
    result = {"seconds": seconds, "peak_mib": peak / 1024, "before_mib": before / 1024, "best": float(right.max())}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
