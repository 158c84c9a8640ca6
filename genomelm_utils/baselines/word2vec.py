"""word2vec vectors of tokens (gensim), and vectors of sequences made from them.

Two switches, each `corrected` or `reference` (the released code):

    corpus   reference hands gensim an iterator that can be read once: counting the vocabulary
             uses it up, every epoch sees nothing, and the "trained" vectors are the random start
    level    reference classifies single tokens, each with the label of its sequence (see
             `token_table`); corrected makes one vector per sequence (see `sequence_vectors`)

Shapes: S sequences, V tokens, D width.
"""

import itertools
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from gensim.models import Word2Vec

CORPORA = ("corrected", "reference")
WEIGHTINGS = ("mean", "tfidf", "sif")
SIF_A = 1e-3  # Source: Arora, Liang and Ma 2017 (ICLR), the middle of their useful range
#: Source: genomeNLP's defaults; the others are gensim's (5 negatives, rate 0.025 to 0.0001)
VECTOR_SIZE, WINDOW, MIN_COUNT = 100, 10, 1
EPOCHS, SAMPLE = 5, 1e-3  # Source: gensim's defaults

Sentences = Sequence[Sequence[str]]  # tokens of each sequence, as text


class TokenSentences:
    """Rows of token ids read as sentences, as often as asked; no text is kept.

    rows: ids, one array per sequence. vocabulary: the tokens as text.
    """

    def __init__(self, rows: Sequence[np.ndarray], vocabulary: Sequence[str]) -> None:
        self.rows = rows
        self.vocabulary = np.array(vocabulary, dtype=object)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[list[str]]:
        for row in self.rows:
            yield self.vocabulary[np.asarray(row, dtype=np.int64)].tolist()

    def __getitem__(self, i: int) -> list[str]:
        return self.vocabulary[np.asarray(self.rows[i], dtype=np.int64)].tolist()


def train_word2vec(
    sentences: Sentences,
    *,
    vector_size: int = VECTOR_SIZE,
    window: int = WINDOW,
    min_count: int = MIN_COUNT,
    skip_gram: bool = True,
    epochs: int = EPOCHS,
    sample: float = SAMPLE,
    seed: int = 1,
    workers: int = 1,
    corpus: str = "corrected",
    start: "Word2Vec | None" = None,
) -> "Word2Vec":
    """A gensim model whose `wv` holds a vector of every token that occurs `min_count` times.

    sentences: tokens of each sequence; read once to count and once per epoch. sample: tokens whose
    share is above it are passed over at random the more often the more frequent they are; 0: none
    (wise for vocabularies of a few hundred tokens, where all are frequent). workers: threads;
    with 1 the same seed gives the same vectors to the bit, with more it does not. start: a model to
    go on from (it is changed); new tokens join its vocabulary. corpus: see the module's head.

    Raises: ValueError for no token, or a minimum count that none of them reaches.
    Source: Mikolov et al. 2013 (arXiv:1301.3781), as in gensim.
    """
    from gensim.models import Word2Vec

    if corpus not in CORPORA:
        raise ValueError(f"corpus is {corpus!r}, expected one of {', '.join(CORPORA)}")
    counts = Counter(token for sentence in sentences for token in sentence)
    if not counts or max(counts.values()) < min_count:
        raise ValueError(
            f"no token occurs {min_count} times in {len(sentences)} sequences ({len(counts)} "
            "different tokens); lower min_count"
        )
    read = sentences if corpus == "corrected" else itertools.chain(iter(sentences))
    with _silent(corpus == "reference"):
        if start is None:
            return Word2Vec(
                read, vector_size=vector_size, window=window, min_count=min_count,
                sg=int(skip_gram), epochs=epochs, sample=sample, seed=seed, workers=workers,
            )  # fmt: skip
        start.build_vocab(read, update=True)
        start.train(read, total_examples=start.corpus_count, epochs=start.epochs)
        return start


class TokenVectors(NamedTuple):
    """Vectors of tokens float32 [V, D], by falling count; `counts` int64 [V] in the training."""

    tokens: tuple[str, ...]
    vectors_VD: np.ndarray
    counts_V: np.ndarray


def token_vectors(model: "Word2Vec") -> TokenVectors:
    """The vectors of a trained model, free of gensim."""
    tokens = tuple(model.wv.index_to_key)
    counts = np.array([model.wv.get_vecattr(token, "count") for token in tokens])
    return TokenVectors(tokens, model.wv.vectors.copy(), counts)


def load_word2vec(path: Path | str) -> "Word2Vec":
    """A model that gensim's `save` wrote; FileNotFoundError or ValueError says what is wrong."""
    from gensim.models import Word2Vec

    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file, expected a word2vec model of gensim")
    try:
        return Word2Vec.load(str(path))
    except Exception as error:  # gensim unpickles: anything may come up
        raise ValueError(f"{path} is no word2vec model of gensim ({error})") from error


