import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import serbench
from serbench.demo import EMOTIONS, SPEAKERS, TAKES, synthesise, write_demo_corpus
from serbench.errors import StoreError


def test_synthesis_is_deterministic_and_differs_between_takes():
    first, again, other = (synthesise(SPEAKERS[0], "anger", sentence="aieoa", take=take) for take in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[:1000], other[:1000])


def test_corpus_has_both_sexes_and_the_five_emotions_and_calls_itself_synthetic(tmp_path):
    path = write_demo_corpus(tmp_path)
    index = serbench.load_index("synthetic", serbench.Workspace(results=tmp_path / "results", corpora_file=path))
    assert len(index) == len(SPEAKERS) * len(EMOTIONS) * TAKES
    assert index.groupby("gender")["speaker"].nunique().to_dict() == {"female": 4, "male": 4}
    assert set(index["emotion"]) == {"anger", "fear", "happiness", "neutral", "sadness"}
    assert "SYNTHETIC" in path.read_text()


def test_demo_does_not_write_over_a_corpora_yaml_of_the_users(tmp_path):
    (tmp_path / "corpora.yaml").write_text("mine: {}\n")
    with pytest.raises(StoreError, match=r"exists with other content. Give the demo another folder"):
        write_demo_corpus(tmp_path)
    assert (tmp_path / "corpora.yaml").read_text() == "mine: {}\n"


def median_f0(samples):
    """Median of the autocorrelation peak over voiced frames: a way to F0 that the synthesis does not use."""
    found = []
    for start in range(0, len(samples) - 640, 320):
        frame = samples[start : start + 640] - samples[start : start + 640].mean()
        correlation = np.correlate(frame, frame, "full")[639:]
        lag = 40 + int(np.argmax(correlation[40:260]))
        if correlation[lag] > 0.5 * correlation[0] > 0:
            found.append(16000 / lag)
    return float(np.median(found))


@pytest.mark.parametrize("speaker", SPEAKERS, ids=lambda s: s.name)
def test_speech_is_voiced_near_the_speakers_pitch(speaker):
    f0 = np.median([median_f0(synthesise(speaker, "neutral", sentence="aieoa", take=take)) for take in range(4)])
    assert speaker.f0 / 1.4 < f0 < speaker.f0 * 1.4


def test_fear_is_higher_and_sadness_softer_than_neutral_on_average():
    def mean(emotion, of):
        return np.mean([of(synthesise(s, emotion, sentence="aieoa", take=t)) for s in SPEAKERS for t in range(4)])

    assert mean("fear", median_f0) > 1.15 * mean("neutral", median_f0)
    assert mean("sadness", np.std) < mean("neutral", np.std) < mean("anger", np.std)


@pytest.mark.slow
def test_demo_tells_some_cells_from_the_best_but_not_all_and_ends_with_the_answer_and_the_page(cli, tmp_path):
    code, out, err = cli("demo", tmp_path, "--jobs", 2)
    assert code == 0, err
    page = tmp_path / "results" / "report" / "index.html"
    assert page.is_file()
    assert out.splitlines()[-1] == f"Open {page}"
    found = pd.read_csv(page.with_name("differences.csv")).query("metric == 'uar'")
    told, cells = " ".join(out.rpartition("Best cells")[2].split()), found[~found["is_reference"]]
    best = " on ".join(cells[["best_classifier", "best_features"]].iloc[0])
    assert f"synthetic: best is {best}, UAR 0." in told
    assert "cannot be told apart from the best" in told
    assert set(cells["verdict"]) == {"tie", "worse"}
    assert (cells["low"] > 0)[cells["verdict"] == "worse"].all()
    assert (cells["low"] <= 0).any()
    scores = pd.read_csv(page.with_name("scores.csv")).query("metric == 'uar' and rule == 'nested'")["value"]
    assert 0.3 < scores.min() < scores.max() - 0.1 < 0.8


@pytest.mark.slow
def test_simple_cues_of_the_demo_are_between_chance_and_its_cells_and_its_audit_finds_no_fault(tmp_path):
    path = write_demo_corpus(tmp_path)
    workspace = serbench.Workspace(results=tmp_path / "results", corpora_file=path)
    (audit,) = serbench.audit_corpora(["synthetic"], workspace)
    assert (audit.verdict, audit.baseline.n_utterances) == ("sound", len(SPEAKERS) * len(EMOTIONS) * TAKES)
    assert 0.3 < audit.baseline.uar < 0.5


@pytest.mark.parametrize(
    ("option", "display", "is_terminal", "is_opened"),
    [(None, "DISPLAY", True, True), (None, "WAYLAND_DISPLAY", True, True), (None, "", True, False),
     (None, "DISPLAY", False, False), ("--open", "", False, True), ("--no-open", "DISPLAY", True, False)],
)  # fmt: skip
def test_demo_opens_its_page_from_a_terminal_with_a_display_or_as_told(
    cli, monkeypatch, tmp_path, option, display, is_terminal, is_opened
):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or True)
    monkeypatch.setattr(serbench, "run_demo", lambda *a, **k: SimpleNamespace(of=lambda stem: [], lead={}))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal, raising=False)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if display:
        monkeypatch.setenv(display, ":0")
    code, out, err = cli("demo", tmp_path, *filter(None, [option]))
    page = tmp_path / "results" / "report" / "index.html"
    assert (code, err, out.splitlines()[-1]) == (0, "", f"Open {page}")
    assert opened == [page.as_uri()] * is_opened
