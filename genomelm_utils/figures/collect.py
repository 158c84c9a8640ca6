"""Tables of finished runs brought together for the manuscript's figures and its quoted numbers."""

import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genomelm_utils import paths
from genomelm_utils.figures.expression_summary import gather_expression
from genomelm_utils.figures.schemes import SCHEMES
from genomelm_utils.figures.species_verdict import describe_clustering
from genomelm_utils.figures.style import DOUBLE_MM, new_figure

if TYPE_CHECKING:  # runs are handed in: only their types are named here
    from genomelm_utils.pipeline.context import Parent, Run

logger = logging.getLogger(__name__)

MAIN_METRICS = ("accuracy", "auc", "f1", "mcc")
#: Lower-case names of the manuscript's tables -> where they come from: (parents, table).
SOURCES = {
    "agreement": ("rankings", "agreement"),
    "masking": ("pretraining", "masking"),
    "history": ("pretraining", "history"),
    "final": ("pretraining", "final"),
    "baselines": ("pretraining", "baselines"),
    "summary": ("fewshot", "summary"),
    "paired": ("fewshot", "paired"),
    "species_ari": ("species", "ari"),
    "species_paired": ("species", "paired"),
    "species_fewshot": ("species", "fewshot"),
    "species_recovered": ("species", "recovered"),
}


def gather(
    *,
    rankings: Sequence["Parent"],
    pretraining: Sequence["Parent"],
    fewshot: Sequence["Parent"],
    species: Sequence["Parent"] = (),
    expression: Sequence["Parent"] = (),
) -> dict[str, pd.DataFrame]:
    """Name -> the table of all parents one below the other, with the parent's name in `run`.

    A stage without runs gives tables that are empty.

    `scores` holds, per ranking run, the published scores against ours where the published file was
    at hand, and otherwise the released computation against ours.
    """
    parents = {
        "rankings": rankings, "pretraining": pretraining, "fewshot": fewshot, "species": species
    }  # fmt: skip
    tables = {name: _stack(parents[kind], table) for name, (kind, table) in SOURCES.items()}
    tables["scores"] = _label(
        (p, p.table("published_scores" if "published_scores" in p.tables else "scores"))
        for p in rankings
    )
    # every model of one corpus is judged on the same frozen masks, so the baselines are repeated
    tables["baselines"] = tables["baselines"].drop_duplicates(["name", "bits_per_base"])
    return tables | gather_expression(expression)


def _stack(parents: Sequence["Parent"], table: str) -> pd.DataFrame:
    return _label((parent, parent.table(table)) for parent in parents)


def _label(parts: Any) -> pd.DataFrame:
    tables = [table.assign(run=parent.run) for parent, table in parts]
    tables = [table for table in tables if len(table)] or tables[:1]  # headers alone have no types
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame({"run": []})


