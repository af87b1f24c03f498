"""The results folder: atomic files with checksums, keys, locks, and where everything lies."""
