"""What notebook 01 makes ready: a store of bases, labelled sets, or both with known truth; a
set of genomes split by species; or promoters with the expression of their genes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from genomelm_utils.datasets.audit import read_folder, read_published_sets
from genomelm_utils.datasets.labelled import LabelledSet, read_labelled
from genomelm_utils.datasets.prepare_expression import (
    SIMULATED,
    PreparedExpression,
    prepare_expression,
)
from genomelm_utils.datasets.species import (
    GenomeSet,
    build_genome_set,
    read_species_table,
    simulate_genome_set,
    store_training_bases,
)
from genomelm_utils.sequences.alphabet import decode
from genomelm_utils.sequences.genome import BaseStore, build_store, store_from_codes
from genomelm_utils.sequences.kmers import kmer_codes, kmer_strings, revcomp_codes
from genomelm_utils.sequences.simulate import (
    SPLICE_BP,
    SimulatedGenome,
    simulate_classification,
    simulate_genome,
)
from genomelm_utils.sequences.simulate_species import simulate_species

KINDS = ("simulate", "genome", "fewshot", "tables", "species", "expression")
WINDOW_BP = 1000
SPECIES_WINDOW_BP = 5000  # about the length of the contigs that species are told apart by
BLOCK_WINDOWS = 4096  # windows counted at a time: bounds the temporary arrays
#: Kinds of the truth table that mark short planted motifs (others are whole repeats, gaps, sites).
NO_MOTIFS = {"promoter", "donor", "acceptor", "interspersed", "tandem", "gap"}
#: Share of simulated windows that goes to the test set; the rest is the pool that shots come from.
TEST_SHARE = 1 / 3
_WORD_COLUMNS = ["ngram", "motif", "n_planted"]


@dataclass(frozen=True)
class Prepared:
    """What a run of 01 holds: a store, labelled sets by name, the truth where it is simulated.

    genomes: all genomes, split by species; `store` then holds those to train on. expression:
    promoters, clustered and split.
    """

    store: BaseStore | None = None
    sets: dict[str, LabelledSet] = field(default_factory=dict)
    truth: pd.DataFrame | None = None
    planted_words: pd.DataFrame | None = None
    genomes: GenomeSet | None = None
    expression: PreparedExpression | None = None


def prepare(
    kind: str,
    folder: Path,
    files: Sequence[Path],
    *,
    n_bases: int,
    promoter_bp: int,
    n_per_class: int,
    word_bp: int,
    seed: int,
    n_species: int = 54,
    species_bp: int = 100_000,
    n_train: int = 48,
    together: Sequence[str] = (),
    expression_set: str = SIMULATED,
    split: str = "corrected",
    n_families: int = 360,
) -> Prepared:
    """The data of one run of 01, under `folder`.

    kind: `simulate` makes a genome (`store/`) and labelled sets (`sets/<task>/train.tsv`,
    `test.tsv`) with known truth; `genome` builds `store/` from FASTA files; `fewshot` reads the
    published few-shot sets; `tables` reads labelled tables of one's own, or folders of them;
    `species` splits genomes by species (`species/`, and `store/` of what may be trained on): those
    of `files`, of which one is the table of species, or simulated ones where there are no files;
    `expression` reads the set `expression_set` from the one folder of `files`, or simulates
    `n_families` families of promoters, clusters and splits them (`expression/`).
    n_species, species_bp: of simulated species. n_train, together: see `split_species`.

    Raises ValueError for another kind, and for a genome or tables without files.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, expected one of {', '.join(KINDS)}")
    if kind == "genome":
        if not files:
            raise ValueError("kind is genome, but `files` is empty; name FASTA files to read")
        return Prepared(store=build_store(list(files), folder / "store"))
    if kind == "fewshot":
        return Prepared(sets=read_published_sets())
    if kind == "tables":
        if not files:
            raise ValueError("kind is tables, but `files` is empty; name tables or folders of them")
        return Prepared(sets=dict(named for path in files for named in _read_tables(path).items()))
    if kind == "species":
        of_species = {"n_train": n_train, "together": together, "seed": seed}
        return _prepare_species(folder, files, n_species, species_bp, of_species)
    if kind == "expression":
        source = _find_folder(files)
        options = {"seed": seed, "split": split, "n_families": n_families}
        return Prepared(expression=prepare_expression(expression_set, folder, source, **options))
    genome_rng, sets_rng = np.random.default_rng(seed).spawn(2)
    genome = simulate_genome(genome_rng, n_bases=n_bases)
    store = store_from_codes(
        genome.names, genome.codes, genome.starts, genome.soft, folder / "store"
    )
    tasks = {"promoter": promoter_bp, "splice": SPLICE_BP}
    sets = {}
    for (task, length_bp), rng in zip(tasks.items(), sets_rng.spawn(len(tasks)), strict=True):
        sets |= _simulate_set(genome, rng, task, length_bp, n_per_class, folder / "sets" / task)
    return Prepared(store, sets, genome.truth, find_planted_words(genome, word_bp))


