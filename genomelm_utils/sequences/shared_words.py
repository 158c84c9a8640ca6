"""Groups of sequences that share a word: relatives that have to stay on one side of a split.

Shape suffixes: S sequences.
"""

from collections.abc import Sequence

import numpy as np

from genomelm_utils.sequences.letters import PROTEIN, reverse_complement_text


def group_by_sequence(texts: Sequence[str], kind: str) -> np.ndarray:
    """A group number per sequence, int64[S]: equal for equal letters, and for reverse complements
    of each other unless `kind` is "protein". Numbers follow the first appearance."""
    number: dict[str, int] = {}
    groups = [number.setdefault(canonical_text(text, kind), len(number)) for text in texts]
    return np.array(groups, dtype=np.int64)


def canonical_text(text: str, kind: str) -> str:
    """The sequence or its other strand, whichever comes first in the alphabet."""
    return text if kind == PROTEIN else min(text, reverse_complement_text(text, kind))


def group_by_shared_words(texts: Sequence[str], kind: str, word: int) -> np.ndarray:
    """A group number per sequence, int64[S]: sequences that share any `word` letters in a row are
    in one group, on either strand of DNA and RNA, and so are those linked by a chain of others.

    Sequences shorter than a word are with those of equal letters. Numbers follow the first
    appearance. Words are compared by 64-bit hashes: among a billion words a pair agrees by chance
    once in forty times. Memory: some 40 bytes per letter.
    Raises: ValueError for words of no letter.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    from genomelm_utils.sequences.letter_walks import hash_words

    if word < 1:
        raise ValueError(f"word is {word}, expected 1 or more letters")
    if not len(texts):
        return np.empty(0, np.int64)
    strands = [texts]
    if kind != PROTEIN:
        strands.append([reverse_complement_text(text, kind) for text in texts])
    starts = np.cumsum([0, *map(len, texts)])
    n_words = len(strands) * (int(starts[-1]) + len(texts))
    hashes, owner, n = np.empty(n_words, np.uint64), np.empty(n_words, np.int64), 0
    for strand in strands:
        data = np.frombuffer("".join(strand).encode("ascii"), np.uint8)
        n = hash_words(data, starts, word, hashes, owner, n)
    order = np.argsort(hashes[:n], kind="stable")
    hashes, owner = hashes[:n][order], owner[:n][order]
    same = hashes[1:] == hashes[:-1]
    links = coo_array(
        (np.ones(int(same.sum()), np.int8), (owner[:-1][same], owner[1:][same])),
        shape=(len(texts), len(texts)),
    )
    return _renumber(connected_components(links, directed=False)[1])


def _renumber(groups_S: np.ndarray) -> np.ndarray:
    """The same groups, numbered by their first appearance."""
    _, first, group = np.unique(groups_S, return_index=True, return_inverse=True)
    number = np.empty(len(first), np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    return number[group]
