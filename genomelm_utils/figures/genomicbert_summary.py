"""genomicBERT's manuscript figures: case studies and vocabularies side by side."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from genomelm_utils.baselines.letter_models import LETTER_BASELINES
from genomelm_utils.evaluation.case_verdict import PUBLISHED, describe_verdict
from genomelm_utils.evaluation.weight_spectra import describe_models, summarise_models
from genomelm_utils.figures.classification import plot_scores
from genomelm_utils.figures.manuscript import (
    describe_runs,
    draw_each,
    label_runs,
    numbers_by_run,
    stack_tables,
)

if TYPE_CHECKING:  # runs are handed in: only their types are named here
    from genomelm_utils.pipeline.context import Parent

TABLES = ("scores", "paired", "trials", "alphas")
OVERLAP = "contig_overlap"


def gather_cases(cases: Sequence["Parent"], tokens: Sequence["Parent"]) -> dict[str, pd.DataFrame]:
    """Name -> rows of all runs, the run's name in `run`; of scores, the case in `case`.

    Runs of stage 03 that learned no unigram tokens have no `contig_overlap` and are left out.
    """
    tables = {name: stack_tables(cases, name) for name in TABLES}
    case_of = {parent.run: parent.params["case"] for parent in cases}
    tables["scores"] = tables["scores"].assign(case=tables["scores"]["run"].map(case_of))
    learned = [parent for parent in tokens if OVERLAP in parent.tables]
    return tables | {OVERLAP: label_runs((one, one.table(OVERLAP)) for one in learned)}


def plot_case(scores: pd.DataFrame, ax: Axes) -> Axes:
    """F1 of every method of one case, baselines grey; dashed: the published score, if any."""
    case = scores["case"].iloc[0]
    published = {"published": PUBLISHED[case]} if case in PUBLISHED else {}
    return plot_scores(scores, ax, metric="f1", baselines=LETTER_BASELINES, published=published)


def draw_cases(scores: pd.DataFrame, axes: np.ndarray) -> None:
    """`plot_case` of every run, its name above the published score's."""
    draw_each(scores, "run", axes, plot_case)
    for ax in axes.flat:
        ax.set_title(ax.get_title(), pad=11)


def describe_cases(scores: pd.DataFrame, paired: pd.DataFrame) -> str:
    """What each run says: the network against the best baseline and the publication."""

    def verdict(part: pd.DataFrame) -> str:
        pairs = paired[paired["run"] == part["run"].iloc[0]]
        return describe_verdict(part, pairs, list(LETTER_BASELINES), part["case"].iloc[0])

    return describe_runs(scores, verdict)


def describe_spectra(alphas: pd.DataFrame) -> str:
    """What the alphas of one run's models say."""
    return describe_models(summarise_models(alphas))


def case_numbers(tables: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """Every number the text quotes, by run; None where not a number."""
    scores, paired, overlap = tables["scores"], tables["paired"], tables[OVERLAP]
    numbers = {
        "f1": numbers_by_run(scores[scores["metric"] == "f1"], "value"),
        "f1_difference": numbers_by_run(
            paired[paired["metric"] == "f1"], "difference", method="other"
        ),
    }
    if len(overlap):
        numbers["shared_tokens"] = numbers_by_run(overlap, "shared", method="length_bp")
    return numbers
