"""What the command `species` reads: features of a file, and tables of species.

Shapes: S sequences, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from genomelm_utils.command_outputs import (
    NAMES,
    SHOWN,
    Output,
    count_reasons,
    missing_file,
    skipped_table,
)

if TYPE_CHECKING:
    import argparse

_WRITE_ROWS = 1 << 14
EMBEDDED = (".npy", ".parquet")  # what holds embeddings; all else is read as sequences


# --- features ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Features:
    """Sequences as rows of numbers, in the order of their file.

    names: str [S]; n_bases: int64 [S]; values: float32 [S, D]; skipped: records left out (name,
    reason).
    """

    names: list[str]
    n_bases: np.ndarray
    values: np.ndarray
    skipped: pd.DataFrame

    def __len__(self) -> int:
        return len(self.names)

    def keep(self, kept_S: np.ndarray, reason: str) -> "Features":
        """The rows where the mask is true; the others are skipped for this reason."""
        if kept_S.all():
            return self
        lost = [self.names[i] for i in np.flatnonzero(~kept_S)]
        skipped = pd.concat([self.skipped, skipped_table(lost, reason)], ignore_index=True)
        return replace(self.take(np.flatnonzero(kept_S)), skipped=skipped)

    def take(self, rows: np.ndarray) -> "Features":
        """These rows, in this order; the others are not wanted, not skipped."""
        names = [self.names[i] for i in rows.tolist()]
        return replace(self, names=names, n_bases=self.n_bases[rows], values=self.values[rows])


class Maker:
    """Makes features as the options of a command say: by a model, or by composition.

    The model is loaded once, when the first sequences come.
    """

    def __init__(self, given: "argparse.Namespace") -> None:
        self.given = given

    def of_file(self, path: Path, min_bp: int = 1) -> Features:
        """Features of every record of a FASTA or FASTQ file, or those in a file of embeddings.

        Errors: those of `sequences.stream.RecordStream`, `tasks.embedding_files.read_embeddings`
        and `tasks.embedding_models.load_encoder`; ValueError for sequences without model or
        features to use, or for embeddings with.
        """
        self.check(path)
        if path.suffix in EMBEDDED:
            return self._read(path, min_bp)
        if self.given.features:
            return self._count_file(path, min_bp)
        return self._embed_file(path, min_bp)

    def of_codes(self, codes: Sequence[np.ndarray]) -> np.ndarray:
        """Features float32 [S, D] of base codes, each of which `usable` lets pass."""
        if self.given.features:
            from genomelm_utils.baselines.species_features import species_features

            return species_features(self.given.features, codes)
        model, tokenizer = self._encoder
        if self.given.cache is None:
            from genomelm_utils.tasks.embedding import embed

            return embed(model, tokenizer, codes, **self._options)
        from genomelm_utils.tasks.embedding_cache import embed_cached

        return embed_cached(self.given.cache, model, tokenizer, codes, **self._options)

    def usable(self, codes: Sequence[np.ndarray]) -> np.ndarray:
        """bool [S]: sequences that have four definite bases in a row."""
        from genomelm_utils.baselines.tetranucleotide import find_countable

        return find_countable(codes)[0] if len(codes) else np.zeros(0, bool)

    def check(self, path: Path) -> None:
        """An error when the file is not there, or nothing says how to make features of it."""
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: {missing_file(path)}, expected sequences or embeddings"
            )
        if path.suffix in EMBEDDED:
            return
        if not (self.given.features or self.given.model):
            raise ValueError(
                f"{path} holds sequences: give --model FOLDER, or --features canonical_tnf, which "
                "needs no model"
            )

    @cached_property
    def _encoder(self) -> tuple[Any, Any]:
        from genomelm_utils.tasks.embedding_models import load_encoder

        if not self.given.model.is_dir():
            raise FileNotFoundError(
                f"{self.given.model}: no such folder, expected a model in Hugging Face format "
                "(config.json, weights and tokenizer)"
            )
        return load_encoder(self.given.model)

    @cached_property
    def _options(self) -> dict[str, Any]:
        """Options of `tasks.embedding.embed`."""
        given = self.given
        names = ("strands", "window_bp", "overlap", "ambiguous", "dtype")
        return {name: getattr(given, name) for name in names} | {"device": find_device(given)}

    def _read(self, path: Path, min_bp: int) -> Features:
        from genomelm_utils.tasks.embedding_files import read_embeddings

        if self.given.features or self.given.model:
            raise ValueError(f"{path} holds embeddings already: leave out --model and --features")
        try:
            table, values_SD = read_embeddings(path)
        except (OSError, KeyError, ValueError, EOFError) as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise ValueError(f"{path} is no file of embeddings: {error}") from error
        names, n_bases = table["name"].tolist(), table["n_bases"].to_numpy()
        if (n_bases < min_bp).all():
            raise ValueError(
                f"{path}: all {len(names)} sequences are shorter than {min_bp} bp, of at most "
                f"{n_bases.max()}; give a smaller --min-bp"
            )
        features = Features(names, n_bases, values_SD, skipped_table([], ""))
        return features.keep(n_bases >= min_bp, f"shorter than {min_bp} bp")

    def _count_file(self, path: Path, min_bp: int) -> Features:
        """Features stay on disk, in a temporary file that goes at the end, as embeddings do."""
        from genomelm_utils.tasks import embedding_files as files

        with TemporaryDirectory(prefix="genomelm-species-") as folder:
            out = Path(folder) / "features.npy"
            n_kept, skipped = self._count_blocks(path, min_bp, out)
            if not n_kept:
                raise ValueError(f"{path}: nothing to count: {count_reasons(skipped)}")
            table, values_SD = files.read_embeddings(out, mmap=True)
            return Features(table["name"].tolist(), table["n_bases"].to_numpy(), values_SD, skipped)

    def _count_blocks(self, path: Path, min_bp: int, out: Path) -> tuple[int, pd.DataFrame]:
        """Rows written to `out`, and records left out."""
        from genomelm_utils.baselines.species_features import species_features
        from genomelm_utils.baselines.tetranucleotide import K_TNF, find_countable
        from genomelm_utils.sequences.stream import Block, RecordStream
        from genomelm_utils.tasks.embedding import open_bar
        from genomelm_utils.tasks.embedding_files import open_writer

        stream, lost, n_kept = RecordStream(path, min_bp=min_bp), [], 0
        width = species_features(self.given.features, [np.zeros(K_TNF, np.uint8)]).shape[1]
        with open_writer(out, width) as write, open_bar(None, None) as bar:
            for block in stream:
                kept_R, uncountable = find_countable(block.codes, block.names)
                rows = np.flatnonzero(kept_R)
                lost.append(uncountable)
                n_kept += len(rows)
                if len(rows):
                    kept = Block([block.names[i] for i in rows], [block.codes[i] for i in rows])
                    write(kept, species_features(self.given.features, kept.codes))
                bar.update(block.n_bases)
        return n_kept, pd.concat([stream.skipped, *lost], ignore_index=True)

    def _embed_file(self, path: Path, min_bp: int) -> Features:
        """Embeddings stay on disk: in the cache, or in a temporary file that goes at the end."""
        from genomelm_utils.tasks import embedding_files as files

        model, tokenizer = self._encoder
        with TemporaryDirectory(prefix="genomelm-species-") as folder:
            name = "embeddings.npy"
            if self.given.cache is not None:
                folder, name = self.given.cache, f"file-{self._key(path, min_bp)}.npy"
            out = Path(folder) / name
            done = files.embed_file(path, out, model, tokenizer, min_bp=min_bp, **self._options)
            table, values_SD = files.read_embeddings(out, mmap=True)
            skipped = pd.read_csv(done.skipped_path, dtype=str, keep_default_na=False)
            return Features(table["name"].tolist(), table["n_bases"].to_numpy(), values_SD, skipped)

    def _key(self, path: Path, min_bp: int) -> str:
        from genomelm_utils.tasks.embedding import embedding_recipe
        from genomelm_utils.tasks.embedding_cache import embedding_key, hash_file

        recipe = embedding_recipe(*self._encoder, **self._options)
        return embedding_key(*self._encoder, recipe, f"{hash_file(path)} min_bp {min_bp}")[0]


def write_features(output: Output, features: Features) -> None:
    """Features as .npy (names and bases in `<out>.names.csv`) or .parquet, as `read_embeddings`
    reads them."""
    table = pd.DataFrame({"name": features.names, "n_bases": features.n_bases})
    if output.out.suffix == ".npy":
        table.to_csv(output.path(NAMES), index=False, lineterminator="\n")
        np.save(output.path(), features.values)
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = [("name", pa.string()), ("n_bases", pa.int64())]
    vector = pa.list_(pa.float32(), features.values.shape[1])
    schema = pa.schema([*schema, ("embedding", vector)])
    with pq.ParquetWriter(output.path(), schema) as file:
        for begin in range(0, len(table), _WRITE_ROWS):
            part = table.iloc[begin : begin + _WRITE_ROWS]
            values = pa.array(np.asarray(features.values[begin : begin + _WRITE_ROWS]).ravel())
            columns = [pa.array(part["name"], pa.string()), pa.array(part["n_bases"], pa.int64())]
            columns.append(pa.FixedSizeListArray.from_arrays(values, type=vector))
            file.write_table(pa.Table.from_arrays(columns, schema=schema))


def find_device(given: "argparse.Namespace") -> str:
    """The device named, or the best one here; ValueError for one that is not here."""
    from genomelm_utils.training.device import choose_device

    try:
        return str(choose_device(given.device)[0])
    except ValueError as error:
        raise ValueError(f"--{error}") from error


# --- tables of species ---------------------------------------------------------------------


class Truth:
    """Which species sequences are of, from a table.

    path: TSV (plain or compressed) with the columns contig (or name) and species; others stay.
    Errors: FileNotFoundError; ValueError for other columns, or a contig twice.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: {missing_file(path)}, expected a table of contigs and species"
            )
        try:
            table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        except ValueError as error:
            raise ValueError(f"{path} is no tab-separated table: {error}") from error
        key = next((name for name in ("contig", "name") if name in table), None)
        if key is None or "species" not in table:
            raise ValueError(
                f"{path}: found the columns {', '.join(map(str, table.columns[:SHOWN]))}; expected "
                "tab-separated columns contig (or name) and species"
            )
        doubled = table.loc[table[key].duplicated(), key]
        if len(doubled):
            raise ValueError(f"{path}: {doubled.iloc[0]!r} stands in more than one row")
        self.path = path
        self.species_of = dict(zip(table[key], table["species"].str.strip(), strict=True))

    def of(self, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Species of every name, objects [S] ("" where the table has none), and which have one.

        Errors: ValueError when the table knows none of the names.
        """
        species_S = np.array([self.species_of.get(name, "") for name in names], dtype=object)
        known_S = species_S != ""
        if not known_S.any():
            raise ValueError(
                f"{self.path} has a species for none of the {len(names)} sequences: it names "
                f"{next(iter(self.species_of), 'nothing')!r}, the sequences are named like "
                f"{names[0]!r}"
            )
        return species_S, known_S


def read_truth(path: Path | None) -> Truth | None:
    """The table, if there is one."""
    return None if path is None else Truth(path)


def need_species(species: Sequence[str], where: object) -> list[str]:
    """The species, sorted; ValueError when there is only one."""
    found = sorted(set(species))
    if len(found) < 2:
        raise ValueError(
            f"{where}: all {len(species)} sequences with a species are {found[0]!r}, expected at "
            "least two species"
        )
    return found
