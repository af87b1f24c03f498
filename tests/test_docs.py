"""README.md and docs/: each code block is run, or its page gives the reason why not; commands fit the command line."""

import contextlib
import doctest
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
import yaml
from trees import write_mycorpus
from typer.main import get_command

import serbench
from serbench.classifiers.spaces import read_spaces
from serbench.cli import app
from serbench.cli.defaults import read_defaults
from serbench.corpora.catalogue import build_catalogue, built_in_file
from serbench.corpora.documents import parse_document, parse_text
from serbench.experiments.load import read_experiment

REAL_DATA = os.environ.get("SERBENCH_DATA", "")

ROOT = Path(__file__).parents[1]
REPORT = ROOT / "results" / "report"
EXAMPLE = ROOT / "docs" / "example-plugin"
PAGES = {
    str(path.relative_to(ROOT).with_suffix("")): path
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), EXAMPLE / "README.md")
}
BLOCK = re.compile(r"(?:^<!-- not run: ([^\n]+) -->\n)?^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUN = ("bash", "console", "python")
READ = ("yaml", "toml")
HEAD = "root: ., audio: '*.wav', labels: {from: path, pattern: '(?P<speaker>a)(?P<emotion>a)'}, emotions: {a: anger}"
"""What an entry needs and a block about one of its keys leaves out."""


@dataclass(frozen=True)
class Block:
    """A code block, the number of its line, and why it is not run."""

    page: str
    line: int
    language: str
    text: str
    reason: str

    @property
    def commands(self):
        """Its commands, each with the output that is shown below it."""
        if self.language == "bash":
            return [(line, "") for line in self.text.replace("\\\n", " ").splitlines()]
        parts = re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:] if self.language == "console" else []
        return [(part.partition("\n")[0], part.partition("\n")[2]) for part in parts]


def blocks_of(page):
    text = PAGES[page].read_text("utf-8")
    return [
        Block(page, text[: found.start(2)].count("\n") + 1, found[2], found[3], found[1] or "")
        for found in BLOCK.finditer(text)
    ]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def named(block):
    return f"{block.page}:{block.line}"


def is_run(block):
    return block.language in RUN and not block.reason


def test_every_block_has_a_language_that_is_run_or_read_or_is_text():
    assert len(BLOCKS) > 20
    assert [named(b) for b in BLOCKS if b.language not in (*RUN, *READ, "text", "bibtex")] == []


@pytest.mark.parametrize("page", PAGES)
def test_commands_fit_the_command_line(page, monkeypatch, tmp_path):
    """Those in the text and those that are not run, too; a grid is stopped where it would be planned."""

    def plan(*arguments, **options):
        raise typer.Exit

    monkeypatch.setattr(serbench, "plan_grid", plan)
    monkeypatch.chdir(tmp_path)
    lines = [line for block in blocks_of(page) for line, _ in block.commands]
    lines += re.findall(r"`(serbench [^`]+)`", BLOCK.sub("", PAGES[page].read_text("utf-8")))
    for line in lines:
        for part in line.split("&&"):
            words = shlex.split(part, comments=True)
            if words[:1] == ["serbench"]:
                fit(words[1:])


def fit(words):
    """Parse a command, and carry out a grid: its request is checked when it is made. Options before a command exist."""
    command, name = get_command(app), "serbench"
    context = command.context_class(command, **command.context_settings)
    while hasattr(command, "commands"):
        if words[0].startswith("-"):
            assert words[0] in {option for known in command.params for option in known.opts}
            return
        name, command, words = command.resolve_command(context, words)
        context = command.context_class(command, parent=context, info_name=name)
    if not words and name != "grid":
        return  # the text only names the command
    with contextlib.suppress(typer.Exit), command.make_context(name, words, parent=context.parent) as parsed:
        if name == "grid":
            command.invoke(parsed)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language in READ], ids=named)
def test_yaml_and_toml_are_read(block, tmp_path):
    path = tmp_path / f"block.{block.language}"
    path.write_text(block.text)
    if block.language == "toml":
        given = tomllib.loads(block.text)
        example = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())
        assert "project" not in given or given["project"]["entry-points"] == example["project"]["entry-points"]
        assert "project" in given or read_defaults(path)
        return
    text = f"mycorpus:\n{block.text}" if block.text.startswith(" ") else block.text
    given = yaml.safe_load(text)
    if "grids" in given:
        assert read_experiment(text, "mine").experiment.title == given["title"]
    elif any("settings" in fields for fields in given.values()):
        assert set(read_spaces(path)) == set(given)
    else:
        known = parse_document(built_in_file())
        heads = "".join(f"{name}: {{{HEAD}}}\n" for name in given if name not in known.entries)
        parts = [parse_text(part, "block", tmp_path) for part in (heads, text) if part]
        catalogue = build_catalogue([known, *parts])
        assert [catalogue.corpus(name).name for name in given] == list(given)


def as_slow(page):
    needs_recordings = "emodb" in "".join(block.text for block in blocks_of(page) if is_run(block))
    return pytest.param(page, marks=[pytest.mark.slow, *[pytest.mark.corpus] * needs_recordings])


@pytest.mark.parametrize("page", [as_slow(page) for page in PAGES if any(map(is_run, blocks_of(page)))])
def test_blocks_of_a_page_run_one_after_the_other(page, tmp_path):
    write_mycorpus(tmp_path / "mycorpus")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "SERBENCH_DATA": REAL_DATA, "COLUMNS": "80", "PATH": path}
    for block in blocks_of(page):
        if block.language == "yaml" and block.text.startswith("mycorpus:") and not block.reason:
            (tmp_path / "corpora.yaml").write_text(block.text)
        if not is_run(block):
            continue
        commands = block.commands if block.language == "console" else [(block.text, "")]
        for text, shown in commands:
            command = [sys.executable, "-c", text] if block.language == "python" else ["bash", "-euc", text]
            done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
            told = f"{named(block)}\n{text}\n{done.stdout}\n{done.stderr}"
            assert done.returncode == 0, told
            flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            assert not shown or doctest.OutputChecker().check_output(shown, done.stdout, flags), told


@pytest.mark.slow
@pytest.mark.parametrize("block", [block for block in BLOCKS if block.reason], ids=named)
def test_block_is_not_run_for_a_reason(block):
    pytest.skip(block.reason)


@pytest.mark.skipif(not REPORT.is_dir(), reason="needs a clone: packages come without results/report")
@pytest.mark.parametrize("page", ["README", "docs/report"])
def test_values_that_are_quoted_are_those_of_the_committed_report(page):
    tables = "\n".join(path.read_text("utf-8") for path in sorted(REPORT.glob("*.md")))
    text = BLOCK.sub("", PAGES[page].read_text("utf-8"))
    quoted = re.findall(r"(?<![-\d])\d\.\d{3}\*{0,2} \[[^]]+\](?: [≈c])?", text)
    assert [value for value in quoted if value not in tables.replace("\\", "")] == []
    assert quoted or page == "README"
