"""Which sequences share a stretch of letters? Groups that a split must not tear.

Two sequences that have a word of k letters in common are relatives, copies, or pieces of one;
chains of them are one group. Exact, for any alphabet; a quick stand-in for clustering by identity
where sequences are short or proteins.

Shapes: S sequences, W places where a word begins.
"""

from collections.abc import Sequence

import numpy as np

from genomelm_utils.sequences.alphabet import decode, encode, reverse_complement


def group_by_shared_words(
    sequences: Sequence[str], k: int, *, both_strands: bool = False
) -> np.ndarray:
    """A group number per sequence, int64 [S], by first appearance: no two groups share a k-mer.

    sequences: text, compared as it is (case counts). both_strands: a word also counts on the
    reverse complement; nucleotide letters only. A sequence shorter than k is compared as a whole
    with those of its length (and strand).

    Raises: ValueError for k below 1, or letters that have no complement.
    """
    from scipy import sparse
    from scipy.sparse.csgraph import connected_components

    if k < 1:
        raise ValueError(f"k is {k}, expected at least 1 letter")
    n = len(sequences)
    if not n:
        return np.empty(0, dtype=np.int64)
    texts = [*sequences, *(_other_strand(sequences) if both_strands else [])]
    words, owners = _number_words(texts, k)
    short = [i for i, text in enumerate(texts) if len(text) < k]
    whole = {text: i for i, text in enumerate(dict.fromkeys(texts[i] for i in short))}
    first = int(words.max(initial=-1)) + 1
    words = np.concatenate([words, [first + whole[texts[i]] for i in short]]).astype(np.int64)
    owners = np.concatenate([owners, short]).astype(np.int64) % n
    n_words = int(words.max()) + 1
    links = sparse.coo_matrix(
        (np.ones(len(words), np.int8), (owners, n + words)), shape=(n + n_words,) * 2
    )
    group = connected_components(links, directed=False)[1][:n]
    _, first_row, number = np.unique(group, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first_row))[number].astype(np.int64)


def _other_strand(sequences: Sequence[str]) -> list[str]:
    return [decode(reverse_complement(encode(text))) for text in sequences]


def _number_words(texts: Sequence[str], k: int) -> tuple[np.ndarray, np.ndarray]:
    """Number of the word at every place where a whole one begins, and the text it is in.

    Words grow by joining: the number of 2a letters comes from two numbers of a letters, so that
    nothing is hashed and nothing is k letters wide.
    """
    flat = np.frombuffer("".join(texts).encode("utf-8"), dtype=np.uint8)
    lengths = np.array([len(text.encode("utf-8")) for text in texts], dtype=np.int64)
    ranks, width = _rank(flat.astype(np.int64)), 1
    while width < k:
        step = min(width, k - width)  # the second word may overlap the first
        left, right = ranks[: len(ranks) - step], ranks[step:]
        ranks = _rank(left * (int(ranks.max(initial=0)) + 1) + right)
        width += step
    owner = np.repeat(np.arange(len(texts)), lengths)[: len(ranks)]
    end = np.cumsum(lengths)[owner]
    inside = np.arange(len(ranks)) + k <= end
    return ranks[inside], owner[inside]


def _rank(values: np.ndarray) -> np.ndarray:
    """The rank of each value among the distinct ones."""
    return np.unique(values, return_inverse=True)[1]
