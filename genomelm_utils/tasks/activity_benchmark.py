"""The protocol of stage 08: sets, grid, baselines on the same rows, scores with intervals.

Shapes: S rows, T outputs.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from genomelm_utils.baselines.activity_baselines import BASELINES, predict_baseline
from genomelm_utils.datasets.activity_splits import (
    REFERENCE_SEED,
    SHARES,
    drop_contained,
    measure_overlap,
    shrink_valid,
    split_by_groups,
    split_set,
)
from genomelm_utils.datasets.activity_task import (
    ActivitySet,
    TaskSpec,
    make_set,
    replicate_columns,
)
from genomelm_utils.datasets.promoter_assays import TASK_SETS, load_sample
from genomelm_utils.evaluation.statistics import compare_all, interval_table
from genomelm_utils.sequences.simulate_activity import SimulatedActivity, simulate_activity
from genomelm_utils.tasks.activity_grid import Cell
from genomelm_utils.tasks.activity_scores import HEADLINE, MEAN, score_outputs
from genomelm_utils.tasks.transfer import Outcome, run_plan
from genomelm_utils.tasks.transfer_plan import FitSettings

if TYPE_CHECKING:
    from genomelm_utils.pipeline.context import Run

SCORE_COLUMNS = (
    *("output", "metric", "value", "n", "method", "backbone", "strategy", "pretrain", "split"),
    *("seed", "best", "n_parameters", "epochs", "wall_s", "reused", "key"),
)
#: Simulated assays: cells, kind, length in bp. The target has the cells of the leukaemia lines; the
#: others are other cells, or another kind of label, of the same grammar.
SIMULATED: dict[str, tuple[tuple[str, ...], str, int]] = {
    "simulated_fluorescence": (("JURKAT", "K562", "THP1"), "regression", 112),
    "simulated_mpra": (("K562", "HepG2"), "regression", 104),
    "simulated_chip": (("HepG2", "JURKAT"), "multilabel", 112),
}


def simulate_sets(
    n_rows: Mapping[str, int], seed: int, signal_share: float = 0.8
) -> tuple[dict[str, ActivitySet], dict[str, SimulatedActivity]]:
    """(sets with parts, what they were made from) of the simulated assays named in `n_rows`."""
    sets, truth = {}, {}
    for name, n in n_rows.items():
        cells, kind, length_bp = SIMULATED[name]
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        made = simulate_activity(
            rng, n=n, cells=cells, length_bp=length_bp, signal_share=signal_share
        )
        labels_SC, columns = made.activity_SC, None
        if kind == "multilabel":
            labels_SC = (labels_SC > np.median(labels_SC, axis=0)).astype(np.float32)
        else:
            columns = replicate_columns(cells, made.replicates_RSC)
        spec = TaskSpec(name, kind, cells, length_bp=length_bp)
        part_S = split_by_groups(np.arange(n), seed, SHARES)
        sets[name] = make_set(spec, list(made.codes_SL), labels_SC, columns, part_S)
        truth[name] = made
    return sets, truth


def open_sets(
    run: "Run", target: str, names: Sequence[str], *, max_train: int, seed: int
) -> dict[str, ActivitySet]:
    """The target and the tasks to pretrain on from published sets at hand, split by group.

    A name may have a species behind a colon ('tss_mpra:human'). max_train: training rows that are
    kept of each, drawn at random (0: all). Rows of other tasks that share 30 bases with held-out
    rows of the target are left out; long validation parts are cut down.
    """
    sets: dict[str, ActivitySet] = {}
    for name in dict.fromkeys([target, *names]):
        plain, _, species = name.partition(":")
        data = load_sample(plain, run.data, species=species, seed=seed)
        data = limit_train(data, max_train, seed)
        sets[name] = replace(data, spec=replace(data.spec, name=name))
    for name in sets:
        if name != target:
            sets[name] = shrink_valid(
                drop_contained(sets[name], sets[target]), n_rows=500, seed=seed
            )
    return sets


def open_sets_of(
    run: "Run",
    source: str,
    target: str,
    pretrain_sets: Sequence[str],
    *,
    files: Sequence[str] = (),
    n_target: int = 500,
    n_pretrain: int = 1000,
    max_train: int = 0,
    seed: int = 0,
) -> dict[str, ActivitySet]:
    """The target and all tasks that `pretrain_sets` names ('a+b' is two), from a source.

    source: 'simulated', 'samples' (`open_sets`), 'raw' (the folder `files`, see
    `datasets.assay_folder`).
    """
    others = list(dict.fromkeys(part for name in pretrain_sets for part in name.split("+")))
    if source == "simulated":
        unknown = sorted({target, *others} - set(SIMULATED))
        if unknown:
            raise ValueError(f"no simulated {unknown[0]!r}, expected one of {', '.join(SIMULATED)}")
        n_rows = {target: n_target} | dict.fromkeys(others, n_pretrain)
        return simulate_sets(n_rows, seed)[0]
    if source == "samples":
        return open_sets(run, target, others, max_train=max_train, seed=seed)
    if len(files) != 1:
        raise ValueError(f"files is {list(files)}, expected the one folder of raw files")
    from genomelm_utils.datasets.assay_folder import read_assays

    cache = run.path("genomes")
    sets = read_assays([target, *others], run.data(files[0]), cache, seed=REFERENCE_SEED)
    held = sets[target]
    for name, data in sets.items():
        if name != target:
            data = shrink_valid(drop_contained(data, held), seed=seed)
            sets[name] = limit_train(data, max_train, seed)
    return sets


def task_members(sets: Mapping[str, ActivitySet]) -> dict[str, list[str]]:
    """Names that stand for several of these sets: RNASeq, and SuRE, which has a task per genome."""
    members = {name: list(tasks) for name, tasks in TASK_SETS.items() if set(tasks) <= set(sets)}
    genomes = [name for name in sets if name.startswith("SuRE_SuRE")]
    names = ("SuRE_classification", "SuRE_regression")
    return members | (dict.fromkeys(names, genomes) if genomes else {})


class SetTables(NamedTuple):
    """What `describe_sets` gives: tables, and sentences computed from them."""

    sets: pd.DataFrame
    overlap: pd.DataFrame
    skipped: pd.DataFrame
    text: str


def describe_sets(sets: Mapping[str, ActivitySet]) -> SetTables:
    """Rows per part, rows that parts share (measured now), rows left out, of every set."""
    counts = pd.concat([data.counts() for data in sets.values()], ignore_index=True)
    overlap = pd.concat([measure_overlap(data) for data in sets.values()], ignore_index=True)
    named = [data.skipped.assign(task=name) for name, data in sets.items()]
    skipped = pd.concat(named, ignore_index=True)[["task", "reason", "n"]]
    n_copies, n_skipped = int(overlap["n_copies"].sum()), int(skipped["n"].sum())
    text = (
        f"{len(sets)} sets with {int(counts['n_rows'].sum())} rows in parts; {n_copies} held-out "
        f"rows have a copy in another part (either strand); {n_skipped} rows were left out."
    )
    return SetTables(counts, overlap, skipped, text)


def pretraining_settings(settings: FitSettings, epochs: int) -> FitSettings:
    """The same settings for pretraining, which monitors its own loss."""
    return replace(settings, epochs=epochs, monitor="", direction="")


def headline_metric(data: ActivitySet) -> str:
    """The metric that a task is judged by."""
    return HEADLINE[data.spec.kind]


def join_scores(trained: pd.DataFrame, floor: pd.DataFrame) -> pd.DataFrame:
    """Networks and baselines in one table, so that none is shown without the others."""
    table = pd.concat([trained, floor], ignore_index=True)
    return table.fillna({"backbone": "", "pretrain": ""})


def describe_runs(trained: pd.DataFrame) -> str:
    """How many runs there were, how many of them were found finished, and how long they took."""
    runs = trained.drop_duplicates("key")
    if not len(runs):
        return "No run has scores of its own: pretraining only."
    n_reused = int(runs["reused"].sum())
    return (
        f"{len(runs)} runs, {n_reused} of them found finished; {runs['wall_s'].sum():.0f} s of "
        f"training, {int(runs['epochs'].min())} to {int(runs['epochs'].max())} epochs."
    )


def limit_train(data: ActivitySet, max_train: int, seed: int) -> ActivitySet:
    """At most so many training rows, and a quarter as many validation and test rows (0: all)."""
    if not max_train:
        return data
    part_S = data.part_S.copy()
    rng = np.random.default_rng(seed)
    for part, most in (("train", max_train), ("valid", max_train // 4), ("test", max_train // 2)):
        rows = rng.permutation(np.flatnonzero(part_S == part))
        part_S[rows[most:]] = ""
    return replace(data, part_S=part_S)


def resplit(sets: Mapping[str, ActivitySet], target: str, seed: int) -> dict[str, ActivitySet]:
    """The same sets with another split of the target; the rows in use stay the same."""
    data = sets[target]
    used = data.take(np.flatnonzero(data.part_S != ""))
    if "group" in used.columns:
        fresh = split_set(used, "group", seed=seed, column="group")
    else:
        fresh = replace(used, part_S=split_by_groups(np.arange(len(used)), seed, SHARES))
    return {**sets, target: fresh}


def sets_of_seed(
    sets: Mapping[str, ActivitySet], target: str, split: str, seed: int
) -> Mapping[str, ActivitySet]:
    """The sets that a seed sees: the same for all with split 'fixed', its own with 'multiple'."""
    return sets if split == "fixed" else resplit(sets, target, seed)


def run_grid(
    cells: Sequence[Cell],
    sets: Mapping[str, ActivitySet],
    folder: str | Path,
    **options: Any,
) -> pd.DataFrame:
    """Every cell trained (or found finished): one row per cell, seed, output and metric.

    Cells of an analysis are trained too, so that it finds its networks; one that stands there for
    several analyses once. A network without a target (pretraining) has no row.

    Columns method, backbone, strategy, pretrain, split, seed, output, metric, value, n, best (of
    validation), n_parameters, epochs, wall_s, reused, key.
    """
    tables, done = [pd.DataFrame(columns=list(SCORE_COLUMNS))], set()
    for cell in cells:
        if cell.label in done:
            continue
        done.add(cell.label)
        for plan in cell.plans:
            used = sets_of_seed(sets, plan.target, cell.split, plan.seed) if plan.target else sets
            outcome = run_plan(plan, used, folder, **options)
            if plan.target:
                tables.append(score_outcome(cell, outcome, used[plan.target].spec))
    return pd.concat(tables[1:] or tables, ignore_index=True)


def score_outcome(cell: Cell, outcome: Outcome, spec: TaskSpec) -> pd.DataFrame:
    """Scores of one run's test rows, with what the run was."""
    plan = outcome.plan
    table = score_outputs(spec, outcome.labels["test"], outcome.predicted["test"])
    return table.assign(
        method=cell.label, backbone=plan.backbone, strategy=plan.strategy, pretrain=cell.pretrain,
        split=cell.split, seed=plan.seed, best=outcome.best, n_parameters=outcome.n_parameters,
        epochs=len(outcome.history) - 1, wall_s=outcome.wall_s, reused=outcome.reused,
        key=outcome.key,
    )  # fmt: skip


