"""corpora.yaml -> `Catalogue`: strictly validated, all faults at once, each with its file, field and line.

A second file (`--corpora FILE`, or a `corpora.yaml` in the working directory) adds entries or overrides them, top-level
field by field; `genders` speaker by speaker.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from serbench.corpora import Names, as_names
from serbench.corpora.documents import Document, KeyPath, parse_document, short
from serbench.corpora.entry import EMOTIONS, NAME, Corpus, Task, faults_of, parse_merge
from serbench.errors import ConfigError, CorpusError, Fault, UnknownNameError, did_you_mean, listed

WHERE_TO_GET = "`serbench corpora list` shows where to get them"

_TASKS = "tasks"
# libyaml is faster, but deep nesting may crash it: only for what comes with serbench.
_BUILT_IN_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The corpora and tasks that serbench knows, by name; `shipped` are the tasks as serbench brings them."""

    corpora: dict[str, Corpus]
    tasks: dict[str, Task]
    shipped: dict[str, Task] = field(default_factory=dict)

    def corpus(self, name: str) -> Corpus:
        """Return the entry of a corpus; `UnknownNameError` suggests the nearest name."""
        if name not in self.corpora:
            raise UnknownNameError("corpus", name, self.corpora)
        return self.corpora[name]

    @property
    def emotions(self) -> tuple[str, ...]:
        """The canonical emotions, and after them those that entries declare."""
        own = {emotion for corpus in self.corpora.values() for emotion in corpus.own_emotions}
        return (*EMOTIONS, *sorted(own.difference(EMOTIONS)))

    def namespace(self, name: str) -> str:
        """Return the first of the corpora that share speakers with this one, in either direction or through others."""
        space = {one: one for one in self.corpora}
        for corpus in self.corpora.values():
            joined = {space[one] for one in (corpus.name, *corpus.shares_speakers_with)}
            space = {one: min(joined) if of in joined else of for one, of in space.items()}
        return space[name]

    def on_disk(self) -> list[str]:
        """Names of the corpora whose root folder exists here."""
        return [name for name, corpus in self.corpora.items() if why_absent(corpus) is None]


def built_in_file() -> Path:
    """Return the file of the catalogue: in a wheel it is in the package, in a checkout next to it."""
    package = Path(__file__).resolve().parent.parent
    return next(path for of in (package, package.parent) if (path := of / "corpora.yaml").is_file())


def load_catalogue(extra: Path | None = None) -> Catalogue:
    """Load the built-in catalogue and, over it, `extra` or else a `corpora.yaml` in the working directory (it warns).

    Raises
    ------
    ConfigError : with every fault of every file.
    """
    built_in = built_in_file()
    documents = [parse_document(built_in, loader=_BUILT_IN_LOADER)]
    local = extra or (Path(built_in.name) if os.path.exists(built_in.name) else None)
    if local is not None and local.resolve() != built_in:
        documents.append(parse_document(local))
        if extra is None and documents[-1].entries:
            entries = listed(documents[-1].entries)
            warnings.warn(f"the corpora.yaml of the working directory is used ({entries})", stacklevel=2)
    tasks = replace(documents[0], entries={_TASKS: documents[0].entries[_TASKS]})
    return replace(build_catalogue(documents), shipped=build_catalogue([tasks]).tasks)


