"""`python -m serbench`: the command line, for where its script is not on the path."""

from serbench.cli import main

main()
