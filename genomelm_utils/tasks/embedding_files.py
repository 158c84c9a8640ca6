"""A FASTA or FASTQ file in, a file of embeddings with names out, in bounded memory.

Shapes: S records of the file, R records of a block, D width.
"""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pandas as pd
from transformers import PreTrainedModel

from genomelm_utils.sequences.stream import BLOCK_BASES, BLOCK_RECORDS, Block, RecordStream
from genomelm_utils.tasks.embedding import embed, embedding_recipe, open_bar
from genomelm_utils.tasks.embedding_batches import look_ahead
from genomelm_utils.tasks.embedding_cache import embedding_key, hash_file, write_json
from genomelm_utils.tasks.embedding_models import encoder_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

SUFFIXES = (".npy", ".parquet")
NAMES, SKIPPED, RECEIPT = ".names.csv", ".skipped.csv", ".json"  # beside the embeddings
PARTIAL = ".partial"  # while it is written
Write = Callable[[Block, np.ndarray], None]


@dataclass(frozen=True)
class EmbeddedFile:
    """Where the embeddings of a file are, and of what.

    path: the embeddings; n_sequences, n_bases, width: S, bases and D; n_skipped: records left out,
    listed with reasons in `skipped_path`; reused: they were there already.
    """

    path: Path
    n_sequences: int
    n_bases: int
    width: int
    n_skipped: int
    reused: bool = False

    @property
    def skipped_path(self) -> Path:
        """Table (name, reason) of records left out."""
        return _beside(self.path, SKIPPED)


