"""What is read off finished runs of stage 08: ends of the range, specificity, ceiling, transfer.

Shapes: S rows, T outputs.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genomelm_utils.datasets.activity_task import CLASS_KINDS, ActivitySet, replicate_values
from genomelm_utils.evaluation.promoter_activity import (
    COLUMNS,
    activity_scores,
    replicate_ceiling,
    share_of_ceiling,
    specificity_scores,
)
from genomelm_utils.evaluation.promoter_transfer import parse_transfers, transfer_scores
from genomelm_utils.models.promoter_nets import load_promoter_net
from genomelm_utils.tasks.activity_benchmark import sets_of_seed
from genomelm_utils.tasks.activity_grid import Cell, unique_pretrainings
from genomelm_utils.tasks.activity_scores import MEAN, average_rows, predict_rows
from genomelm_utils.tasks.multitask import MultiTask
from genomelm_utils.tasks.transfer import run_plan
from genomelm_utils.training.checkpoint import hide_bars

SURE = "SuRE"  # its genomes together, by the mean of their heads


def detail_scores(
    cells: Sequence[Cell], sets: Mapping[str, ActivitySet], folder: str | Path, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(scores of all rows and of the tenths at both ends, scores of differences between cells).

    Of the first seed of every training cell of a regression, on its test rows, with bootstrap
    intervals over rows: see `evaluation.promoter_activity`. Both are empty for other kinds; the
    second is with fewer than two outputs.
    """
    predicted, labels, outputs = {}, None, ()
    for cell in cells:
        plan = cell.plans[0]
        if cell.kind != "train" or not plan.target or sets[plan.target].spec.kind != "regression":
            continue
        used = sets_of_seed(sets, plan.target, cell.split, plan.seed)
        outcome = run_plan(plan, used, folder)
        predicted[cell.label] = outcome.predicted["test"]
        labels, outputs = outcome.labels["test"], used[plan.target].spec.outputs
    none = pd.DataFrame(columns=COLUMNS)
    if labels is None:
        return none, none
    ends = activity_scores(labels, predicted, outputs, seed=seed, n_resamples=200)
    if len(outputs) < 2:
        return ends, none
    return ends, specificity_scores(labels, predicted, outputs, seed=seed, n_resamples=200)


def ceiling_scores(
    data: ActivitySet, ends: pd.DataFrame, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(how alike the target's replicates are on its test rows, what share of that networks reach).

    See `replicate_ceiling` and `share_of_ceiling`; ends: of `detail_scores`. Both are empty for
    other kinds than regression, and for a set without replicates.
    """
    found_RST = replicate_values(data) if data.spec.kind == "regression" else None
    no_shares = pd.DataFrame(columns=[*COLUMNS, "replicates", "share"])
    if found_RST is None:
        return pd.DataFrame(columns=COLUMNS).drop(columns=["model", "subset"]), no_shares
    first_ST, second_ST = found_RST[:, data.rows("test")]
    ceilings = replicate_ceiling(
        first_ST, second_ST, data.spec.outputs, seed=seed, n_resamples=200
    )  # fmt: skip
    return ceilings, share_of_ceiling(ends, ceilings) if len(ends) else no_shares


def describe_ceiling(name: str, ceilings: pd.DataFrame, shares: pd.DataFrame) -> str:
    """A sentence on what replicates allow, and on the network that comes nearest."""
    if not len(ceilings):
        return f"{name} has no replicates at hand: how much can be predicted at all is not known."
    mean = ceilings[ceilings["output"] == MEAN].set_index("metric")
    rho, ceiling = mean.loc["rho"], mean.loc["ceiling", "mean"]
    told = (
        f"Replicates of {name} agree with rho {rho['mean']:.2f} [{rho['low']:.2f}, "
        f"{rho['high']:.2f}]; the true values would have r {ceiling:.2f} with their mean."
    )
    if not len(shares):
        return told
    rows = shares[(shares["output"] == MEAN) & (shares["metric"] == "r")]
    best = rows.loc[rows["mean"].idxmax()]
    return f"{told} {best['model']} has r {best['mean']:.2f}, {best['mean'] / ceiling:.0%} of that."


def zero_shot_scores(
    cells: Sequence[Cell],
    sets: Mapping[str, ActivitySet],
    target: str,
    transfers: Sequence[str],
    folder: str | Path,
    seed: int = 0,
    shared: Path | None = None,
) -> pd.DataFrame:
    """r and rho of heads of other tasks on the target's rows, without any training on it.

    transfers: 'task:output=output of the target', the same for all pretrainings that have such a
    task; SuRE's genomes are one task, `SURE`. All rows in parts count: none was trained on.
    Columns backbone, pretrain, and those of `transfer_scores`.
    """
    data = sets[target]
    rows = np.flatnonzero(data.part_S != "")
    tables = []
    for plan in unique_pretrainings(cells):
        outcome = run_plan(plan, sets, folder, shared=shared)
        with hide_bars():
            model = load_promoter_net(outcome.folder / "model")
        predictions, sources = _predict_heads(
            model, [sets[name] for name in plan.tasks], data, rows
        )
        mine = [one for one in transfers if one.split(":")[0] in sources]
        if not mine:
            continue
        labels_ST, _ = average_rows(data, rows, np.zeros((len(rows), 1), np.float32))
        parsed = parse_transfers(mine, sources, data.spec.outputs)
        found = transfer_scores(
            labels_ST, data.spec.outputs, predictions, sources, parsed, seed=seed, n_resamples=200
        )
        tables.append(found.assign(backbone=plan.backbone, pretrain="+".join(plan.others)))
    if not tables:
        raise ValueError(f"no pretraining has a task of {', '.join(transfers)}; correct transfers")
    return pd.concat(tables, ignore_index=True)


def describe_zero_shot(table: pd.DataFrame) -> str:
    """A sentence on the best transfer without training."""
    rows = table[table["metric"] == "rho"]
    best = rows.loc[rows["mean"].idxmax()]
    return (
        f"Without training on the target, {best['task']}'s {best['source']} follows "
        f"{best['target']} with rho {best['mean']:.2f} [{best['low']:.2f}, {best['high']:.2f}] "
        f"({best['backbone']}, {len(rows)} transfers)."
    )


def _predict_heads(
    model: Any, trained: list[ActivitySet], data: ActivitySet, rows: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, tuple[str, ...]]]:
    """(task -> [S, T], task -> outputs): expected classes of classes; genomes of SuRE averaged."""
    task = MultiTask(model, [one.spec for one in trained])
    found: dict[str, np.ndarray] = {}
    genomes = []
    for one in trained:
        spec = one.spec
        values = predict_rows(task, spec, data.codes, rows)
        _, values = average_rows(data, rows, values)
        if spec.kind in CLASS_KINDS:  # shares, of each output by itself
            shares_STC = values.reshape(len(values), len(spec.outputs), len(spec.classes))
            values = shares_STC @ np.arange(len(spec.classes), dtype=np.float32)
        found[spec.name] = values
        genomes += [spec] if spec.name.startswith("SuRE_") else []
    sources = {one.spec.name: one.spec.outputs for one in trained}
    if genomes:
        found[SURE] = np.mean([found[spec.name] for spec in genomes], axis=0)
        sources[SURE] = genomes[0].outputs
    return found, sources
