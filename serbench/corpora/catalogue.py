"""corpora.yaml -> `Catalogue`: strictly validated, all faults at once, each with its file, field and line.

YAML scalars are kept as the strings that stand in the file. A second file (`--corpora FILE`, or a `corpora.yaml` in
the working directory) adds entries or overrides them, top-level field by field.
"""

from __future__ import annotations

import functools
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from serbench.corpora.contradictions import NAME, contradictions
from serbench.corpora.documents import Document, Place, parse_document, short
from serbench.corpora.entry import AVAILABLE, DIMENSION_TARGETS, EMOTIONS, TARGET_LABELS, Corpus, Task
from serbench.errors import ConfigError, CorpusError, Fault, UnknownNameError, did_you_mean, listed

TASKS = "tasks"

_BUILT_IN = "corpora.yaml"
# libyaml is faster, but deep nesting may crash it: only for what comes with serbench.
_BUILT_IN_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The corpora and tasks that serbench knows, by name; `shipped` are the tasks as serbench brings them."""

    corpora: dict[str, Corpus]
    tasks: dict[str, Task]
    shipped: dict[str, Task] = field(default_factory=dict)

    def corpus(self, name: str) -> Corpus:
        """Return a corpus entry; `UnknownNameError` suggests the nearest name."""
        if name not in self.corpora:
            raise UnknownNameError("corpus", name, self.corpora)
        return self.corpora[name]

    def namespace(self, name: str) -> str:
        """Name the corpora that a corpus shares speakers with, after the first of them; its own name where none."""
        return namespaces({n: corpus.shares_speakers_with for n, corpus in self.corpora.items()})[name]

    def on_disk(self) -> list[str]:
        """Names of the corpora whose root folder exists here."""
        return [name for name, corpus in self.corpora.items() if why_absent(corpus) is None]


@dataclass(frozen=True, slots=True)
class _Merged:
    """An entry put together from several files, and which file gave each top-level field."""

    fields: dict[str, Any] = field(default_factory=dict)
    origin: dict[str, Document] = field(default_factory=dict)
    documents: tuple[Document, ...] = ()

    def with_document(self, document: Document, fields: Mapping[str, Any]) -> _Merged:
        origin = {**self.origin, **dict.fromkeys(fields, document)}
        return _Merged({**self.fields, **fields}, origin, (*self.documents, document))

    def where(self, name: str, place: Place) -> str:
        last = self.documents[-1]
        document = self.origin.get(str(place[0]), last) if place else last
        above = name.split(".", 1) if name.startswith(f"{TASKS}.") else [name]
        return document.where((*above, *place))


def namespaces(shares: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Name the corpora that share speakers after the first of them, in either direction and through others.

    >>> namespaces({"a": [], "b": ["a"], "c": ["b"], "d": []})
    {'a': 'a', 'b': 'a', 'c': 'a', 'd': 'd'}
    """
    space = {name: name for name in shares}
    for name, others in shares.items():
        joined = {space[one] for one in (name, *others) if one in space}
        space = {one: min(joined) if of in joined else of for one, of in space.items()}
    return space


def load_catalogue(extra: Path | None = None) -> Catalogue:
    """Load the built-in catalogue and, over it, `extra` or else a `corpora.yaml` in the working directory.

    A warning says that the file of the working directory is used, because nobody asked for it by name.

    Raises
    ------
    ConfigError : with every fault of every file.
    """
    local = extra or (Path(_BUILT_IN) if os.path.exists(_BUILT_IN) else None)
    documents = [parse_document(_built_in_path(), loader=_BUILT_IN_LOADER)]
    if local is not None and local.resolve() != _built_in_path().resolve():
        documents.append(parse_document(local))
        if extra is None and documents[-1].entries:
            entries = listed(documents[-1].entries)
            warnings.warn(f"the corpora.yaml of the working directory is used ({entries})", stacklevel=2)
    tasks = replace(documents[0], entries={TASKS: documents[0].entries[TASKS]})
    return replace(build_catalogue(documents), shipped=build_catalogue([tasks]).tasks)