def embed_file(
    path: str | Path,
    out: str | Path,
    model: PreTrainedModel,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    min_bp: int = 1,
    reuse: bool = True,
    progress: bool | None = None,
    block_bases: int = BLOCK_BASES,
    block_records: int = BLOCK_RECORDS,
    **options: Any,
) -> EmbeddedFile:
    """Embeddings of every record of a FASTA or FASTQ file, in the order of the file.

    The file is read twice: first to the end for mistakes, so that none comes up after hours of
    computing, then in blocks. Memory does not grow with the file (8 bytes per record aside).

    Args:
        out: `x.npy` (float32 [S, D], names and bases in `x.npy.names.csv`), or `x.parquet` (columns
            name, n_bases, embedding; needs pyarrow). Also `<out>.skipped.csv`, records left out,
            and `<out>.json`, the key of the embeddings. `read_embeddings` reads both kinds.
        min_bp: shorter records are left out, as are empty ones and those without a definite base.
        reuse: leave an `out` made with the same key alone (see `embedding_cache`).
        options: those of `tasks.embedding.embed`. Longest first holds within a block.
    Errors: those of `sequences.stream.RecordStream`, before anything is computed; ValueError for
    another suffix. An interrupted run leaves what was there before as it was.
    """
    out = Path(out)
    if out.suffix not in SUFFIXES:
        raise ValueError(f"{out}: expected a name that ends in {' or '.join(SUFFIXES)}")
    stream = RecordStream(path, min_bp=min_bp, block_bases=block_bases, block_records=block_records)
    recipe_options = {k: v for k, v in options.items() if k != "token_budget"}
    recipe = embedding_recipe(model, tokenizer, **recipe_options)
    key, parts = embedding_key(model, tokenizer, recipe, f"{hash_file(path)} min_bp {min_bp}")
    if reuse and (found := _find(out, key)) is not None:
        logger.info("%s: made with the same weights, settings and file before, left as it is", out)
        return found
    for _ in stream:  # to the end, for mistakes and for the number of records
        pass
    done = EmbeddedFile(
        out,
        stream.n_records,
        stream.n_bases,
        encoder_of(model).config.hidden_size,
        len(stream.skipped),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with open_writer(out, done.width) as write, open_bar(progress, total=stream.n_bases) as bar:
        for block in look_ahead(stream):
            write(block, embed(model, tokenizer, block.codes, progress=bar, **options))
        if stream.n_records != done.n_sequences:
            raise ValueError(f"{path} changed while it was read; start again")
    stream.skipped.to_csv(_beside(out, SKIPPED), index=False, lineterminator="\n")
    described = {"key": key, **asdict(done), "path": out.name, "made_of": parts}
    write_json(_beside(out, RECEIPT), described)
    return done


def read_embeddings(path: str | Path, mmap: bool = False) -> tuple[pd.DataFrame, np.ndarray]:
    """(table, embeddings): name and n_bases of every record, and float32 [S, D] in that order.

    mmap: leave a .npy file on disk (read-only); a .parquet file is read whole all the same.
    Errors: FileNotFoundError; ValueError for columns or numbers that `embed_file` does not write,
    names that stand twice, and as many names as there are not rows.
    """
    path = Path(path)
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise FileNotFoundError(f"{path}: {what}, expected embeddings; make it with `embed`")
    if path.suffix == ".parquet":
        table = pd.read_parquet(path)
        _check_table(table, path, ("name", "n_bases", "embedding"))
        values_SD = np.stack(table["embedding"].to_numpy())
        _check_values(values_SD, path)
        return table[["name", "n_bases"]], values_SD
    names = _beside(path, NAMES)
    if not names.is_file():
        raise FileNotFoundError(f"{path} has no names: expected {names.name} beside it")
    table = pd.read_csv(names, dtype={"name": str}, keep_default_na=False)
    _check_table(table, names, ("name", "n_bases"))
    values_SD = np.load(path, mmap_mode="r" if mmap else None)
    _check_values(values_SD, path)
    if len(table) != len(values_SD):
        raise ValueError(
            f"{path} has {len(values_SD)} rows and {names.name} {len(table)} names; embed again"
        )
    return table, values_SD


def _check_table(table: pd.DataFrame, path: Path, columns: tuple[str, ...]) -> None:
    if missing := [name for name in columns if name not in table]:
        raise ValueError(
            f"{path} has no column {missing[0]!r}, found {', '.join(map(str, table.columns))}; "
            f"expected {', '.join(columns)}"
        )
    if not len(table):
        raise ValueError(f"{path} names no sequences, expected at least one row")
    if not pd.api.types.is_integer_dtype(table["n_bases"]):
        raise ValueError(f"{path}: the column n_bases does not hold whole numbers in every row")
    doubled = table.loc[table["name"].duplicated(), "name"]
    if len(doubled):
        raise ValueError(f"{path}: {doubled.iloc[0]!r} stands in more than one row")


def _check_values(values: object, path: Path) -> None:
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype.kind != "f":
        found = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else "no array"
        raise ValueError(f"{path} holds {found}, expected floating-point numbers, a row for each")


def _find(out: Path, key: str) -> EmbeddedFile | None:
    """What the receipt beside `out` says, if it is of this key."""
    try:
        held = json.loads(_beside(out, RECEIPT).read_text())
    except (FileNotFoundError, ValueError):
        return None
    if not out.is_file() or held.get("key") != key:
        return None
    counts = {name: held[name] for name in ("n_sequences", "n_bases", "width", "n_skipped")}
    return EmbeddedFile(out, **counts, reused=True)


def _beside(out: Path, suffix: str) -> Path:
    return out.with_name(out.name + suffix)


@contextmanager
def open_writer(out: Path, width: int) -> Iterator[Write]:
    """A function that appends the rows of a block; `out` appears when the last one is written.

    Nothing but the block at hand is held in memory. After an error nothing is left, and what was
    there before stands.

    Args:
        out: .npy (with its names) or .parquet, as `read_embeddings` reads them.
        width: numbers of a row.
    """
    kind = _write_npy if out.suffix == ".npy" else _write_parquet
    partial, names = _beside(out, PARTIAL), _beside(out, NAMES + PARTIAL)
    try:
        with kind(out, width) as write:
            yield write
        # the old ones go first: at no time do embeddings stand beside names of others
        _beside(out, RECEIPT).unlink(missing_ok=True)
        out.unlink(missing_ok=True)
        if names.is_file():
            names.replace(_beside(out, NAMES))
        partial.replace(out)
    finally:
        for file in (partial, names):
            file.unlink(missing_ok=True)


@contextmanager
def _write_npy(out: Path, width: int) -> Iterator[Write]:
    names, n_rows = _beside(out, NAMES + PARTIAL), 0
    names.write_text("name,n_bases\n")
    with _beside(out, PARTIAL).open("wb") as file:

        def write(block: Block, values_RD: np.ndarray) -> None:
            nonlocal n_rows
            assert values_RD.shape == (len(block), width)
            file.write(values_RD.astype("<f4", copy=False).tobytes())
            _describe(block).to_csv(names, mode="a", header=False, index=False, lineterminator="\n")
            n_rows += len(block)

        n_bytes = _write_header(file, 0, width)
        yield write
        file.seek(0)
        same = _write_header(file, n_rows, width)
        assert same == n_bytes  # numpy leaves room for any number of rows


def _write_header(file: BinaryIO, n_rows: int, width: int) -> int:
    header = {"descr": "<f4", "fortran_order": False, "shape": (n_rows, width)}
    np.lib.format.write_array_header_1_0(file, header)
    return file.tell()


@contextmanager
def _write_parquet(out: Path, width: int) -> Iterator[Write]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ValueError(
            f"{out}: parquet needs pyarrow (pip install 'genomelm[train]'); or write .npy"
        ) from error
    vector = pa.list_(pa.float32(), width)
    schema = pa.schema([("name", pa.string()), ("n_bases", pa.int64()), ("embedding", vector)])
    with pq.ParquetWriter(_beside(out, PARTIAL), schema) as file:

        def write(block: Block, values_RD: np.ndarray) -> None:
            table = _describe(block)
            flat = pa.array(values_RD.ravel())
            columns = [
                pa.array(table["name"], pa.string()),
                pa.array(table["n_bases"], pa.int64()),
                pa.FixedSizeListArray.from_arrays(flat, type=vector),
            ]
            file.write_table(pa.Table.from_arrays(columns, schema=schema))

        yield write


def _describe(block: Block) -> pd.DataFrame:
    return pd.DataFrame({"name": block.names, "n_bases": [len(codes) for codes in block.codes]})
