"""A small SYNTHETIC corpus: source-filter speech whose emotions are patterns of prosody and voice quality.

It shows the whole way from audio to tables with nothing on disk. Its numbers say nothing about people. A pulse train
after Rosenberg (JASA 1971), low-passed for voice quality and mixed with aspiration noise, passes through formant
resonators (Klatt, JASA 1980). What sets emotions apart follows the directions in Juslin and Laukka (Psychological
Bulletin 2003, table 7) and Scherer (Speech Communication 2003, table 2). Speakers have habits, and utterances express
more or less, so that a classifier errs. Samples are float64 in [-1, 1] at 16 kHz, times in seconds, frequencies in Hz.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import lfilter

import serbench
from serbench.errors import StoreError
from serbench.report import Report
from serbench.store.files import write_atomically, write_text
from serbench.workspace import Progress, Workspace, silent

CORPUS_NAME = "synthetic"
SAMPLING_RATE = 16000
TAKES = 6
CLASSIFIERS = ("svc", "logistic", "knn")
SEED = 2009


@dataclass(frozen=True, slots=True)
class Expression:
    """How speech differs from neutral: factors on F0, its range, rate and formants; dB; shares of 0..1."""

    f0: float = 1.0
    f0_range: float = 1.0
    rate: float = 1.0
    level_db: float = 0.0
    brightness: float = 0.5
    breathiness: float = 0.05
    jitter: float = 0.01
    formants: float = 1.0


@dataclass(frozen=True, slots=True)
class Speaker:
    """A synthetic speaker: mean F0, and a factor on the formants."""

    name: str
    f0: float
    tract: float


SPEAKERS = (
    *(Speaker("F1", 205, 1.0), Speaker("F2", 228, 1.04), Speaker("M1", 112, 0.86), Speaker("M2", 128, 0.89)),
    *(Speaker("F3", 185, 0.95), Speaker("F4", 240, 1.06), Speaker("M3", 95, 0.83), Speaker("M4", 140, 0.93)),
)

EMOTIONS = {
    "neutral": Expression(),
    "anger": Expression(f0=1.25, f0_range=1.7, rate=1.15, level_db=6, brightness=0.8, breathiness=0.03, jitter=0.02),
    "fear": Expression(f0=1.45, f0_range=1.1, rate=1.25, level_db=1, brightness=0.6, breathiness=0.10, jitter=0.035),
    "happiness": Expression(f0=1.35, f0_range=1.7, rate=1.1, level_db=4, brightness=0.65, formants=1.05),
    "sadness": Expression(f0=0.9, f0_range=0.5, rate=0.8, level_db=-5, brightness=0.25, breathiness=0.15),
}

VOWELS = {
    "a": (750, 1250, 2600, 3600),
    "e": (450, 1950, 2650, 3650),
    "i": (300, 2250, 2950, 3700),
    "o": (450, 850, 2500, 3500),
    "u": (320, 750, 2400, 3500),
}
BANDWIDTHS = (80, 100, 140, 200)
SENTENCES = ("aieoa", "oaiue", "eauia")

_YAML = """\
# A corpus is one block of YAML like this one. SYNTHETIC: made by `serbench demo`, not by people.
synthetic:
  title: SYNTHETIC demonstration corpus
  language: und                   # BCP 47; und means undetermined
  licence: CC0-1.0
  root: synthetic                 # relative to this file
  audio: '*.wav'
  labels:
    from: path                    # labels are read from file names such as F1_anger_0_3.wav
    pattern: '(?P<speaker>(?P<gender>[FM])\\d)_(?P<emotion>[a-z]+)_(?P<text>\\d)_(?P<take>\\d)\\.wav$'
  values: {gender: {F: female, M: male}}
  emotions: {anger: anger, fear: fear, happiness: happiness, neutral: neutral, sadness: sadness}
  folds: {leave_out: 1}           # one speaker is tested at a time
  expect: {utterances: %d, speakers: %d, rate: 16000}
