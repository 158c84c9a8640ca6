"""Species benchmarks side by side: verdicts, numbers over species."""

import pandas as pd
import pytest

from genomelm_utils.figures.manuscript import describe_gathered, describe_runs
from genomelm_utils.figures.species import describe_recovered
from genomelm_utils.figures.species_summary import (
    describe_species,
    gather_species,
    over_species,
    species_numbers,
)
from genomelm_utils.pipeline.context import Parent


def species_parent(make_parent, run: str, difference: float, binned: bool = True) -> Parent:
    """A run of stage 10 with one model and canonical TNF; `binned`: long enough for bins."""
    methods, units = ["trained", "canonical_tnf"], ["contig", "species"]
    ari = pd.DataFrame(
        [
            {
                "method": m,
                "label": m,
                "unit": u,
                "mean": 0.5 + shift,
                "low": 0.1,
                "high": 0.9,
                "n": 6,
            }
            for m, shift in zip(methods, (difference, 0.0), strict=True)
            for u in units
        ]
    )
    paired = pd.DataFrame(
        [
            {"method": "trained", "label": "trained", "unit": u, "difference": difference,
             "low": difference - 0.1, "high": difference + 0.1, "p": 0.04, "p_holm": 0.04, "n": 6}
            for u in units
        ]
    )  # fmt: skip
    fewshot = pd.DataFrame(
        {"method": methods, "label": methods, "shots": 1, "mean": [0.7, 0.6], "low": 0.5,
         "high": 0.8}
    )  # fmt: skip
    recovered = pd.DataFrame(
        {"method": methods, "label": methods, "threshold": 0.5, "n_recovered": [4, 3],
         "n_species": 6, "low": 0.2, "high": 0.9}
    )  # fmt: skip
    return make_parent(
        "10_clustering_binning", run, ari=ari, paired=paired, fewshot=fewshot,
        recovered=recovered if binned else recovered[:0],
    )  # fmt: skip


@pytest.fixture
def tables(make_parent) -> dict[str, pd.DataFrame]:
    """Tables of two species benchmarks, the second of reads too short to be binned."""
    return gather_species(
        [
            species_parent(make_parent, "contigs", 0.2),
            species_parent(make_parent, "reads", -0.2, binned=False),
        ]
    )


def test_tables_are_gathered_with_their_runs(tables):
    ari = over_species(tables["ari"])
    assert ari["unit"].unique().tolist() == ["species"]
    assert ari["run"].unique().tolist() == ["contigs", "reads"]
    assert tables["recovered"]["run"].unique().tolist() == ["contigs"]
    assert describe_gathered(tables).set_index("table").loc["fewshot", "runs"] == 2


def test_each_run_has_its_verdict(tables):
    text = describe_species(over_species(tables["ari"]), tables["paired"])
    assert text.startswith("contigs: Adjusted Rand index")
    first, second = text.split(" reads: ")
    assert "Trained is above canonical TNF: difference of ARI +0.200 [+0.100, +0.300]" in first
    assert "Trained is below canonical TNF: difference of ARI -0.200 [-0.300, -0.100]" in second
    told = describe_runs(tables["recovered"], describe_recovered)
    assert told.startswith("Of 6 species, recovered")


def test_numbers_are_those_over_species(tables):
    numbers = species_numbers(tables)
    assert numbers["ari"]["contigs"] == {"trained": 0.7, "canonical_tnf": 0.5}
    assert numbers["ari_difference"] == {"contigs": {"trained": 0.2}, "reads": {"trained": -0.2}}
