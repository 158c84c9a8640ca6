"""Counts and TF-IDF of tokens and their n-grams: sparse from end to end, no text in between.

A row is an array of token ids; its words are the tokens without the mark `▁` of the first one.
The released code joins tokens to text and lets scikit-learn cut it again, which drops every word of
one letter: `words="reference"` does the same.

Shapes: S sequences, V tokens of the vocabulary, W words, F features (n-grams of words).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

SPACE = "▁"  # stands before the first token of a text
SPECIAL_TOKENS = ("<s>", "</s>", "<unk>", "<pad>", "<mask>", "<sep>", "<cls>")
METHODS = ("tfidf", "cvec")  # Source: names of genomeNLP's --freq_method
WORDS = ("corrected", "reference")
_REFERENCE_WORD = re.compile(r"(?u)\b\w\w+\b")  # Source: scikit-learn's default token pattern

TokenRows = Sequence[np.ndarray]  # ids, one int array per sequence


@dataclass(frozen=True)
class TokenCounts:
    """What was learned from training rows: n-grams and how rare they are; see `fit_token_counts`.

    names: of the features, words of an n-gram joined by spaces. idf_F: None for raw counts.
    """

    names: tuple[str, ...]
    words: str
    n_from: int
    word_starts_V: np.ndarray
    word_ids: np.ndarray
    n_words: int
    gram_keys: tuple[np.ndarray, ...]  # of each n from 1: sorted keys of all its n-grams
    column_of: tuple[np.ndarray, ...]  # of each n from `n_from`: feature of each key, -1 = none
    idf_F: np.ndarray | None

    def transform(self, rows: TokenRows) -> sparse.csr_matrix:
        """float32 [S, F]: counts, or TF-IDF with rows of length 1; unseen n-grams are left out."""
        words, row_of_word = _words_of(rows, self.word_starts_V, self.word_ids)
        parts_row, parts_column = [], []
        index = words
        for n, keys in enumerate(self.gram_keys, start=1):
            if n > 1:
                index = _extend(index, words, row_of_word, n, self.n_words)
            index = _look_up(keys, index)
            if n >= self.n_from:
                column = np.where(index >= 0, self.column_of[n - self.n_from][index], -1)
                parts_row.append(row_of_word[: len(column)][column >= 0])
                parts_column.append(column[column >= 0])
        row, column = np.concatenate(parts_row), np.concatenate(parts_column)
        counts = sparse.coo_matrix(
            (np.ones(len(row), np.float32), (row, column)), shape=(len(rows), len(self.names))
        ).tocsr()  # adds up what falls on the same place
        return counts if self.idf_F is None else _weigh(counts, self.idf_F)


def fit_token_counts(
    rows: TokenRows,
    vocabulary: Sequence[str],
    *,
    method: str = "tfidf",
    ngrams: tuple[int, int] = (1, 1),
    words: str = "corrected",
    max_features: int | None = None,
) -> TokenCounts:
    """The n-grams of training rows and, for TF-IDF, in how few rows each of them occurs.

    rows: token ids 0..V-1. vocabulary: the V tokens as text. method: 'tfidf' (count x (ln((1 + S) /
    (1 + rows with it)) + 1), then rows scaled to length 1) or 'cvec' (counts). ngrams: from and to.
    words: 'corrected' keeps words of one letter, and leaves special tokens out; 'reference' is
    scikit-learn's default, as released. max_features: the most frequent ones only, ties by name.

    Fit on training rows alone: the released code fits on all rows before they are split.
    Raises: ValueError for unknown options, ids outside the vocabulary, or rows without any word.
    Source: scikit-learn's TfidfVectorizer (smooth_idf, lowercase=False), to the last digit.
    """
    _check_options(method, words, ngrams, max_features)
    starts_V, flat_ids, word_names = _map_words(vocabulary, words)
    found, row_of_word = _words_of(rows, starts_V, flat_ids)
    if not len(found):
        raise ValueError(f"{len(rows)} rows hold no word, expected tokens that are no special ones")
    n_from, n_to = ngrams
    keys_of: list[np.ndarray] = []
    names: list[list[str]] = []
    totals, n_rows_with = [], []
    index = found
    for n in range(1, n_to + 1):
        if n > 1:
            index = _extend(index, found, row_of_word, n, len(word_names))
        keys, index = _number(index)
        keys_of.append(keys)
        names.append(_name(keys, n, word_names, names))
        if n >= n_from:
            inside = index >= 0
            place = np.unique(row_of_word[: len(index)][inside] * len(keys) + index[inside])
            totals.append(np.bincount(index[inside], minlength=len(keys)))
            n_rows_with.append(np.bincount(place % len(keys), minlength=len(keys)))
    all_names = np.array([name for part in names[n_from - 1 :] for name in part], dtype=object)
    chosen = _choose(np.concatenate(totals), all_names, max_features)
    if not len(chosen):
        raise ValueError(f"no row has {n_from} words in a row; lower the n of the n-grams")
    column = np.full(len(all_names), -1)
    column[chosen] = np.arange(len(chosen))
    idf = None
    if method == "tfidf":
        idf = np.log((1 + len(rows)) / (1 + np.concatenate(n_rows_with)[chosen])) + 1
    bounds = np.cumsum([len(part) for part in names[n_from - 1 :]])[:-1]
    return TokenCounts(
        names=tuple(all_names[chosen]),
        words=words,
        n_from=n_from,
        word_starts_V=starts_V,
        word_ids=flat_ids,
        n_words=len(word_names),
        gram_keys=tuple(keys_of),
        column_of=tuple(np.split(column, bounds)),
        idf_F=idf,
    )


def _check_options(method, words, ngrams, max_features) -> None:
    if method not in METHODS:
        raise ValueError(f"method is {method!r}, expected one of {', '.join(METHODS)}")
    if words not in WORDS:
        raise ValueError(f"words is {words!r}, expected one of {', '.join(WORDS)}")
    if not 1 <= ngrams[0] <= ngrams[1]:
        raise ValueError(f"n-grams go from {ngrams[0]} to {ngrams[1]}, expected 1 <= from <= to")
    if max_features is not None and max_features < 1:
        raise ValueError(f"max_features is {max_features}, expected at least 1, or None for all")


def _map_words(vocabulary: Sequence[str], mode: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Words of each token (starts int64 [V + 1], word numbers), and the words by number."""
    if mode == "reference":
        parts = [_REFERENCE_WORD.findall(token) for token in vocabulary]
    else:
        parts = [
            [token.lstrip(SPACE)] if token not in SPECIAL_TOKENS and token.lstrip(SPACE) else []
            for token in vocabulary
        ]
    starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    flat = np.array([word for part in parts for word in part], dtype=object)
    names, numbers = np.unique(flat, return_inverse=True) if len(flat) else (flat, flat)
    return starts, numbers.astype(np.int64), names


