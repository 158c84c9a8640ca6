"""Learned vocabularies compared: what they share, how their weights vary, several made into one.

Source of the comparison and of pooling: genomeNLP (Chen et al. 2023, bioRxiv
10.1101/2023.05.31.542682), released code and manual.

Letters: V tokens, F files.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from genomelm_utils.sequences.alphabet import decode
from genomelm_utils.sequences.genome import BaseStore
from genomelm_utils.tokenizers.bpe import cut_runs
from genomelm_utils.tokenizers.unigram import SPECIAL_TOKENS, list_tokens, train_unigram

MODES = ("corrected", "reference")
MERGES = ("inner", "outer")
POOLS = ("mean", "median", "max", "min")
WHOLE = 0  # as a contig length: unbroken
#: Tokens shared with the unbroken vocabulary, of 10,000, by contig length, for the whole genome of
#: Haemophilus influenzae GCF_000931575.1. Source: manual of genomeNLP.
PUBLISHED_SHARED = dict(
    zip(
        (1 << n for n in range(9, 21)),
        (7570, 8131, 8585, 8849, 9057, 9196, 9349, 9422, 9512, 9593, 9618, 9674),
        strict=True,
    )
)
PUBLISHED_VOCAB = 10_000
LENGTHS = tuple(PUBLISHED_SHARED)
_OUTLIER = 1.5  # interquartile ranges beyond the quartiles. Source: Tukey's fences, as released
_HEAVY = 0.1  # ours: share of the tokens that counts as of great weight

#: Texts of a genome cut into contigs of a length (0 = unbroken).
Contigs = Callable[[int], Iterable[str]]


# --- several vocabularies ------------------------------------------------------------------


def compare_tokens(vocabularies: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(sizes, tokens) of two vocabularies or more, by name; columns token, weight in each.

    sizes: vocabulary, n_tokens; rows `shared by all` and `in any` last. tokens: those shared by
    all: token, std (of the weights, n - 1), is_outlier (std outside of Tukey's fences over these
    tokens), then a column of weights per vocabulary; outliers first, by falling std. Special tokens
    count as others do; of a token that stands twice the first counts.

    Raises: ValueError for fewer than two vocabularies.
    """
    if len(vocabularies) < 2:
        raise ValueError(f"{len(vocabularies)} vocabularies, expected two or more to compare")
    weights = {name: _weights_of(table) for name, table in vocabularies.items()}
    shared = pd.concat(weights, axis=1, join="inner")
    sizes = {name: len(one) for name, one in weights.items()}
    sizes |= {"shared by all": len(shared)}
    sizes |= {"in any": len(pd.concat(weights, axis=1, join="outer"))}
    table = pd.DataFrame({"vocabulary": list(sizes), "n_tokens": list(sizes.values())})
    return table, describe_weights(shared)


def _weights_of(table: pd.DataFrame) -> pd.Series:
    return table.drop_duplicates("token").set_index("token")["weight"]


def describe_weights(weights: pd.DataFrame) -> pd.DataFrame:
    """Columns token, std, is_outlier and the weights; see `compare_tokens`.

    weights: float64[V, F], tokens as index, a column per vocabulary.
    """
    std = weights.std(axis=1, ddof=1)
    low, high = std.quantile([0.25, 0.75])
    reach = _OUTLIER * (high - low)
    outlier = (std < low - reach) | (std > high + reach)
    names = pd.Series(weights.index, weights.index)
    found = pd.concat({"token": names, "std": std, "is_outlier": outlier}, axis=1).rename_axis(None)
    table = pd.concat([found, weights], axis=1)
    return table.sort_values(
        ["is_outlier", "std", "token"], ascending=[False, False, True], ignore_index=True
    )


def pool_tokens(
    vocabularies: Iterable[pd.DataFrame], merge: str, pool: str, *, mode: str = "corrected"
) -> list[tuple[str, float]]:
    """(token, weight) of one vocabulary made of several, without special tokens.

    merge: "inner" keeps tokens that all have, "outer" those of any. pool: how their weights are
    put together, over the vocabularies that have the token.
    mode: "corrected" makes the weights those of one distribution again (their probabilities sum to
        1) and sorts by falling weight; "reference" leaves them and sorts by the alphabet, as the
        released code does (which also lists special tokens twice).
    Raises: ValueError for unknown choices, fewer than two vocabularies, or none shared token.
    """
    for name, value, choices in (
        ("merge", merge, MERGES),
        ("pool", pool, POOLS),
        ("mode", mode, MODES),
    ):
        if value not in choices:
            raise ValueError(f"{name} is {value!r}, expected one of: {', '.join(choices)}")
    learned = [table[~table["token"].isin(SPECIAL_TOKENS)] for table in vocabularies]
    if len(learned) < 2:
        raise ValueError(f"{len(learned)} vocabularies, expected two or more to pool")
    wide = pd.concat([_weights_of(table) for table in learned], axis=1, join=merge)
    if not len(wide):
        raise ValueError("the vocabularies share no token; take merge 'outer'")
    weights = getattr(wide, pool)(axis=1).sort_index()
    if mode == "corrected":
        weights -= np.logaddexp.reduce(weights.to_numpy())
        weights = weights.sort_values(ascending=False, kind="stable")
    return list(weights.items())


