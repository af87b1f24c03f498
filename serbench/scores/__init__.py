"""Predictions -> scores: metrics, statistics, and which cells may be compared."""