def _prepare_species(
    folder: Path, files: Sequence[Path], n_species: int, species_bp: int, split: dict
) -> Prepared:
    """Genomes split by species, and the store of those to train on."""
    truth = None
    if files:
        table, genome_files = _find_genomes(files)
        genomes = build_genome_set(genome_files, table, folder / "species", **split)
    else:
        rng = np.random.default_rng(split["seed"])
        simulated = simulate_species(rng, n_species=n_species, bases_per_species=species_bp)
        genomes = simulate_genome_set(simulated, folder / "species", **split)
        truth = simulated.truth
    store = store_training_bases(genomes, folder / "store")
    return Prepared(store, truth=truth, genomes=genomes)


def _find_genomes(files: Sequence[Path]) -> tuple[pd.DataFrame, list[Path]]:
    """The table of species and the genome files; of a folder, the files that the table names."""
    tables = [path for path in files if path.suffix == ".tsv"]
    if len(tables) != 1:
        raise ValueError(
            f"kind is species, but {len(tables)} of `files` end in .tsv, expected one table with "
            "the columns file and species beside genome files (FASTA) or folders of them"
        )
    table = read_species_table(tables[0])
    named = {Path(name).name for name in table["file"]}
    found = []
    for path in files:
        if path.is_dir():
            found += sorted(file for file in path.iterdir() if file.name in named)
        elif path != tables[0]:
            found.append(path)
    if not found:
        raise ValueError(f"none of the genome files that {tables[0]} names is among `files`")
    return table, found


def _find_folder(files: Sequence[Path]) -> Path | None:
    """The one folder that was named, or None without any."""
    if len(files) > 1 or not all(path.is_dir() for path in files):
        names = ", ".join(str(path) for path in files)
        raise ValueError(f"kind is expression, but `files` is {names}; expected one folder or none")
    return files[0] if files else None


def _read_tables(path: Path) -> dict[str, LabelledSet]:
    """The labelled tables of a folder, or the one that `path` is, by name."""
    return read_folder(path) if path.is_dir() else {path.name: read_labelled(path)}


def _simulate_set(
    genome: SimulatedGenome,
    rng: np.random.Generator,
    task: str,
    length_bp: int,
    n_per_class: int,
    folder: Path,
) -> dict[str, LabelledSet]:
    """Train and test part of one simulated task, written as tables."""
    codes_SL, labels_S = simulate_classification(
        genome, rng, task, length_bp=length_bp, n_per_class=n_per_class
    )
    n_test = round(len(labels_S) * TEST_SHARE)
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"test": slice(0, n_test), "train": slice(n_test, None)}
    sets = {}
    for part, rows in parts.items():
        names = [f"{task}_{part}_{i}" for i in range(len(labels_S[rows]))]
        table = pd.DataFrame(
            {
                "name": names,
                "sequence": [decode(codes_L) for codes_L in codes_SL[rows]],
                "label": labels_S[rows],
            }
        )
        table.to_csv(folder / f"{part}.tsv", sep="\t", index=False, lineterminator="\n")
        sets[f"simulated-{task}/{part}"] = LabelledSet(
            codes_SL[rows], labels_S[rows], names, f"sets/{task}/{part}.tsv"
        )
    return sets


