"""What a warm run trusts, and what it reads again."""

import os
from dataclasses import replace
from types import SimpleNamespace

import pytest

import serbench
from serbench.corpora.audio import decode
from serbench.corpora.index import read_decoded, read_index, state_of, write_decoded
from serbench.corpora.labels import scan_corpus
from serbench.errors import StoreError
from serbench.features.extract import extract_corpus
from serbench.store.files import read_metadata
from serbench.store.results import Store


@pytest.fixture
def toy(make_corpus, tmp_path, fake_feature_set, monkeypatch):
    """Extract a corpus whose files were left alone for a minute; `decoded` lists what a run read."""
    path = make_corpus()
    root = path.parent / "toy"

    def now():
        """Time, `ahead_ns` after a recording was last changed, however long that is ago."""
        return max(path.stat().st_ctime_ns for path in root.iterdir()) + extract.ahead_ns

    monkeypatch.setattr("serbench.corpora.index.time", SimpleNamespace(time_ns=now))
    decoded = []

    def spy(path, **segment):
        decoded.append(path.name)
        return decode(path, **segment)

    monkeypatch.setattr("serbench.features.extract.decode", spy)

    def extract(**options):
        decoded.clear()
        workspace = serbench.Workspace(tmp_path / "results", path, jobs=2, **options)
        workspace.store().prepare()
        return extract_corpus(scan_corpus(workspace.catalogue().corpus("toy")), [fake_feature_set], workspace)

    extract.ahead_ns = 60 * 10**9
    extract.root, extract.decoded, extract.store = root, decoded, Store(tmp_path / "results")
    return extract


def test_files_that_are_as_they_were_are_not_read_again(toy):
    first = toy().index
    assert len(toy.decoded) == 24
    second = toy().index
    assert toy.decoded == []
    assert second.equals(first)


def test_changed_recording_is_read_again_also_with_its_old_size_and_time(toy, write_wav):
    before = toy().index.set_index("utterance")["audio_hash"]
    path = toy.root / "f1_anger_0.wav"
    old = path.stat()
    write_wav(path, seed=77)
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert path.stat().st_size == old.st_size
    after = toy().index.set_index("utterance")["audio_hash"]
    assert toy.decoded == ["f1_anger_0.wav"]
    assert list(before.index[before != after]) == ["toy/f1_anger_0.wav"]
    path.write_bytes(b"")
    toy()
    toy()  # what cannot be read is tried again by every run
    assert toy.decoded == ["f1_anger_0.wav"]


def test_recording_replaced_by_another_file_is_read_again(toy, write_wav):
    toy()
    (toy.root / "f1_anger_1.wav").replace(toy.root / "f1_anger_0.wav")
    write_wav(toy.root / "f1_anger_1.wav", seed=5)
    toy()
    assert sorted(toy.decoded) == ["f1_anger_0.wav", "f1_anger_1.wav"]


def test_another_segment_of_the_same_file_is_read_again(toy):
    toy()
    (_, start, end, state), known = next(iter(read_decoded(toy.store, "toy").items()))
    assert state == state_of(toy.root / "f1_anger_0.wav")
    assert (start, end) == (None, None)
    write_decoded(toy.store, "toy", [replace(known, start_s=0.0, end_s=0.1)])
    both = read_decoded(toy.store, "toy")
    assert len(both) == 25
    assert ("toy/f1_anger_0.wav", 0.0, 0.1, state) in both
    assert ("toy/f1_anger_0.wav", 0.0, 0.2, state) not in both


@pytest.mark.parametrize("why", ["written just before", "measured by another decoder", "rehash"])
def test_files_of_an_index_that_cannot_be_trusted_are_read_again(toy, monkeypatch, why):
    if why == "written just before":
        toy.ahead_ns = 0
    toy()
    if why == "measured by another decoder":
        monkeypatch.setattr("serbench.corpora.index.DECODER", "another")
    toy(rehash=why == "rehash")
    assert len(toy.decoded) == 24


def test_damaged_index_is_made_again(toy):
    toy()
    path = toy.store.index("toy")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.warns(UserWarning, match=rf"{path.name} is damaged; its recordings are read again"):
        toy()
    assert len(toy.decoded) == 24
    assert len(read_decoded(toy.store, "toy")) == 24


def test_parts_of_an_index_survive_a_kill_and_are_merged_by_the_next_run(toy):
    index = toy().index
    known = list(read_decoded(toy.store, "toy").values())
    toy.store.index("toy").unlink()
    write_decoded(toy.store, "toy", known[:20])
    assert len(toy.store.index_parts("toy")) == 1
    assert toy().index.equals(index)
    assert len(toy.decoded) == 4
    assert not toy.store.index_parts("toy")
    toy()
    assert toy.decoded == []


def test_one_recording_of_another_rate_does_not_refuse_the_corpus_when_it_is_read_again(
    make_corpus, tmp_path, write_wav, fake_feature_set, monkeypatch
):
    monkeypatch.setattr("serbench.corpora.index.SETTLED_NS", 0)
    path = make_corpus(extra="  expect: {rate: 16000}\n")
    odd = path.parent / "toy" / "f1_anger_0.wav"
    workspace = serbench.Workspace(tmp_path / "results", path, jobs=1)
    for seed, computed in ((0, 24), (3, 1)):
        write_wav(odd, rate=48000, seed=seed)
        scan = scan_corpus(workspace.catalogue().corpus("toy"))
        assert extract_corpus(scan, [fake_feature_set], workspace).computed["fake"] == computed


def test_index_that_was_written_anew_meanwhile_is_an_error(toy, write_wav):
    made_of = []
    for seed in (77, 78):
        write_wav(toy.root / "f1_anger_0.wav", seed=seed)
        toy()
        made_of.append(read_metadata(toy.store.index("toy"))["made_of"])
    assert len(read_index(toy.store, "toy", made_of=made_of[1])) == 24
    with pytest.raises(StoreError, match=r"has been written again meanwhile, from other labels or recordings"):
        read_index(toy.store, "toy", made_of=made_of[0])


def test_inodes_that_use_all_64_bits_are_kept_and_compared(toy, monkeypatch):
    """Some network and union file systems give them; the store's integers have a sign."""
    import serbench.corpora.index

    real = os.stat

    def large(path, **options):
        found = list(real(path, **options))
        return SimpleNamespace(st_size=found[6], st_mtime_ns=10**18, st_ctime_ns=10**18, st_ino=2**64 - 1 - found[1])

    monkeypatch.setattr(serbench.corpora.index, "os", SimpleNamespace(stat=large))
    toy()
    assert len(read_decoded(toy.store, "toy")) == 24
    toy()
    assert toy.decoded == []
