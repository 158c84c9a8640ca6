"""Stage 12, motif insertion: what trained networks of stage 08 have learnt about motifs.

Networks come from a finished run of stage 08, backgrounds are test sequences of its target, and
every motif has its shuffled twin as a control. Where promoters are simulated, what each motif does
is known, and so is how well insertion tells.

Shapes: S sequences, M motifs, C outputs, W positions of a motif.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from genomelm_utils.datasets.activity_task import ActivitySet
from genomelm_utils.evaluation.regression_moments import (
    draw_clusters,
    quantile_interval,
    rank_correlations,
)
from genomelm_utils.interpretation import motif_ranking as ranking
from genomelm_utils.interpretation.motif_draws import shuffle_motifs
from genomelm_utils.interpretation.motif_insertion import motif_effects
from genomelm_utils.models.motif_scan import NamedMotif, count_motifs, motif_matrices
from genomelm_utils.models.promoter_blocks import stack_codes
from genomelm_utils.models.promoter_nets import PromoterNet, load_promoter_net
from genomelm_utils.sequences.planting import consensus_matrix
from genomelm_utils.sequences.simulate_activity import GRAMMAR
from genomelm_utils.tasks.activity_benchmark import open_sets_of, sets_of_seed
from genomelm_utils.training.checkpoint import hide_bars
from genomelm_utils.training.device import choose_device

if TYPE_CHECKING:  # runs are handed in: only their types are named here
    from genomelm_utils.pipeline.context import Parent, Run

CHOICES = ("best", "backbones", "all")
MIN_ROWS = 2  # with the motif, for a difference that can be tested


# --- what goes in ---------------------------------------------------------------------------------


def grammar_motifs() -> dict[str, np.ndarray]:
    """Name -> [W, 4] of the motifs that simulated promoters are made of."""
    return {one.name: consensus_matrix(one.consensus) for one in GRAMMAR}


def label_motifs(motifs: Sequence[NamedMotif]) -> dict[str, np.ndarray]:
    """Matrices by the name that readers know: the factor's where the file gives one.

    A factor with several matrices has the matrix's own name behind it: 'RUNX1 MA0002.2'.
    """
    second = [getattr(motif, "alt_name", "") or motif.name for motif in motifs]
    names = [
        label if second.count(label) == 1 else f"{label} {motif.name}"
        for label, motif in zip(second, motifs, strict=True)
    ]
    return motif_matrices(
        {name: motif.probabilities for name, motif in zip(names, motifs, strict=True)}
    )


def choose_networks(parent: "Parent", which: str = "best") -> pd.DataFrame:
    """Networks of a run of stage 08 by their validation score: method, seed, best, key, backbone.

    which: the 'best' of all, the best of each of the 'backbones', or 'all' methods, each with its
    best seed; test scores have no part in it. Raises: ValueError for another choice, or a run
    without a network that was trained on its target.
    """
    if which not in CHOICES:
        raise ValueError(f"networks is {which!r}, expected one of {', '.join(CHOICES)}")
    found = parent.table("best")
    if found.empty:
        raise ValueError(
            f"{parent.stage}/{parent.run} has no network trained on its target; choose a run with "
            "a strategy other than 'pretrain'"
        )
    found = found.assign(backbone=found["method"].str.split(" ").str[0])
    found = found.sort_values("best", ascending=False, kind="stable")
    if which == "best":
        found = found.head(1)
    elif which == "backbones":
        found = found.drop_duplicates("backbone")
    return found.reset_index(drop=True)


def open_network(parent: "Parent", key: str) -> PromoterNet:
    """The network of a run of stage 08 with that key, in evaluation mode, on the device in use."""
    folders = [
        path
        for path in sorted(parent.path("checkpoints").glob(f"*-{key[:16]}"))
        if (path / "model").is_dir()
    ]
    if len(folders) != 1:
        raise FileNotFoundError(
            f"{parent.stage}/{parent.run}: {len(folders)} networks with key {key[:16]}, expected "
            "one; run stage 08 again"
        )
    with hide_bars():
        return load_promoter_net(folders[0] / "model").to(choose_device()[0])


def open_target(run: "Run", parent: "Parent", seed: int) -> ActivitySet:
    """The target's rows as the run of stage 08 saw them with that seed; nothing is trained.

    Published files are those of this run's own parameter `files`.
    """
    asked = parent.params
    sets = open_sets_of(
        run,
        asked["source"],
        asked["target"],
        [],
        files=run.params["files"],
        n_target=asked["n_target"],
        n_pretrain=asked["n_pretrain"],
        max_train=asked["max_train"],
        seed=asked["seed"],
    )
    return sets_of_seed(sets, asked["target"], asked["split"], seed)[asked["target"]]


def draw_backgrounds(data: ActivitySet, n: int, min_bp: int, seed: int) -> np.ndarray:
    """Test rows, at most n, drawn at random and in order; each has at least `min_bp` bases.

    Raises: ValueError where no test sequence is that long.
    """
    rows = data.rows("test")
    long = rows[data.length_S[rows] >= min_bp]
    if not len(long):
        raise ValueError(
            f"{data.spec.name}: no test sequence of {min_bp} bases, which the longest motif needs; "
            "leave long motifs out"
        )
    return np.sort(np.random.default_rng(seed).permutation(long)[:n])


def fit_motifs(
    matrices: Mapping[str, np.ndarray], data: ActivitySet
) -> tuple[dict[str, np.ndarray], list[str]]:
    """(motifs that fit into half of the test sequences, names of those that do not)."""
    most = int(np.median(data.length_S[data.rows("test")]))
    kept = {name: matrix for name, matrix in matrices.items() if len(matrix) <= most}
    return kept, [name for name in matrices if name not in kept]


# --- what comes out -------------------------------------------------------------------------------


def insert_all(
    run: "Run",
    parent: "Parent",
    chosen: pd.DataFrame,
    matrices: Mapping[str, np.ndarray],
    *,
    n_backgrounds: int,
    copies: int,
    replicates: int,
    strands: str,
    rule: str,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(effects of every motif and its shuffled twin, measured differences), for each network.

    chosen: of `choose_networks`. Tables of `motif_ranking.effect_table` and `compare_occurrence`
    with the network's `method` in front; the second counts all rows in parts, once for each seed
    of a network. Effects by background are kept under effects/.
    """
    both = {**matrices, **shuffle_motifs(matrices, run.seed)}
    effects, measured = [], []
    for row in chosen.itertuples():
        data = open_target(run, parent, row.seed)
        backgrounds = draw_backgrounds(
            data, n_backgrounds, max(map(len, matrices.values())), run.seed
        )
        model = open_network(parent, row.key)
        found = motif_effects(
            model,
            [data.codes[i] for i in backgrounds],
            both,
            task=data.spec.name,
            copies=copies,
            replicates=replicates,
            seed=run.seed,
            strands=strands,
            rule=rule,
        )
        found.save(run.path("effects") / f"{row.backbone}-{row.key[:16]}.npz")
        used = np.flatnonzero(data.part_S != "")
        has_SM = count_motifs(stack_codes([data.codes[i] for i in used]), matrices) > 0
        place = np.searchsorted(used, backgrounds)
        table = ranking.effect_table(found, has_SM[place])
        effects.append(table.assign(method=row.method))
        if len(found.outputs) == data.labels_ST.shape[1]:  # classes have no measured difference
            own = ranking.compare_occurrence(
                data.labels_ST[used], has_SM, list(matrices), list(found.outputs)
            )
            measured.append(own.assign(method=row.method))
    return _method_first(effects), _method_first(measured)


