"""Token data sets made of labelled records by a plan of their split: rows, files, leaks.

Shapes: R rows.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from genomelm_utils.datasets.class_records import TEXT, Record
from genomelm_utils.datasets.split_plan import PARTS, Cut, SplitPlan
from genomelm_utils.datasets.token_files import FORMATS, TokenRows, TokenWriter, check_formats
from genomelm_utils.sequences.letters import Kind, canonical_text

RECORDS, LEAKS = "records.tsv", "leaks.tsv"
_BLOCK_LETTERS = 1 << 22
_BUCKET_BYTES = 1 << 28
_TOKEN_BYTES = 16  # of a row per token, on the generous side

#: Token ids of texts: int32 of all end to end, and int64 offsets, one more than texts.
Encode = Callable[[Sequence[str]], tuple[np.ndarray, np.ndarray]]


def iter_rows(
    records: Iterable[Record], kind: Kind, cut: Cut, encode: Encode
) -> Iterator[TokenRows]:
    """All rows in order, tokenised, in blocks of about four million letters."""
    names: list[str] = []
    texts: list[str] = []
    labels: list[int] = []
    held = 0
    for record in records:
        for name, text in cut.rows(record, kind):
            names.append(name)
            texts.append(text)
            labels.append(record.label)
            held += len(text)
            if held >= _BLOCK_LETTERS:
                yield TokenRows(names, texts, np.array(labels, np.int64), *encode(texts))
                names, texts, labels, held = [], [], [], 0
    if names:
        yield TokenRows(names, texts, np.array(labels, np.int64), *encode(texts))


@dataclass(frozen=True)
class Created:
    """What `create_token_set` wrote. counts: part, label, n_rows. leaks: of `find_leaks`. n_tokens,
    n_unknown: of all rows. plan: the split. sample: the first row of training."""

    counts: pd.DataFrame
    leaks: pd.DataFrame
    n_tokens: int
    plan: SplitPlan
    sample: TokenRows


def create_token_set(
    records: Iterable[Record],
    kind: Kind,
    class_names: Sequence[str],
    encode: Encode,
    folder: str | Path,
    plan: SplitPlan,
    cut: Cut,
    *,
    formats: Sequence[str] = FORMATS,
    tokens: Sequence[str] | None = None,
    shuffle: bool = True,
    seed: int,
) -> Created:
    """Write train, test and valid of a plan in a new folder, reading the records once more.

    Beside them `records.tsv` (part and group of every record) and `leaks.tsv`. Rows of a part are
    shuffled unless `shuffle` is False. Memory does not grow with the data: rows lie on disk until
    they are shuffled, and a part without rows has files without rows. Everything appears under its
    name when it is complete. The same input and seed give the same rows.

    tokens: the string of every id, for the column input_str.
    Raises: ValueError for a folder that is not empty, records other than those of the plan, or an
        unknown format.
    """
    folder = Path(folder)
    check_formats(formats)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is there and not empty; name a new folder")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        options = {"formats": formats, "tokens": tokens, "shuffle": shuffle, "seed": seed}
        rows = iter_rows(records, kind, cut, encode)
        created = _write_parts(rows, kind, class_names, partial, plan, **options)
        plan.records.to_csv(partial / RECORDS, sep="\t", index=False, lineterminator="\n")
        created.leaks.to_csv(partial / LEAKS, sep="\t", index=False, lineterminator="\n")
        if folder.exists():
            folder.rmdir()
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return created


def _write_parts(
    rows: Iterable[TokenRows],
    kind: Kind,
    class_names: Sequence[str],
    folder: Path,
    plan: SplitPlan,
    *,
    formats: Sequence[str],
    tokens: Sequence[str] | None,
    shuffle: bool,
    seed: int,
) -> Created:
    n_buckets = 1 + int(plan.records["n_letters"].sum()) * _TOKEN_BYTES // _BUCKET_BYTES
    rngs = np.random.default_rng([seed, 1]).spawn(len(PARTS)) if shuffle else [None] * len(PARTS)
    writers = [
        TokenWriter(
            folder, part, class_names, formats=formats, tokens=tokens, rng=rng, n_buckets=n_buckets
        )
        for part, rng in zip(PARTS, rngs, strict=True)
    ]
    at = n_tokens = 0
    hashes = np.empty((2, len(plan.part_R)), np.int64)
    sample = None
    for block in rows:
        end = at + len(block.labels)
        if end > len(plan.part_R):
            break
        hashes[:, at:end] = _hash_rows(block.features, kind)
        for i, writer in enumerate(writers):
            part = block.take(np.flatnonzero(plan.part_R[at:end] == i))
            if i == 0 and sample is None and len(part.labels):
                sample = part.take(np.array([0]))
            writer.write(part)
        at, n_tokens = end, n_tokens + len(block.ids)
    if at != len(plan.part_R):
        raise ValueError(
            f"the plan is for {len(plan.part_R)} rows and {at} were read; plan and write the same"
        )
    for writer in writers:
        writer.close()
    return Created(
        plan.count(class_names), find_leaks(*hashes, plan.part_R), n_tokens, plan, sample
    )


def _hash_rows(texts: Sequence[str], kind: Kind) -> tuple[list[int], list[int]]:
    """Hashes of letters, and of letters or those of the other strand, whichever come first."""
    own = [hash(text) for text in texts]
    if kind.name == TEXT or not kind.has_strands:
        return own, own
    return own, [hash(canonical_text(text, kind.name)) for text in texts]


def find_leaks(same_R: np.ndarray, strand_R: np.ndarray, part_R: np.ndarray) -> pd.DataFrame:
    """Rows of test and valid whose letters were trained on: part, n_rows, n_same, n_either_strand.

    same_R, strand_R: a number per row, equal for equal letters, and for equal letters of either
    strand. part_R: of `PARTS`.
    """
    train = part_R == 0
    rows = []
    for i, part in enumerate(PARTS[1:], 1):
        held = part_R == i
        seen = [np.isin(one[held], one[train]).sum() for one in (same_R, strand_R)]
        rows.append((part, int(held.sum()), int(seen[0]), int(seen[1])))
    return pd.DataFrame(rows, columns=["part", "n_rows", "n_same", "n_either_strand"])
