"""What the command `species` does with genomes: pairs of windows, and whose genome is whose."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from genomelm_utils.command_outputs import SHOWN, open_output, skipped_table, tell

if TYPE_CHECKING:
    from tqdm import tqdm

    from genomelm_utils.datasets.species import GenomeSet
    from genomelm_utils.datasets.species_pairs import Pairs, PairSampler


def make_pairs(given: argparse.Namespace) -> list[str]:
    """Pairs of windows of one genome, in the published CSV format; or what such a file holds."""
    from tqdm.auto import tqdm

    from genomelm_utils.datasets.species_pair_files import write_pairs_csv

    if given.check is not None:
        if given.genomes or given.out is not None or given.species_table is not None:
            raise ValueError("--check makes nothing: leave out genomes, --species-table and --out")
        return check_pairs(given.check)
    if not given.genomes or given.out is None:
        raise ValueError("give the FASTA files of the genomes and --out (or --check FILE)")
    species = find_species(given.genomes, given.species_table)
    with open_output(given.out) as output, TemporaryDirectory(prefix="genomelm-species-") as folder:
        genomes, skipped = read_genomes(given.genomes, species, Path(folder) / "store")
        sampler = open_sampler(genomes, given)
        with tqdm(total=given.n, unit="pair", desc="pairs", disable=None) as bar:
            write_pairs_csv(output.path(), _Watched(sampler, bar), given.n)
        skipped = pd.concat([skipped, sampler.skipped], ignore_index=True)
        output.write_skipped(skipped)
        used = genomes.table[~genomes.table["genome"].isin(sampler.skipped["name"])]
        used = used[~used["genome"].isin(_without_bases(genomes))]
        output.write_settings(
            given, species_of_genome=dict(zip(used["genome"], used["species"], strict=True))
        )
    n_species = used["species"].nunique()
    return [f"{given.out}: {given.n} pairs of {len(used)} genomes, {n_species} species"]


def open_sampler(genomes: "GenomeSet", given: argparse.Namespace) -> "PairSampler":
    """A sampler with the options given; ValueError when no genome has room for two windows."""
    from genomelm_utils.datasets.species_pairs import PairSampler

    options = {name: getattr(given, name) for name in ("seed", "strands", "balance", "error_rate")}
    try:
        return PairSampler(genomes, "train", lengths_bp=given.lengths_bp, **options)
    except ValueError as error:  # it names the folder and the part, which are none of the user's
        shortest = min(given.lengths_bp)
        if f"room for two windows of {shortest} bp" not in str(error):
            raise
        raise ValueError(
            f"none of the {len(genomes.table)} genomes has room for two windows of {shortest} bp "
            "without ambiguous bases; give shorter --lengths-bp"
        ) from error


def _without_bases(genomes: "GenomeSet") -> list[str]:
    n_definite = np.bincount(
        genomes.genome_of_record,
        genomes.store.records["n_definite"],
        minlength=len(genomes.table),
    )
    return genomes.table.loc[n_definite == 0, "genome"].tolist()


def find_species(genomes: Sequence[Path], table: Path | None) -> list[str]:
    """The species of every genome file: from the table, or without one each file's own name."""
    from genomelm_utils.datasets.species import genome_name, read_species_table
    from genomelm_utils.sequences.fasta import suggest

    for path in genomes:
        if not path.is_file():
            what = "a folder, give its FASTA files" if path.is_dir() else "no such file"
            raise FileNotFoundError(f"{path}: {what}; expected the FASTA file of a genome")
    doubled = pd.Series([genome_name(path) for path in genomes]).loc[lambda s: s.duplicated()]
    if len(doubled):
        raise ValueError(f"two genome files are named {doubled.iloc[0]!r}; rename one of them")
    if table is None:
        return [genome_name(path) for path in genomes]
    rows = read_species_table(table)
    species_of = {Path(f).name: s for f, s in zip(rows["file"], rows["species"], strict=True)}
    unknown = [path.name for path in genomes if path.name not in species_of]
    if unknown:
        shown = ", ".join(unknown[:SHOWN]) + (", ..." if len(unknown) > SHOWN else "")
        raise ValueError(
            f"{table}: {len(unknown)} genome files have no row: {shown}"
            f"{suggest(unknown[0], species_of)}"
        )
    return [species_of[path.name] for path in genomes]


def read_genomes(
    files: Sequence[Path], species: Sequence[str], folder: Path
) -> tuple["GenomeSet", pd.DataFrame]:
    """All genomes as one training part (nothing is kept for validation), and records left out."""
    from genomelm_utils.datasets.species import GenomeSet, genome_name
    from genomelm_utils.sequences.genome import build_store

    store = build_store(files, folder)
    sources = store.info["sources"]
    genome_of_record = np.repeat(np.arange(len(files)), [one["n_records"] for one in sources])
    n_bases = np.bincount(genome_of_record, store.records["length"], minlength=len(files))
    names = [genome_name(path) for path in files]
    table = pd.DataFrame({"genome": names, "species": species, "part": "train"})
    table["n_bases"] = n_bases.astype(np.int64)
    lost = [name for one in sources for name in one["skipped"]]
    genomes = GenomeSet(folder, store, table, genome_of_record, valid_share=0.0)
    unknown = _without_bases(genomes)
    if len(unknown) == len(files):
        raise ValueError(
            f"{files[0]}{' and the other genomes' if len(files) > 1 else ''}: no definite base "
            "(A, C, G or T), expected a genome"
        )
    skipped = [
        skipped_table(lost, "empty record"),
        skipped_table(unknown, "no definite base (N only)"),
    ]
    return genomes, pd.concat(skipped, ignore_index=True)


class _Watched:
    """A sampler that moves a progress bar."""

    def __init__(self, sampler: "PairSampler", bar: "tqdm") -> None:
        self.sampler, self.bar = sampler, bar

    def pairs(self, step: int, start: int, stop: int) -> "Pairs":
        """Those of the sampler."""
        pairs = self.sampler.pairs(step, start, stop)
        self.bar.update(stop - start)
        return pairs


def check_pairs(path: Path) -> list[str]:
    """How many pairs a CSV file holds and how long they are, read as training reads them."""
    from genomelm_utils.datasets.species_pair_files import read_pairs_csv

    with TemporaryDirectory(prefix="genomelm-species-") as folder:
        pairs = read_pairs_csv(path, folder)
        lengths_bp = np.diff(pairs.starts)
        skipped = pairs.skipped
        n_pairs = len(pairs)
    for name, reason in skipped.head(SHOWN).to_numpy():
        tell(f"{path}, {name}: {reason}, left out")
    return [
        f"{path}: {n_pairs} pairs, {len(skipped)} lines left out",
        f"bases\t{lengths_bp.sum()}",
        f"length_bp\t{lengths_bp.min()} to {lengths_bp.max()}, median {np.median(lengths_bp):.0f}",
    ]
