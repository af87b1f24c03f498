"""The grid: cells -> plan -> jobs -> predictions."""
