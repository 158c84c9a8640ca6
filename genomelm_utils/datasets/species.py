"""A set of genomes of known species, split by species: what pairs and contigs are cut from.

A genome set is a folder:

    store/        all genomes end to end, see `sequences.genome`
    genomes.csv   one genome per row: genome, species, part, relatives, n_bases, n_definite, gc
    records.csv   one record of the store per row: name, genome
    set.json      format, valid_share, seed, hashes of the tables; written last

Species lie in `train` or `test`, never in both. Validation is not a third group of species (they
are few): it is the last `valid_share` of the bases of every training genome, which no training
window touches. It says when training stops helping, not how well unseen species are told apart.

Shape suffixes: G genomes, N records, R runs.
"""

import gzip
import hashlib
import json
import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from genomelm_utils.sequences.fasta import suggest
from genomelm_utils.sequences.genome import BaseStore, build_store, open_store, store_from_codes
from genomelm_utils.sequences.simulate_species import SimulatedSpecies

logger = logging.getLogger(__name__)

FORMAT = 1
PARTS = ("train", "valid", "test")
TOGETHER_MARK = "|"  # between the names of species in one text
_NO_SOFT = np.empty((0, 2), dtype=np.int64)
_TABLES = ("genomes.csv", "records.csv")
# what pandas raises for an empty file, rows of other lengths, bytes that are no text, a broken gzip
_NO_TABLE = (
    *(pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError),
    *(EOFError, zlib.error, gzip.BadGzipFile),
)
_SUFFIXES = (".gz", ".fna", ".fa", ".fasta", ".fas")


