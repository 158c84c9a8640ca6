"""FASTA to NPMI ranking inside a running Python, against whole processes of two k-mer counters.

    python benchmarks/bench_counting.py [--bases 95000000] [--rounds 7]

Ours: `read_fasta`, `count_ngrams` for all n <= 10 and `ranking` of the 6-mers, compiled before.
Peers, as a user starts them, two threads each: `jellyfish count -m 10` and `kmc -k10 -b -ci1`. They
count one length, we count ten and rank; they start a process, we do not: that is the comparison a
notebook makes. All read the same file from the page cache. Rounds are interleaved, so that a busy
moment hits everybody. Before any time is taken, our counts are compared with jellyfish's.

The file: genomes under GENOMELM_DATA end to end, or without it (or where they are too few)
random bases with lower case and N.
"""

import argparse
import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from machine import write_result

from genomelm_utils.pretraining.ngrams import NgramCounts, count_ngrams
from genomelm_utils.pretraining.pmi import ranking
from genomelm_utils.sequences.alphabet import encode
from genomelm_utils.sequences.fasta import read_fasta
from genomelm_utils.sequences.kmers import kmer_codes

N_MAX = 10  # the longest words of the released ranking's table
K = 6
THREADS = 2
PEERS = {
    "jellyfish": "jellyfish count -m {n} -s 4M -t {threads} -o {folder}/counts.jf {fasta}",
    "kmc": "kmc -k{n} -b -ci1 -t{threads} -fm {fasta} {folder}/counts.kmc {folder}",
}


def make_fasta(path: Path, n_bases: int) -> str:
    """Writes at least n_bases to `path`; returns in words where they come from."""
    data_dir = os.environ.get("GENOMELM_DATA")
    genomes = sorted(Path(data_dir, "genomes").rglob("*.f*a.gz")) if data_dir else []
    written = 0
    with path.open("wb") as file:
        for number, genome in enumerate(genomes, start=1):
            text = gzip.decompress(genome.read_bytes()).replace(b">", b">%d." % number)
            written += file.write(text) - text.count(b"\n")
            if written >= n_bases:
                return f"{number} genome files of the data folder, whole, as they are"
        file.seek(0)
        file.truncate()
        file.write(_random_fasta(n_bases))
    return "random bases, a tenth in lower case, a hundredth N"


def _random_fasta(n_bases: int, n_records: int = 20, width: int = 80) -> bytes:
    rng = np.random.default_rng(0)
    n_lines = n_bases // n_records // width + 1
    records = []
    for record in range(n_records):
        lines = np.frombuffer(b"ACGT", dtype=np.uint8)[rng.integers(0, 4, (n_lines, width + 1))]
        lines[rng.random(n_lines) < 0.1] |= ord(" ")  # lower case
        lines[rng.random(n_lines) < 0.01] = ord("N")
        lines[:, -1] = ord("\n")
        records.append(b">record%d\n" % record + lines.tobytes())
    return b"".join(records)


def run_ours(fasta: Path) -> NgramCounts:
    records = read_fasta(fasta)
    counts = count_ngrams(records.codes, records.runs(), N_MAX, threads=THREADS)
    ranking(counts, K)
    return counts


def run_peer(peer: str, fasta: Path, folder: Path) -> None:
    command = PEERS[peer].format(n=N_MAX, threads=THREADS, folder=folder, fasta=fasta).split()
    subprocess.run(command, check=True, capture_output=True)


def check_against_jellyfish(counts: NgramCounts, fasta: Path, folder: Path) -> None:
    """Every one of the 4**10 counts equal, or no times are taken."""
    run_peer("jellyfish", fasta, folder)
    dump = ["jellyfish", "dump", "-c", "-t", str(folder / "counts.jf")]
    text = subprocess.run(dump, check=True, capture_output=True).stdout
    fields = text.split()
    codes = encode(b"".join(fields[0::2])).reshape(-1, N_MAX)
    expected = np.zeros(4**N_MAX, dtype=np.int64)
    expected[kmer_codes(codes, N_MAX)[:, 0]] = np.array(fields[1::2], dtype=np.int64)
    n_different = int((counts.counts[N_MAX] != expected).sum())
    if n_different:
        raise SystemExit(f"{n_different} of {4**N_MAX} counts differ from jellyfish's: no timing")
    print(f"counts of all {4**N_MAX:,} words equal jellyfish's ({expected.sum():,} windows)")


