"""Case studies and vocabularies side by side: verdicts, published values, numbers."""

from types import SimpleNamespace

import pandas as pd
import pytest

from genomelm_utils.evaluation.case_verdict import PUBLISHED
from genomelm_utils.figures import genomicbert_summary as summary
from genomelm_utils.figures.style import new_figure


def case_parent(make_parent, run: str, case: str, shift: float):
    """A run of stage 06 with the network, one forest and two baselines."""
    scores = pd.DataFrame(
        {"method": ["genomicBERT", "forest", "words", "majority"], "metric": "f1",
         "value": [0.7 + shift, 0.75, 0.8, 0.3]}
    )  # fmt: skip
    scores = scores.assign(low=scores["value"] - 0.05, high=scores["value"] + 0.05)
    paired = pd.DataFrame(
        {"other": ["words"], "metric": "f1", "difference": [shift - 0.1], "low": [shift - 0.15],
         "high": [shift - 0.05]}
    )  # fmt: skip
    alphas = pd.DataFrame(
        {"model": ["trained", "untrained"], "layer_id": 0, "alpha": [3.0, 7.0],
         "status": ["in range", "under-trained"], "like_random": [False, True],
         "log_alpha_norm": 1.0}
    )  # fmt: skip
    trials = pd.DataFrame({"run": [0], "value": [0.5]})
    parent = make_parent(
        "06_genomicbert", run, scores=scores, paired=paired, alphas=alphas, trials=trials
    )
    parent.__dict__["receipt"] = SimpleNamespace(params={"case": case})
    return parent


@pytest.fixture
def tables(make_parent) -> dict[str, pd.DataFrame]:
    overlap = pd.DataFrame(
        {"length_bp": [0, 512], "n_tokens": 100, "n_shared": [100, 80], "shared": [1.0, 0.8],
         "heavy_shared": [1.0, 0.9], "weight_rmse": [0.0, 0.1]}
    )  # fmt: skip
    return summary.gather_cases(
        [
            case_parent(make_parent, "promoters", "promoters", 0.0),
            case_parent(make_parent, "mine", "user", 0.2),
        ],
        [
            make_parent("03_tokenizers", "learned", contig_overlap=overlap),
            make_parent("03_tokenizers", "kmers", vocabularies=overlap),
        ],
    )


def test_runs_without_learned_words_are_left_out(tables):
    assert tables["contig_overlap"]["run"].unique().tolist() == ["learned"]
    assert tables["scores"].groupby("run")["case"].first().to_dict() == {
        "promoters": "promoters",
        "mine": "user",
    }


def test_each_case_has_its_verdict(tables):
    told = summary.describe_cases(tables["scores"], tables["paired"])
    first, second = told.split(" mine: ")
    assert first.startswith("promoters: Weighted F1: genomicBERT 0.700 [0.650, 0.750]")
    assert "the network loses to it by -0.100" in first and "published is 0.790" in first
    assert "the network beats it by +0.100" in second and "published" not in second


def test_only_the_papers_cases_have_a_published_line(tables, ax):
    for case, n_lines in (("promoters", 1), ("user", 0)):
        ax.clear()
        rows = tables["scores"][tables["scores"]["case"] == case]
        before = len(ax.lines)
        summary.plot_case(rows, ax)
        dashed = [line for line in ax.lines[before:] if line.get_linestyle() == "--"]
        assert len(dashed) == n_lines
    assert set(PUBLISHED) == {"promoters", "proteins"}


def test_titles_stand_above_the_published_scores(tables):
    fig, axes = new_figure(1, 2)
    summary.draw_cases(tables["scores"], axes)
    fig.canvas.draw()
    for ax, run in zip(axes.flat, ("promoters", "mine"), strict=True):
        assert ax.get_title() == run
        title = ax.title.get_window_extent()
        assert all(not title.overlaps(text.get_window_extent()) for text in ax.texts)
    assert [text.get_text() for text in axes[0, 0].texts] == ["published 0.790"]


def test_numbers_by_run(tables):
    numbers = summary.case_numbers(tables)
    assert numbers["f1"]["promoters"]["words"] == 0.8
    assert numbers["f1_difference"]["mine"] == {"words": pytest.approx(0.1)}
    assert numbers["shared_tokens"] == {"learned": {"0": 1.0, "512": 0.8}}
    tables["contig_overlap"] = tables["contig_overlap"].head(0)
    assert "shared_tokens" not in summary.case_numbers(tables)


def test_spectra_in_a_sentence(tables):
    part = tables["alphas"][tables["alphas"]["run"] == "mine"]
    assert "untrained" in summary.describe_spectra(part)
