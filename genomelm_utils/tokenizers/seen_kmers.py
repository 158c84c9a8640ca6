"""Overlapping k-mers of any letters: the vocabulary of those that were seen, as genomeNLP has it.

`kmer` has all 4 ** k words of DNABERT; here words are those of the data, of DNA with any ambiguity
codes, RNA or protein. A word is a number in the base of the alphabet, so nothing is cut as text.

Letters: A letters of the alphabet, W windows, V words.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from genomelm_utils.sequences.letters import LETTERS
from genomelm_utils.tokenizers.unigram import (
    SPECIAL_TOKENS,
    load_unigram,
    make_layout,
    read_tokens,
    write_layout,
)
from genomelm_utils.tokenizers.unigram_encoding import LetterEncoder

MODES = ("corrected", "reference")
WEIGHT = -1.0  # of every k-mer in a tokenizer file. Source: genomeNLP
_NONE = -1
_TABLE_BITS = 26  # up to 2^26 possible words are ticked off in a table, more are sorted


class SeenKmers:
    """The k-mers of sequences, and their ids; nothing is counted before `add`.

    ids: "corrected" numbers k-mers from 5, behind the special tokens, in data set and tokenizer
        file alike; "reference" from 0 in the data set and from 5 in the file, which then disagree.
        Both by the order of the alphabet (the released code has another order in each run).

    kind: of the letters, as in `sequences.letters`. Lower-case letters are letters of their own.
    Raises: ValueError for k below 1, or too large for 64-bit numbers (27 for DNA of A, C, G, T and
        fifteen codes in one case, 11 for protein in both cases; the message says).
    """

    def __init__(self, k: int, kind: str, *, lower_case: bool = False, ids: str = "corrected"):
        if ids not in MODES:
            raise ValueError(f"ids is {ids!r}, expected one of: {', '.join(MODES)}")
        letters = "".join(sorted(LETTERS[kind] + (LETTERS[kind].lower() if lower_case else "")))
        most = int(63 / np.log2(len(letters)))
        if not 1 <= k <= most:
            raise ValueError(f"k is {k}, expected 1 to {most} for {len(letters)} letters of {kind}")
        self.k, self.kind, self.letters = k, kind, letters
        self.first_id = len(SPECIAL_TOKENS) if ids == "corrected" else 0
        self._table = np.full(256, len(letters), np.uint8)
        self._table[np.frombuffer(letters.encode(), np.uint8)] = np.arange(len(letters))
        self._is_small = len(letters) ** k <= 1 << _TABLE_BITS
        self._seen = np.zeros(len(letters) ** k if self._is_small else 0, bool)
        self._codes = np.empty(0, np.int64)
        self._place_of: np.ndarray | None = None
        self._order: np.ndarray | None = None  # of the ids of loaded words
        self.unk_id: int | None = None

    def add(self, texts: Iterable[str]) -> None:
        """Learn the k-mers of texts."""
        codes, _ = self._find_codes(list(texts))
        if self._is_small:
            self._seen[codes] = True
        else:
            self._codes = np.union1d(self._codes, codes)
        self._place_of = None

    def _find_codes(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(codes of all k-mers, end to end; int64 offsets)."""
        joined = "".join(texts).encode("ascii", errors="replace")
        digits = self._table[np.frombuffer(joined, np.uint8)]
        if len(digits) and digits.max() == len(self.letters):
            at = int(np.argmax(digits == len(self.letters)))
            raise ValueError(f"found {chr(joined[at])!r}, expected letters {self.letters}")
        lengths = np.array([len(text) for text in texts], np.int64)
        n_words = np.maximum(lengths - self.k + 1, 0)
        offsets = np.append(0, np.cumsum(n_words))
        n_windows = max(len(digits) - self.k + 1, 0)
        codes = np.zeros(n_windows, np.int64)
        for i in range(self.k):
            codes *= len(self.letters)
            codes += digits[i : i + n_windows]
        # windows across two texts are left out
        begins = np.cumsum(lengths) - lengths
        keep = np.repeat(begins - offsets[:-1], n_words) + np.arange(offsets[-1])
        return codes[keep], offsets

    @property
    def codes(self) -> np.ndarray:
        """int64[V], the words seen, in the order of the alphabet."""
        return np.flatnonzero(self._seen) if self._is_small else self._codes

    @property
    def words(self) -> list[str]:
        """The words seen, in the order of the alphabet: str [V]."""
        base = len(self.letters)
        places = self.codes[:, None] // base ** np.arange(self.k - 1, -1, -1) % base
        letters = np.frombuffer(self.letters.encode(), np.uint8)[places]
        return [row.tobytes().decode() for row in letters]

    @property
    def tokens(self) -> list[str]:
        """The string of every id that `encode` gives."""
        words = self.words
        if self._order is not None:
            words = [words[i] for i in np.argsort(self._order).tolist()]
        return [*SPECIAL_TOKENS[: self.first_id], *words]

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(ids int32, offsets int64) of all k-mers of texts, one base apart. A text shorter than k
        has none.

        Raises: ValueError for a k-mer that was never added; one that a file does not have is
            `<unk>`.
        """
        codes, offsets = self._find_codes(texts)
        places = self._find_places(codes)
        ids = places if self._order is None else self._order[places]
        ids = ids + self.first_id
        unknown = places == _NONE
        if unknown.any():
            if self.unk_id is None:
                raise ValueError("a sequence holds a k-mer that was not added; add all first")
            ids[unknown] = self.unk_id
        return ids.astype(np.int32), offsets

    def _find_places(self, codes: np.ndarray) -> np.ndarray:
        """int64: places of the words in the order of the alphabet, -1 for those not seen."""
        if self._is_small:
            if self._place_of is None:
                self._place_of = np.where(self._seen, np.cumsum(self._seen) - 1, _NONE)
            return self._place_of[codes]
        if not len(self._codes):
            return np.full(len(codes), _NONE)
        places = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        return np.where(self._codes[places] == codes, places, _NONE)

    def save(self, mappings: str | Path, tokeniser: str | Path) -> None:
        """Write the k-mer to id map, and a tokenizer file with all weights -1.

        Special tokens are in the second only. As a unigram tokenizer it would cut sequences into
        k-mers that do not overlap; `load_encoder` sees what it is and cuts overlapping ones.
        """
        words = self.words
        ids = {word: self.first_id + i for i, word in enumerate(words)}
        Path(mappings).parent.mkdir(parents=True, exist_ok=True)
        Path(mappings).write_text(json.dumps(ids, indent=1) + "\n", encoding="utf-8")
        write_layout(make_layout([(word, WEIGHT) for word in words]), tokeniser)


def load_encoder(path: str | Path, *, kmers: str = "corrected") -> "SeenKmers | LetterEncoder":
    """What cuts sequences as the tokenizer of a file says: it has `encode(texts)` and `tokens`.

    kmers: a file of `kmerise_bio` (all tokens of one length and weight -1) is "corrected" to
        overlapping k-mers, as in the data set it was written with; "reference" reads it as a
        unigram tokenizer, which gives k-mers end to end, in a phase that depends on the length.
    Raises: as `unigram.load_unigram`; ValueError for k-mers of no known letters.
    """
    if kmers not in MODES:
        raise ValueError(f"kmers is {kmers!r}, expected one of: {', '.join(MODES)}")
    table = read_tokens(path)
    words = table.loc[~table["token"].isin(SPECIAL_TOKENS)]
    lengths = words["token"].str.len()
    are_kmers = len(words) and (words["weight"] == WEIGHT).all() and lengths.nunique() == 1
    if not are_kmers or kmers == "reference":
        return LetterEncoder(load_unigram(path))
    return _wrap_words(words["token"].tolist(), str(path))


def _wrap_words(words: list[str], where: str) -> SeenKmers:
    letters = set("".join(words))
    upper = {letter.upper() for letter in letters}
    kind = next((name for name, known in LETTERS.items() if upper <= set(known)), None)
    if kind is None:
        raise ValueError(
            f"{where}: k-mers of {''.join(sorted(letters))}, expected DNA, RNA or protein"
        )
    found = SeenKmers(len(words[0]), kind, lower_case=letters != upper)
    found.add(words)
    codes, _ = found._find_codes(words)
    found._order = np.empty(len(words), np.int64)
    found._order[found._find_places(codes)] = np.arange(len(words))
    found.unk_id = SPECIAL_TOKENS.index("<unk>")
    return found
