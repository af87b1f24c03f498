"""One job of a classifier on made-up rows: its seconds and the peak memory of this process.

Usage: one_job.py CLASSIFIER N_TRAINING. A tenth as many rows as it trains on are predicted.
"""

import json
import resource
import sys
import time

from synthetic import standardised_rows

from serbench.classifiers import Training, find_classifier
from serbench.grid.fit import settle_process


def main():
    """Sweep the whole space once and print what it took."""
    classifier, n = find_classifier(sys.argv[1]), int(sys.argv[2])
    x, labels, speakers = standardised_rows(n)
    settle_process()
    training = Training(x[:n], labels[:n], None, speakers[:n], {})
    started = time.perf_counter()
    classifier.sweep(classifier, classifier.space, training, x[n:], seed=0)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mib": peak}))


if __name__ == "__main__":
    main()
