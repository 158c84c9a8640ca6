"""Which records have to stay in one part of a split: copies, other strands, relatives, controls.

Shapes: S records.
"""

import hashlib
import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

from genomelm_utils.datasets.class_records import TEXT, Record
from genomelm_utils.sequences.alphabet import encode
from genomelm_utils.sequences.letters import PROTEIN, Kind, canonical_text

#: What stays together: equal sequences and other strands; those that share a word; clusters.
GROUPS = ("sequence", "shared_words", "clusters")
WORD = 40  # ours: letters in a row that chance does not give twice
_CONTROL = re.compile(r"^(?:RC_)?NULL_[FBD]_(.+)$")  # names of `sequences.synthetic`


def group_records(
    records: Iterable[Record], kind: Kind, groups: str, word: int, alone: bool = False
) -> tuple[pd.DataFrame, np.ndarray]:
    """(table, groups): columns file, name, label, n_letters; int64[S], equal for records that have
    to stay together.

    groups: "sequence" for equal letters, on either strand of DNA and RNA; "shared_words" for
    `word` equal letters in a row somewhere (see `sequences.shared_words`); "clusters" for
    similar sequences of DNA and RNA (see `sequences.clusters`). Relatives of relatives are
    relatives. The last two hold all sequences in memory. A synthetic negative (`NULL_F_x`, see
    `sequences.synthetic`) is with the record `x` it was made of, where that is there.

    alone: True gives every record a group of its own.
    Raises: ValueError for an unknown choice, clusters of what is not DNA or RNA, a class without
        records.
    """
    if groups not in GROUPS:
        raise ValueError(f"groups is {groups!r}, expected one of: {', '.join(GROUPS)}")
    strands = kind.name if kind.name != TEXT else PROTEIN
    if groups == "clusters" and strands == PROTEIN:
        raise ValueError(
            f"clusters are for DNA and RNA, the input is {kind.name} ({kind.why}); take "
            "shared_words"
        )
    rows: list[tuple[str, str, int, int]] = []
    keys: list[int] = []
    texts: list[str] = []
    for record in records:
        rows.append((record.file, record.name, record.label, len(record.text)))
        if alone:
            keys.append(len(keys))
        elif groups == "sequence":
            keys.append(_digest(canonical_text(record.text, strands)))
        else:
            texts.append(record.text)
    table = pd.DataFrame(rows, columns=["file", "name", "label", "n_letters"])
    if groups == "shared_words" and not alone:
        keys = _group_by_words(texts, strands, word)
    elif groups == "clusters" and not alone:
        keys = _cluster(texts)
    group_S = pd.factorize(np.array(keys, dtype=np.int64))[0].astype(np.int64)
    return table, group_S if alone else _join_controls(table["name"], group_S)


def _digest(text: str) -> int:
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def _group_by_words(texts: list[str], strands: str, word: int) -> list[int]:
    from genomelm_utils.sequences.shared_words import group_by_shared_words

    if strands == PROTEIN:
        return group_by_shared_words(texts, word).tolist()
    as_dna = [text.replace("U", "T") for text in texts]
    return group_by_shared_words(as_dna, word, both_strands=True).tolist()


def _cluster(texts: list[str]) -> list[int]:
    from genomelm_utils.sequences.clusters import cluster_sequences, link_clusters

    codes = [encode(text) for text in texts]
    found = cluster_sequences([str(i) for i in range(len(codes))], codes)
    return link_clusters(found, codes).numbers.tolist()


def _join_controls(names: pd.Series, group_S: np.ndarray) -> np.ndarray:
    """The groups, joined where a control and its record are in different ones."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    origin = names.str.extract(_CONTROL, expand=False)
    if origin.isna().all():
        return group_S
    place = pd.Series(np.arange(len(names)), index=names)
    place = place[~place.index.duplicated()]
    found = origin.map(place)
    known = found.notna().to_numpy()
    pairs = group_S[known], group_S[found[known].astype(np.int64).to_numpy()]
    n_groups = int(group_S.max(initial=-1)) + 1
    links = coo_array((np.ones(len(pairs[0])), pairs), shape=(n_groups, n_groups))
    joined = connected_components(links, directed=False)[1]
    return pd.factorize(joined[group_S])[0].astype(np.int64)