def time_rounds(tasks: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Wall seconds of each task in each round, the tasks one after the other within a round."""
    wall_s: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            wall_s[name].append(time.perf_counter() - start)
    return wall_s


def measure_memory(fasta: Path) -> dict[str, float]:
    """Peak memory of a fresh process that does our work once, as that process reports it."""
    command = [sys.executable, __file__, "--memory-of", str(fasta)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def peak_memory_bytes() -> int:
    """Peak resident memory of this process since it was started.

    Linux only. `getrusage` would report the parent's peak where that is larger: exec keeps it.
    """
    status = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def report_memory(fasta: Path) -> None:
    """In the child: the peak after warming up on a tiny file, and after the whole one, in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        tiny = Path(folder) / "tiny.fa"
        tiny.write_text(">tiny\n" + "ACGTTGCANacgtca" * 10 + "\n")
        run_ours(tiny)
    idle = peak_memory_bytes()
    run_ours(fasta)
    print(json.dumps({"idle_bytes": idle, "peak_bytes": peak_memory_bytes()}))


def measure(fasta: Path, folder: Path, rounds: int, source: str) -> list[dict]:
    """One row per thing timed, and one for memory."""
    counts = run_ours(fasta)  # also compiles
    check_against_jellyfish(counts, fasta, folder)
    records = read_fasta(fasta)
    runs = records.runs()
    tasks: dict[str, Callable[[], object]] = {
        "ours: read + count n <= 10 + rank": lambda: run_ours(fasta),
        **{f"{peer}: whole process": lambda p=peer: run_peer(p, fasta, folder) for peer in PEERS},
        "part: read_fasta": lambda: read_fasta(fasta),
        "part: definite runs": lambda: records.runs(),
        "part: count_ngrams": lambda: count_ngrams(records.codes, runs, N_MAX, threads=THREADS),
        "part: ranking": lambda: ranking(counts, K),
    }
    wall_s = time_rounds(tasks, rounds)
    ours = statistics.median(wall_s["ours: read + count n <= 10 + rank"])
    rows = []
    for name, seconds in wall_s.items():
        median = statistics.median(seconds)
        rows.append(
            {
                "what": name,
                "median_s": round(median, 4),
                "min_s": round(min(seconds), 4),
                "mbp_per_s": round(len(records.codes) / median / 1e6, 1),
                "times_ours": round(median / ours, 2),
                "rounds": rounds,
                "n_bases": len(records.codes),
                "file": source,
            }
        )
    memory = measure_memory(fasta)
    extra = (memory["peak_bytes"] - memory["idle_bytes"]) / len(records.codes)
    rows.append({"what": "ours: peak memory above idle, bytes per base", "value": round(extra, 3)})
    total = memory["peak_bytes"] / len(records.codes)
    rows.append(
        {"what": "ours: peak memory of the process, bytes per base", "value": round(total, 3)}
    )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bases", type=int, default=95_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--memory-of", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        report_memory(options.memory_of)
        return
    missing = [peer for peer in PEERS if shutil.which(peer) is None]
    if missing:
        raise SystemExit(f"not installed: {', '.join(missing)} (Debian packages of the same names)")
    with tempfile.TemporaryDirectory() as folder:
        fasta = Path(folder) / "sequence.fa"
        source = make_fasta(fasta, options.bases)
        print(source)
        rows = measure(fasta, Path(folder), options.rounds, source)
    for row in rows:
        if "value" in row:
            print(f"{row['what']:<48} {row['value']:8.3f}")
        else:
            print(
                f"{row['what']:<36} median {row['median_s']:7.3f} s  min {row['min_s']:7.3f} s  "
                f"{row['mbp_per_s']:8.1f} Mbp/s  {row['times_ours']:5.2f} x ours"
            )
    print(f"written: {write_result('counting', rows)}")


if __name__ == "__main__":
    main()
