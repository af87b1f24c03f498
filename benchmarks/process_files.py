"""What a user would otherwise run: opensmile's own `process_files` on two workers, to parquet.

Usage: process_files.py FOLDER_OF_WAVS OUTPUT.parquet FEATURE_SET
"""

import sys
from pathlib import Path

import opensmile


def main():
    """Extract the functionals of every WAV in a folder."""
    features, level = opensmile.FeatureSet[sys.argv[3]], opensmile.FeatureLevel.Functionals
    smile = opensmile.Smile(features, level, num_workers=2)
    files = sorted(str(path) for path in Path(sys.argv[1]).glob("*.wav"))
    smile.process_files(files).to_parquet(sys.argv[2])


if __name__ == "__main__":
    main()
