"""Promoters of all genes of a genome, against whole processes of bedtools.

    python benchmarks/bench_promoters.py [--rounds 7] [--bases 100000000] [--genes 40000]

Ours: `extract_promoters` in a running, compiled Python, from gzipped FASTA and annotation to
sequences in memory (and again from plain files). Peer: the released steps, from files already
decompressed, indexed and cut down to gene lines with ids: `bedtools flank -s`, `bedtools subtract`,
the pick of one piece per gene (awk), `bedtools getfasta -s -name+`, written to a file. Before any
time is taken, names and sequences must be equal. Rounds are interleaved; the best wall time of each
is kept, and the CPU seconds of that round.

Genomes: yeast and E. coli under GENOMELM_DATA, where it is set, and one of random bases with genes
laid at random, of about the number of a plant's.
"""

import argparse
import gzip
import logging
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from machine import write_result

from genomelm_utils.sequences.annotation import read_genes
from genomelm_utils.sequences.fasta import read_fasta
from genomelm_utils.sequences.promoters import FLANK_BP, extract_promoters

REAL = {
    "yeast": (
        "yeast/Saccharomyces_cerevisiae.R64-1-1.dna.toplevel.fa.gz",
        "yeast/Saccharomyces_cerevisiae.R64-1-1.96.gtf.gz",
    ),
    "E. coli": (
        "bacteria/Escherichia_coli_K12_MG1655__GCF_000005845.2.fna.gz",
        "bacteria/Escherichia_coli_K12_MG1655__GCF_000005845.2.gff3.gz",
    ),
}
PICK = '$7 == "+" || !($3 in kept) { kept[$3] = $0 } END { for (id in kept) print kept[id] }'
PEER = (
    "bedtools flank -i genes.gff -g sizes -l {flank} -r 0 -s | "
    "bedtools subtract -a stdin -b genes.gff | awk -F'\\t' '{pick}' | "
    "bedtools getfasta -fi genome.fa -bed stdin -s -name+ -fo out.fa 2>/dev/null"
)


def simulate(folder: Path, n_bases: int, n_genes: int, n_contigs: int = 10) -> tuple[Path, Path]:
    """Random bases in lines of 80 and genes of 300 to 2,000 bp, gzipped as genomes are."""
    rng = np.random.default_rng(0)
    fasta, gff = folder / "random.fa.gz", folder / "random.gff3.gz"
    n_lines = n_bases // n_contigs // 80
    with gzip.open(fasta, "wb", compresslevel=1) as file:
        for contig in range(n_contigs):
            lines = np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, (n_lines, 81))]
            lines[:, -1] = ord("\n")
            file.write(b">c%d\n" % contig + lines.tobytes())
    starts = rng.integers(1, 80 * n_lines - 2_000, n_genes)
    ends = starts + rng.integers(300, 2_000, n_genes)
    columns = (starts, ends, rng.integers(0, n_contigs, n_genes), rng.integers(0, 2, n_genes))
    rows = zip(*(column.tolist() for column in columns), strict=True)
    text = "".join(
        f"c{c}\tsim\tgene\t{s}\t{e}\t.\t{'+-'[d]}\t.\tID=g{i};biotype=protein_coding\n"
        for i, (s, e, c, d) in enumerate(rows)
    )
    gff.write_bytes(gzip.compress(text.encode(), 1))
    return fasta, gff


def prepare_peer(folder: Path, fasta: Path, gff: Path) -> None:
    """Plain files, an index, contig lengths, and gene lines that have the id as their type."""
    genome = folder / "genome.fa"
    genome.write_bytes(gzip.decompress(fasta.read_bytes()))
    records = read_fasta(genome)
    lengths = zip(records.names, np.diff(records.starts).tolist(), strict=True)
    (folder / "sizes").write_text("".join(f"{name}\t{n}\n" for name, n in lengths))
    plain = gzip.decompress(gff.read_bytes()).decode()
    (folder / "annotation.gff").write_text(plain)
    lines = [line.split("\t") for line in plain.splitlines(keepends=True) if line[0] != "#"]
    genes = [line for line in lines if line[2] == "gene"]
    for parts, gene_id in zip(genes, read_genes(gff).genes["gene_id"], strict=True):
        parts[2] = gene_id
    (folder / "genes.gff").write_text("".join("\t".join(parts) for parts in genes))


