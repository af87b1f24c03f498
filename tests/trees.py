"""Small trees with the exact layouts of corpora that cannot be handed on: the names and tables of the real ones.

`write_CORPUS(root)` writes below `root` (to be the corpus' own folder, e.g. `$SERBENCH_DATA/iemocap`) and returns it;
the same seed gives the same bytes. The voices are tones: arousal makes them higher, louder and livelier, valence
brighter, and each speaker has a pitch of his own, so that a classifier can learn them and still errs. They are far
fewer and shorter than the real recordings, so all but RECOLA need `partial=True`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile

# Arousal and valence of each emotion in [-1, 1], roughly as Russell (1980) places them.
PLACES = {
    **{"anger": (0.9, -0.6), "fear": (0.6, -0.9), "happiness": (0.7, 0.8), "sadness": (-0.8, -0.6)},
    **{"neutral": (-0.2, 0.1), "disgust": (0.1, -0.9), "surprise": (0.9, 0.3), "boredom": (-0.9, -0.3)},
    **{"calm": (-0.7, 0.6), "excitement": (0.8, 0.7), "frustration": (0.5, -0.5)},
}

EMODB_SPEAKERS = {
    **dict.fromkeys(("03", "10", "11", "12", "15"), "male"),
    **dict.fromkeys(("08", "09", "13", "14", "16"), "female"),
}
CREMAD_SENTENCES = ("IEO", "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI")
RECOLA_PEOPLE = tuple(f"P{n}" for n in range(16, 62, 2))
RECOLA_RATERS = ("FM1", "FM2", "FM3", "FF1", "FF2", "FF3")
_STEP_S = 0.04


def sound(
    place: tuple[float, float], *, gender: str, voice: int, rng: np.random.Generator, duration_s: float, rate: int
) -> np.ndarray:
    """Sound of a voice at a place of arousal and valence; float64, shape (n_samples,), in [-1, 1]."""
    arousal, valence = (value + rng.normal(0, 0.25) for value in place)
    t = np.arange(round(duration_s * rate)) / rate
    f0 = (210 if gender == "female" else 120) * 2 ** (0.5 * arousal + 0.06 * (voice % 7 - 3))
    vibrato = (0.01 + 0.03 * max(arousal, 0)) * np.sin(2 * np.pi * (4 + 2 * arousal) * t)
    phase = 2 * np.pi * np.cumsum(f0 * (1 + vibrato)) / rate
    tilt = 1.3 - 0.5 * valence
    harmonics = sum(np.sin(n * phase) / n**tilt for n in range(1, 13))
    level = 0.05 * 10 ** (0.25 * arousal)
    return np.asarray(np.clip(level * harmonics + 0.004 * rng.normal(size=len(t)), -1, 1))


def _write(path: Path, samples: np.ndarray, rate: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(str(path), samples, rate, subtype="PCM_16", format="WAV")


def _clips(root: Path, clips: Iterable[tuple[str, str, str, int]], *, duration_s: float, rate: int) -> Path:
    """Write clips, each a path below the root, an emotion, a gender and a voice, in their order."""
    rng = np.random.default_rng(0)
    for path, emotion, gender, voice in clips:
        samples = sound(PLACES[emotion], gender=gender, voice=voice, rng=rng, duration_s=duration_s, rate=rate)
        _write(root / path, samples, rate)
    return root


def write_mycorpus(root: Path) -> Path:
    """The corpus of the documentation: audio/anna_joy_01.wav, 8 speakers x 5 emotions x 3, and a table of speakers."""
    emotions = _codes("joy rage neutral sad fear", "happiness anger neutral sadness fear")
    people = {name: ("male", "female")[i % 2] for i, name in enumerate("paul anna max eva otto ida tom lea".split())}
    clips = [
        (f"audio/{name}_{label}_{take:02d}.wav", emotion, gender, voice)
        for voice, (name, gender) in enumerate(people.items())
        for label, emotion in emotions.items()
        for take in (1, 2, 3)
    ]
    _clips(root, clips, duration_s=0.5, rate=16000)
    rows = [f"{name},{gender[0]},{30 + i}" for i, (name, gender) in enumerate(people.items())]
    (root / "speakers.csv").write_text("\n".join(["id,sex,age", *rows]) + "\n", encoding="utf-8")
    return root


def write_emodb(root: Path, *, duration_s: float = 0.4) -> Path:
    """EmoDB: wav/03a01Fa.wav, 10 speakers x 7 emotions x 2, 16 kHz."""
    letters = _codes("W L E A F T N", "anger boredom disgust fear happiness sadness neutral")
    clips = [
        (f"wav/{speaker}a{text:02d}{letter}a.wav", emotion, gender, voice)
        for voice, (speaker, gender) in enumerate(EMODB_SPEAKERS.items())
        for letter, emotion in letters.items()
        for text in (1, 2)
    ]
    return _clips(root, clips, duration_s=duration_s, rate=16000)


def write_emovo(root: Path, *, duration_s: float = 1.2) -> Path:
    """EMOVO: f1/neu-f1-b1.wav, 6 speakers x 7 emotions x 3 (14 in the real one), 48 kHz."""
    codes = _codes("dis gio pau rab sor tri neu", "disgust happiness fear anger surprise sadness neutral")
    clips = [
        (f"{speaker}/{code}-{speaker}-{sentence}.wav", emotion, {"f": "female", "m": "male"}[speaker[0]], voice)
        for voice, speaker in enumerate(("f1", "f2", "f3", "m1", "m2", "m3"))
        for code, emotion in codes.items()
        for sentence in ("b1", "l1", "d1")
    ]
    return _clips(root, clips, duration_s=duration_s, rate=48000)


def write_savee(root: Path, *, duration_s: float = 0.4) -> Path:
    """SAVEE: DC/a01.wav, 4 men x 7 emotions x 3 (neutral twice as many), 44.1 kHz."""
    codes = _codes("a d f h sa su n", "anger disgust fear happiness sadness surprise neutral")
    clips = [
        (f"{speaker}/{code}{take:02d}.wav", emotion, "male", voice)
        for voice, speaker in enumerate(("DC", "JE", "JK", "KL"))
        for code, emotion in codes.items()
        for take in range(1, 7 if code == "n" else 4)
    ]
    return _clips(root, clips, duration_s=duration_s, rate=44100)


def write_masc(root: Path, *, duration_s: float = 0.4) -> Path:
    """MASC: a masc.csv as the catalogue asks for it and the recordings it names; 8 speakers, 68 in the real one."""
    codes = _codes("anger elation neutral panic sadness", "anger happiness neutral fear sadness")
    clips, lines = [], ["file,speaker,gender,emotion,text"]
    for voice, code, text in itertools.product(range(8), codes, (1, 2)):
        file = f"{voice + 1:03d}/{code}/{text:02d}.wav"
        clips.append((file, codes[code], ("female", "male")[voice % 2], voice))
        lines.append(f"{file},{voice + 1:03d},{'FM'[voice % 2]},{code},{text:02d}")
    _clips(root, clips, duration_s=duration_s, rate=22050)
    (root / "masc.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def write_ravdess(root: Path, *, duration_s: float = 1.2) -> Path:
    """RAVDESS (speech): Actor_01/03-01-05-01-02-01-01.wav, 24 actors x 8 emotions x 1 sentence, 48 kHz."""
    names = "neutral calm happiness sadness anger fear disgust surprise".split()
    clips = [
        (f"Actor_{n:02d}/03-01-{code:02d}-01-{1 + n % 2:02d}-01-{n:02d}.wav", emotion, ("female", "male")[n % 2], n)
        for n in range(1, 25)
        for code, emotion in enumerate(names, start=1)
    ]
    return _clips(root, clips, duration_s=duration_s, rate=48000)


def write_cremad(root: Path, *, duration_s: float = 0.3) -> Path:
    """CREMA-D: AudioWAV/1001_DFA_ANG_XX.wav and VideoDemographics.csv; all actors x 6 emotions x 1 clip, 16 kHz."""
    codes = _codes("ANG DIS FEA HAP NEU SAD", "anger disgust fear happiness neutral sadness")
    clips, lines = [], ["ActorID,Age,Sex,Race,Ethnicity"]
    for actor in range(1001, 1092):
        gender = ("male", "female")[actor % 2]
        lines.append(f"{actor},{20 + actor % 50},{gender.title()},Caucasian,Not Hispanic")
        for i, (code, emotion) in enumerate(codes.items()):
            sentence = CREMAD_SENTENCES[(actor + i) % len(CREMAD_SENTENCES)]
            intensity = ("LO", "MD", "HI")[actor % 3] if sentence == "IEO" else "XX"
            clips.append((f"AudioWAV/{actor}_{sentence}_{code}_{intensity}.wav", emotion, gender, actor))
    _clips(root, clips, duration_s=duration_s, rate=16000)
    (root / "VideoDemographics.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


ASED_MISNAMED = (
    *("04Sad/s4-01-02-02-09.wav", "02Fearful/f2-02-01-02-25.wav", "02Fearful/f2-01-01-02-15.wav"),
    *("02Fearful/f2-07-02-02-21.wav", "04Sad/s4-04-01-02-23.wav"),
)
"""Recordings of women whose names say that a man speaks."""


def write_ased(root: Path, *, duration_s: float = 0.3) -> Path:
    """ASED: 01Neutral/n1-03-01-02-50.wav, sentences 01 and 02 said in all emotions, 03 to 07 in one each, 16 kHz.

    The first 25 of 26 speakers are women, so that the five misnamed files can be there; the real one has 65 speakers.
    """
    folders = ("01Neutral", "02Fearful", "03Happy", "04Sad", "05Angry")
    emotions = _codes("n f h s a", "neutral fear happiness sadness anger")
    paths = [
        f"{folder}/{letter}{folder[1]}-{text:02d}-01-{1 + (voice > 25):02d}-{voice:02d}.wav"
        for folder, letter in zip(folders, emotions, strict=True)
        for text in range(1, 8)
        for voice in range(1, 27)
    ]
    clips = []
    for path in [*paths, *ASED_MISNAMED]:
        voice, capital = int(path[-6:-4]), path.replace("/s4-04-01-01-01", "/S4-04-01-01-01")  # one name is written so
        clips.append((capital, emotions[path.partition("/")[2][0]], "female" if voice <= 25 else "male", voice))
    return _clips(root, clips, duration_s=duration_s, rate=16000)


IEMOCAP_TURNS = dict(neu=4, ang=4, sad=4, hap=3, exc=3, fru=3, fea=1, sur=1, dis=1, oth=1, xxx=1)
"""Turns of each raw label that each speaker of `write_iemocap` has."""

_IEMOCAP_EMOTIONS = {
    **{"neu": "neutral", "ang": "anger", "sad": "sadness", "hap": "happiness", "exc": "excitement"},
    **{"fru": "frustration", "fea": "fear", "sur": "surprise", "dis": "disgust", "oth": "boredom", "xxx": "neutral"},
}


def write_iemocap(root: Path, *, turns: Mapping[str, int] = IEMOCAP_TURNS, duration_s: float = 0.4) -> Path:
    """IEMOCAP: sentences/wav and dialog/EmoEvaluation of each session, one improvised and one scripted dialogue.

    Each speaker of a session has `turns` of each raw label, spread over the two dialogues; dimensions are means of two
    annotators on the scale of 1 to 5, in steps of 0.5. 16 kHz.
    """
    rng = np.random.default_rng(0)
    for session in range(1, 6):
        lines: dict[str, list[str]] = {f"Ses0{session}F_impro01": [], f"Ses0{session}M_script01_1": []}
        for letter, gender in (("F", "female"), ("M", "male")):
            labels = [label for label, n in turns.items() for _ in range(n)]
            for i, label in enumerate(labels):
                dialog = list(lines)[i % 2]
                turn = f"{dialog}_{letter}{i:03d}"
                place = PLACES[_IEMOCAP_EMOTIONS[label]]
                said = sound(place, gender=gender, voice=session, rng=rng, duration_s=duration_s, rate=16000)
                _write(root / f"Session{session}/sentences/wav/{dialog}/{turn}.wav", said, 16000)
                lines[dialog].append(_turn(turn, label, start_s=2.0 * i, duration_s=duration_s, rng=rng))
        for dialog, written in lines.items():
            path = root / f"Session{session}" / "dialog" / "EmoEvaluation" / f"{dialog}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            head = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
            path.write_text(head + "\n".join(written), encoding="utf-8")
    return root


def _turn(turn: str, label: str, *, start_s: float, duration_s: float, rng: np.random.Generator) -> str:
    """Word a turn of an EmoEvaluation file, with a line of one of its annotators below."""
    arousal, valence = PLACES[_IEMOCAP_EMOTIONS[label]]
    rated = [np.clip(np.round(2 * (3 + 2 * v + rng.normal(0, 0.4))) / 2, 1, 5) for v in (valence, arousal, arousal)]
    dimensions = ", ".join(f"{value:.4f}" for value in rated)
    head = f"[{start_s:.4f} - {start_s + duration_s:.4f}]\t{turn}\t{label}\t[{dimensions}]"
    return f"{head}\nC-E2:\tNeutral;\t()\nA-E3:\tval {rated[0]:.0f}; act {rated[1]:.0f}; dom  {rated[2]:.0f};\t()\n"


def write_recola(
    root: Path,
    *,
    people: Sequence[str] = RECOLA_PEOPLE,
    utterances: int = 6,
    duration_s: float = 0.5,
    rate: int = 44100,
) -> Path:
    """RECOLA: recordings, a trace of arousal and of valence for each, six raters every 40 ms, and a segments.csv.

    Each person's recording is a row of utterances with as much silence between them; the first two say low and high, so
    that nobody lacks a class. The 23 people are all that the real corpus has; their genders alternate.
    """
    rng = np.random.default_rng(0)
    segments = ["file,start,end,speaker"]
    for voice, person in enumerate(people):
        places = [tuple(rng.uniform(-0.9, 0.9, 2)) for _ in range(utterances)]
        places[:2] = [(-0.6, -0.6), (0.6, 0.6)]
        gender = ("female", "male")[voice % 2]
        pieces = []
        for i, place in enumerate(places):
            said = sound(place, gender=gender, voice=voice, rng=rng, duration_s=duration_s, rate=rate)
            pieces += [said, 0.002 * rng.normal(size=len(said))]
            segments.append(f"{person}.wav,{2 * i * duration_s:.2f},{(2 * i + 1) * duration_s:.2f},{person}")
        _write(root / "RECOLA-Audio-recordings" / f"{person}.wav", np.concatenate(pieces), rate)
        for column, dimension in enumerate(("arousal", "valence")):
            trace = _trace([place[column] for place in places], duration_s=duration_s, rng=rng)
            path = root / "RECOLA-Annotation" / "emotional_behaviour" / dimension / f"{person}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(trace, encoding="utf-8")
    (root / "segments.csv").write_text("\n".join(segments) + "\n", encoding="utf-8")
    return root


def _trace(values: Sequence[float], *, duration_s: float, rng: np.random.Generator) -> str:
    """Write what six raters, each with a bias, draw along the utterances of one recording."""
    bias = rng.normal(0, 0.05, len(RECOLA_RATERS))
    lines = ["time;" + " ;".join(RECOLA_RATERS)]  # blanks before each but the first semicolon, as there
    for step in range(round(2 * duration_s * len(values) / _STEP_S)):
        time_s = step * _STEP_S
        value = values[min(int(time_s / (2 * duration_s)), len(values) - 1)]
        drawn = np.clip(value + bias + rng.normal(0, 0.05, len(bias)), -1, 1)
        lines.append(f"{time_s:.2f};" + ";".join(f"{v:.4f}" for v in drawn))
    return "\n".join(lines) + "\n"


def _codes(codes: str, emotions: str) -> dict[str, str]:
    return dict(zip(codes.split(), emotions.split(), strict=True))


_ALL = (write_ased, write_cremad, write_emodb, write_emovo, write_iemocap, write_masc, write_ravdess, write_recola)
WRITERS = {writer.__name__.removeprefix("write_"): writer for writer in (*_ALL, write_savee)}
