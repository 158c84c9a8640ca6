"""Token data sets on disk: rows written as CSV, JSON lines, Parquet and `datasets` folders.

All have the same columns: idx (name), feature (letters), labels (class from 0), input_ids,
token_type_ids (all 0), attention_mask (all 1), and with `tokens` input_str (the token strings)
behind input_ids. Lists are lists, but for CSV, where they are numbers in brackets, as numpy prints
them and the released code of genomeNLP reads them.

Shapes: R rows, T tokens of all rows, V vocabulary.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = ("csv", "json", "parquet", "datasets")
STRINGS = "input_str"
_BATCH_ROWS = 8192
_SHARD = "data-00000-of-00001.arrow"  # Source: the library `datasets`
_LISTS = {"input_ids": "int32", STRINGS: "string"} | dict.fromkeys(
    ("token_type_ids", "attention_mask"), "int8"
)


class TokenRows(NamedTuple):
    """Some rows. names, features: str [R]. labels: int64[R]. ids: int32[T], of all rows end to end;
    row i has ids[offsets[i] : offsets[i + 1]], offsets int64[R + 1]."""

    names: Sequence[str]
    features: Sequence[str]
    labels: np.ndarray
    ids: np.ndarray
    offsets: np.ndarray

    def take(self, rows: np.ndarray) -> "TokenRows":
        """The rows at these places, in their order."""
        lengths = np.diff(self.offsets)[rows]
        offsets = np.append(0, np.cumsum(lengths))
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
        return TokenRows(
            [self.names[i] for i in rows.tolist()],
            [self.features[i] for i in rows.tolist()],
            self.labels[rows],
            self.ids[np.repeat(self.offsets[rows], lengths) + within],
            offsets,
        )


class TokenWriter:
    """Files of one part of a data set: `<folder>/<part>.csv`, `.json`, `.parquet`, `<part>/`.

    Rows go to a hidden file first; `close` writes the formats from it. With a generator rows are
    shuffled: dealt at random to `n_buckets` such files, each of which has to fit into memory.

    class_names: of the labels. tokens: the string of every id, for the column input_str.
    counter: CSV gets a first column without a name that counts rows, as `kmerise_bio` writes it.
    Raises: ValueError for an unknown format.
    """

    def __init__(
        self,
        folder: Path,
        part: str,
        class_names: Sequence[str],
        *,
        formats: Sequence[str] = FORMATS,
        tokens: Sequence[str] | None = None,
        rng: np.random.Generator | None = None,
        n_buckets: int = 1,
        counter: bool = False,
    ) -> None:
        check_formats(formats)
        self.folder, self.part, self.formats = folder, part, tuple(formats)
        self.schema = make_schema(class_names, with_strings=tokens is not None)
        self.rng, self.counter = rng, counter
        self.n_rows = 0
        self._tokens = None if tokens is None else _as_arrow(tokens)
        self._held = [folder / f".{part}.{i}.arrow" for i in range(n_buckets if rng else 1)]
        self._streams = [_open_stream(path, self.schema) for path in self._held]

    def write(self, rows: TokenRows) -> None:
        """Take rows, to be written when the writer is closed."""
        if self.rng is None or len(self._streams) == 1:
            self._hold(0, rows)
        else:
            bucket = self.rng.integers(0, len(self._streams), len(rows.labels))
            for i in np.unique(bucket).tolist():
                self._hold(i, rows.take(np.flatnonzero(bucket == i)))
        self.n_rows += len(rows.labels)

    def _hold(self, bucket: int, rows: TokenRows) -> None:
        if len(rows.labels):
            self._streams[bucket].write_batch(to_batch(rows, self.schema, self._tokens))

    def close(self) -> None:
        """Write the files. An empty part has files without rows."""
        for stream in self._streams:
            stream.close()
        sinks = [_SINKS[name](self) for name in self.formats]
        for path in self._held:
            for batch in self._read_held(path):
                for sink in sinks:
                    sink.write(batch)
            path.unlink()
        for sink in sinks:
            sink.close()

    def _read_held(self, path: Path) -> Iterator["pa.RecordBatch"]:
        import pyarrow as pa

        with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as reader:
            if self.rng is None:
                yield from reader
                return
            table = reader.read_all().combine_chunks()
            order = self.rng.permutation(len(table))
            for begin in range(0, len(table), _BATCH_ROWS):
                part = table.take(order[begin : begin + _BATCH_ROWS])
                yield from part.combine_chunks().to_batches()


def check_formats(formats: Sequence[str]) -> None:
    """ValueError for a format that is not written, or none."""
    wrong = [name for name in formats if name not in FORMATS]
    if wrong or not formats:
        raise ValueError(
            f"formats are {', '.join(formats) or 'none'}, expected some of: {', '.join(FORMATS)}"
        )


def make_schema(class_names: Sequence[str], *, with_strings: bool) -> "pa.Schema":
    """The columns; their metadata tell `datasets` the classes of Parquet and Arrow files."""
    import pyarrow as pa

    kinds = {"idx": "string", "feature": "string", "labels": "int64"} | _LISTS
    if not with_strings:
        del kinds[STRINGS]
    features: dict[str, Any] = {}
    fields = []
    for name, kind in kinds.items():
        value = {"dtype": kind, "_type": "Value"}
        features[name] = {"feature": value, "_type": "List"} if name in _LISTS else value
        plain = pa.type_for_alias(kind)
        fields.append(pa.field(name, pa.list_(plain) if name in _LISTS else plain))
    features["labels"] = {"names": list(class_names), "_type": "ClassLabel"}
    content = json.dumps({"info": {"features": features}})
    return pa.schema(fields, metadata={"huggingface": content})


def to_batch(
    rows: TokenRows, schema: "pa.Schema", tokens: "pa.StringArray | None" = None
) -> "pa.RecordBatch":
    """The rows as Arrow columns; tokens: the string of every id, where the schema has them."""
    import pyarrow as pa

    offsets = pa.array(rows.offsets, pa.int32())
    n_ids = int(rows.offsets[-1])

    def as_list(values: Any) -> "pa.ListArray":
        return pa.ListArray.from_arrays(offsets, values)

    columns = {
        "idx": _as_arrow(rows.names),
        "feature": _as_arrow(rows.features),
        "labels": pa.array(rows.labels, pa.int64()),
        "input_ids": as_list(pa.array(rows.ids, pa.int32())),
        "token_type_ids": as_list(pa.array(np.zeros(n_ids, np.int8))),
        "attention_mask": as_list(pa.array(np.ones(n_ids, np.int8))),
    }
    if tokens is not None:
        columns[STRINGS] = as_list(tokens.take(pa.array(rows.ids, pa.int32())))
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def _as_arrow(texts: Sequence[str]) -> "pa.StringArray":
    import pyarrow as pa

    return pa.array(texts, pa.string())


def _no_rows(schema: "pa.Schema") -> "pa.RecordBatch":
    import pyarrow as pa

    return pa.RecordBatch.from_arrays([pa.array([], one.type) for one in schema], schema=schema)


def _open_stream(path: Path, schema: "pa.Schema") -> "pa.ipc.RecordBatchStreamWriter":
    import pyarrow as pa

    return pa.ipc.new_stream(str(path), schema)


# --- formats -------------------------------------------------------------------------------


def _join_lists(column: "pa.ListArray", mark: str, quote: str = "") -> "pa.StringArray":
    """Every list as one text, `[1 2 3]`; computed in Arrow, a column at a time."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = column.flatten()
    if pa.types.is_integer(values.type):
        # each number is written once: there are far fewer different ones than tokens
        table = pa.array(map(str, range(int(pc.max(values).as_py() or 0) + 1)), pa.string())
        texts = table.take(values)
    else:
        texts = pc.binary_join_element_wise(quote, values, quote, "") if quote else values
    offsets = pc.subtract(column.offsets, column.offsets[0])  # of a slice they begin later
    lists = pa.ListArray.from_arrays(offsets, texts)
    return pc.binary_join_element_wise("[", pc.binary_join(lists, mark), "]", "")