def run_peer(folder: Path) -> None:
    command = PEER.format(flank=FLANK_BP, pick=PICK)
    subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=folder, check=True)


def run_ours(fasta: Path, gff: Path) -> int:
    """Genes of the annotation; the rules are those of the released steps."""
    return extract_promoters(fasta, gff, fragment_rule="reference", case="reference").n_genes


def check(folder: Path, fasta: Path, gff: Path) -> int:
    """Number of promoters; the end if one of them differs."""
    run_peer(folder)
    lines = (folder / "out.fa").read_text().split("\n")
    theirs = dict(zip(lines[0:-1:2], lines[1::2], strict=True))
    table = extract_promoters(fasta, gff, fragment_rule="reference", case="reference").table
    ours = dict(zip(">" + table["name"], table["sequence"], strict=True))
    if ours != theirs:
        raise SystemExit(f"{fasta}: promoters differ from those of bedtools: no timing")
    return len(ours)


def measure(name: str, fasta: Path, gff: Path, rounds: int) -> dict:
    """One row: genes per second and times of ours and of bedtools."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prepare_peer(folder, fasta, gff)
        n_promoters = check(folder, fasta, gff)
        tasks: dict[str, Callable[[], object]] = {
            "ours": lambda: run_ours(fasta, gff),
            "bedtools": lambda: run_peer(folder),
            "ours_plain": lambda: run_ours(folder / "genome.fa", folder / "annotation.gff"),
            "read_fasta": lambda: read_fasta(fasta),
            "read_genes": lambda: read_genes(gff),
        }
        times = time_rounds(tasks, rounds)
    n_genes = len(read_genes(gff))
    best = {task: min(found) for task, found in times.items()}
    return {
        "genome": name,
        "n_bases": len(read_fasta(fasta).codes),
        "n_genes": n_genes,
        "n_promoters": n_promoters,
        "genes_per_s": round(n_genes / best["ours"][0]),
        "genes_per_s_plain": round(n_genes / best["ours_plain"][0]),
        "genes_per_s_bedtools": round(n_genes / best["bedtools"][0]),
        **{f"{task}_s": round(wall, 3) for task, (wall, _) in best.items()},
        **{f"{task}_cpu_s": round(cpu, 3) for task, (_, cpu) in best.items()},
        "rounds": rounds,
    }


def time_rounds(
    tasks: dict[str, Callable[[], object]], rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """(wall, CPU) seconds of each task in each round; CPU with all threads and child processes."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            wall, cpu = time.perf_counter(), sum(os.times()[:4])
            task()
            times[name].append((time.perf_counter() - wall, sum(os.times()[:4]) - cpu))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--bases", type=int, default=100_000_000)
    parser.add_argument("--genes", type=int, default=40_000)
    args = parser.parse_args()
    logging.disable(logging.WARNING)  # the genes left out, which every round would name again
    if shutil.which("bedtools") is None:
        raise SystemExit("bedtools is not installed (Debian package bedtools): nothing to compare")
    data = os.environ.get("GENOMELM_DATA")
    rows = []
    for name, files in REAL.items() if data else ():
        fasta, gff = (Path(data, "genomes", file) for file in files)
        rows.append(measure(name, fasta, gff, args.rounds))
    with tempfile.TemporaryDirectory() as place:
        fasta, gff = simulate(Path(place), args.bases, args.genes)
        rows.append(measure("random", fasta, gff, min(args.rounds, 3)))
    for row in rows:
        print("  ".join(f"{key}={value}" for key, value in row.items()))
    print(write_result("promoters", rows))


if __name__ == "__main__":
    main()
