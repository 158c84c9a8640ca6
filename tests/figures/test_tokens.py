"""Figures of byte-pair tokens beside k-mers, from the tables as they are made."""

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.figures.style import new_figure
from genomelm_utils.figures.tokens import (
    plot_token_boundaries,
    plot_token_usage,
    plot_tokens_per_base,
)
from genomelm_utils.sequences.genome import store_from_codes
from genomelm_utils.tokenizers.bpe import N_SPECIAL, train_bpe_on_store
from genomelm_utils.tokenizers.bpe_usage import (
    count_bpe_tokens,
    describe_contigs,
    rank_bpe_tokens,
)
from genomelm_utils.tokenizers.usage import rank_frequencies

CONTIGS = pd.DataFrame(
    {"length_bp": [1000, 500], "tokens_mean": [202.0, 112.0], "tokens_per_base": [0.2, 0.22],
     "kept_reverse": [0.5, 0.4], "kept_chance": [0.2, 0.25]}
)  # fmt: skip


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.fixture
def made(tmp_path, rng):
    """A store of random bases and a tokenizer of 60 tokens learned from it."""
    codes = rng.integers(0, 4, 6000).astype(np.uint8)
    store = store_from_codes(
        ["r"], codes, np.array([0, 6000]), np.empty((0, 2), dtype=np.int64), tmp_path / "s"
    )
    return store, train_bpe_on_store(store, 60, 6000)


def test_byte_pair_tokens_are_a_black_line_beside_the_kmers(made, ax):
    store, tokenizer = made
    ranks = rank_bpe_tokens(count_bpe_tokens(store, tokenizer, 6000)).assign(tokenizer="BPE")
    table = pd.concat([rank_frequencies(store, [2, 3], 6000), ranks], ignore_index=True)
    before = table.copy()
    assert plot_token_usage(table, ax) is ax
    pd.testing.assert_frame_equal(table, before)
    assert texts(ax) == ["2-mers", "3-mers", "BPE"]
    even = [line for line in ax.lines if line.get_linestyle() == ":"]
    assert [line.get_ydata()[0] for line in even] == [1 / 16, 1 / 64, 1 / (60 - N_SPECIAL)]
    curve = ax.lines[-2]
    assert (curve.get_color(), curve.get_marker()) == ("black", "")
    assert curve.get_xdata().tolist() == ranks["rank"].tolist()


def test_byte_pair_tokens_alone(made, ax):
    store, tokenizer = made
    ranks = rank_bpe_tokens(count_bpe_tokens(store, tokenizer, 6000))
    plot_token_usage(ranks, ax)
    assert texts(ax) == ["byte-pair tokens"]


def test_two_vocabularies_differ_in_their_dashes(ax):
    ranks = pd.DataFrame({"rank": [1, 9], "frequency": [0.5, 0.1]})
    plot_token_usage(pd.concat([ranks.assign(tokenizer=t) for t in ("small", "large")]), ax)
    assert texts(ax) == ["small", "large"]
    curves = [
        line for line in ax.lines if len(line.get_xdata()) == 2 and line.get_label()[0] != "_"
    ]
    assert len({str(line.get_linestyle()) for line in curves}) == 2


@pytest.mark.parametrize("plot", [plot_tokens_per_base, plot_token_boundaries])
def test_tables_of_contigs_are_drawn(made, plot, ax):
    table = describe_contigs(*made, lengths_bp=(200, 400), n_contigs=5)
    before = table.copy()
    assert plot(table, ax) is ax
    pd.testing.assert_frame_equal(table, before)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0.2", "0.4"]
    assert "byte-pair tokens" in texts(ax)
    assert (ax.get_xlabel(), ax.get_xscale()) == ("length of the contig (kb)", "log")


def test_tokens_per_base_in_order_of_length_with_their_numbers(ax):
    plot_tokens_per_base(CONTIGS, ax)
    kmers, line = ax.lines
    assert set(kmers.get_ydata()) == {1}
    assert line.get_xydata().tolist() == [[500, 0.22], [1000, 0.2]]
    found = [text.get_text() for text in ax.texts]
    assert found == ["overlapping k-mers", "112 tokens", "202 tokens"]


def test_one_length_has_one_number(ax):
    plot_tokens_per_base(CONTIGS[:1], ax)
    assert [text.get_text() for text in ax.texts] == ["overlapping k-mers", "202 tokens"]


def test_cuts_are_shown_beside_those_thrown_at_random():
    _, axes = new_figure()
    both = pd.concat([CONTIGS.assign(tokenizer=name) for name in ("one", "two")])
    plot_token_boundaries(both, axes[0, 0])
    chance, found = axes[0, 0].lines[:2]
    assert chance.get_ydata() == pytest.approx([25, 20])
    assert found.get_ydata() == pytest.approx([40, 50])
    assert texts(axes[0, 0]) == ["at random", "one", "two"]
    assert found.get_color() != chance.get_color()
