"""Experiments: whole tables of papers as data, with the paper's values and sentences to compare ours with."""
