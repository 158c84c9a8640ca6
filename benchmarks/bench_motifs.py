"""Native GADEM: speed and what is found, beside rGADEM's own results on the same sequences.

    python benchmarks/bench_motifs.py [--threads 2] [--rgadem FOLDER]

Simulated: 2,000 random sequences of 200 bp (A .3, C .2, G .2, T .3) with ten random words of 7 to
14 bp, each in 20 to 50 % of the sequences, on either strand, 5 % of the bases redrawn; default
parameters, ten motifs. A word counts as found when a motif's consensus contradicts it nowhere
and more than half of its sites are among the motif's; what share of the sites is found, and what
share of the motif's sites is false, is in the mean over the words found.

Real, under GENOMELM_DATA: FOXA1 and CTCF peaks with the call of GeneMask's script; the first motif
is named by its best match in JASPAR.

FOLDER holds rGADEM's results on three of the sets (rgadem_runs.json, planted.fa,
planted_truth.tsv), whose CPU seconds were taken on another machine. Where R has rGADEM it runs
here, one set after the other beside ours (`rgadem` is 'here', not 'recorded'): half an hour.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
from machine import write_result

from genomelm_utils import motifs
from genomelm_utils.motifs.motif import Discovery, Motif
from genomelm_utils.motifs.records import collect
from genomelm_utils.motifs.recovery import score_sites
from genomelm_utils.motifs.refine import same_motif
from genomelm_utils.motifs.rgadem import (
    PAPER_PARAMETERS,
    PAPER_SEED,
    MissingR,
    package_version,
)
from genomelm_utils.sequences.alphabet import encode, reverse_complement


def simulate(
    rng: np.random.Generator, n: int = 2000, length: int = 200, n_words: int = 10
) -> tuple[np.ndarray, dict[str, pd.DataFrame]]:
    """Base codes of the sequences, and the sites of each word: index, start, end.

    Words are planted one after the other; what a later one overwrites is a site no more.
    """
    rows = rng.choice(4, (n, length), p=(0.3, 0.2, 0.2, 0.3)).astype(np.uint8)
    owner = np.full((n, length), -1)
    words = ["".join(rng.choice(list("ACGT"), k)) for k in rng.integers(7, 15, n_words)]
    starts = np.full((n_words, n), -1)
    for number, word in enumerate(words):
        codes = encode(word)
        for i in np.flatnonzero(rng.random(n) < rng.uniform(0.2, 0.5)):
            site = np.where(rng.random(len(codes)) < 0.95, codes, rng.integers(0, 4, len(codes)))
            start = rng.integers(0, length - len(codes) + 1)
            place = slice(start, start + len(codes))
            rows[i, place] = (
                reverse_complement(site.astype(np.uint8)) if rng.random() < 0.5 else site
            )
            owner[i, place] = number
            starts[number, i] = start
    truth = {}
    for number, word in enumerate(words):
        whole = [
            (i, s, s + len(word))
            for i, s in enumerate(starts[number])
            if s >= 0 and (owner[i, s : s + len(word)] == number).all()
        ]
        truth[word] = pd.DataFrame(whole, columns=["index", "start", "end"])
    return rows, truth


def contradicts(motif: Motif, word: str) -> bool:
    """Whether the motif, on either strand and at any shift, disagrees with the word somewhere."""
    for text in (motif.consensus, motif.reverse_complement().consensus):
        for shift in range(-3, 4):
            pairs = [
                (letter, word[i + shift])
                for i, letter in enumerate(text)
                if letter in "ACGT" and 0 <= i + shift < len(word)
            ]
            if len(pairs) >= min(6, len(word) - 1) and all(a == b for a, b in pairs):
                return False
    return True


def timed(sequences: object, **options: object) -> tuple[Discovery, float, float]:
    """What `discover` finds, wall seconds, CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = motifs.discover(sequences, **options)
    return found, time.perf_counter() - wall, time.process_time() - cpu


def measure_simulated(threads: int) -> dict:
    rows, truth = simulate(np.random.default_rng(0))
    found, wall, cpu = timed(list(rows), n_motifs=10, seed=1, threads=threads)
    recalls, false_shares = [], []
    for word, sites in truth.items():
        for motif in found.motifs:
            n_true, n_false = score_sites(motif.sites, sites)
            if not contradicts(motif, word) and n_true > len(sites) / 2:
                recalls.append(n_true / len(sites))
                false_shares.append(n_false / len(motif.sites))
    return {
        "set": "simulated, 2,000 x 200 bp, 10 words",
        "threads": threads,
        "wall_s": round(wall, 1),
        "cpu_s": round(cpu, 1),
        "n_motifs": len(found),
        "words_found": len(recalls),
        "words": len(truth),
        "sites_found": round(float(np.mean(recalls)), 3),
        "false_share": round(float(np.mean(false_shares)), 3),
    }