def build_catalogue(documents: Iterable[Document]) -> Catalogue:
    """Merge documents, the later over the earlier, and validate every entry."""
    corpora: dict[str, _Merged] = {}
    tasks: dict[str, _Merged] = {}
    faults: list[Fault] = []
    for document in documents:
        for name, entry in document.entries.items():
            if not isinstance(entry, dict):
                faults.append(Fault(document.where((name,)), f"'{short(str(entry))}'", "a block of fields"))
            elif name == TASKS:
                for task, fields in entry.items():
                    given = fields if isinstance(fields, dict) else {"emotions": fields}
                    tasks[task] = tasks.get(task, _Merged()).with_document(document, given)
            else:
                fields = _with_absolute_root(entry, document.folder)
                corpora[name] = corpora.get(name, _Merged()).with_document(document, fields)
    parsed = {name: _validate(Corpus, name, merged, faults) for name, merged in corpora.items()}
    parsed_tasks = {name: _validate_task(name, merged, faults) for name, merged in tasks.items()}
    for name, corpus in parsed.items():
        if isinstance(corpus, Corpus):
            faults += _sharing_faults(corpus, parsed, corpora[name])
    if faults:
        raise ConfigError(faults)
    return Catalogue(
        {n: c for n, c in parsed.items() if isinstance(c, Corpus)},
        {n: t for n, t in parsed_tasks.items() if isinstance(t, Task)},
    )


def why_absent(corpus: Corpus) -> str | None:
    """Say why a corpus is not on this disk, or None when its root folder exists."""
    root = os.path.expanduser(os.path.expandvars(corpus.root))
    unset = re.findall(r"\$\{?(\w+)", root)
    if unset:
        return f"{unset[0]} is not set"
    return None if os.path.isdir(root) else "no such folder"


def root_of(corpus: Corpus) -> Path:
    """Return a corpus' root folder.

    Raises
    ------
    CorpusError : the folder does not exist, or a variable in `root` is not set.
    """
    reason = why_absent(corpus)
    if reason is not None:
        todo = f"Get the corpus ({corpus.homepage or corpus.licence}) and set `{corpus.name}: {{root: FOLDER}}` in a "
        todo += "corpora.yaml of your own, or SERBENCH_DATA to the folder that holds it"
        raise CorpusError([Fault(f"{corpus.name}.root", f"'{corpus.root}': {reason}", "the corpus' folder", todo)])
    return Path(os.path.expanduser(os.path.expandvars(corpus.root)))


def _built_in_path() -> Path:
    package = Path(__file__).resolve().parent.parent
    inside = package / _BUILT_IN  # in an installed wheel; in a checkout the file stands beside the package
    return inside if inside.is_file() else package.parent / _BUILT_IN


def _with_absolute_root(entry: dict[str, Any], folder: Path) -> dict[str, Any]:
    root = entry.get("root")
    if not isinstance(root, str) or root.startswith(("$", "~", "/")):
        return entry
    return {**entry, "root": str(folder / root)}


def _validate(model: type[BaseModel], name: str, merged: _Merged, faults: list[Fault]) -> BaseModel | None:
    if not NAME.fullmatch(name):
        faults.append(Fault(merged.where(name, ()), f"the name '{name}'", "lower-case letters, digits, - and _"))
    if "name" in merged.fields:
        faults.append(
            Fault(merged.where(name, ("name",)), "unknown key 'name'", todo="The name stands before the block")
        )
        return None
    try:
        parsed = model.model_validate({"name": name, **merged.fields})
    except ValidationError as error:
        faults.extend(worded(problem, model, functools.partial(merged.where, name)) for problem in error.errors())
        return None
    if isinstance(parsed, Corpus):
        faults.extend(
            Fault(merged.where(name, place), found, expected, todo)
            for place, found, expected, todo in contradictions(parsed)
        )
    return parsed


def _sharing_faults(corpus: Corpus, known: Mapping[str, BaseModel | None], merged: _Merged) -> Iterator[Fault]:
    """Faults of `shares_speakers_with`: itself, a corpus that is not known, or one without speakers."""
    where = merged.where(corpus.name, ("shares_speakers_with",))
    for name in corpus.shares_speakers_with:
        if name not in known or name == corpus.name:
            others = [other for other in known if other != corpus.name]
            yield Fault(where, f"'{short(name)}'", "another corpus of the catalogue", did_you_mean(name, others))
    shares = [corpus, *(known[name] for name in corpus.shares_speakers_with if name in known)]
    for one in shares if len(shares) > 1 else ():
        if isinstance(one, Corpus) and one.person != "speaker":
            yield Fault(where, f"{one.name} gives no speaker", "corpora whose speakers have names")


