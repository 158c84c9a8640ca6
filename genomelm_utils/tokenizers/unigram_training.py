"""Unigram training: words and their weights, learned from texts of few different letters.

What the library `tokenizers` computes, in compiled passes over one array of letters, so that whole
chromosomes need no breaks. A vocabulary begins as all words of 2 to 16 letters that are repeated
and go on in more than one way; two rounds of expectation and maximisation weigh them; then the
quarter whose loss costs least likelihood goes, again and again, down to the size that is asked for.

Source: Kudo 2018, ACL, section 3.2; details and constants as in `tokenizers` 0.23.

Letters: N nodes of a trie, A letter codes (0 closes a text), P pieces (0 is the unknown letter).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from genomelm_utils.tokenizers import unigram_lattice as lattice
from genomelm_utils.tokenizers.unigram_lattice import MAX_LENGTH

SEED_SIZE = 1_000_000  # words to begin with
SHRINKING = 0.75  # share of the words that stays
N_ROUNDS = 2  # of expectation and maximisation before each cut
MIN_EXPECTED = 0.5  # words that are expected less often go
UNKNOWN_PENALTY = 10.0  # below the smallest weight
_MARGIN = 11, 10  # cutting ends at 11 tenths of the size; the rest goes by loss
_BLOCK = 1 << 20
_STEP = 1e-4  # between the weights of letters that no word is left of


@dataclass
class _Pieces:
    """A vocabulary in training: the trie, the node of each piece, its log-probability."""

    children: np.ndarray
    parent: np.ndarray
    letter: np.ndarray
    node_of: np.ndarray
    score: np.ndarray

    def __len__(self) -> int:
        return len(self.node_of)

    @property
    def piece(self) -> np.ndarray:
        """int32[N], the piece of every node."""
        found = np.full(len(self.parent), -1, np.int32)
        found[self.node_of[1:]] = np.arange(1, len(self.node_of), dtype=np.int32)
        return found

    @property
    def known_score(self) -> np.ndarray:
        """The scores, with that of the unknown letter."""
        score = self.score.copy()
        score[0] = score[1:].min() - UNKNOWN_PENALTY
        return score

    def take(self, rows: np.ndarray, score: np.ndarray) -> "_Pieces":
        """These pieces with these scores; piece 0 is the first of them."""
        trie = lattice.compact_trie(self.children, self.parent, self.letter, self.node_of[rows])
        return _Pieces(*trie, score)

    def spell(self, alphabet: str) -> list[str]:
        """The letters of every piece; the unknown letter has none."""
        words = [""] * len(self.parent)
        letters = [alphabet[code] for code in self.letter.tolist()]
        for node, up in enumerate(self.parent.tolist()[1:], 1):
            words[node] = words[up] + letters[node]
        return [words[node] for node in self.node_of.tolist()]


@dataclass(frozen=True)
class Corpus:
    """Distinct texts. letters: uint8, texts end to end, each closed by 0. starts: int64[S + 1].
    counts: int64[S], how often each was seen. alphabet: the letter of every code, sorted."""

    letters: np.ndarray
    starts: np.ndarray
    counts: np.ndarray
    alphabet: str


def collect_texts(texts: Iterable[str]) -> Corpus:
    """The distinct texts, at one byte per letter: they are not held anywhere else.

    Raises: ValueError for more than 254 different letters, or no texts. Empty texts are left out.
    """
    import hashlib

    data, ends, counts = bytearray(), [], []
    number_of: dict[bytes, int] = {}
    codes: dict[int, int] = {}
    for text in texts:
        if not text:
            continue
        for letter in set(text) - {chr(one) for one in codes}:
            codes[ord(letter)] = len(codes) + 1
            if len(codes) > 254:
                raise ValueError("the texts hold more than 254 different letters; are they FASTA?")
        packed = text.translate(codes).encode("latin-1")
        key = hashlib.blake2b(packed, digest_size=16).digest()
        if (row := number_of.setdefault(key, len(counts))) < len(counts):
            counts[row] += 1
            continue
        data += packed + b"\0"
        ends.append(len(data))
        counts.append(1)
    if not counts:
        raise ValueError("no texts to learn words from")
    alphabet = "\0" + "".join(sorted(map(chr, codes)))
    table = np.zeros(256, np.uint8)  # codes in order of appearance -> in order of letters
    for letter, code in codes.items():
        table[code] = alphabet.index(chr(letter))
    letters = np.frombuffer(data, np.uint8)
    for begin in range(0, len(letters), _BLOCK):
        letters[begin : begin + _BLOCK] = table[letters[begin : begin + _BLOCK]]
    starts = np.array([0, *ends], dtype=np.int64)
    return Corpus(letters, starts, np.array(counts, dtype=np.int64), alphabet)


def fit_unigram(corpus: Corpus, vocab_size: int, n_special: int = 0) -> list[tuple[str, float]]:
    """(word, log-probability) by falling weight: every letter, and words up to `vocab_size` in all
    less `n_special`, the special tokens.

    Fewer where the texts do not hold as many. The same texts give the same words.
    Raises: ValueError for a vocabulary that has no room for the letters.
    """
    n_letters = len(corpus.alphabet) - 1
    n_words = vocab_size - n_special
    if n_words <= n_letters:
        raise ValueError(
            f"vocab_size leaves room for {n_words} words, expected more than the {n_letters} "
            f"different letters ({' '.join(corpus.alphabet[1:])})"
        )
    pieces = seed_pieces(corpus)
    wanted = vocab_size * _MARGIN[0] // _MARGIN[1]
    while True:
        for _ in range(N_ROUNDS):
            pieces = reweigh(pieces, corpus)
        if len(pieces) <= wanted:
            return _finish(pieces, corpus.alphabet, n_words)
        pieces = prune(pieces, corpus, max(wanted, int(len(pieces) * SHRINKING)))


def seed_pieces(corpus: Corpus, limit: int = SEED_SIZE) -> _Pieces:
    """All letters, and the repeated words of 2 to 16 letters, up to `limit` in all.

    A word counts when at least two different letters follow it (the end of a text is one): one that
    always goes on in the same way stands in a longer one. Those of most letters in all come first.
    Repeated texts count once, but for single letters.
    """
    n_letters = len(corpus.alphabet)
    levels, letters_of, parents, count_of, is_seed = _grow_trie(corpus, n_letters)
    children = np.concatenate(levels)
    size = np.ones(len(children), np.int64)  # of the subtree
    rank = np.zeros(len(children), np.int64)  # in alphabetical order
    begins = np.cumsum([0, *map(len, levels)])
    for level, begin in reversed(list(zip(levels, begins, strict=False))):
        size[begin : begin + len(level)] += np.where(level >= 0, size[level], 0).sum(axis=1)
    for level, begin in zip(levels, begins, strict=False):
        sizes = np.where(level >= 0, size[level], 0)
        before = np.cumsum(sizes, axis=1) - sizes
        first = rank[begin : begin + len(level), None] + 1 + before
        rank[level[level >= 0]] = first[level >= 0]
    depth = np.repeat(np.arange(len(levels)), [len(level) for level in levels])
    singles = children[0][children[0] >= 0]
    letters_seen = _count_letters(corpus)[letters_of[singles]]
    singles = singles[np.lexsort((rank[singles], letters_seen))[::-1]]
    words = np.flatnonzero(is_seed)
    weight = (count_of * depth)[words]
    words = words[np.lexsort((rank[words], weight))[::-1]][: max(limit - len(singles), 0)]
    node_of = np.concatenate([[0], singles, words]).astype(np.int32)
    mass = np.concatenate([np.sort(letters_seen)[::-1], count_of[words] * depth[words]])
    score = np.concatenate([[np.nan], np.log(mass) - np.log(mass.sum(dtype=np.float64))])
    seeds = _Pieces(children, parents, letters_of, node_of, score)
    return seeds.take(np.arange(len(seeds)), score)


def _grow_trie(corpus: Corpus, n_letters: int):
    """Every word seen twice, level by level from the root.

    Returns children (a table per level), letter, parent, count and mark of a seed of every node.
    """
    text = corpus.letters
    integers = np.int32 if len(text) < 2**31 else np.int64
    position = np.flatnonzero(text).astype(integers)
    node = np.zeros(len(position), np.int32)
    levels, letters, parents = [], [np.zeros(1, np.uint8)], [np.zeros(1, np.int32)]
    counts, marks = [np.zeros(1, np.int64)], [np.zeros(1, bool)]
    n_nodes, begin = 1, 0
    for depth in range(MAX_LENGTH + 1):
        n_here = n_nodes - begin
        table = np.zeros(n_here * n_letters, integers)
        lattice.count_next(text, position, node, depth, n_letters, table)
        grid = table.reshape(n_here, n_letters)
        if depth >= 2:
            marks[-1][:] = np.count_nonzero(grid, axis=1) >= 2
        if depth == MAX_LENGTH:
            levels.append(np.full((n_here, n_letters), -1, np.int32))
            break
        keep = grid >= (2 if depth else 1)  # every letter is a piece
        keep[:, 0] = False
        up, letter = np.nonzero(keep)
        number = np.full(grid.shape, -1, np.int32)
        number[up, letter] = np.arange(len(up), dtype=np.int32)
        levels.append(np.where(number >= 0, number + n_nodes, -1))
        letters.append(letter.astype(np.uint8))
        parents.append((up + begin).astype(np.int32))
        counts.append(grid[up, letter].astype(np.int64))
        marks.append(np.zeros(len(up), bool))
        n_left = lattice.step_down(text, position, node, depth, n_letters, number.ravel())
        position, node = position[:n_left], node[:n_left]
        begin, n_nodes = n_nodes, n_nodes + len(up)
        if not len(up):
            break
    return levels, *(np.concatenate(part) for part in (letters, parents, counts, marks))


def _count_letters(corpus: Corpus) -> np.ndarray:
    """int64[A]: how often each letter is seen, repeated texts counted as often as they are."""
    times = np.repeat(corpus.counts, np.diff(corpus.starts))
    return np.bincount(corpus.letters, times, len(corpus.alphabet)).astype(np.int64)


def reweigh(pieces: _Pieces, corpus: Corpus) -> _Pieces:
    """One round: expected uses of every piece, then new log-probabilities from them.

    Pieces expected less than 0.5 times go. The digamma function instead of the logarithm takes
    more from rare pieces than from frequent ones (a sparse prior, as in SentencePiece).
    """
    expected = np.zeros(len(pieces))
    lattice.add_expected(
        corpus.letters,
        corpus.starts,
        corpus.counts,
        pieces.children,
        pieces.piece,
        np.exp(pieces.known_score),
        expected,
    )
    kept = np.flatnonzero(expected >= MIN_EXPECTED)
    kept = kept[kept > 0]
    uses = expected[kept]
    score = digamma(uses) - digamma(uses.sum())
    return pieces.take(np.append(0, kept), np.append(np.nan, score))


def digamma(values: np.ndarray) -> np.ndarray:
    """The digamma function of positive numbers, by recurrence up to 7 and its asymptotic series.

    Source: as in SentencePiece and `tokenizers`, four terms around x - 1/2; within 1e-9 of exact.
    """
    x = np.array(values, dtype=np.float64)
    result = np.zeros_like(x)
    while (low := x < 7).any():
        result -= np.where(low, 1 / x, 0)
        x = np.where(low, x + 1, x)
    x -= 0.5
    square = 1 / x**2
    series = 1 / 24 - square * (7 / 960 - square * (31 / 8064 - square * 127 / 30720))
    return result + np.log(x) + square * series


def prune(pieces: _Pieces, corpus: Corpus, n_left: int) -> _Pieces:
    """The `n_left` pieces whose loss would cost most likelihood, with single letters first."""
    score, piece = pieces.known_score, pieces.piece
    freq = np.zeros(len(pieces))
    lattice.count_best(
        corpus.letters, corpus.starts, corpus.counts, pieces.children, piece, score, freq
    )
    loss = lattice.find_losses(
        pieces.node_of,
        pieces.parent,
        pieces.letter,
        pieces.children,
        piece,
        score,
        freq,
        corpus.counts.sum(),
    )
    kept = np.flatnonzero(loss == np.inf)
    rest = np.flatnonzero(np.isfinite(loss))
    rest = rest[np.argsort(-loss[rest], kind="stable")]
    # where more are to be kept than there is room for, the library keeps all
    room = n_left - len(kept) if n_left >= len(kept) else len(rest)
    rows = np.concatenate([kept, rest[:room]])
    return pieces.take(rows, pieces.score[rows])


def _finish(pieces: _Pieces, alphabet: str, n_words: int) -> list[tuple[str, float]]:
    """Letters first, then pieces as pruning left them, until the vocabulary is full."""
    words = pieces.spell(alphabet)
    score_of = dict(zip(words[1:], pieces.score[1:].tolist(), strict=True))
    missing = [letter for letter in alphabet[1:] if letter not in score_of]
    least = min(score_of.values())
    chosen = {one: score_of[one] for one in alphabet[1:] if one in score_of}
    chosen |= {letter: least + i * _STEP for i, letter in enumerate(missing)}
    for word, score in score_of.items():
        if len(chosen) >= n_words:
            break
        chosen.setdefault(word, score)
    return sorted(chosen.items(), key=lambda item: -item[1])
