"""How alike short words of one low voice are, and altered copies of them: the figures of docs/audit.md.

`python benchmarks/short_words.py` prints the table. The words are synthetic and hard on purpose: one voice of 85 Hz
whose pitch wavers by 1 % and falls a little, two of five vowels in each word. In 4 % of the pairs both vowels are the
same.
"""

from __future__ import annotations

import io
import itertools

import numpy as np
import pandas as pd
import soundfile
import soxr

from serbench.audit import copies

RATE = 16000
VOWELS = ((730, 1090), (270, 2290), (300, 870), (530, 1840), (570, 840))
"""First and second formant in Hz (Peterson and Barney 1952, men)."""
N_WORDS = 250
EARLIER_BOUND = 0.8


def word(seed: int, *, duration_s: float = 0.5, f0_hz: float = 85.0) -> np.ndarray:
    """Samples of a word at `RATE`: two vowels, each with an onset, on a pitch that falls a little."""
    rng = np.random.default_rng([11, seed])
    t = np.arange(int(duration_s * rng.uniform(0.9, 1.1) * RATE)) / RATE
    place = t / t[-1]
    moments = np.arange(0, t[-1] + 0.1, 0.05)
    wavering = np.interp(t, moments, rng.normal(0, 0.01, len(moments)))
    f0 = f0_hz * 2 ** (rng.normal(0, 0.04) - rng.uniform(0, 0.06) * place + wavering)
    phase = 2 * np.pi * np.cumsum(f0) / RATE
    one, other = rng.choice(len(VOWELS), 2)
    glide = 1 / (1 + np.exp(-(place - rng.uniform(0.35, 0.65)) * 20))
    said = np.array([VOWELS[one], VOWELS[other]]) * rng.normal(1, 0.03, (2, 2))
    formants = [a + (b - a) * glide for a, b in said.T]
    voice = np.zeros_like(t)
    for n in range(1, 40):
        gains = (1 / (1 + ((n * f0 - formant) / 90) ** 2) for formant in formants)
        voice += (sum(gains) + 0.02) / n * np.sin(n * phase)
    onsets = np.interp(place, [0, 0.1, 0.4, rng.uniform(0.45, 0.55), 0.6, 0.9, 1], [0, 1, 0.8, 0.1, 0.9, 0.6, 0])
    samples = onsets * voice
    return 0.5 * samples / np.abs(samples).max() + rng.normal(0, 5e-4, len(t))


def encoded(samples: np.ndarray, **options: str) -> tuple[np.ndarray, int]:
    """Samples as another format gives them back."""
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, **options)
    file.seek(0)
    return soundfile.read(file)


def low_pass(samples: np.ndarray, edge_hz: float) -> np.ndarray:
    """Samples without what lies above a frequency."""
    spectrum = np.fft.rfft(samples)
    spectrum[np.fft.rfftfreq(len(samples), 1 / RATE) > edge_hz] = 0
    return np.fft.irfft(spectrum, len(samples))


ALTERED = {
    "a fifth of the level": lambda x: (0.2 * x, RATE),
    "upside down": lambda x: (-x, RATE),
    "shifted by 3.3 ms": lambda x: (np.concatenate([np.zeros(53), x]), RATE),
    "silence around it": lambda x: (np.concatenate([np.zeros(4321), x, np.zeros(1111)]), RATE),
    "low-pass of 1.5 kHz": lambda x: (low_pass(x, 1500), RATE),
    "8 kHz": lambda x: (soxr.resample(x, RATE, 8000), 8000),
    "44.1 kHz": lambda x: (soxr.resample(x, RATE, 44100), 44100),
    "MP3": lambda x: encoded(x, format="MP3", subtype="MPEG_LAYER_III"),
    "Ogg Vorbis": lambda x: encoded(x, format="OGG", subtype="VORBIS"),
    "mu-law": lambda x: encoded(x, format="WAV", subtype="ULAW"),
    "clipped by 6 dB": lambda x: (np.clip(x, -0.25, 0.25), RATE),
    "noise at 20 dB SNR": lambda x: (x + np.random.default_rng(0).normal(0, 0.1 * x.std(), len(x)), RATE),
}


def heard(samples: np.ndarray, rate: int = RATE) -> np.ndarray:
    """Samples as the audit holds them against each other."""
    return soxr.resample(samples, rate, copies.RATE)


def distinct(n: int, **voice: float) -> pd.DataFrame:
    """Correlation of all pairs of `n` words that are not one."""
    words = {f"{i:03d}": heard(word(i, **voice)) for i in range(n)}
    pairs = itertools.combinations(sorted(words), 2)
    rows = [(a, b, copies.correlation(words[a], words[b])) for a, b in pairs]
    return pd.DataFrame(rows, columns=["one", "other", "correlation"])


def altered(n: int, **voice: float) -> dict[str, float]:
    """Return the lowest correlation of `n` words with their altered copies, by kind."""
    words = [word(i, **voice) for i in range(n)]
    return {how: min(copies.correlation(heard(x), heard(*alter(x))) for x in words) for how, alter in ALTERED.items()}


def main() -> None:
    """Print the table that docs/audit.md quotes."""
    print("| seconds | distinct pairs | highest | from 0.8 on | longest chain | taken for copies | lowest of a copy |")
    print("|---|---|---|---|---|---|---|")
    for duration_s in (0.5, 1.0, 1.5):
        pairs = distinct(N_WORDS, duration_s=duration_s)
        above = pairs[pairs["correlation"] >= EARLIER_BOUND]
        bound = copies.copy_from(heard(word(0, duration_s=duration_s)), heard(word(1, duration_s=duration_s)))
        taken = (pairs["correlation"] >= bound).sum()
        of_copies = altered(40, duration_s=duration_s)
        hardest = min(of_copies, key=of_copies.__getitem__)
        highest = pairs["correlation"].max()
        found = f"{len(pairs)} | {highest:.2f} | {len(above)} | {longest_chain(above)} | {taken} (bound {bound:g})"
        print(f"| {duration_s:g} | {found} | {of_copies[hardest]:.2f} ({hardest}) |")


def longest_chain(pairs: pd.DataFrame) -> int:
    """Words that pairs join into one group where a chain of pairs is enough, as an earlier serbench did."""
    joins = list(zip(pairs["one"], pairs["other"], strict=True))
    group = {name: {name} for pair in joins for name in pair}
    for one, other in joins:
        joined = group[one] | group[other]
        group.update(dict.fromkeys(joined, joined))
    return max(map(len, group.values()), default=0)


if __name__ == "__main__":
    main()