def find_planted_words(genome: SimulatedGenome, word_bp: int) -> pd.DataFrame:
    """Words of `word_bp` bases inside planted promoter motifs, either strand, most frequent first.

    Columns: ngram, motif, n_planted. Only words planted more than twice as often as an even spread
    over all words would give, and by more than 2 % of the copies: the others are noise. Of a motif
    shorter than a word, the words that begin or end with it.
    """
    begin_of = dict(zip(genome.names, genome.starts[:-1], strict=True))
    motifs = genome.truth[~genome.truth["kind"].isin(NO_MOTIFS)]
    names, complement = np.array(kmer_strings(word_bp)), revcomp_codes(word_bp)
    parts = []
    for kind, rows in motifs.groupby("kind"):
        width = int((rows["end"] - rows["start"]).iloc[0])
        starts = rows["start"].to_numpy() + rows["record"].map(begin_of).to_numpy(dtype=np.int64)
        width = max(width, word_bp)
        windows = genome.codes[
            np.minimum(starts[:, None] + np.arange(width), len(genome.codes) - 1)
        ]
        words = kmer_codes(windows, word_bp).ravel()
        words = words[words >= 0]
        other = complement[words]
        other = other[other != words]  # a word that is its own reverse complement counts once
        count = np.bincount(np.concatenate([words, other]), minlength=4**word_bp)
        often = np.flatnonzero(count > max(2 * count.sum() / 4**word_bp, 0.02 * len(rows)))
        parts.append(
            pd.DataFrame({"ngram": names[often], "motif": kind, "n_planted": count[often]})
        )
    table = pd.concat(parts) if parts else pd.DataFrame(columns=_WORD_COLUMNS)
    return table.sort_values(["n_planted", "ngram"], ascending=[False, True], ignore_index=True)


def window_composition(store: BaseStore, width_bp: int = WINDOW_BP) -> pd.DataFrame:
    """GC share and soft-masked share of windows side by side: record, start, gc, soft_share."""
    starts = store.windows(width_bp, width_bp)
    n_gc = np.zeros(len(starts), dtype=np.int64)
    for first in range(0, len(starts), BLOCK_WINDOWS):
        block = slice(first, first + BLOCK_WINDOWS)
        codes_WL = store.codes[starts[block, None] + np.arange(width_bp)]
        n_gc[block] = ((codes_WL == 1) | (codes_WL == 2)).sum(axis=1)
    n_soft = _bases_before(store.soft, starts + width_bp) - _bases_before(store.soft, starts)
    record = np.searchsorted(store.records["start"].to_numpy(), starts, side="right") - 1
    return pd.DataFrame(
        {
            "record": store.records["name"].to_numpy()[record],
            "start": starts - store.records["start"].to_numpy()[record],
            "gc": n_gc / width_bp,
            "soft_share": n_soft / width_bp,
        }
    )


def species_composition(genomes: GenomeSet, width_bp: int = SPECIES_WINDOW_BP) -> pd.DataFrame:
    """The table of a genome set with `gc_low`, `gc_high`: 5 and 95 % of the GC share of windows.

    What such a stretch of a genome may be taken for by GC alone. Missing where no window fits.
    """
    windows = window_composition(genomes.store, width_bp)
    genome_of = dict(zip(genomes.store.records["name"], genomes.genome_of_record, strict=True))
    shares = windows["gc"].groupby(windows["record"].map(genome_of))
    table = genomes.table.copy()
    for name, quantile in (("gc_low", 0.05), ("gc_high", 0.95)):
        table[name] = shares.quantile(quantile).reindex(table.index)
    return table


def count_species(genomes: pd.DataFrame) -> pd.DataFrame:
    """One row per part of a genome set's table: part, n_genomes, n_species, n_related, n_bases.

    `n_related`: species with a relative, which is of their genus, in the other part.
    """
    rows = [
        {
            "part": part,
            "n_genomes": len(found),
            "n_species": found["species"].nunique(),
            "n_related": found.loc[found["relatives"] != "", "species"].nunique(),
            "n_bases": found["n_bases"].sum(),
        }
        for part, found in genomes.groupby("part", sort=False)
    ]
    return pd.DataFrame(rows).sort_values("part", ascending=False, ignore_index=True)


def _bases_before(intervals: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """int64: bases of sorted, disjoint intervals int64[M, 2] that lie before each position."""
    if not len(intervals):
        return np.zeros(len(positions), dtype=np.int64)
    lengths = intervals[:, 1] - intervals[:, 0]
    before = np.concatenate([[0], np.cumsum(lengths)])
    n_begun = np.searchsorted(intervals[:, 0], positions, side="right")
    last = np.maximum(n_begun - 1, 0)
    of_last = np.clip(positions - intervals[last, 0], 0, lengths[last])
    return before[last] + of_last
