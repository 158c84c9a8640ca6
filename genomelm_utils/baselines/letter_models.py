"""Logistic regressions on the letters of sequences, of any alphabet: what every model must beat.

From nothing to nearly all there is: class shares, GC and length, composition, words anywhere
(TF-IDF of k-mers), words at their places. Seconds on one core.

Shapes: S sequences, C classes, F features.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import sparse

from genomelm_utils.baselines.composition import majority
from genomelm_utils.tasks.linear import check_labels, logistic_probs, standardise

Texts = Sequence[str]
Labelled = tuple[Texts, np.ndarray]  # (sequences as text, labels 0..C-1)

#: Name -> what it looks at.
LETTER_BASELINES = {
    "majority": "class shares of the training rows",
    "gc_length": "share of G and C, and length (nucleotides)",
    "composition": "share of each letter, and length",
    "words": "TF-IDF of all words up to k letters",
    "positional": "words up to 3 letters at each position (equal lengths only)",
    "positional_words": "both of these",
}
WORD_LETTERS = {True: 5, False: 3}  # longest word: nucleotides, proteins
POSITIONAL_LETTERS = 3
#: Inverse strength of the regularisation, for features scaled as they come here. Chosen once, among
#: three values each, on the E. coli promoters (positional) and DNA- and RNA-binding proteins.
C_OF = {"gc_length": 1.0, "composition": 1.0, "words": 4.0, "positional": 2.4}
C_OF["positional_words"] = 2.4
NUCLEOTIDES = frozenset("ACGTUNRYKMSWBDHVacgtunrykmswbdhv")


def are_nucleotides(texts: Texts) -> bool:
    """Whether every letter of every sequence is a nucleotide letter (IUPAC)."""
    return all(NUCLEOTIDES.issuperset(text) for text in texts)


def usable_baselines(texts: Texts) -> dict[str, str]:
    """Those of `LETTER_BASELINES` that these sequences allow, and why the others are left out.

    Name -> "" or the reason.
    """
    reasons = dict.fromkeys(LETTER_BASELINES, "")
    if not are_nucleotides(texts):
        reasons["gc_length"] = "the sequences are not nucleotides"
    if len({len(text) for text in texts}) > 1:
        reasons |= dict.fromkeys(
            ("positional", "positional_words"), "the sequences differ in length"
        )
    return reasons


def letter_probs(
    name: str, train: Labelled, test: Texts, n_classes: int | None = None
) -> np.ndarray:
    """Class probabilities float64 [S, C] of one of `LETTER_BASELINES`.

    Rows are weighed by the rarity of their class, so that a small class is not given up.
    Raises: ValueError for an unknown name, or sequences it cannot be used on (with the reason).
    """
    if name not in LETTER_BASELINES:
        choices = ", ".join(LETTER_BASELINES)
        raise ValueError(f"baseline {name!r} is unknown, expected one of {choices}")
    if name == "majority":
        return majority(train[1], len(test), n_classes)
    reason = usable_baselines([*train[0], *test])[name]
    if reason:
        raise ValueError(f"baseline {name!r} cannot be used: {reason}")
    features: dict[str, Callable] = {
        "gc_length": gc_length_features,
        "composition": composition_features,
        "words": word_features,
        "positional": positional_features,
        "positional_words": _positional_and_words,
    }
    train_SF, test_SF = features[name](train[0], test)
    return logistic_probs(
        train_SF, train[1], test_SF, C_OF[name], n_classes, class_weight="balanced"
    )


def gc_length_features(train: Texts, test: Texts) -> tuple[np.ndarray, np.ndarray]:
    """Share of G and C among the letters, and log length: float64 [S, 2], scaled on train."""
    return standardise(*(_gc_length(texts) for texts in (train, test)))


def composition_features(train: Texts, test: Texts) -> tuple[np.ndarray, np.ndarray]:
    """Shares of letters, of neighbouring pairs for nucleotides, and log length; scaled on train.

    float64 [S, F]; letters and pairs that train does not have are passed over.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    n_to = 2 if are_nucleotides(train) else 1
    count = CountVectorizer(analyzer="char", lowercase=False, ngram_range=(1, n_to))
    matrices = []
    for texts, do in ((train, count.fit_transform), (test, count.transform)):
        counts = do(texts).toarray().astype(np.float64)
        lengths = _lengths(texts)
        matrices.append(np.column_stack([counts / lengths[:, None], np.log(lengths)]))
    return standardise(*matrices)


def word_features(
    train: Texts, test: Texts, n_to: int | None = None
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """TF-IDF of all words of 1 to `n_to` letters, learned from train: sparse float64 [S, F].

    n_to: by default 5 for nucleotides and 3 for proteins.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    n_to = n_to or WORD_LETTERS[are_nucleotides(train)]
    weigh = TfidfVectorizer(analyzer="char", lowercase=False, ngram_range=(1, n_to))
    return weigh.fit_transform(train), weigh.transform(test)


def positional_features(
    train: Texts, test: Texts, n_to: int = POSITIONAL_LETTERS
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Which word of 1 to `n_to` letters stands at each position: sparse [S, F], rows of length 1.

    All sequences must be of one length, and position i mean the same in each of them. Words at
    places where train never has them are passed over.
    """
    lengths = {len(text) for text in [*train, *test]}
    if len(lengths) != 1:
        raise ValueError(
            f"sequences have {len(lengths)} different lengths ({min(lengths)} to {max(lengths)}), "
            "expected one: words at positions need aligned sequences"
        )
    known: dict[tuple[int, str], int] = {}
    matrices = []
    for texts in (train, test):
        rows, columns = [], []
        for row, text in enumerate(texts):
            for n in range(1, n_to + 1):
                for i in range(len(text) - n + 1):
                    key = (i, text[i : i + n])
                    column = known.get(key)
                    if column is None and texts is train:
                        column = known.setdefault(key, len(known))
                    if column is not None:
                        rows.append(row)
                        columns.append(column)
        matrices.append((rows, columns, len(texts)))
    shapes = [(n_rows, len(known)) for *_, n_rows in matrices]
    n_places = sum(max(lengths.copy().pop() - n + 1, 0) for n in range(1, n_to + 1))
    train_SF, test_SF = (
        sparse.csr_matrix((np.full(len(rows), n_places**-0.5), (rows, columns)), shape=shape)
        for (rows, columns, _), shape in zip(matrices, shapes, strict=True)
    )
    return train_SF, test_SF


def _positional_and_words(train: Texts, test: Texts) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    places, words = positional_features(train, test), word_features(train, test)
    joined = [sparse.hstack(pair).tocsr() for pair in zip(places, words, strict=True)]
    return joined[0], joined[1]


def _gc_length(texts: Texts) -> np.ndarray:
    lengths = _lengths(texts)
    gc = np.array([sum(text.count(letter) for letter in "GCgc") for text in texts])
    return np.column_stack([gc / lengths, np.log(lengths)])


def _lengths(texts: Texts) -> np.ndarray:
    lengths = np.array([len(text) for text in texts], dtype=np.float64)
    if len(lengths) and lengths.min() == 0:
        raise ValueError(f"sequence {int(lengths.argmin())} (0-based) is empty")
    return lengths


def check_texts(train: Labelled, n_classes: int | None = None) -> tuple[np.ndarray, int]:
    """Labels as int64 [S] and the number of classes; ValueError for rows without label or class."""
    return check_labels(train[1], n_classes, n_rows=len(train[0]))