class _Csv:
    def __init__(self, writer: TokenWriter) -> None:
        import pyarrow as pa
        from pyarrow import csv

        texts = [(name, pa.string()) for name in writer.schema.names if name in _LISTS]
        plain = [(field.name, field.type) for field in writer.schema if field.name not in _LISTS]
        types = dict([*texts, *plain])
        self.counter, self.n_rows = writer.counter, 0
        names = [*([""] if self.counter else []), *writer.schema.names]
        self.schema = pa.schema([(name, types.get(name, pa.int64())) for name in names])
        path = writer.folder / f"{writer.part}.csv"
        self.file = csv.CSVWriter(str(path), self.schema)

    def write(self, batch: "pa.RecordBatch") -> None:
        import pyarrow as pa

        columns = []
        for name in self.schema.names:
            if not name:
                columns.append(pa.array(np.arange(self.n_rows, self.n_rows + len(batch))))
            elif name in _LISTS:
                quote = "'" if name == STRINGS else ""
                columns.append(_join_lists(batch.column(name), " ", quote))
            else:
                columns.append(batch.column(name))
        self.file.write_batch(pa.RecordBatch.from_arrays(columns, schema=self.schema))
        self.n_rows += len(batch)

    def close(self) -> None:
        self.file.close()


class _Json:
    """One object per line."""

    def __init__(self, writer: TokenWriter) -> None:
        self.file = (writer.folder / f"{writer.part}.json").open("w", encoding="utf-8")
        self.names = writer.schema.names

    def write(self, batch: "pa.RecordBatch") -> None:
        columns = []
        for name in self.names:
            column = batch.column(name)
            if name in _LISTS and name != STRINGS:
                columns.append(_join_lists(column, ",").to_pylist())
            else:
                columns.append([json.dumps(one) for one in column.to_pylist()])
        keys = [json.dumps(name) for name in self.names]
        for row in zip(*columns, strict=True):
            pairs = (f"{key}:{value}" for key, value in zip(keys, row, strict=True))
            self.file.write("{" + ",".join(pairs) + "}\n")

    def close(self) -> None:
        self.file.close()


