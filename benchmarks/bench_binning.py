"""Binning of contig embeddings: blockwise against the same algorithm with its N x N matrix.

    python benchmarks/bench_binning.py [--sizes 2000 8000 20000] [--large 100000] [--device cpu]

Embeddings: 768 numbers each, scattered around N / 100 random species of unequal size, plus a tenth
of strays. Every measurement is a fresh process: time is of one call (after a small one, so that
libraries are loaded), memory is the peak of the process, and the same above what it held with the
embeddings made. Ours and the dense one get the same embeddings and gamma; their labels are compared
and a difference is told. `--large` is for ours alone: the dense matrix would not fit.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from dense_kmedoid import bin_dense
from machine import write_result

WIDTH = 768
GAMMA = 0.6
CONTIGS_PER_SPECIES = 100
STRAYS = 0.1
NOISE = 0.7  # two contigs of a species have a cosine of about 1 / (1 + NOISE**2) = 0.67


def make_embeddings(n: int, seed: int = 0) -> np.ndarray:
    """float32 [n, WIDTH], made in blocks so that making them is not the peak."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(max(2, n // CONTIGS_PER_SPECIES), WIDTH)).astype(np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    which = rng.choice(len(centres), size=n, p=rng.dirichlet(np.full(len(centres), 3.0)))
    stray = rng.random(n) < STRAYS
    rows = np.empty((n, WIDTH), dtype=np.float32)
    for begin in range(0, n, 4096):
        block = slice(begin, begin + 4096)
        noise = rng.standard_normal((len(which[block]), WIDTH), dtype=np.float32) / WIDTH**0.5
        rows[block] = np.where(stray[block, None], 0, centres[which[block]]) + NOISE * noise
    return rows


def memory_bytes(field: str) -> int:
    """VmHWM (peak) or VmRSS (now) of this process. Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024


def report(method: str, n: int, device: str | None) -> None:
    """In the child: one call, its time, peaks and a hash of its labels, as JSON."""

    def run(rows: np.ndarray) -> np.ndarray:
        if method == "dense":
            rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
            return bin_dense(rows, GAMMA)
        from genomelm_utils.evaluation.binning import bin_contigs

        return bin_contigs(rows, GAMMA, mode="reference", device=device).labels

    run(make_embeddings(500))
    rows = make_embeddings(n)
    held = memory_bytes("VmRSS")
    start = time.perf_counter()
    labels = run(rows)
    wall_s = time.perf_counter() - start
    peak = memory_bytes("VmHWM")
    found = {
        "method": method,
        "n_contigs": n,
        "wall_s": round(wall_s, 3),
        "peak_gib": round(peak / 2**30, 3),
        "peak_above_embeddings_gib": round((peak - held) / 2**30, 3),
        "n_bins": len(np.unique(labels[labels > 0])),
        "binned": round(float((labels > 0).mean()), 4),
        "labels": hashlib.sha256(labels.astype(np.int64).tobytes()).hexdigest()[:16],
    }
    print(json.dumps(found))


def measure(method: str, n: int, device: str | None) -> dict:
    """One row, measured in a process of its own."""
    command = [sys.executable, __file__, "--child", method, "--large", str(n)]
    command += ["--device", device] if device else []
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(text.splitlines()[-1])


def show(row: dict) -> None:
    print(
        f"{row['method']:<10} N {row['n_contigs']:>7,}  {row['wall_s']:9.2f} s  peak "
        f"{row['peak_gib']:6.2f} GiB (+{row['peak_above_embeddings_gib']:.2f})  "
        f"{row['n_bins']:>5} bins  {row['binned']:.1%} binned",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=[2_000, 8_000, 20_000])
    parser.add_argument("--large", type=int, default=0, help="one more size, for ours alone")
    parser.add_argument("--device", default=None, help="cpu or cuda; by default what is there")
    parser.add_argument("--rounds", type=int, default=3, help="rounds for the sizes; 1 for --large")
    parser.add_argument("--child", choices=("dense", "blockwise"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        report(options.child, options.large, options.device)
        return
    rows = []
    for n in options.sizes:
        best = {}
        for _ in range(options.rounds):
            for method in ("blockwise", "dense"):
                row = measure(method, n, options.device)
                if method not in best or row["wall_s"] < best[method]["wall_s"]:
                    best[method] = row
        ours, dense = best["blockwise"], best["dense"]
        same = ours["labels"] == dense["labels"]
        ours |= {"rounds": options.rounds, "labels_equal_dense": same}
        dense |= {
            "rounds": options.rounds,
            "time_of_ours": round(dense["wall_s"] / ours["wall_s"], 2),
            "extra_memory_of_ours": round(
                dense["peak_above_embeddings_gib"] / ours["peak_above_embeddings_gib"], 2
            ),
        }
        show(ours)
        show(dense)
        print(
            f"{'':<10} labels {'equal' if same else 'DIFFER'}; dense takes "
            f"{dense['time_of_ours']} x the time, "
            f"{dense['extra_memory_of_ours']} x the extra memory"
        )
        rows += [ours, dense]
    if options.large:
        rows.append(measure("blockwise", options.large, options.device) | {"rounds": 1})
        show(rows[-1])
    print(f"written: {write_result('binning', rows)}")


if __name__ == "__main__":
    main()
