"""DNABERT-S's manuscript figures: tables of species benchmarks side by side."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from genomelm_utils.figures.manuscript import describe_runs, numbers_by_run, stack_tables
from genomelm_utils.figures.species_verdict import describe_clustering

if TYPE_CHECKING:  # runs are handed in: only their types are named here
    from genomelm_utils.pipeline.context import Parent

TABLES = ("ari", "paired", "fewshot", "recovered")


def gather_species(species: Sequence["Parent"]) -> dict[str, pd.DataFrame]:
    """Name of `TABLES` -> rows of all runs of stage 10, with the run's name in `run`."""
    return {name: stack_tables(species, name) for name in TABLES}


def over_species(table: pd.DataFrame) -> pd.DataFrame:
    """Rows whose interval is over species, which speaks of species never seen."""
    return table[table["unit"] == "species"]


def describe_species(ari: pd.DataFrame, paired: pd.DataFrame) -> str:
    """What each run says about ARI: is training on pairs better than canonical TNF?"""
    return describe_runs(
        ari, lambda part: describe_clustering(part, paired[paired["run"] == part["run"].iloc[0]])
    )


def species_numbers(tables: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """Every number the text quotes, by run and method; None where not a number."""
    return {
        "ari": numbers_by_run(over_species(tables["ari"]), "mean"),
        "ari_difference": numbers_by_run(over_species(tables["paired"]), "difference"),
    }
