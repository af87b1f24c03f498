"""Corpora: the catalogue (`catalogue`, `schema`), labels on disk (`labels`), tasks (`tasks`), checks (`check`)."""
