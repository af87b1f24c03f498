"""The synthetic trees are what the catalogue takes for copies of the real corpora."""

import pytest
from trees import IEMOCAP_TURNS, WRITERS, write_iemocap

from serbench.corpora.catalogue import load_catalogue
from serbench.corpora.labels import scan_corpus


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_a_tree_is_read_as_a_copy_of_its_corpus(tmp_path, monkeypatch, name):
    monkeypatch.setenv("SERBENCH_DATA", str(tmp_path))
    WRITERS[name](tmp_path / name, **({} if name in ("iemocap", "recola") else {"duration_s": 0.02}))
    assert scan_corpus(load_catalogue().corpus(name), partial=True).rows


def test_a_tree_of_iemocap_has_ten_speakers_and_some_fear(tmp_path, monkeypatch):
    monkeypatch.setenv("SERBENCH_DATA", str(tmp_path))
    write_iemocap(tmp_path / "iemocap")
    table = scan_corpus(load_catalogue().corpus("iemocap"), partial=True).table
    assert table["speaker"].nunique() == 10
    assert table["raw_label"].value_counts().to_dict() == {label: 10 * n for label, n in IEMOCAP_TURNS.items()}
    assert set(table["style"]) == {"improvised", "scripted"}
    assert table[["arousal", "valence", "dominance"]].stack().between(1, 5).all()
