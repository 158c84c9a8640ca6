"""GeneMask's manuscript figures: rankings, pretrainings and few-shot sets side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from genomelm_utils.figures.manuscript import (
    finite_numbers,
    label_runs,
    stack_tables,
    to_markdown,
)
from genomelm_utils.figures.schemes import SCHEMES

if TYPE_CHECKING:  # runs are handed in: only their types are named here
    from genomelm_utils.pipeline.context import Parent

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
}


def gather_genemask(
    *, rankings: Sequence["Parent"], pretraining: Sequence["Parent"], fewshot: Sequence["Parent"]
) -> dict[str, pd.DataFrame]:
    """Name -> the table of all parents one below the other, with the parent's name in `run`.

    `scores` holds, per ranking run, the published scores against ours where the published file was
    at hand, and otherwise the released computation against ours.
    """
    parents = {"rankings": rankings, "pretraining": pretraining, "fewshot": fewshot}
    tables = {name: stack_tables(parents[kind], table) for name, (kind, table) in SOURCES.items()}
    tables["scores"] = label_runs(
        (p, p.table("published_scores" if "published_scores" in p.tables else "scores"))
        for p in rankings
    )
    # every model of one corpus is judged on the same frozen masks, so the baselines are repeated
    tables["baselines"] = tables["baselines"].drop_duplicates(["name", "bits_per_base"])
    return tables


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


def write_main_tables(main: pd.DataFrame, folder: Path) -> None:
    """The main table as Markdown, `main_accuracy.md` (the README's) and `main_auc.md`."""
    for metric in MAIN_METRICS[:2]:
        text = to_markdown(main_layout(main, metric))
        (folder / f"main_{metric}.md").write_text(text, encoding="utf-8")


def genemask_numbers(tables: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """Every number the text quotes, by name and run; None where not a number."""
    agreement = tables["agreement"]
    agreement = agreement.assign(
        name=agreement["run"] + ": " + agreement["a"] + " v " + agreement["b"]
    )
    # one scheme may have several runs, so the run is the name
    trained = tables["masking"][tables["masking"]["setting"] == "trained"]
    masking, final = trained.set_index("run"), tables["final"].set_index("run")
    return {
        "ranking_agreement": {
            name: finite_numbers(part.set_index("measure")["value"])
            for name, part in agreement.groupby("name")
        },
        "masked_share": finite_numbers(masking["masked_share"]),
        "hidden_share": finite_numbers(masking["hidden_share"]),
        "bits_per_base": finite_numbers(final["bits_last"]),
        "bits_markov": finite_numbers(final["bits_markov"]),
    }