class _Parquet:
    def __init__(self, writer: TokenWriter) -> None:
        import pyarrow.parquet as pq

        path = writer.folder / f"{writer.part}.parquet"
        self.file = pq.ParquetWriter(str(path), writer.schema)

    def write(self, batch: "pa.RecordBatch") -> None:
        self.file.write_batch(batch)

    def close(self) -> None:
        self.file.close()


class _Folder:
    """What `datasets.load_from_disk` reads."""

    def __init__(self, writer: TokenWriter) -> None:
        import datasets  # noqa: F401 - is it there? Better asked now than at the end

        self.held = writer.folder / f".{writer.part}.folder.arrow"
        self.folder = writer.folder / writer.part
        self.schema, self.n_rows = writer.schema, 0
        self.file = _open_stream(self.held, writer.schema)
        self.file.write_batch(_no_rows(writer.schema))

    def write(self, batch: "pa.RecordBatch") -> None:
        self.file.write_batch(batch)
        self.n_rows += len(batch)

    def close(self) -> None:
        import datasets

        self.file.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        bars = datasets.utils.logging.is_progress_bar_enabled()
        datasets.disable_progress_bars()
        try:
            datasets.Dataset.from_file(str(self.held)).save_to_disk(str(self.folder))
        finally:
            if bars:
                datasets.enable_progress_bars()
        self.held.unlink()
        if not self.n_rows:
            self._write_no_rows()

    def _write_no_rows(self) -> None:
        """The library saves no file where there are no rows, and then cannot load the folder."""
        with _open_stream(self.folder / _SHARD, self.schema) as stream:
            stream.write_batch(_no_rows(self.schema))
        state = json.loads((self.folder / "state.json").read_text())
        state["_data_files"] = [{"filename": _SHARD}]
        (self.folder / "state.json").write_text(json.dumps(state, indent=2))


_SINKS = {"csv": _Csv, "json": _Json, "parquet": _Parquet, "datasets": _Folder}
