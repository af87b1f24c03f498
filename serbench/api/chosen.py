"""Names and entries that a request asks for, and what is done with each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from serbench.corpora.catalogue import Catalogue
from serbench.corpora.schema import Corpus
from serbench.errors import (
    CorpusError,
    Fault,
)

if TYPE_CHECKING:
    pass


Names = Sequence[str] | str | None
"""Names of corpora, features or classifiers; one alone may be given as it is."""


def as_names(value: Names) -> tuple[str, ...] | None:
    """Let a single name stand for a list of one: "emodb" is not five corpora of a letter each."""
    return (value,) if isinstance(value, str) else None if value is None else tuple(value)


def entries_of(catalogue: Catalogue, given: Names) -> list[Corpus]:
    """Return the entries of corpora by name, or of all that are on this disk.

    Raises
    ------
    UnknownNameError : there is none of a name.
    CorpusError : none is on this disk.
    """
    names = as_names(given)
    if names:
        return [catalogue.corpus(name) for name in dict.fromkeys(names)]
    here = catalogue.on_disk()
    if not here:
        todo = "Set SERBENCH_DATA to the folder that holds your corpora, or `root` in a corpora.yaml of your own; "
        raise CorpusError([Fault("corpora", "none of the catalogue is on this disk", "at least one", todo + _LIST)])
    return [catalogue.corpus(name) for name in here]


_LIST = "`serbench corpora list` tells where to get them"


def for_each(entries: Sequence[Corpus], act: Callable[[Corpus], Any]) -> tuple[list[Any], dict[str, str]]:
    """Do the same for every corpus; one that fails does not stop the others, but is an error when it is alone."""
    done, refused = [], {}
    for corpus in entries:
        try:
            done.append(act(corpus))
        except CorpusError as error:
            if len(entries) == 1:
                raise
            refused[corpus.name] = str(error)
    if not done:
        raise CorpusError([Fault(name, reason) for name, reason in refused.items()])
    return done, refused