def build_catalogue(documents: Iterable[Document]) -> Catalogue:
    """Merge documents, the later over the earlier, and validate every entry."""
    fields: dict[KeyPath, dict[str, Any]] = {}
    origin: dict[KeyPath, dict[str, Document]] = {}  # which document gave each field, and the last one under ""
    faults: list[Fault] = []
    for document in documents:
        tasks = document.entries.get(_TASKS)
        blocks: dict[KeyPath, Any] = {(name,): block for name, block in document.entries.items()}
        if isinstance(tasks, dict):
            del blocks[_TASKS,]
            blocks |= {(_TASKS, name): of if isinstance(of, dict) else {"emotions": of} for name, of in tasks.items()}
        for place, block in blocks.items():
            if not isinstance(block, dict):
                faults.append(Fault(document.where(place), f"'{short(str(block))}'", "a block of fields"))
                continue
            root = block.get("root")  # made absolute: below the folder of its file
            if isinstance(root, str) and not root.startswith(("$", "~")):
                block = {**block, "root": str(document.folder / root)}
            if "genders" in block:
                block = {**block, "genders": _corrected(fields.get(place, {}).get("genders"), block["genders"])}
            fields.setdefault(place, {}).update(block)
            origin.setdefault(place, {}).update(dict.fromkeys([*block, ""], document))

    def where(place: KeyPath, inner: KeyPath) -> str:
        of = origin[place]
        return of.get(str(inner[0]) if inner else "", of[""]).where((*place, *inner))

    corpora: dict[str, Corpus] = {}
    tasks_of: dict[str, Task] = {}
    for place, block in fields.items():
        name = str(place[-1])
        if not NAME.fullmatch(name):
            faults.append(Fault(where(place, ()), f"the name '{name}'", "lower-case letters, digits, - and _"))
        if "name" in block:
            faults.append(Fault(where(place, ("name",)), "unknown key 'name'", todo="The key of the block is the name"))
        try:
            if place[0] == _TASKS:
                tasks_of[name] = Task.model_validate({**block, "name": name})
            else:
                corpora[name] = Corpus.model_validate({**block, "name": name})
        except ValidationError as error:
            faults += faults_of(error, functools.partial(where, place))
    for name, corpus in corpora.items():
        at, shares = where((name,), ("shares_speakers_with",)), corpus.shares_speakers_with
        others = [str(place[0]) for place in fields if len(place) == 1 and place[0] != name]
        for other in sorted({*shares}.difference(others)):
            expected = "another corpus of the catalogue"
            faults.append(Fault(at, f"'{short(other)}'", expected, did_you_mean(other, others)))
        for of in (name, *shares) if shares else ():
            if of in corpora and corpora[of].person_field != "speaker":
                faults.append(Fault(at, f"{of} gives no speaker", "corpora whose speakers have names"))
    catalogue = Catalogue(corpora, tasks_of)
    for name, task in tasks_of.items():
        for emotion in itertools.chain(*(parse_merge(text)[1] for text in task.emotions)):
            if emotion not in (known := catalogue.emotions):
                todo = did_you_mean(emotion, known) or f"Known: {', '.join(known)}"
                at = where((_TASKS, name), ("emotions",))
                faults.append(Fault(at, f"'{short(emotion)}'", "an emotion, canonical or declared by a corpus", todo))
    if faults:
        raise ConfigError(faults)
    return catalogue


def _corrected(known: Any, more: Any) -> Any:
    """Return the genders of an entry with those of single speakers that a later file has; odd ones are not merged."""
    if not all(isinstance(of, dict) and all(isinstance(who, list) for who in of.values()) for of in (known, more)):
        return more
    moved = list(itertools.chain(*more.values()))
    kept = {gender: [who for who in of if who not in moved] for gender, of in known.items()}
    return {gender: kept.get(gender, []) + more.get(gender, []) for gender in {**kept, **more}}


def place_of(corpus: Corpus) -> str:
    """Return a corpus' root with `~` and variables filled in; SERBENCH_DATA may be the folder of one corpus, too."""
    root = str(Path(os.path.expanduser(os.path.expandvars(corpus.root))))
    parent, name = os.path.split(root)
    is_itself = os.path.basename(os.path.abspath(parent)).casefold() == name.casefold()
    return parent if is_itself and not os.path.isdir(root) else root


def why_absent(corpus: Corpus) -> str | None:
    """Say why a corpus is not on this disk, or None when its root folder exists."""
    root = place_of(corpus)
    if unset := re.search(r"\$\{?(\w+)", root):
        return f"{unset[1]} is not set"
    return None if os.path.isdir(root) else "no such folder"


def root_of(corpus: Corpus) -> Path:
    """Return a corpus' root folder.

    Raises
    ------
    CorpusError : the folder does not exist, or a variable in `root` is not set.
    """
    if reason := why_absent(corpus):
        todo = f"Get the corpus ({corpus.homepage or corpus.licence}) and set `{corpus.name}: {{root: FOLDER}}` in a "
        todo += "corpora.yaml of your own, or SERBENCH_DATA to the folder that holds it"
        raise CorpusError(f"{corpus.name}.root", f"'{place_of(corpus)}': {reason}", "the corpus' folder", todo)
    return Path(place_of(corpus))


def entries_of(catalogue: Catalogue, given: Names) -> list[Corpus]:
    """Return the entries of corpora by name, or of all that are on this disk."""
    names = as_names(given) or catalogue.on_disk()
    if not names:
        todo = f"Set SERBENCH_DATA to the folder of your corpora, or `root` in your own corpora.yaml; {WHERE_TO_GET}"
        data = f"SERBENCH_DATA is {os.path.expanduser(os.environ.get('SERBENCH_DATA', 'not set'))}"
        raise CorpusError("corpora", f"none of the catalogue is on this disk; {data}", "at least one", todo)
    return [catalogue.corpus(name) for name in dict.fromkeys(names)]
