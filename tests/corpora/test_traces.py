"""Traces of raters become one number an utterance."""

import csv

import numpy as np
import pytest
from trees import write_recola

from serbench.corpora.catalogue import load_catalogue
from serbench.corpora.labels import scan_corpus
from serbench.errors import CorpusError


@pytest.fixture
def recola(tmp_path, monkeypatch):
    """A tree of four people's recordings."""
    monkeypatch.setenv("SERBENCH_DATA", str(tmp_path))
    return write_recola(tmp_path / "recola", people=("P16", "P17", "P18", "P19"), utterances=3, rate=8000)


def scan(**changes):
    corpus = load_catalogue().corpus("recola").model_copy(update=changes)
    return scan_corpus(corpus, partial=True).table


def by_hand(root, dimension, person, start_s, end_s, raters=range(1, 7)):
    """Mean over the lines of the file that lie in the span, rater by rater, in a plain loop."""
    with open(root / "RECOLA-Annotation" / "emotional_behaviour" / dimension / f"{person}.csv") as file:
        lines = list(csv.reader(file, delimiter=";"))
    means = []
    for rater in raters:
        drawn = [float(line[rater]) for line in lines[1:] if start_s <= float(line[0]) < end_s]
        means.append(sum(drawn) / len(drawn))
    return sum(means) / len(means)


@pytest.mark.parametrize("dimension", ["arousal", "valence"])
def test_utterances_have_the_mean_over_their_time_and_then_over_the_raters(recola, dimension):
    table = scan()
    assert len(table) == 12
    for row in table.itertuples():
        person = row.speaker.removeprefix("recola/")
        expected = by_hand(recola, dimension, person, row.start_s, row.end_s)
        assert getattr(row, dimension) == pytest.approx(expected, abs=1e-12)
    assert table[dimension].dtype == np.float64


def test_a_moment_at_the_end_belongs_to_the_next_utterance(recola):
    trace = recola / "RECOLA-Annotation/emotional_behaviour/arousal/P16.csv"
    moments = [(0.0, 0.25), (0.25, 0.5), (0.5, -1), (0.75, 1), (1.0, -0.5), (1.5, 1), (2.0, 0.125), (2.5, 1)]
    trace.write_text("time;A;B\n" + "".join(f"{t};{value};{value}\n" for t, value in moments))
    spoken = scan()[lambda table: table["speaker"] == "recola/P16"]
    assert dict(zip(spoken["start_s"], spoken["arousal"], strict=True)) == {0.0: 0.375, 1.0: -0.5, 2.0: 0.125}


def test_chosen_raters_alone_are_averaged(recola):
    one = load_catalogue().corpus("recola").traces["arousal"].model_copy(update={"raters": ("FF2",)})
    table = scan(traces={"arousal": one})
    first = table.iloc[0]
    assert first["arousal"] == pytest.approx(by_hand(recola, "arousal", "P16", first["start_s"], first["end_s"], (5,)))
    assert "valence" not in table


def test_without_times_an_utterance_is_the_whole_recording(recola):
    rows = "".join(f"P{n}.wav,,,P{n}\n" for n in range(16, 20))
    (recola / "segments.csv").write_text("file,start,end,speaker\n" + rows)
    assert scan().iloc[0]["valence"] == pytest.approx(by_hand(recola, "valence", "P16", 0, 1e9))


def test_tables_that_are_not_there_are_one_fault(recola):
    for person in ("P16", "P18"):
        (recola / f"RECOLA-Annotation/emotional_behaviour/valence/{person}.csv").unlink()
    with pytest.raises(CorpusError, match=r"recola.traces.valence: .*P16.csv, .*P18.csv: no such table in") as caught:
        scan()
    assert len(caught.value.faults) == 1


WRONG = {
    "no number": ("0.04;x;0;0;0;0;0\n", r".*P17.csv: line 2 has 'x' for FM1, which is no number"),
    "not finite": ("0.04;0;nan;0;0;0;0\n", r"line 2 has 'nan' for FM2"),
    "nothing": ("0.04;0;0;0;0;0;\n", r"line 2 has '' for FF3"),
    "too short": ("0.04;0;0\n", r"line 2 has 3 fields, the header 7"),
}


@pytest.mark.parametrize(("line", "message"), WRONG.values(), ids=WRONG)
def test_what_is_no_number_is_named_with_its_line(recola, line, message):
    trace = recola / "RECOLA-Annotation/emotional_behaviour/arousal/P17.csv"
    header = trace.read_text().splitlines()[0]
    trace.write_text(header + "\n" + line)
    with pytest.raises(CorpusError, match=r"recola.traces.arousal: .*" + message):
        scan()


def test_utterances_during_which_nobody_drew_are_named(recola):
    path = recola / "segments.csv"
    path.write_text(path.read_text() + "P16.wav,70.5,71,P16\n")
    with pytest.raises(CorpusError, match=r"arousal: no value during 1 of 13 utterances .*P16.wav 70.5-71"):
        scan()


COLUMNS = {
    "all tables": ({"files": "{stem}.csv"}, r"P16.csv, .*P19.csv: no such table in"),
    "a rater": ({"raters": ("FM4",)}, r"P16.csv, .*P19.csv: no column 'FM4'. Did you mean 'FM3'"),
    "the time": ({"separator": ","}, r"no column 'time'"),
    "a table outside the corpus": ({"files": "../{stem}.csv"}, r"out of the corpus' folder"),
}


@pytest.mark.parametrize(("changed", "message"), COLUMNS.values(), ids=COLUMNS)
def test_what_is_not_there_is_one_fault(recola, changed, message):
    trace = load_catalogue().corpus("recola").traces["arousal"].model_copy(update=changed)
    with pytest.raises(CorpusError, match=message) as caught:
        scan(traces={"arousal": trace})
    assert len(caught.value.faults) == 1