def rank_planted(effects: pd.DataFrame, outputs_truth: pd.DataFrame) -> pd.DataFrame:
    """Planted motifs against all shuffled ones: what is planted, what is found, and its rank.

    effects: of `insert_all`. outputs_truth: of `planted_effects`. rank: 1 for the largest change
    of an output (either direction) among all motifs and all shuffled twins of a network. Columns
    method, output, motif, planted, mean, se, control, excess, excess_se, q_excess, rank, of.
    """
    part = effects[effects["subset"] == "all"]
    tables = []
    for (_, _), rows in part.groupby(["method", "output"], sort=False):
        size = np.abs(np.concatenate([rows["mean"], rows["control"]]))
        order = pd.Series(size).rank(ascending=False, method="min").astype(int).to_numpy()
        tables.append(rows.assign(rank=order[: len(rows)], of=len(size)))
    ranked = pd.concat(tables, ignore_index=True)
    joined = ranked.merge(outputs_truth, on=["motif", "output"], validate="many_to_one")
    names = ["method", "output", "motif", "planted", "mean", "se", "control", "excess"]
    return joined[[*names, "excess_se", "q_excess", "rank", "of"]]


def planted_effects(outputs: Sequence[str]) -> pd.DataFrame:
    """What each motif of the simulated grammar does in each cell: motif, output, planted."""
    rows = [(one.name, cell, one.effect(cell)) for one in GRAMMAR for cell in outputs]
    return pd.DataFrame(rows, columns=["motif", "output", "planted"])