@dataclass(frozen=True)
class GenomeSet:
    """Genomes of known species, opened with `open_genome_set`; the bases stay on disk.

    table: one genome per row (columns in the module's head). genome_of_record: int64[N], the row
    in `table` of every record of the store. valid_share: share of each training genome, at its
    end, that is kept for validation.
    """

    folder: Path
    store: BaseStore
    table: pd.DataFrame
    genome_of_record: np.ndarray
    valid_share: float

    @cached_property
    def species(self) -> list[str]:
        """All species by name; the position in this list is a species' number everywhere."""
        return sorted(self.table["species"].unique())

    @cached_property
    def species_of_genome(self) -> np.ndarray:
        """int64[G], the species' number of every genome."""
        return np.searchsorted(self.species, self.table["species"].to_numpy(dtype=str))

    def regions(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        """Stretches of definite bases that belong to a part: (int64[R, 2] global, genome int64[R]).

        part: `test` all of the test genomes; `train` the training genomes without their last
        `valid_share`; `valid` what `train` leaves of them.
        """
        runs = self.store.runs
        record = np.searchsorted(self.store.records["start"], runs[:, 0], side="right") - 1
        genome = self.genome_of_record[record]
        begin, end = self.bounds(part)
        inside = np.stack(
            [np.maximum(runs[:, 0], begin[genome]), np.minimum(runs[:, 1], end[genome])], axis=1
        )
        kept = inside[:, 0] < inside[:, 1]
        return inside[kept], genome[kept]

    def bounds(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        """Where a part begins and ends in every genome: two int64[G], global; equal where it has
        nothing of a genome."""
        if part not in PARTS:
            raise ValueError(f"part is {part!r}, expected one of {', '.join(PARTS)}")
        end = np.cumsum(self.table["n_bases"].to_numpy())
        begin = end - self.table["n_bases"].to_numpy()
        cut = end - np.round(self.valid_share * (end - begin)).astype(np.int64)
        is_test = (self.table["part"] == "test").to_numpy()
        bounds = {"train": (begin, cut), "valid": (cut, end), "test": (begin, end)}[part]
        absent = is_test if part != "test" else ~is_test
        return bounds[0], np.where(absent, bounds[0], bounds[1])


# --- building ------------------------------------------------------------------------------


def build_genome_set(
    files: Sequence[str | Path],
    species: pd.DataFrame,
    folder: str | Path,
    *,
    n_train: int,
    seed: int,
    together: Sequence[str] = (),
    valid_share: float = 0.1,
) -> GenomeSet:
    """A new genome set of FASTA files, one genome each, split by species (see `split_species`).

    files: plain or gzipped; the genome's name is the file's without its endings. species: a table
    with the columns file and species, see `read_species_table`; only the file's name counts, not
    its folder. Files that the table has and `files` has not are simply not used.

    Raises ValueError for a file without a species, for two files of one name, and what
    `build_store` raises (record names must differ between all files).
    """
    files = [Path(file) for file in files]
    species_of = {Path(f).name: s for f, s in zip(species["file"], species["species"], strict=True)}
    unknown = [file.name for file in files if file.name not in species_of]
    if unknown:
        raise ValueError(
            f"{len(unknown)} genome files have no species in the table, such as {unknown[0]!r}"
            f"{suggest(unknown[0], species_of)}; add rows with the columns file and species"
        )
    names = [genome_name(file) for file in files]
    _check_unique(names)
    folder = Path(folder)
    store = build_store(files, folder / "store")
    per_file = [source["n_records"] for source in store.info["sources"]]
    genome_of_record = np.repeat(np.arange(len(files)), per_file)
    found = [species_of[file.name] for file in files]
    parts = split_species(found, n_train=n_train, seed=seed, together=together)
    return _write(folder, store, names, found, parts, genome_of_record, valid_share, seed)


def simulate_genome_set(
    simulated: SimulatedSpecies,
    folder: str | Path,
    *,
    n_train: int,
    seed: int,
    together: Sequence[str] = (),
    valid_share: float = 0.1,
) -> GenomeSet:
    """A new genome set of simulated species, split by species as `build_genome_set` does."""
    folder = Path(folder)
    store = store_from_codes(
        simulated.names, simulated.codes, simulated.starts, _NO_SOFT, folder / "store"
    )
    genome_of_record, names = pd.factorize(simulated.table["genome"])
    found = simulated.table["species"][~simulated.table["genome"].duplicated()].tolist()
    parts = split_species(found, n_train=n_train, seed=seed, together=together)
    return _write(folder, store, names.tolist(), found, parts, genome_of_record, valid_share, seed)


def read_species_table(path: str | Path) -> pd.DataFrame:
    """The species of genome files: a TSV with the columns `file` and `species` (others stay).

    Raises ValueError for missing columns, an empty species, or a file named twice.
    """
    path = Path(path)
    table = read_tsv(path, ("file", "species"), "a table of species")
    empty = table.index[table["species"].str.strip() == ""]
    if len(empty):
        raise ValueError(f"{path}, line {empty[0] + 2}: {table['file'][empty[0]]!r} has no species")
    doubled = table.loc[table["file"].duplicated(), "file"]
    if len(doubled):
        raise ValueError(f"{path}: {doubled.iloc[0]!r} stands in more than one row")
    return table


def read_tsv(path: Path, columns: Sequence[str], what: str) -> pd.DataFrame:
    """A tab-separated table, plain or gzipped by its name, all fields text, with these columns.

    Raises FileNotFoundError and ValueError naming the file, `what` it should be, and what it lacks.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, expected {what}")
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    except _NO_TABLE as error:
        raise ValueError(
            f"{path} is no tab-separated table ({error}); expected {what} with the columns "
            f"{' and '.join(columns)}"
        ) from error
    missing = [name for name in columns if name not in table]
    if missing:
        raise ValueError(
            f"{path}: no column {' and '.join(missing)}, found {', '.join(table.columns)}; "
            f"expected tab-separated columns {' and '.join(columns)}"
        )
    return table


def genome_name(file: str | Path) -> str:
    """A file's name without the endings of a (gzipped) FASTA file."""
    name = Path(file).name
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def store_training_bases(genomes: GenomeSet, folder: str | Path) -> BaseStore:
    """A store of what may be trained on: training genomes without their validation ends.

    For what learns from whole stores (tokenizers, masked language models): species of the test
    part and validation windows are not in it. Records keep their names; soft masks are dropped.
    """
    end_G = genomes.bounds("train")[1]
    records = genomes.store.records
    begin_N = records["start"].to_numpy()
    end_N = np.minimum(begin_N + records["length"].to_numpy(), end_G[genomes.genome_of_record])
    kept = (genomes.table["part"] == "train").to_numpy()[genomes.genome_of_record]
    kept &= end_N > begin_N
    pieces = [
        genomes.store.codes[begin:end]
        for begin, end in zip(begin_N[kept].tolist(), end_N[kept].tolist(), strict=True)
    ]
    starts = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])])
    names = records["name"][kept].tolist()
    return store_from_codes(names, np.concatenate(pieces), starts, _NO_SOFT, folder)


# --- the split -----------------------------------------------------------------------------


