"""Tetranucleotide frequencies against a Python loop over k-mers: speed on one CPU thread.

    python benchmarks/bench_tnf.py [--rounds 7]

Aim: at least 50 times the loop at every length. The loop looks each 4-mer up in a dictionary, as
DNABERT-S's baseline does, but without its second pass; both must agree before any time is taken.
The best of interleaved rounds is kept: other work on the machine only ever adds time.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from machine import write_result

from genomelm_utils.baselines.tetranucleotide import canonical_tnf, tnf, tnf_k
from genomelm_utils.sequences.alphabet import decode
from genomelm_utils.sequences.kmers import kmer_strings

LENGTHS_BP = (500, 2000, 10_000)
TOTAL_BASES = 2_000_000  # per length, so that every row takes about as long
AIM = 50
INDEX = {word: i for i, word in enumerate(kmer_strings(4))}


def loop_tnf(texts: list[str]) -> np.ndarray:
    """Frequencies [S, 256] by one dictionary look-up per 4-mer."""
    rows = []
    for text in texts:
        counts = [0] * len(INDEX)
        for i in range(len(text) - 3):
            counts[INDEX[text[i : i + 4]]] += 1
        rows.append(np.array(counts) / sum(counts))
    return np.array(rows)


def wall_s(work: Callable[[], object]) -> float:
    """Wall time of one call in seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(rng: np.random.Generator, length_bp: int, rounds: int) -> dict:
    """One row: microseconds per sequence of the loop and of ours, and the ratio."""
    codes = list(rng.integers(0, 4, (TOTAL_BASES // length_bp, length_bp), dtype=np.uint8))
    texts = [decode(one) for one in codes]
    if np.abs(loop_tnf(texts) - tnf(codes)).max() > 1e-6:
        raise RuntimeError("the loop and tnf disagree, nothing to compare")
    works = {
        "loop": lambda: loop_tnf(texts),
        "tnf": lambda: tnf(codes),
        "canonical_tnf": lambda: canonical_tnf(codes),
        "tnf_k": lambda: tnf_k(codes),
    }
    tnf_k(codes[:1])  # makes the kernel
    times = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(wall_s(work))
    best = {name: min(found) for name, found in times.items()}
    return {
        "length_bp": length_bp,
        "n_sequences": len(codes),
        **{f"{name}_us": round(1e6 * s / len(codes), 2) for name, s in best.items()},
        "mbp_per_s": round(TOTAL_BASES / best["tnf"] / 1e6, 1),
        "ratio": round(best["loop"] / best["tnf"], 1),
        "rounds": rounds,
        "threads": 1,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    rows = [measure(rng, length_bp, args.rounds) for length_bp in LENGTHS_BP]
    for row in rows:
        print("  ".join(f"{key}={value}" for key, value in row.items()))
    least = min(row["ratio"] for row in rows)
    print(f"least ratio {least} ({'meets' if least >= AIM else 'misses'} the aim of {AIM})")
    print(write_result("tnf", rows))


if __name__ == "__main__":
    main()
