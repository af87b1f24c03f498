"""The mfcc of one recording, written from docs/features.md alone: nothing here comes from serbench."""

import sys

import librosa
import numpy
import soundfile
import soxr


def samples_of(path: str) -> numpy.ndarray:
    """Decode, mean of the channels, 16 kHz, clip."""
    with soundfile.SoundFile(path) as file:
        samples = file.read(dtype="float32", always_2d=True)
        rate = file.samplerate
    mono = samples.mean(axis=1) if samples.shape[1] > 1 else samples[:, 0]
    if rate != 16000:
        mono = soxr.resample(mono, rate, 16000, quality="HQ")
    return numpy.clip(mono, -1, 1 - 2**-15).astype(numpy.float32)


def static_mfcc(mono: numpy.ndarray) -> numpy.ndarray:
    """13 MFCCs, shape (13, n_frames)."""
    power = librosa.feature.melspectrogram(
        y=mono,
        sr=16000,
        n_fft=512,
        win_length=400,
        hop_length=160,
        window="hamming",
        center=False,
        power=2.0,
        n_mels=26,
        fmin=0,
        fmax=8000,
    )
    log_mel = librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=None)
    return librosa.feature.mfcc(S=log_mel, n_mfcc=13, dct_type=2, norm="ortho", lifter=0)


def mfcc(path: str) -> numpy.ndarray:
    """156 functionals, shape (156,)."""
    static = static_mfcc(samples_of(path))
    deltas = [librosa.feature.delta(static, width=9, order=order, axis=-1, mode="nearest") for order in (1, 2)]
    llds = numpy.concatenate([static, *deltas])
    return numpy.stack([llds.mean(axis=1), llds.std(axis=1), llds.min(axis=1), llds.max(axis=1)], axis=1).ravel()


def names() -> list[str]:
    """Names of the 156 columns."""
    llds = [f"mfcc{i}{kind}" for kind in ("", "_delta", "_delta2") for i in range(13)]
    return [f"{lld}_{functional}" for lld in llds for functional in ("mean", "std", "min", "max")]


if __name__ == "__main__":
    print(",".join(f"{value:.9g}" for value in mfcc(sys.argv[1])))