def split_species(
    species: Sequence[str], *, n_train: int, seed: int, together: Sequence[str] = ()
) -> list[str]:
    """`train` or `test` for every genome; all genomes of a species get the same part.

    species: of every genome. n_train: genomes to train on. Groups of species are dealt in an order
    drawn with `seed`, each to training while it still fits; so fewer than `n_train` are dealt when
    no group of the missing size is left, which the log says. together: species that must share a
    part because they are nearly one, such as "Escherichia coli|Shigella flexneri"; species named
    in two such texts join them.

    Raises ValueError for names that are no species here, and when training or test stays empty.
    """
    group_of = {name: name for name in species}
    for text in together:
        names = [name.strip() for name in text.split(TOGETHER_MARK)]
        for name in names:
            if name not in group_of:
                raise ValueError(
                    f"together names {name!r}, which no genome has{suggest(name, group_of)}"
                )
        joined = {group_of[name] for name in names}
        group_of = {n: min(joined) if g in joined else g for n, g in group_of.items()}
    groups = np.array([group_of[name] for name in species])
    labels, sizes = np.unique(groups, return_counts=True)
    training, n_left = [], n_train
    for group in np.random.default_rng(seed).permutation(len(labels)):
        if sizes[group] <= n_left:
            training.append(labels[group])
            n_left -= sizes[group]
    is_train = np.isin(groups, training)
    if not is_train.any() or is_train.all():
        raise ValueError(
            f"n_train is {n_train}: of {len(groups)} genomes in {len(labels)} groups of species "
            f"{is_train.sum()} would be trained on; expected some for training and some for test"
        )
    if n_left:
        logger.warning(
            "%d genomes are for training, not %d: species stay whole", is_train.sum(), n_train
        )
    return ["train" if train else "test" for train in is_train]


def find_relatives(species: Sequence[str], parts: Sequence[str]) -> list[str]:
    """For every genome, the species of its genus (first word) in the other part, joined by `|`."""
    table = pd.DataFrame({"species": species, "part": parts})
    table["genus"] = table["species"].str.split().str[0]
    found = []
    for row in table.itertuples():
        near = table[(table["genus"] == row.genus) & (table["part"] != row.part)]
        found.append(TOGETHER_MARK.join(sorted(near["species"].unique())))
    return found


# --- on disk -------------------------------------------------------------------------------


def open_genome_set(folder: str | Path) -> GenomeSet:
    """The genome set in a folder; bases are mapped, not read.

    Raises FileNotFoundError or ValueError naming the file when one is missing or damaged.
    """
    folder = Path(folder)
    if not (folder / "set.json").is_file():
        raise FileNotFoundError(f"{folder}: no set.json, expected the folder of a genome set")
    info = json.loads((folder / "set.json").read_text())
    if info.get("format") != FORMAT:
        raise ValueError(f"{folder / 'set.json'}: format {info.get('format')}, expected {FORMAT}")
    for name in _TABLES:
        if not (folder / name).is_file() or _hash(folder / name) != info["sha256"][name]:
            raise ValueError(f"{folder / name}: missing or damaged; build the genome set again")
    table, records = (
        pd.read_csv(folder / name, keep_default_na=False, na_values={"gc": [""]})
        for name in _TABLES
    )
    store = open_store(folder / "store")
    if store.records["name"].tolist() != records["name"].astype(str).tolist():
        raise ValueError(f"{folder}: store and records.csv differ; build the genome set again")
    row_of = {name: row for row, name in enumerate(table["genome"])}
    rows = records["genome"].map(row_of).to_numpy(dtype=np.int64)
    return GenomeSet(folder, store, table, rows, info["valid_share"])


def _write(
    folder: Path,
    store: BaseStore,
    names: list[str],
    species: list[str],
    parts: list[str],
    genome_of_record: np.ndarray,
    valid_share: float,
    seed: int,
) -> GenomeSet:
    if not 0 < valid_share < 1:
        raise ValueError(f"valid_share is {valid_share}, expected a share between 0 and 1")
    assert (np.diff(genome_of_record) >= 0).all(), "records of a genome must follow each other"
    (folder / "set.json").unlink(missing_ok=True)  # an older set is gone from here on
    by_genome = store.records.assign(gc_bases=store.records["gc"] * store.records["n_definite"])
    sums = by_genome.groupby(genome_of_record)[["length", "n_definite", "gc_bases"]].sum()
    table = pd.DataFrame({"genome": names, "species": species, "part": parts})
    table["relatives"] = find_relatives(species, parts)
    table["n_bases"], table["n_definite"] = sums["length"], sums["n_definite"]
    table["gc"] = sums["gc_bases"] / sums["n_definite"]
    records = pd.DataFrame(
        {"name": store.records["name"], "genome": np.array(names)[genome_of_record]}
    )
    for name, content in zip(_TABLES, (table, records), strict=True):
        content.to_csv(folder / name, index=False, lineterminator="\n")
    info = {"format": FORMAT, "valid_share": valid_share, "seed": seed}
    info["sha256"] = {name: _hash(folder / name) for name in _TABLES}
    (folder / "set.json").write_text(json.dumps(info, indent=1) + "\n")
    return open_genome_set(folder)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check_unique(names: list[str]) -> None:
    doubled = pd.Series(names).loc[lambda s: s.duplicated()]
    if len(doubled):
        raise ValueError(f"two genome files are named {doubled.iloc[0]!r}; rename one of them")
