"""The third-party libraries of a command.

`libraries.py list ARGUMENTS` runs serbench and lists what it imported; `libraries.py import NAME ...` imports that and
nothing else.
"""

import contextlib
import importlib
import io
import sys
from importlib.metadata import packages_distributions


def main():
    """List, or import."""
    if sys.argv[1] == "import":
        for name in sys.argv[2:]:
            importlib.import_module(name)
        return
    from serbench.cli import main as serbench

    sys.argv = ["serbench", *sys.argv[2:]]
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        serbench()
    used = list(sys.modules)  # before packages_distributions imports more
    installed = set(packages_distributions()) - {"serbench"}
    print("\n".join(name for name in used if name in installed and not name.startswith("_")))


if __name__ == "__main__":
    main()