def describe_gathered(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """What was found: rows and runs of every table."""
    return pd.DataFrame(
        [
            {"table": name, "runs": table["run"].nunique(), "rows": len(table)}
            for name, table in tables.items()
        ]
    )


def grid_for(n: int, *, height_mm: float = 64) -> tuple[Figure, np.ndarray]:
    """A figure with at least n axes, two in a row; those left over are switched off."""
    n_cols = min(n, 2) or 1
    n_rows = -(-n // n_cols) or 1
    fig, axes = new_figure(n_rows, n_cols, width_mm=DOUBLE_MM, height_mm=height_mm * n_rows + 12)
    for ax in axes.flat[n:]:
        ax.set_axis_off()
    return fig, axes


def draw_each(
    table: pd.DataFrame, by: str, axes: np.ndarray, plot: Callable[..., Axes], **options: Any
) -> None:
    """Draws each group of `table` on its own axes, titled with the group's name."""
    for (name, part), ax in zip(table.groupby(by, sort=False), axes.flat, strict=False):
        plot(part, ax, **options)
        ax.set_title(str(name))


def describe_agreement(agreement: pd.DataFrame) -> str:
    """A sentence per ranking run: how far the corrected ranking agrees with the other one."""
    sentences = []
    for run, part in agreement.groupby("run", sort=False):
        other = "published" if "published" in set(part["b"]) else "reference"
        rows = part[(part["a"] == "corrected") & (part["b"] == other)].set_index("measure")
        rho = rows.loc["spearman"]
        sentence = (
            f"{run}: corrected against {other}, Spearman {rho['value']:.3f} "
            f"[{rho['ci_low']:.3f}, {rho['ci_high']:.3f}]"
        )
        if "overlap_top_100" in rows.index:  # short words are fewer than a hundred
            shared = 100 * rows.loc["overlap_top_100", "value"]
            sentence += f", {shared:.0f} of the first 100 words shared"
        sentences.append(sentence)
    return "; ".join(sentences) + "."


def describe_masking(masking: pd.DataFrame) -> str:
    """Sentences: masked and hidden shares of every run, as published and as trained."""
    sentences = []
    for setting in ("published", "trained"):
        parts = [
            f"{r.run} masks {100 * r.masked_share:.1f} % of the tokens and hides "
            f"{100 * r.hidden_share:.1f} % of the bases"
            for r in masking[masking["setting"] == setting].itertuples()
        ]
        sentences.append(f"As {setting}, " + "; ".join(parts) + ".")
    return " ".join(sentences)


def describe_pretraining(final: pd.DataFrame) -> str:
    """A sentence: bits per base of every run, the fewest first."""
    rows = final.sort_values("bits_last", kind="stable")
    parts = [f"{r.run} {r.bits_last:.3f}" for r in rows.itertuples()]
    markov = final["bits_markov"].iloc[0]
    return f"Bits per hidden base at the end: {', '.join(parts)}; Markov chain {markov:.3f}."


def describe_fewshot(summary: pd.DataFrame, metric: str, method: str = "fine-tuned") -> str:
    """A sentence: in how many settings the best model lies above the best baseline."""
    part = summary[summary["metric"] == metric]
    settings = above = 0
    for _, rows in part.groupby(["dataset", "shots"]):
        ours, floor = rows[rows["method"] == method], rows[rows["method"] == "baseline"]
        if len(ours) and len(floor):
            best = ours.loc[ours["mean"].idxmax()]
            settings += 1
            above += bool(best["low"] > floor["mean"].max())
    return (
        f"In {above} of {settings} settings (data set x shots) the interval of the best {method} "
        f"model lies above the best baseline's mean {metric}."
    )


def pairs_against_contiguous(paired: pd.DataFrame) -> pd.DataFrame:
    """Differences of every scheme from contiguous masking of the same network, above 0 = better.

    The partner of `logo-genemask` is `logo-contiguous`; names without a scheme have none.
    """
    both = pd.concat([paired, _swap(paired)], ignore_index=True)
    keep = [a != b and contiguous_of(a) == b for a, b in zip(both["a"], both["b"], strict=True)]
    both = both[np.array(keep, dtype=bool)].rename(columns={"a": "model"})
    both["label"] = both["model"] + ", " + both["shots"].astype(str) + " shots"
    columns = ["dataset", "shots", "model", "label", "difference", "low", "high", "p_holm"]
    return both[columns].sort_values(["dataset", "shots", "model"], ignore_index=True)


def _swap(paired: pd.DataFrame) -> pd.DataFrame:
    """The same pairs the other way round."""
    other = paired.rename(columns={"a": "b", "b": "a"})
    other[["difference", "low", "high"]] = -other[["difference", "high", "low"]].to_numpy()
    return other


def contiguous_of(model: str) -> str | None:
    """The name of the same network under contiguous masking; None for a name without a scheme."""
    for scheme in sorted(SCHEMES, key=len, reverse=True):
        if scheme in model:
            return model.replace(scheme, "contiguous")
    return None


def describe_pairs(pairs: pd.DataFrame) -> str:
    """A sentence: how many paired differences stand after Holm's correction."""
    sure = pairs[pairs["p_holm"] < 0.05]
    better = int((sure["difference"] > 0).sum())
    return (
        f"Of {len(pairs)} paired differences from contiguous masking, {better} are better and "
        f"{len(sure) - better} worse after Holm's correction (p < 0.05)."
    )


def over_species(table: pd.DataFrame) -> pd.DataFrame:
    """Rows whose interval is over species, which speaks of species never seen; empty of empty."""
    return table[table["unit"] == "species"] if len(table) else table


def describe_species(ari: pd.DataFrame, paired: pd.DataFrame) -> str:
    """What each run says about ARI: is training on pairs better than canonical TNF?"""
    return describe_runs(
        ari, lambda part: describe_clustering(part, paired[paired["run"] == part["run"].iloc[0]])
    )


def describe_runs(table: pd.DataFrame, describe: Callable[[pd.DataFrame], str]) -> str:
    """The sentences of each run, with its name in front where there are several."""
    texts = {str(run): describe(part) for run, part in table.groupby("run", sort=False)}
    if len(texts) == 1:
        return next(iter(texts.values()))
    return " ".join(f"{run}: {text}" for run, text in texts.items())


def main_rows(summary: pd.DataFrame) -> pd.DataFrame:
    """The main table, tidy: dataset, shots, method, model, metric, mean, low, high, n, unit."""
    columns = ["dataset", "shots", "method", "model", "metric", "mean", "low", "high", "n", "unit"]
    rows = summary[summary["metric"].isin(MAIN_METRICS)][columns]
    return rows.sort_values(columns[:5], ignore_index=True, kind="stable")


def main_layout(main: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The main table as read: a row per data set, method and model, a column per shots."""
    part = main[main["metric"] == metric].copy()
    part["text"] = [
        f"{r.mean:.3f} [{r.low:.3f}, {r.high:.3f}]" if r.n > 1 else f"{r.mean:.3f}"
        for r in part[["mean", "low", "high", "n"]].itertuples(index=False)
    ]
    wide = part.pivot(index=["dataset", "method", "model"], columns="shots", values="text")
    wide.columns = [f"{shots} shots" for shots in wide.columns]
    return wide.reset_index().fillna("")


def to_markdown(table: pd.DataFrame) -> str:
    """The table as GitHub's Markdown."""
    head = "| " + " | ".join(map(str, table.columns)) + " |"
    line = "|" + "---|" * len(table.columns)
    body = ["| " + " | ".join(map(str, row)) + " |" for row in table.itertuples(index=False)]
    return "\n".join([head, line, *body]) + "\n"


def collect_numbers(tables: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """Every number the text quotes, by name and run; from tables only. None where not a number."""
    agreement = tables["agreement"]
    agreement = agreement.assign(
        name=agreement["run"] + ": " + agreement["a"] + " v " + agreement["b"]
    )
    # one scheme may have several runs, so the run is the name
    trained = tables["masking"][tables["masking"]["setting"] == "trained"]
    masking, final = trained.set_index("run"), tables["final"].set_index("run")
    return {
        "ranking_agreement": {
            name: _numbers(part.set_index("measure")["value"])
            for name, part in agreement.groupby("name")
        },
        "masked_share": _numbers(masking["masked_share"]),
        "hidden_share": _numbers(masking["hidden_share"]),
        "bits_per_base": _numbers(final["bits_last"]),
        "bits_markov": _numbers(final["bits_markov"]),
        "species_ari": _by_run(over_species(tables["species_ari"]), "mean"),
        "species_ari_difference": _by_run(over_species(tables["species_paired"]), "difference"),
        **{
            f"expression_{metric}": _by_run(
                mean_of_tissues(tables["expression_scores"], metric), "mean", "model"
            )
            for metric in ("r2", "R2")
        },
    }


def mean_of_tissues(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Rows of a metric of expression, mean over tissues; empty of empty."""
    if not len(scores):
        return scores
    return scores[(scores["tissue"] == "mean") & (scores["metric"] == metric)]


def _by_run(
    table: pd.DataFrame, column: str, method: str = "method"
) -> dict[str, dict[str, float | None]]:
    """Run -> method -> number."""
    return {
        str(run): _numbers(part.set_index(method)[column]) for run, part in table.groupby("run")
    }


def _numbers(values: pd.Series) -> dict[str, float | None]:
    # JSON has no NaN and no infinity
    return {str(name): float(v) if np.isfinite(v) else None for name, v in values.items()}


def publish(run: "Run", tables: dict[str, pd.DataFrame]) -> Path:
    """Writes numbers.json and copies figures and tables to figures/<profile>/; that folder.

    The copy takes the place of an earlier one when it is complete.

    The README's main table is `main_accuracy.md` there. A run outside a batch publishes nothing
    outside its own folder.
    """
    folder = run.path("tables")
    numbers = json.dumps(collect_numbers(tables), indent=1, sort_keys=True, allow_nan=False)
    (folder / "numbers.json").write_text(numbers + "\n", encoding="utf-8")
    main = pd.read_csv(folder / "main.csv")
    for metric in MAIN_METRICS[:2]:
        text = to_markdown(main_layout(main, metric))
        (folder / f"main_{metric}.md").write_text(text, encoding="utf-8")
    if run.profile == paths.INTERACTIVE:
        return folder
    target = paths.figures_dir() / run.profile
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as scratch:
        new, old = Path(scratch) / "new", Path(scratch) / "old"
        new.mkdir()
        for file in [*run.path("figures").iterdir(), *folder.iterdir()]:
            shutil.copyfile(file, new / file.name)
        if target.exists():
            target.rename(old)
        new.rename(target)
    logger.info("published %d files to %s", len(list(target.iterdir())), target)
    return target
