"""Rows of token data sets: joined, taken, and grouped by what they were made of.

Rows of one sequence (its chunks, its other strand) carry its name with a mark behind; copies and
relatives are found by their letters. Groups keep them on one side of every split and fold.

Shapes: R rows.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from genomelm_utils.datasets.record_groups import WORD
from genomelm_utils.datasets.token_reading import TokenSet
from genomelm_utils.sequences.letters import DNA, PROTEIN, RNA, canonical_text

GROUPS = ("sequence", "shared_words")
_MARKS = re.compile(r"(?:__PARTIAL_SEQ_CHUNK_\d+)?(?:__RC)?$")  # Source: genomeNLP's names of rows
_NUCLEOTIDES = frozenset("ACGTUNRYKMSWBDHV")


def join_sets(sets: Sequence[TokenSet]) -> TokenSet:
    """One set of all rows, in order.

    Raises: ValueError for no set, or sets of different classes.
    """
    if not sets:
        raise ValueError("no data set, expected at least one")
    if len({one.class_names for one in sets}) > 1:
        named = "; ".join(f"{one.source}: {', '.join(one.class_names)}" for one in sets)
        raise ValueError(f"the data sets have different classes ({named})")
    lengths = np.concatenate([one.n_tokens for one in sets])
    with_strings = all(len(one.strings) == len(one.ids) for one in sets)
    return TokenSet(
        [name for one in sets for name in one.names],
        [text for one in sets for text in one.features],
        np.concatenate([one.labels for one in sets]),
        np.concatenate([one.ids for one in sets]),
        np.append(0, np.cumsum(lengths)).astype(np.int64),
        sets[0].class_names,
        [token for one in sets for token in one.strings] if with_strings else [],
        ", ".join(one.source for one in sets),
    )


def take_rows(rows: TokenSet, places: np.ndarray) -> TokenSet:
    """The rows at these places, in their order."""
    lengths = rows.n_tokens[places]
    offsets = np.append(0, np.cumsum(lengths)).astype(np.int64)
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    at = np.repeat(rows.offsets[places], lengths) + within
    strings = [rows.strings[i] for i in at.tolist()] if rows.strings else []
    return replace(
        rows,
        names=[rows.names[i] for i in places.tolist()],
        features=[rows.features[i] for i in places.tolist()],
        labels=rows.labels[places],
        ids=rows.ids[at],
        offsets=offsets,
        strings=strings,
    )


def list_rows(rows: TokenSet) -> list[np.ndarray]:
    """The token ids of every row, int32."""
    return np.split(rows.ids, rows.offsets[1:-1])


def take_percent(n_rows: int, percent: float) -> np.ndarray:
    """Places of about `percent` % of the rows: every k-th, k = floor(100 / percent).

    Source: genomeNLP's --partition_percent, the first of k shards: 1,218 of 12,175 at 10 %.
    """
    if not 0 < percent <= 100:
        raise ValueError(f"the percentage is {percent}, expected above 0, up to 100")
    return np.arange(0, n_rows, int(100 // percent))


def group_rows(rows: TokenSet, groups: str = "sequence", word: int = WORD) -> np.ndarray:
    """A group per row, int64 [R]: equal for rows of one sequence, its copies and other strand.

    groups: 'shared_words' also joins sequences with `word` equal letters in a row (either strand of
    nucleotides): relatives. Rows are of one sequence where their names, but for the marks behind,
    and classes are the same: two files may both have a record `1`. Without letters (empty features)
    names alone decide.
    """
    if groups not in GROUPS:
        raise ValueError(f"groups is {groups!r}, expected one of {', '.join(GROUPS)}")
    named = [
        f"{label} {_MARKS.sub('', name)}"
        for name, label in zip(rows.names, rows.labels.tolist(), strict=True)
    ]
    origin = pd.factorize(pd.Series(named))[0]
    if not all(rows.features):
        return origin.astype(np.int64)
    kind = tell_letters(rows.features)
    if groups == "sequence":
        alike = pd.factorize(pd.Series([canonical_text(t, kind) for t in rows.features]))[0]
    else:
        from genomelm_utils.sequences.shared_words import group_by_shared_words

        texts = [text.upper().replace("U", "T") for text in rows.features]
        if kind == PROTEIN:
            texts = list(rows.features)
        alike = group_by_shared_words(texts, word, both_strands=kind != PROTEIN)
    return _join(origin, alike)


def tell_letters(texts: Sequence[str]) -> str:
    """'dna', 'rna' or 'protein', by the letters."""
    seen = set().union(*(set(text) for text in texts)) if texts else set()
    seen = {letter.upper() for letter in seen}
    if not seen <= _NUCLEOTIDES:
        return PROTEIN
    return RNA if "U" in seen else DNA


def _join(one_R: np.ndarray, other_R: np.ndarray) -> np.ndarray:
    """Groups joined wherever two rows are together in either grouping."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = int(one_R.max(initial=-1)) + 1
    total = n + int(other_R.max(initial=-1)) + 1
    links = coo_array((np.ones(len(one_R)), (one_R, n + other_R)), shape=(total, total))
    joined = connected_components(links, directed=False)[1][one_R]
    return pd.factorize(joined)[0].astype(np.int64)