def sequence_vectors(
    vectors: TokenVectors,
    sentences: Sentences,
    *,
    weighting: str = "mean",
    train: Sentences | None = None,
) -> np.ndarray:
    """One vector per sequence: float32 [S, D], a weighted mean of its tokens' vectors.

    weighting: 'mean'; 'tfidf' (tokens weigh ln((1 + S) / (1 + sequences with it)) + 1); 'sif'
    (a / (a + share of the token), and the first principal direction of the training sequences taken
    away). train: the sequences that rarity and direction are learned from, by default `sentences`;
    give the training part, so that nothing is learned from test rows.
    Tokens without a vector are passed over; a sequence without any is all zeros.

    Source: Arora, Liang and Ma 2017, "A simple but tough-to-beat baseline for sentence embeddings".
    """
    if weighting not in WEIGHTINGS:
        raise ValueError(f"weighting is {weighting!r}, expected one of {', '.join(WEIGHTINGS)}")
    known = {token: i for i, token in enumerate(vectors.tokens)}
    learned_from = sentences if train is None else train
    weights_V = np.ones(len(known))
    if weighting == "tfidf":
        with_it = Counter(known[t] for row in learned_from for t in set(row) if t in known)
        n_with = np.array([with_it.get(i, 0) for i in range(len(known))])
        weights_V = np.log((1 + len(learned_from)) / (1 + n_with)) + 1
    elif weighting == "sif":
        weights_V = SIF_A / (SIF_A + vectors.counts_V / vectors.counts_V.sum())
    means_SD = _weighted_means(vectors, known, weights_V, sentences)
    if weighting == "sif":
        fitted = means_SD if train is None else _weighted_means(vectors, known, weights_V, train)
        direction = np.linalg.svd(fitted, full_matrices=False)[2][:1]
        means_SD = means_SD - means_SD @ direction.T @ direction
    return means_SD.astype(np.float32)


def token_table(
    vectors: TokenVectors, sentences: Sentences, labels: Iterable[int | str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The released layout: one row per token that occurs: (labels, tokens, float32 [N, D]).

    Every occurrence of a token has the same vector, with the label of whatever sequence it stands
    in: a classifier of these rows learns how often tokens occur in the classes, and the same rows
    lie on both sides of any split.
    """
    known = {token: i for i, token in enumerate(vectors.tokens)}
    rows = [
        (label, token)
        for sentence, label in zip(sentences, labels, strict=True)
        for token in sentence
        if token in known
    ]
    index = np.array([known[token] for _, token in rows], dtype=np.int64)
    found = pd.DataFrame(rows, columns=["label", "token"])
    return found["label"].to_numpy(), found["token"].to_numpy(), vectors.vectors_VD[index]


def cut_kmers(sequence: str, k: int, slide: int = 1) -> list[str]:
    """Words of k letters, every `slide` letters; what is left at the end is dropped.

    A sequence shorter than k has none.
    """
    if k < 1 or slide < 1:
        raise ValueError(f"k is {k} and slide {slide}, expected whole numbers of at least 1")
    return [sequence[i : i + k] for i in range(0, len(sequence) - k + 1, slide)]


def keep_frequent(sentences: Sentences, n: int) -> list[list[str]]:
    """The sentences with their n most frequent tokens only (0: all); ties: the first to appear."""
    if n < 0:
        raise ValueError(f"the vocabulary size is {n}, expected 0 (all) or more")
    if not n:
        return [list(sentence) for sentence in sentences]
    counts = Counter(token for sentence in sentences for token in sentence)
    kept = {token for token, _ in counts.most_common(n)}
    return [[token for token in sentence if token in kept] for sentence in sentences]


def _weighted_means(
    vectors: TokenVectors, known: dict[str, int], weights_V: np.ndarray, sentences: Sentences
) -> np.ndarray:
    """float64 [S, D]: sums of weighted vectors over the number of tokens that have one."""
    from scipy import sparse

    places = [[known[t] for t in row if t in known] for row in sentences]
    lengths = np.array([len(place) for place in places])
    columns = np.array([i for place in places for i in place], dtype=np.int64)
    rows = np.repeat(np.arange(len(places)), lengths)
    matrix = sparse.coo_matrix(
        (weights_V[columns], (rows, columns)), shape=(len(places), len(known))
    ).tocsr()
    return (matrix @ vectors.vectors_VD.astype(np.float64)) / np.maximum(lengths, 1)[:, None]


class _silent:
    """Inside, gensim does not warn that a corpus ends too early, where that is meant."""

    def __init__(self, wanted: bool) -> None:
        self.logger = logging.getLogger("gensim.models.word2vec")
        self.wanted = wanted

    def __enter__(self) -> None:
        self.was = self.logger.disabled
        self.logger.disabled = self.wanted or self.was

    def __exit__(self, *_: object) -> None:
        self.logger.disabled = self.was
