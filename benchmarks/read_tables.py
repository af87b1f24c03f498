"""Import libraries and read every table that a report is made of, once. Usage: read_tables.py RESULTS LIBRARY ..."""

import contextlib
import importlib
import json
import sys
from pathlib import Path

import pyarrow.parquet as pq

folder, libraries = Path(sys.argv[1]), sys.argv[2:]
for name in libraries:
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
for path in [*folder.glob("jobs/*.parquet"), *folder.glob("index/*.parquet")]:
    pq.read_table(path)
for path in folder.glob("cells/*.json"):
    json.loads(path.read_text(encoding="utf-8"))
