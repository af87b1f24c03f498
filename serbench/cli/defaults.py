"""`serbench.toml` of the working directory: what commands take where an option is not given.

It is imported where there is such a file: what checks it is slow to import.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationError

from serbench.cli.options import parted
from serbench.corpora.entry import Strict, faults_of
from serbench.errors import ConfigError

Names = Annotated[tuple[str, ...], BeforeValidator(lambda given: parted(given) if isinstance(given, str) else given)]


class Defaults(Strict):
    """The keys of the file; `data` is SERBENCH_DATA where that is unset, and `results` the option of this name."""

    data: str = ""
    results: str = ""
    corpora: Names = ()
    features: Names = ()
    classifiers: Names = ()


def read_defaults(path: Path) -> dict[str, Any]:
    """Read what the file gives; all its faults are one `ConfigError`."""
    try:
        given = Defaults.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise ConfigError(faults_of(error, lambda place: ": ".join([path.name, *map(str, place)]))) from error
    except (OSError, ValueError) as error:
        raise ConfigError(path.name, str(error), 'TOML, e.g. features = ["IS09", "mfcc"]') from error
    return {name: getattr(given, name) for name in Defaults.model_fields if name in given.model_fields_set}
