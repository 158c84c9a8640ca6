"""Binning of contig embeddings: blockwise against the same algorithm with its N x N matrix.

    python benchmarks/bench_binning.py [--sizes 2000 8000 20000] [--large 100000]
        [--approximate 20000 1000000] [--device cpu]

Embeddings: 768 numbers each, scattered around N / 100 random species of unequal size, plus a tenth
of strays. Every measurement is a fresh process: time is of one call (after a small one, so that
libraries are loaded), memory is the peak of the process, and the same above what it held with the
embeddings made. Ours and the dense one get the same embeddings and gamma; their labels are compared
and a difference is told. `--large` is for ours alone: the dense matrix would not fit; its peak is
set against what is promised. `--approximate`: 64 numbers each, N / 1,000 species, neighbours looked
for in like cells of rows only; up to 20,000 rows the agreement with exact bins is measured, too.
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
APPROXIMATE_WIDTH = 64
APPROXIMATE_PER_SPECIES = 1000
COMPARED = 20_000  # rows of which the exact bins are made, too
PROMISED_GIB = 3.0  # peak of the process that bins 100,000 embeddings of 768
STRAYS = 0.1
NOISE = 0.7  # two contigs of a species have a cosine of about 1 / (1 + NOISE**2) = 0.67


def make_embeddings(
    n: int, width: int = WIDTH, per_species: int = CONTIGS_PER_SPECIES, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """float32 [n, width], in blocks so that making them is not the peak; species, -1 of strays."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(max(2, n // per_species), width)).astype(np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    which = rng.choice(len(centres), size=n, p=rng.dirichlet(np.full(len(centres), 3.0)))
    stray = rng.random(n) < STRAYS
    rows = np.empty((n, width), dtype=np.float32)
    for begin in range(0, n, 4096):
        block = slice(begin, begin + 4096)
        noise = rng.standard_normal((len(which[block]), width), dtype=np.float32) / width**0.5
        rows[block] = np.where(stray[block, None], 0, centres[which[block]]) + NOISE * noise
    return rows, np.where(stray, -1, which)


def memory_bytes(field: str) -> int:
    """VmHWM (peak) or VmRSS (now) of this process. Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024


def report(method: str, n: int, device: str | None) -> None:
    """In the child: one call, its time, peaks and a hash of its labels, as JSON."""

    approximate = method == "approximate"
    shape = (APPROXIMATE_WIDTH, APPROXIMATE_PER_SPECIES) if approximate else (WIDTH,)

    def run(rows: np.ndarray) -> np.ndarray:
        if method == "dense":
            rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
            return bin_dense(rows, GAMMA)
        return bin_rows(rows, method, device)[0]

    run(make_embeddings(500)[0])
    rows, species = make_embeddings(n, *shape)
    held = memory_bytes("VmRSS")
    start = time.perf_counter()
    labels = run(rows)
    wall_s = time.perf_counter() - start
    peak = memory_bytes("VmHWM")
    found = {
        "method": method,
        "n_contigs": n,
        "width": rows.shape[1],
        "wall_s": round(wall_s, 3),
        "peak_gib": round(peak / 2**30, 3),
        "peak_above_embeddings_gib": round((peak - held) / 2**30, 3),
        "n_bins": len(np.unique(labels[labels > 0])),
        "binned": round(float((labels > 0).mean()), 4),
        "labels": hashlib.sha256(labels.astype(np.int64).tobytes()).hexdigest()[:16],
    }
    if approximate:
        found |= agreement(rows, species, labels, device)
    print(json.dumps(found))


def bin_rows(rows: np.ndarray, method: str, device: str | None) -> tuple[np.ndarray, str]:
    """Labels of ours, and how neighbours were found."""
    from genomelm_utils.evaluation.binning import bin_contigs

    if method == "blockwise":
        found = bin_contigs(rows, GAMMA, mode="reference", device=device)
    else:
        most = 2 * max(2, len(rows) // APPROXIMATE_PER_SPECIES)
        found = bin_contigs(rows, GAMMA, max_bins=most, device=device, neighbours=method)
    return found.labels, found.neighbours


def agreement(
    rows: np.ndarray, species: np.ndarray, labels: np.ndarray, device: str | None
) -> dict:
    """ARI of approximate bins with species (strays left out), and with exact bins if not large."""
    from sklearn.metrics import adjusted_rand_score

    known = species >= 0
    found = {"ari_species": round(adjusted_rand_score(species[known], labels[known]), 5)}
    if len(rows) > COMPARED:
        return found
    start = time.perf_counter()
    exact, _ = bin_rows(rows, "exact", device)
    found["exact_wall_s"] = round(time.perf_counter() - start, 3)
    found["ari_exact"] = round(adjusted_rand_score(exact, labels), 5)
    return found | {"same_labels": round(float((exact == labels).mean()), 5)}


def measure(method: str, n: int, device: str | None) -> dict:
    """One row, measured in a process of its own."""
    command = [sys.executable, __file__, "--child", method, "--large", str(n)]
    command += ["--device", device] if device else []
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(text.splitlines()[-1])


def show(row: dict) -> None:
    print(
        f"{row['method']:<11} N {row['n_contigs']:>9,} x {row['width']:>3}  "
        f"{row['wall_s']:9.2f} s  peak {row['peak_gib']:6.2f} GiB "
        f"(+{row['peak_above_embeddings_gib']:.2f})  {row['n_bins']:>5} bins  "
        f"{row['binned']:.1%} binned",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=[2_000, 8_000, 20_000])
    parser.add_argument("--large", type=int, default=100_000, help="for ours alone; 0 for none")
    parser.add_argument("--approximate", type=int, nargs="*", default=[20_000, 1_000_000])
    parser.add_argument("--device", default=None, help="cpu or cuda; by default what is there")
    parser.add_argument("--rounds", type=int, default=3, help="rounds for the sizes; others 1")
    parser.add_argument("--no-write", action="store_true", help="leave results/ as it is")
    parser.add_argument(
        "--child", choices=("dense", "blockwise", "approximate"), help=argparse.SUPPRESS
    )
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
        large = measure("blockwise", options.large, options.device)
        promise = {"promised_gib": PROMISED_GIB, "kept": large["peak_gib"] < PROMISED_GIB}
        rows.append(large | {"rounds": 1} | promise)
        show(rows[-1])
    for n in options.approximate:
        rows.append(measure("approximate", n, options.device) | {"rounds": 1})
        show(rows[-1])
        print(f"{'':<11} " + ", ".join(f"{k} {v}" for k, v in rows[-1].items() if "ari" in k))
    if not options.no_write:
        print(f"written: {write_result('binning', rows)}")


if __name__ == "__main__":
    main()