# --- one genome in pieces ------------------------------------------------------------------


def store_contigs(store: BaseStore, n_bases: int) -> Contigs:
    """The first `n_bases` of a store of bases, record by record, cut into contigs of any length."""
    starts = store.records["start"].to_numpy()
    runs = np.stack([starts, starts + store.records["length"].to_numpy()], axis=1)
    runs = np.minimum(runs, n_bases)
    return partial(_cut_store, store, runs[runs[:, 1] > runs[:, 0]])


def _cut_store(store: BaseStore, runs: np.ndarray, length: int) -> Iterable[str]:
    pieces = runs if length == WHOLE else cut_runs(runs, length)
    return (decode(np.asarray(store.codes[begin:end])) for begin, end in pieces.tolist())


def compare_contig_lengths(
    contigs: Contigs, lengths_bp: Sequence[int], vocab_size: int = PUBLISHED_VOCAB
) -> pd.DataFrame:
    """How much of the vocabulary of a whole genome is learned from its contigs, too.

    One row per length, `length_bp` 0 (unbroken) first: n_tokens, n_shared with the unbroken one
    (special tokens count), shared (of its tokens), heavy_shared (of its tenth of greatest weight),
    weight_rmse (root mean square difference of the weights of shared tokens, nats). Contigs are as
    the released code cuts them: end to end, the last as long as what is left.

    Raises: ValueError for a length below 1; as `train_unigram`.
    """
    if min(lengths_bp, default=1) < 1:
        raise ValueError(f"contig lengths are {list(lengths_bp)}, expected 1 or more bases each")
    whole = _learn(contigs(WHOLE), vocab_size)
    heavy = whole.drop(index=list(SPECIAL_TOKENS)).nlargest(max(round(_HEAVY * len(whole)), 1))
    rows = []
    for length in [WHOLE, *lengths_bp]:
        found = whole if length == WHOLE else _learn(contigs(length), vocab_size)
        both = pd.concat([whole, found], axis=1, join="inner").to_numpy()
        rows.append(
            {
                "length_bp": length,
                "n_tokens": len(found),
                "n_shared": len(both),
                "shared": len(both) / len(whole),
                "heavy_shared": heavy.index.isin(found.index).mean(),
                "weight_rmse": float(np.sqrt(np.mean((both[:, 0] - both[:, 1]) ** 2))),
            }
        )
    return pd.DataFrame(rows)


def _learn(texts: Iterable[str], vocab_size: int) -> pd.Series:
    return list_tokens(train_unigram(texts, vocab_size)).set_index("token")["weight"]


def add_published(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the column `published`: the share printed in genomeNLP's manual for another
    assembly of Haemophilus influenzae, where that length is there."""
    shares = {length: n / PUBLISHED_VOCAB for length, n in PUBLISHED_SHARED.items()}
    return table.assign(published=table["length_bp"].map(shares | {WHOLE: 1.0}))


def describe_contig_lengths(table: pd.DataFrame) -> str:
    """A sentence: how much the shortest and the longest contigs keep, and what is published."""
    cut = table[table["length_bp"] != WHOLE].sort_values("length_bp")
    n_tokens = int(table.loc[table["length_bp"] == WHOLE, "n_tokens"].iloc[0])
    parts = []
    for row in cut.iloc[[0, -1]].drop_duplicates().to_dict("records"):
        told = row.get("published", np.nan)
        beside = f" (published {100 * told:.2f} %)" if told == told else ""
        parts.append(f"{100 * row['shared']:.2f} %{beside} in contigs of {row['length_bp']:,} bp")
    heavy = 100 * cut["heavy_shared"].iloc[0]
    return (
        f"Of the {n_tokens:,} tokens of the unbroken sequence {' and '.join(parts)} are found "
        f"again; of its tenth of greatest weight {heavy:.1f} % in the shortest."
    )