def _words_of(
    rows: TokenRows, starts_V: np.ndarray, word_ids: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Words of all rows end to end, and the row of each."""
    if not len(rows):
        raise ValueError("there are no rows, expected at least one")
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    flat = np.concatenate([np.asarray(row, dtype=np.int64) for row in rows])
    if len(flat) and not 0 <= flat.min() <= flat.max() < len(starts_V) - 1:
        raise ValueError(
            f"token ids go from {flat.min()} to {flat.max()}, expected 0 to {len(starts_V) - 2}: "
            "rows and vocabulary are of two tokenizers"
        )
    row_of_token = np.repeat(np.arange(len(rows)), lengths)
    count = starts_V[flat + 1] - starts_V[flat]
    first = np.repeat(starts_V[flat] - np.append(0, np.cumsum(count)[:-1]), count)
    return word_ids[first + np.arange(count.sum())], np.repeat(row_of_token, count)


def _extend(index, words, row_of_word, n: int, n_words: int) -> np.ndarray:
    """Keys of n-grams from the numbers of (n - 1)-grams and the word behind; -1 across rows."""
    last = words[n - 1 :]
    index = index[: len(last)]
    same_row = row_of_word[: len(last)] == row_of_word[n - 1 :]
    return np.where(same_row & (index >= 0), index * n_words + last, -1)


def _number(keys_of_place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct keys, sorted, and the number of each place's key (-1 stays)."""
    keys = np.unique(keys_of_place[keys_of_place >= 0])
    return keys, _look_up(keys, keys_of_place)


def _look_up(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The place of each wanted key among sorted keys, -1 where it is not there."""
    if not len(keys):
        return np.full(len(wanted), -1)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, place, -1)


def _name(keys: np.ndarray, n: int, words: np.ndarray, shorter: list[list[str]]) -> list[str]:
    if n == 1:
        return [str(words[key]) for key in keys]
    front, last = np.divmod(keys, len(words))
    return [f"{shorter[-1][a]} {words[b]}" for a, b in zip(front, last, strict=True)]


def _choose(totals: np.ndarray, names: np.ndarray, max_features: int | None) -> np.ndarray:
    """Features in the order of their names, the most frequent ones where there is a limit."""
    by_name = np.argsort(names, kind="stable")
    if max_features is None or len(names) <= max_features:
        return by_name
    order = by_name[np.argsort(-totals[by_name], kind="stable")][:max_features]
    return order[np.argsort(names[order], kind="stable")]


def _weigh(counts: sparse.csr_matrix, idf_F: np.ndarray) -> sparse.csr_matrix:
    """TF-IDF with rows of Euclidean length 1; a row without features stays empty."""
    weighted = counts.astype(np.float64).multiply(idf_F).tocsr()
    norms = np.sqrt(weighted.multiply(weighted).sum(axis=1)).A1
    scale = sparse.diags(1 / np.where(norms > 0, norms, 1))
    return (scale @ weighted).tocsr().astype(np.float32)
