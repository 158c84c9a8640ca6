"""Scores of many runs read from their tables, and what they come to: means, spread, intervals.

Tables may be tidy (columns metric and value), wide (a column per metric, `eval/` in front or not),
or the one column `roc_auc_scores` that genomeNLP's pipelines write. Cells are numbers, never code.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from genomelm_utils.evaluation.class_scores import SCORES
from genomelm_utils.evaluation.statistics import mean_interval

KNOWN = (*SCORES, "loss", "roc_auc", "roc_auc_scores")
SAME = {"roc_auc": "auc", "roc_auc_scores": "auc"}
_UNITS = ("fold", "run", "draw", "seed")


def read_scores(path: Path | str, group: str | None = None) -> pd.DataFrame:
    """Columns group, unit, metric, value of one table (CSV or TSV).

    group: what the runs are called, by default the file's name (or, in `cval_auc.tsv` and the like,
    its folder's). unit: the number of the fold or run. Columns that are no metric are passed over;
    in a tidy table with a column `method` each method is a group of its own.

    Raises: FileNotFoundError; ValueError for a table without scores, or a cell that is no number.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, expected a table of scores")
    head = path.open(encoding="utf-8").readline()
    table = pd.read_csv(path, sep="\t" if "\t" in head else ",")
    table.columns = [str(name).removeprefix("eval/").removeprefix("eval_") for name in table]
    name = group or _name_of(path)
    unit = next((column for column in _UNITS if column in table), None)
    units = table[unit] if unit else pd.Series(range(len(table)), index=table.index)
    if {"metric", "value"} <= set(table):
        long = pd.DataFrame({"group": name, "unit": units, "metric": table["metric"]})
        long["value"] = table["value"]
        if "method" in table:
            long["group"] = name + " " + table["method"].astype(str)
    else:
        found = [column for column in table if column in KNOWN]
        if not found:
            raise ValueError(
                f"{path} has no column of scores, expected metric and value, or one of "
                f"{', '.join(KNOWN)}; found {', '.join(map(str, table.columns))}"
            )
        long = table[found].assign(unit=units).melt("unit", var_name="metric")
        long.insert(0, "group", name)
    numbers = pd.to_numeric(long["value"], errors="coerce")
    wrong = numbers.isna() & long["value"].notna()
    if wrong.any():
        cell = long.loc[wrong, "value"].iloc[0]
        raise ValueError(f"{path}: a score is {cell!r}, expected a number")
    long["value"] = numbers
    long["metric"] = long["metric"].replace(SAME)
    return long[long["metric"].isin(KNOWN)].dropna(subset=["value"]).reset_index(drop=True)


def read_all(paths: Sequence[Path | str], groups: Sequence[str] | None = None) -> pd.DataFrame:
    """The scores of several tables; groups: a name for each. Names that come twice are numbered."""
    names = list(groups) if groups else [_name_of(Path(path)) for path in paths]
    if len(names) != len(paths):
        raise ValueError(f"{len(names)} names for {len(paths)} tables, expected one each")
    counts: dict[str, int] = {}
    parts = []
    for path, name in zip(paths, names, strict=True):
        counts[name] = counts.get(name, 0) + 1
        shown = f"{name} {counts[name]}" if names.count(name) > 1 else name
        parts.append(read_scores(path, shown))
    return pd.concat(parts, ignore_index=True)


def summarise_runs(scores: pd.DataFrame) -> pd.DataFrame:
    """Columns group, metric, n, mean, sd, low, high (95 % t interval), min, max."""
    rows = []
    for (group, metric), part in scores.groupby(["group", "metric"], sort=False):
        values = part["value"]
        interval = mean_interval(values)
        rows.append(
            {
                "group": group,
                "metric": metric,
                "n": len(values),
                "mean": interval.mean,
                "sd": values.std(ddof=1) if len(values) > 1 else float("nan"),
                "low": interval.low,
                "high": interval.high,
                "min": values.min(),
                "max": values.max(),
            }
        )
    return pd.DataFrame(rows)


def _name_of(path: Path) -> str:
    """The file's name without its end, or its folder's where many files are called so."""
    stem = path.name.split(".")[0]
    return (
        path.resolve().parent.name
        if stem in ("cval_auc", "cval_scores", "metrics", "trials")
        else stem
    )