def measure_peaks(name: str, file: Path, n: int | None, known: list[Motif], threads: int) -> dict:
    from genomelm_utils.motifs.compare import match_motifs

    data = collect(file)
    pieces = np.split(data.codes, data.starts[1:-1])[:n]
    found, wall, cpu = timed(
        pieces, n_motifs=3, seed=PAPER_SEED, threads=threads, **PAPER_PARAMETERS
    )
    best = match_motifs(found.motifs[:1], known, n_best=1).iloc[0]
    return {
        "set": name,
        "n_sequences": len(pieces),
        "threads": threads,
        "wall_s": round(wall, 1),
        "cpu_s": round(cpu, 1),
        "consensus": [motif.consensus for motif in found.motifs],
        "n_sites": [len(motif.sites) for motif in found.motifs],
        "first_matches": best["known_name"],
        "q_value": float(best["q_value"]),
    }


def has_rgadem() -> bool:
    """Whether R is here with rGADEM."""
    try:
        return bool(package_version("rGADEM"))
    except MissingR:
        return False


def recorded(run: dict) -> tuple[list[Motif], float]:
    """rGADEM's motifs with their sites as they were recorded, and its CPU seconds."""
    found = []
    for number, one in enumerate(run["motifs"]):
        matrix_W4 = np.array(one["pwm_ACGT_rows"]).T
        sites = pd.DataFrame(one["sites"], columns=["index", "start", "strand"])
        sites["end"] = sites["start"] + len(matrix_W4)
        found.append(Motif(f"recorded_{number}", matrix_W4 * len(sites), sites=sites))
    return found, run["user_s"]


def compare_with_rgadem(folder: Path, data: Path, threads: int) -> list[dict]:
    """One row per set: rGADEM's motifs that are among ours, CPU seconds, true and false sites."""
    here = has_rgadem()
    runs = json.loads((folder / "rgadem_runs.json").read_text())["sets"]
    files = {
        "planted": (folder / "planted.fa", None),
        "ctcf300": (data / "chip_ctcf_hg19.fa.gz", 300),
        "foxa1": (data / "chip_foxa1.fasta", None),
    }
    rows = []
    for name, (file, n) in files.items():
        peaks = collect(file)
        pieces = np.split(peaks.codes, peaks.starts[1:-1])[:n]
        found, wall, cpu = timed(
            pieces, n_motifs=3, seed=PAPER_SEED, threads=threads, **PAPER_PARAMETERS
        )
        theirs, their_cpu = recorded(runs[name])
        if here:
            again, their_wall, their_cpu = timed(
                pieces, engine="rgadem", n_motifs=3, seed=PAPER_SEED, **PAPER_PARAMETERS
            )
            as_recorded = [one.consensus for one in theirs] == [
                one.consensus for one in again.motifs
            ]
            theirs = again.motifs
        shared = sum(
            any(same_motif(one.probabilities, ours.probabilities, 6) for ours in found.motifs)
            for one in theirs
        )
        row = {
            "set": f"{name}, against rGADEM",
            "threads": threads,
            "wall_s": round(wall, 1),
            "cpu_s": round(cpu, 1),
            "rgadem": "here" if here else "recorded",
            "rgadem_cpu_s": round(their_cpu, 1),
            "times_faster": round(their_cpu / cpu, 1),
            "rgadem_motifs": len(theirs),
            "of_these_found": shared,
            "n_motifs": len(found),
        }
        if here:
            row |= {"rgadem_wall_s": round(their_wall, 1), "as_recorded": as_recorded}
        if name == "planted":
            truth = pd.read_csv(folder / "planted_truth.tsv", sep="\t")
            truth["index"] = truth["record"].str.removeprefix("s").astype(int)
            truth["end"] = truth["start"] + 10
            row["true"], row["false"] = score_sites(found.motifs[0].sites, truth)
            row["rgadem_true"], row["rgadem_false"] = score_sites(theirs[0].sites, truth)
            row["planted"] = len(truth)
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rgadem", type=Path, help="folder with rgadem_runs.json")
    args = parser.parse_args()
    motifs.discover(list(np.random.default_rng(1).integers(0, 4, (20, 60), np.uint8)), n_motifs=1)
    rows = [measure_simulated(args.threads)]
    data = os.environ.get("GENOMELM_DATA")
    if data:
        from genomelm_utils.motifs.formats import read_motifs

        folder = Path(data, "motifs")
        known = read_motifs(folder / "JASPAR_CORE_2016_vertebrates.meme.gz")
        peaks = [("FOXA1 peaks", "chip_foxa1.fasta", None)]
        peaks += [(f"CTCF peaks, {n or 'all'}", "chip_ctcf_hg19.fa.gz", n) for n in (300, None)]
        rows += [measure_peaks(a, folder / b, n, known, args.threads) for a, b, n in peaks]
        if args.rgadem:
            rows += compare_with_rgadem(args.rgadem, folder, args.threads)
    for row in rows:
        print("  ".join(f"{key}={value}" for key, value in row.items()))
    print(write_result("motifs", rows))


if __name__ == "__main__":
    main()