def run_baselines(
    sets: Mapping[str, ActivitySet],
    target: str,
    seeds: Sequence[int],
    split: str,
    names: Sequence[str] = BASELINES,
) -> pd.DataFrame:
    """The baselines on the same rows, in the columns of `run_grid` that apply to them.

    With split 'fixed' their numbers are the same for every seed, as they draw nothing.
    """
    tables = []
    for seed in seeds:
        data = sets_of_seed(sets, target, split, seed)[target]
        rows = data.rows("test")
        for name in names:
            predicted = predict_baseline(name, data, "test", seed=0)
            table = score_outputs(data.spec, data.labels_ST[rows], predicted)
            tables.append(table.assign(method=name, strategy="baseline", split=split, seed=seed))
    return pd.concat(tables, ignore_index=True)


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean and 95 % interval over seeds by method, output and metric."""
    table = scores.fillna({"backbone": "", "pretrain": ""})
    by = ["method", "backbone", "strategy", "pretrain", "output", "metric"]
    return interval_table(table, by, draw="seed")


def compare_strategies(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    """All pairs of methods on the mean over outputs, paired by seed, with Holm's correction."""
    table = scores[(scores["output"] == MEAN) & (scores["metric"] == metric)]
    return compare_all(table.assign(draw=table["seed"]), method="method")


def select_best(scores: pd.DataFrame) -> pd.DataFrame:
    """Per method the seed of the best validation score: method, seed, best, key.

    Test scores have no part in it (the released code chose the seed with the best test score).
    """
    runs = scores[scores["best"].notna()].drop_duplicates(["method", "seed"])
    rows = runs.loc[runs.groupby("method", sort=False)["best"].idxmax()]
    return rows[["method", "seed", "best", "key"]].reset_index(drop=True)