"""


def run_demo(folder: Path | str = "serbench-demo", *, jobs: int | None = None, progress: Progress = silent) -> Report:
    """Write a small synthetic corpus and take it from audio to tables, through the same stages as any corpus.

    The audit comes first, as its simple cues are a row of Table 2. Classifiers are quick ones.

    Raises
    ------
    StoreError : the folder has a corpora.yaml of another content, or the demo failed.
    """
    place = Path(folder)
    corpora_file = write_demo_corpus(place)
    workspace = Workspace(results=place / "results", corpora_file=corpora_file, jobs=jobs, progress=progress)
    (audit,) = serbench.audit_corpora([CORPUS_NAME], workspace)
    result = serbench.run_grid([CORPUS_NAME], serbench.GridRequest(classifiers=CLASSIFIERS), workspace)
    if faults := [*(fault.text for fault in audit.of("error")), *result.refused.values()]:
        raise StoreError(str(place), f"the demo failed: {faults[0]}")
    report: Report = serbench.make_report(workspace)
    return report


def write_demo_corpus(folder: Path, speakers: Sequence[Speaker] = SPEAKERS) -> Path:
    """Write the recordings and their corpora.yaml below a folder and return the path of the YAML file."""
    corpora_file = folder / "corpora.yaml"
    entry = _YAML % (len(speakers) * len(EMOTIONS) * TAKES, len(speakers))
    if corpora_file.exists() and corpora_file.read_text(encoding="utf-8") != entry:
        raise StoreError(str(corpora_file), "exists with other content", todo="Give the demo another folder")
    for speaker, emotion, take in itertools.product(speakers, EMOTIONS, range(TAKES)):
        text = take % len(SENTENCES)
        samples = synthesise(speaker, emotion, sentence=SENTENCES[text], take=take)
        path = folder / CORPUS_NAME / f"{speaker.name}_{emotion}_{text}_{take}.wav"
        about = {"data": samples, "samplerate": SAMPLING_RATE, "format": "WAV", "subtype": "PCM_16"}
        write_atomically(path, functools.partial(soundfile.write, **about))
    write_text(corpora_file, entry)
    return corpora_file


def synthesise(speaker: Speaker, emotion: str, *, sentence: str, take: int) -> np.ndarray:
    """Speak a sentence of vowels; the same arguments give the same samples, shape (n_frames,), in [-1, 1]."""
    ids = [SPEAKERS.index(speaker), list(EMOTIONS).index(emotion)]
    rng = np.random.default_rng([SEED, *ids, take])
    degree, neutral, full = rng.uniform(0.35, 1.0), astuple(Expression()), astuple(EMOTIONS[emotion])
    expressed = Expression(*(start + degree * (end - start) for start, end in zip(neutral, full, strict=True)))
    expression = _habits(expressed, np.random.default_rng([SEED, *ids, 99]))
    places = np.linspace(0, 1, len(sentence))
    voice = np.concatenate([_syllable(speaker, expression, *at, rng) for at in zip(sentence, places, strict=True)])
    level = 0.04 * 10 ** ((expression.level_db + rng.normal(0, 2.5)) / 20)
    room = rng.normal(0, 0.001, len(voice))
    return np.asarray(np.clip(level * voice / np.sqrt(np.mean(voice**2)) + room, -1, 1))


def _habits(expression: Expression, rng: np.random.Generator) -> Expression:
    """Bend an expression by how a speaker tends to show this emotion."""
    return replace(
        expression,
        f0=expression.f0 * np.exp(rng.normal(0, 0.06)),
        f0_range=expression.f0_range * np.exp(rng.normal(0, 0.15)),
        rate=expression.rate * np.exp(rng.normal(0, 0.06)),
        level_db=expression.level_db + rng.normal(0, 1.0),
        brightness=float(np.clip(expression.brightness + rng.normal(0, 0.06), 0.05, 0.95)),
        breathiness=expression.breathiness * np.exp(rng.normal(0, 0.4)),
    )


def _syllable(
    speaker: Speaker, expression: Expression, vowel: str, position: float, rng: np.random.Generator
) -> np.ndarray:
    """A consonant of noise and a vowel; `position` runs from 0 to 1 over the sentence."""
    n = int(0.19 / expression.rate * np.exp(rng.normal(0, 0.15)) * SAMPLING_RATE)
    # F0: declination over the sentence and an accent on each syllable, in semitones around the mean.
    accent = np.sin(np.linspace(0, np.pi, n)) * rng.uniform(0.5, 3.0)
    semitones = expression.f0_range * (1.5 - 3 * position + accent) + rng.normal(0, 0.5)
    wobble = lfilter([1], [1, -0.9], rng.normal(0, expression.jitter, n))
    f0 = speaker.f0 * expression.f0 * 2 ** (semitones / 12) * (1 + wobble)
    source = _glottal_source(f0, expression, rng)
    for formant, bandwidth in zip(VOWELS[vowel], BANDWIDTHS, strict=True):
        frequency = formant * speaker.tract * expression.formants * np.exp(rng.normal(0, 0.03))
        # a resonator of two poles with unit gain at 0 Hz (Klatt 1980, equation 2)
        radius = np.exp(-np.pi * bandwidth / SAMPLING_RATE)
        b, c = 2 * radius * np.cos(2 * np.pi * frequency / SAMPLING_RATE), -(radius**2)
        source = np.asarray(lfilter([1 - b - c], [1, -b, -c], source))
    fade = np.minimum(1, np.minimum(np.arange(n), np.arange(n)[::-1]) / (0.02 * SAMPLING_RATE))
    spoken = source / np.sqrt(np.mean(source**2)) * fade
    consonant = rng.normal(0, 0.15, int(0.05 / expression.rate * SAMPLING_RATE))
    return np.concatenate([consonant, spoken])


def _glottal_source(f0: np.ndarray, expression: Expression, rng: np.random.Generator) -> np.ndarray:
    """Derivative of Rosenberg pulses, low-passed to the brightness, with aspiration noise."""
    phase = np.cumsum(f0 / SAMPLING_RATE) % 1
    opening, closing = phase / 0.4, (phase - 0.4) / 0.2
    closed = np.where(closing < 1, np.cos(np.pi / 2 * closing), 0)
    flow = np.where(phase < 0.4, 0.5 * (1 - np.cos(np.pi * opening)), closed)
    pulses = np.diff(flow, prepend=flow[0])
    pole = 0.95 * (1 - expression.brightness)
    voiced = lfilter([1 - pole], [1, -pole], pulses)
    aspiration = rng.normal(0, 1, len(f0)) * np.sqrt(np.mean(voiced**2)) * expression.breathiness * 4
    return np.asarray(voiced + aspiration)
