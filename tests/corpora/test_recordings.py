"""What a warm run trusts, and what it reads again."""

import os
from dataclasses import replace
from types import SimpleNamespace

import pytest

from serbench import api
from serbench.corpora.audio import decode
from serbench.corpora.labels import scan_corpus
from serbench.corpora.recordings import SETTLED_NS, FileState, read_measured, replace_measured
from serbench.errors import StoreError
from serbench.features.extract import extract_corpus
from serbench.store.results import Store


@pytest.fixture
def toy(make_corpus, tmp_path, fake_feature_set, monkeypatch):
    """Extract a corpus whose files were left alone for a minute; `decoded` lists what a run read."""
    path = make_corpus()
    root = path.parent / "toy"

    def now():
        """Time, `ahead_ns` after a recording was last changed, however long that is ago."""
        return max(path.stat().st_ctime_ns for path in root.iterdir()) + extract.ahead_ns

    monkeypatch.setattr("serbench.corpora.recordings.time", SimpleNamespace(time_ns=now))
    decoded = []

    def spy(path, **segment):
        decoded.append(path.name)
        return decode(path, **segment)

    monkeypatch.setattr("serbench.features.extract.decode", spy)

    def extract(**options):
        decoded.clear()
        store = Store(tmp_path / "results")
        store.prepare()
        corpus = api.Workspace(corpora_file=path).catalogue().corpus("toy")
        return extract_corpus(scan_corpus(corpus), [fake_feature_set], store, jobs=2, **options)

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


def test_recording_replaced_by_another_file_is_read_again(toy, write_wav):
    toy()
    (toy.root / "f1_anger_1.wav").replace(toy.root / "f1_anger_0.wav")
    write_wav(toy.root / "f1_anger_1.wav", seed=5)
    toy()
    assert sorted(toy.decoded) == ["f1_anger_0.wav", "f1_anger_1.wav"]


def test_files_written_just_before_they_were_read_are_read_again(toy):
    toy.ahead_ns = 0
    toy()
    toy()
    assert len(toy.decoded) == 24


def test_rehash_reads_everything(toy):
    toy()
    toy(rehash=True)
    assert len(toy.decoded) == 24


def test_what_another_decoder_measured_is_not_trusted(toy, monkeypatch):
    toy()
    monkeypatch.setattr("serbench.corpora.recordings.DECODER", "another")
    assert read_measured(toy.store, "toy") == {}
    toy()
    assert len(toy.decoded) == 24


def test_damaged_memory_is_made_anew(toy):
    toy()
    (path,) = toy.store.recordings("toy")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.warns(UserWarning, match=rf"{path.name} is damaged; its recordings are read again"):
        toy()
    assert len(toy.decoded) == 24
    assert len(read_measured(toy.store, "toy")) == 24


def test_unreadable_recording_is_tried_again_by_every_run(toy):
    (toy.root / "f1_anger_0.wav").write_bytes(b"")
    toy()
    toy()
    assert toy.decoded == ["f1_anger_0.wav"]


def test_another_segment_of_the_same_file_is_read_again(tmp_path, write_wav):
    from serbench.corpora.recordings import Measured

    path = write_wav(tmp_path / "a.wav")
    state = FileState.of(path)
    old = FileState(state.size, state.mtime_ns, state.ctime_ns, state.inode, state.read_ns + SETTLED_NS)
    measured = Measured("toy/a.wav#0-1", 0.0, 0.1, 0.1, 16000, 1, "hash", None, old)
    assert measured.still_holds(path, 0.0, 0.1)
    assert not measured.still_holds(path, 0.0, 0.2)


def test_one_recording_of_another_rate_does_not_refuse_the_corpus_when_it_is_read_again(
    make_corpus, tmp_path, write_wav, fake_feature_set
):
    path = make_corpus(extra="  expect: {rate: 16000}\n")
    odd = path.parent / "toy" / "f1_anger_0.wav"
    write_wav(odd, rate=48000)
    corpus = api.Workspace(corpora_file=path).catalogue().corpus("toy")
    for recording in (path.parent / "toy").iterdir():
        os.utime(recording, ns=(0, 0))
    store = Store(tmp_path / "results")

    def extract():
        return extract_corpus(scan_corpus(corpus), [fake_feature_set], store, jobs=1).computed["fake"]

    assert extract() == 24
    known = read_measured(store, "toy")
    settled = [replace(m, state=replace(m.state, read_ns=m.state.read_ns + 60 * 10**9)) for m in known.values()]
    replace_measured(store, "toy", settled)
    write_wav(odd, rate=48000, seed=3)
    assert extract() == 1


def test_index_that_was_written_anew_meanwhile_is_an_error(toy, write_wav):
    done = toy()
    write_wav(toy.root / "f1_anger_0.wav", seed=77)
    toy()
    with pytest.raises(StoreError, match=r"has been written anew meanwhile, from other labels or recordings"):
        len(done.index)


def test_inodes_that_use_all_64_bits_are_kept_and_compared(toy, monkeypatch):
    """Some network and union file systems give them; the store's integers have a sign."""
    import serbench.corpora.recordings

    real = os.stat

    def large(path, **options):
        found = list(real(path, **options))
        return SimpleNamespace(st_size=found[6], st_mtime_ns=10**18, st_ctime_ns=10**18, st_ino=2**64 - 1 - found[1])

    monkeypatch.setattr(serbench.corpora.recordings, "os", SimpleNamespace(stat=large))
    toy()
    assert len(read_measured(toy.store, "toy")) == 24
    toy()
    assert toy.decoded == []
