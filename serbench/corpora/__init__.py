"""Corpora: the catalogue (`catalogue`, `entry`), labels on disk (`labels`), tasks (`tasks`), indexes (`index`)."""