def _validate_task(name: str, merged: _Merged, faults: list[Fault]) -> Task | None:
    try:
        task = Task.model_validate(merged.fields)
    except ValidationError as error:
        at = functools.partial(merged.where, f"{TASKS}.{name}")
        faults.extend(worded(problem, Task, at) for problem in error.errors())
        return None
    for emotion in task.emotions:
        for source in emotion.rpartition("=")[2].split("+"):
            if source not in EMOTIONS:
                where = merged.where(f"{TASKS}.{name}", ("emotions",))
                faults.append(Fault(where, f"'{source}'", "a canonical emotion", did_you_mean(source, EMOTIONS)))
    if name == AVAILABLE:
        where = merged.where(f"{TASKS}.{name}", ())
        faults.append(Fault(where, "a name that means all emotions of a corpus", "another name"))
    given = tuple(sorted(emotion.partition("=")[0].strip() for emotion in task.emotions))
    if name in DIMENSION_TARGETS and given != TARGET_LABELS[name]:
        where = merged.where(f"{TASKS}.{name}", ("emotions",))
        expected = f"{' and '.join(TARGET_LABELS[name])}: {name} is a target, mapped from emotions"
        faults.append(Fault(where, f"labels {' and '.join(given)}", expected))
    return task


_UNION_TAGS = {"path", "table", "lines"}


def worded(problem: Mapping[str, Any], model: type[BaseModel], where_of: Callable[[Place], str]) -> Fault:
    """Word one of pydantic's complaints about a model as a fault; `where_of` words the place of its fields."""
    loc = tuple(part for i, part in enumerate(problem["loc"]) if not (i == 1 and part in _UNION_TAGS))
    where = where_of(loc)
    kind, found = problem["type"], problem["input"]
    if kind == "extra_forbidden":
        known = _known_keys(model, problem["loc"])
        todo = did_you_mean(str(loc[-1]), known) or f"Known: {', '.join(known)}"
        return Fault(where, f"unknown key '{short(str(loc[-1]))}'", todo=todo)
    if kind == "missing":
        return Fault(where, "not there", f"the key '{loc[-1]}'", "Add it")
    if kind.startswith("union_tag"):
        tag = found.get("from", "") if isinstance(found, dict) else found
        return Fault(
            where_of((*loc, "from")),
            f"'{short(str(tag))}'",
            "one of path, table, lines",
            did_you_mean(str(tag), _UNION_TAGS),
        )
    if kind == "value_error":
        return Fault(where, f"'{short(str(found))}' is {problem['msg'].removeprefix('Value error, ')}")
    expected = problem["msg"].removeprefix("Input should be ").replace("a valid tuple", "a list")
    return Fault(where, f"'{short(found)}'" if isinstance(found, str) else short(str(found)), expected)


def _known_keys(model: type[BaseModel], loc: Place) -> list[str]:
    """Keys of the (sub)model that a location of pydantic's lies in."""
    schema = _schema_of(model)
    definitions = schema.get("$defs", {})
    current = schema
    for part in loc[:-1]:
        current = _step(current, part, definitions)
    return [key for key in current.get("properties", {}) if key != "name"]


@functools.cache
def _schema_of(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _step(schema: dict[str, Any], part: str | int, definitions: dict[str, Any]) -> dict[str, Any]:
    if part in schema.get("discriminator", {}).get("mapping", {}):
        inner: dict[str, Any] = {"$ref": schema["discriminator"]["mapping"][part]}
    elif isinstance(part, int):
        inner = schema.get("items", {})
    else:
        others = schema.get("additionalProperties")  # blocks by name, as in `partitions`
        inner = schema.get("properties", {}).get(part, others if isinstance(others, dict) else {})
    inner = next((option for option in inner.get("anyOf", ()) if "$ref" in option), inner)  # a block that may be absent
    reference = inner.get("$ref", "").rpartition("/")[2]
    return dict(definitions.get(reference, inner))


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
        raise CorpusError(
            [Fault("corpora", "none of the catalogue is on this disk", "at least one", todo + WHERE_TO_GET)]
        )
    return [catalogue.corpus(name) for name in here]


WHERE_TO_GET = "`serbench corpora list` tells where to get them"


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
