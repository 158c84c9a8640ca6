"""Splits that keep similar promoters together: one for language model and regressor alike.

Two switches, each `corrected` or `reference` (the released `06-train-test-split.py`):

    counting   reference counts the representative of a cluster twice, so the test part gets
               s / (s + 1) of its share with clusters of s; corrected counts promoters
    folds      reference deals clusters in turn to five folds, whatever their sizes, the last of
               which is `valid`; corrected deals them so that the shares come out

Shape suffixes: S promoters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from genomelm_utils.datasets.expression_set import PARTS, ExpressionSet
from genomelm_utils.datasets.species import read_tsv
from genomelm_utils.sequences.fasta import suggest
from genomelm_utils.sequences.splits import split_by_group

MODES = ("corrected", "reference")
N_FOLDS = 5  # training folds. Source: released `06-train-test-split.py`
# 70 % for training folds, one of five of them for validation. Source: the same file.
SHARES = {"train": 0.56, "valid": 0.14, "test": 0.30}
REFERENCE_SEED = 47  # Source: the same file
CORPUS_TEST_SHARE = 0.2  # Source: released `06_transformer_preparation.py`


@dataclass(frozen=True)
class PromoterSplit:
    """Cluster and part of every promoter, by name: columns name, cluster, part."""

    table: pd.DataFrame

    def look_up(self, names: Sequence[str]) -> pd.DataFrame:
        """Columns cluster and part for these promoters, in their order.

        Raises ValueError for names the split does not have: splitting them now, by themselves,
        would put relatives on two sides.
        """
        by_name = self.table.set_index("name")
        missing = [name for name in names if name not in by_name.index]
        if missing:
            raise ValueError(
                f"{len(missing)} of {len(names)} promoters are not in the split, such as "
                f"{missing[0]!r}{suggest(missing[0], by_name.index[:1000])}; cluster and split all "
                "promoters of language model and regressor together"
            )
        return by_name.loc[list(names), ["cluster", "part"]].reset_index(drop=True)

    def apply(self, promoters: ExpressionSet, names: Sequence[str]) -> ExpressionSet:
        """The set with `cluster` and `part` of the split; names: of its rows, in order."""
        found = self.look_up(names)
        return promoters.with_columns({name: found[name].to_numpy() for name in found})

    def shares(self) -> pd.DataFrame:
        """Columns part, n_promoters, share, n_clusters."""
        by_part = self.table.groupby("part")["cluster"].agg(["size", "nunique"])
        by_part = by_part.reindex(list(PARTS), fill_value=0)
        return pd.DataFrame(
            {
                "part": by_part.index,
                "n_promoters": by_part["size"].to_numpy(),
                "share": by_part["size"].to_numpy() / len(self.table),
                "n_clusters": by_part["nunique"].to_numpy(),
            }
        )

    def save(self, path: str | Path) -> None:
        """Write name, cluster, part as TSV."""
        self.table.to_csv(path, sep="\t", index=False, lineterminator="\n")

    @classmethod
    def load(cls, path: str | Path) -> "PromoterSplit":
        """The split that `save` wrote. Raises FileNotFoundError, or ValueError for missing columns,
        unknown parts, a name twice and a cluster in two parts."""
        table = read_tsv(Path(path), ("name", "cluster", "part"), "a split of promoters")
        return _make_split(table["name"], table["cluster"].astype(np.int64), table["part"])


def split_promoters(
    names: Sequence[str],
    cluster_S: np.ndarray,
    *,
    seed: int,
    shares: Mapping[str, float] = SHARES,
    counting: str = "corrected",
    folds: str = "corrected",
    has_label_S: np.ndarray | None = None,
) -> PromoterSplit:
    """A split of promoters by cluster; no cluster is in two parts.

    cluster_S: int64[S]. shares: of train, valid and test, summing to 1. has_label_S: which rows
    have expression, bool[S], None = all. The shares hold among those; clusters without any (the
    rest of a language model's corpus) are dealt by the same shares among themselves. Give all
    promoters of language model and regressor at once. For the switches see the module's head;
    either of them as `reference` deals clusters in the order of the released code for this seed.

    Raises ValueError for shares, switches or sizes that do not fit.
    """
    for what, mode in (("counting", counting), ("folds", folds)):
        if mode not in MODES:
            raise ValueError(f"{what} is {mode!r}, expected one of {', '.join(MODES)}")
    if set(shares) != set(PARTS):
        raise ValueError(f"shares name {', '.join(shares)}, expected {', '.join(PARTS)}")
    cluster_S = np.asarray(cluster_S)
    labelled_S = np.ones(len(cluster_S), bool) if has_label_S is None else np.asarray(has_label_S)
    if not len(names) == len(cluster_S) == len(labelled_S):
        raise ValueError(
            f"{len(names)} names, {len(cluster_S)} clusters and {len(labelled_S)} marks of labels, "
            "expected one each per promoter"
        )
    with_labels = np.isin(cluster_S, cluster_S[labelled_S])
    part_S = np.full(len(cluster_S), "", dtype=object)
    rng = np.random.default_rng(seed)
    for counted_S, members_S in ((labelled_S, with_labels), (~with_labels, ~with_labels)):
        if not counted_S.any():
            continue
        if counting == folds == "corrected":
            part_of = _deal_by_size(cluster_S[counted_S], shares, rng)
        else:
            part_of = _deal_in_order(cluster_S[counted_S], shares, counting, folds, seed)
        part_S[members_S] = pd.Series(cluster_S[members_S]).map(part_of)
    return _make_split(names, cluster_S, part_S)


def assign_folds(cluster_S: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """A fold 0..n_folds-1 per row, int64[S], clusters kept whole and folds of about equal size."""
    names = {f"fold{i}": 1 / n_folds for i in range(n_folds)}
    parts = split_by_group(np.asarray(cluster_S), names, np.random.default_rng(seed))
    fold_S = np.empty(len(cluster_S), dtype=np.int64)
    for i, rows in enumerate(parts.values()):
        fold_S[rows] = i
    return fold_S


def split_corpus(
    split: PromoterSplit, names: Sequence[str], *, mode: str = "corrected", seed: int
) -> np.ndarray:
    """Which promoters a language model may train on, bool[S].

    `corrected`: those of the part `train`, so that no relative of a promoter that is tested later
    was ever seen. `reference`: every row with chance 0.8, whatever it resembles.
    """
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}, expected one of {', '.join(MODES)}")
    if mode == "corrected":
        return (split.look_up(names)["part"] == "train").to_numpy()
    return np.random.default_rng(seed).random(len(names)) >= CORPUS_TEST_SHARE


def _deal_by_size(cluster_R: np.ndarray, shares: Mapping[str, float], rng) -> dict[int, str]:
    parts = split_by_group(cluster_R, dict(shares), rng)
    return {cluster: part for part, rows in parts.items() for cluster in cluster_R[rows].tolist()}


def _deal_in_order(
    cluster_R: np.ndarray, shares: Mapping[str, float], counting: str, folds: str, seed: int
) -> dict[int, str]:
    """Shuffled clusters to the test part until it is full, the rest to the training folds."""
    sizes = pd.Series(cluster_R).value_counts(sort=False)
    order = list(dict.fromkeys(cluster_R.tolist()))
    # the generator of the released code, so that its split can be made again from its clusters
    np.random.RandomState(seed).shuffle(order)
    weight = {c: sizes[c] + (counting == "reference") for c in order}  # the representative twice
    before = np.cumsum([0] + [weight[cluster] for cluster in order])[:-1]
    n_test = int(np.count_nonzero(before < shares["test"] * len(cluster_R)))
    part_of = dict.fromkeys(order[:n_test], "test")
    order = order[n_test:]
    if folds == "reference":
        for i, cluster in enumerate(order):
            part_of[cluster] = "valid" if i % N_FOLDS == N_FOLDS - 1 else "train"
        return part_of
    left = np.isin(cluster_R, order)
    total = shares["train"] + shares["valid"]
    if left.any() and total > 0:
        rest = {name: shares[name] / total for name in ("train", "valid")}
        part_of |= _deal_by_size(cluster_R[left], rest, np.random.default_rng(seed))
    return part_of


def _make_split(names, cluster_S, part_S) -> PromoterSplit:
    table = pd.DataFrame({"name": list(names), "cluster": cluster_S, "part": part_S})
    doubled = table.loc[table["name"].duplicated(), "name"]
    if len(doubled):
        raise ValueError(f"promoter {doubled.iloc[0]!r} stands twice in the split")
    wrong = table.loc[~table["part"].isin(PARTS)]
    if len(wrong):
        raise ValueError(
            f"promoter {wrong['name'].iloc[0]!r} has part {wrong['part'].iloc[0]!r}, expected one "
            f"of {', '.join(PARTS)}"
        )
    torn = table.groupby("cluster")["part"].nunique()
    if (torn > 1).any():
        raise ValueError(f"cluster {torn.index[torn > 1][0]} lies in two parts")
    return PromoterSplit(table)