def recovery_table(ranks: pd.DataFrame, seed: int = 0, n_resamples: int = 1000) -> pd.DataFrame:
    """How well insertion tells what is planted, for each network, with bootstrap intervals.

    ranks: of `rank_planted`. Measures: 'rho', Spearman's between planted and found (excess over
    the shuffled motif) over motifs and outputs, resampled by motif; 'auc', the chance that a
    motif which does something (planted above the median size) moves a prediction more than a
    shuffled motif does. Columns method, measure, value, low, high, n (motifs).
    """
    rows = []
    for method, part in ranks.groupby("method", sort=False):
        names = part["motif"].unique()
        counts_RM = np.concatenate(
            [np.ones((1, len(names)), int), draw_clusters(len(names), n_resamples, seed)]
        )
        of_row = pd.Categorical(part["motif"], categories=names).codes
        counts = counts_RM[:, of_row]
        rho_R = rank_correlations(part["planted"].to_numpy(), part["excess"].to_numpy(), counts)
        size = part["planted"].abs()
        strong = (size >= size.median()).to_numpy()
        wins = part["mean"].abs().to_numpy()[strong, None] > part["control"].abs().to_numpy()[None]
        weights = counts[:, strong].astype(float)
        with np.errstate(invalid="ignore"):
            auc_R = (weights @ wins.mean(1)) / weights.sum(1)
        for measure, values_R in (("rho", rho_R), ("auc", auc_R)):
            low, high = (side[0] for side in quantile_interval(values_R[1:, None], 0.95))
            rows.append((method, measure, values_R[0], low, high, len(names)))
    return pd.DataFrame(rows, columns=["method", "measure", "value", "low", "high", "n"])


def top_table(effects: pd.DataFrame, n: int) -> pd.DataFrame:
    """The n strongest motifs of each network, output and side; those common to all outputs, and
    those of one output alone: method, list ('top', 'common', 'specific'), side, output, ..."""
    tables = []
    for method, part in effects.groupby("method", sort=False):
        outputs = list(part["output"].unique())
        for side in ranking.SIDES:
            top = ranking.top_motifs(part, n, side=side)
            found = [top[["output", "rank", "motif", "mean", "se", "q"]].assign(list="top")]
            if len(outputs) > 1:
                found.append(ranking.common_motifs(part, n, side=side).assign(list="common"))
                found += [
                    ranking.specific_motifs(part, one, side=side)
                    .head(n)
                    .assign(list="specific", output=one)
                    for one in outputs
                ]
            tables.append(pd.concat(found, ignore_index=True).assign(method=method, side=side))
    table = pd.concat(tables, ignore_index=True)
    order = ["method", "list", "side", "output"]
    return table[[*order, *(name for name in table.columns if name not in order)]]


def agreement_of(
    effects: pd.DataFrame, measured: pd.DataFrame, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(effects beside measured differences, their rank correlations), for each network.

    Backgrounds that hold the motif are left out; see `motif_ranking.agreement_table`.
    """
    joined, agreed = [], []
    for method, part in effects.groupby("method", sort=False):
        own = measured[(measured["method"] == method) & (measured["n_with"] >= MIN_ROWS)]
        both = ranking.join_occurrence(part, own)
        joined.append(both.assign(method=method))
        agreed.append(ranking.agreement_table(both, seed=seed).assign(method=method))
    return _method_first(joined), _method_first(agreed)


def _method_first(tables: list[pd.DataFrame]) -> pd.DataFrame:
    if not tables:
        return pd.DataFrame({"method": []})
    table = pd.concat(tables, ignore_index=True)
    return table[["method", *(name for name in table.columns if name != "method")]]
