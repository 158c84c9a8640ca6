"""Vocabularies compared and pooled; golden: the published tables of human chromosomes."""

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.sequences.genome import build_store
from genomelm_utils.tokenizers.compare import (
    LENGTHS,
    PUBLISHED_SHARED,
    add_published,
    compare_contig_lengths,
    compare_tokens,
    describe_contig_lengths,
    describe_weights,
    pool_tokens,
    store_contigs,
)
from genomelm_utils.tokenizers.unigram import (
    SPECIAL_TOKENS,
    list_tokens,
    read_tokens,
    train_unigram,
)


def vocabulary(**weights):
    rows = [*((token, 0.0) for token in SPECIAL_TOKENS), *weights.items()]
    return pd.DataFrame(rows, columns=["token", "weight"])


FIRST = vocabulary(A=-1.0, C=-2.0, AC=-3.0)
SECOND = vocabulary(A=-2.0, C=-2.0, G=-1.0)


def test_sizes_and_spread_of_weights():
    sizes, tokens = compare_tokens({"x": FIRST, "y": SECOND})
    assert sizes.to_numpy().tolist() == [["x", 8], ["y", 8], ["shared by all", 7], ["in any", 9]]
    assert tokens.columns.tolist() == ["token", "std", "is_outlier", "x", "y"]
    first = tokens.iloc[0]
    assert (first["token"], first["is_outlier"]) == ("A", True)
    assert first["std"] == pytest.approx(np.sqrt(0.5))
    assert tokens["std"][1:].tolist() == [0.0] * 6
    with pytest.raises(ValueError, match="1 vocabularies, expected two or more"):
        compare_tokens({"x": FIRST})


@pytest.mark.parametrize(
    ("merge", "pool", "expected"),
    [
        ("inner", "mean", {"A": -1.5, "C": -2.0}),
        ("inner", "max", {"A": -1.0, "C": -2.0}),
        ("outer", "min", {"A": -2.0, "C": -2.0, "AC": -3.0, "G": -1.0}),
        ("outer", "median", {"A": -1.5, "C": -2.0, "AC": -3.0, "G": -1.0}),
    ],
)
def test_pooled(merge, pool, expected):
    reference = pool_tokens([FIRST, SECOND], merge, pool, mode="reference")
    assert dict(reference) == expected
    assert [token for token, _ in reference] == sorted(expected)
    words = pool_tokens([FIRST, SECOND], merge, pool)
    weights = np.array([weight for _, weight in words])
    assert np.exp(weights).sum() == pytest.approx(1)
    assert (np.diff(weights) <= 0).all()
    shift = {word: weight - expected[word] for word, weight in words}
    assert max(shift.values()) - min(shift.values()) < 1e-12


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (([FIRST, SECOND], "left", "mean"), "merge is 'left'"),
        (([FIRST, SECOND], "inner", "sum"), "pool is 'sum'"),
        (([FIRST], "inner", "mean"), "1 vocabularies"),
        (([FIRST, vocabulary(T=-1.0)], "inner", "mean"), "share no token"),
    ],
)
def test_what_cannot_be_pooled(arguments, expected):
    with pytest.raises(ValueError, match=expected):
        pool_tokens(*arguments)


# --- contigs -------------------------------------------------------------------------------


@pytest.fixture
def genome(tmp_path, rng):
    words = ["".join(rng.choice(list("ACGT"), 8)) for _ in range(40)]
    path = tmp_path / "g.fa"
    text = ["".join(rng.choice(words, n)) for n in (800, 300)]
    path.write_text(f">a\n{text[0]}\n>b\n{text[1].lower()}\n")
    return build_store([path], tmp_path / "store")


def test_contigs_of_a_store_are_cut_within_records(genome):
    for length in (0, 1000, 64):
        pieces = list(store_contigs(genome, 10**6)(length))
        assert sum(map(len, pieces)) == 8800
        assert max(map(len, pieces)) == (length or 6400)
        assert length == 0 or [len(one) for one in pieces if len(one) < length] == [
            n % length for n in (6400, 2400) if n % length
        ]
    assert [len(one) for one in store_contigs(genome, 7000)(0)] == [6400, 600]


def test_what_contigs_keep_of_the_vocabulary(genome):
    table = compare_contig_lengths(store_contigs(genome, 10**6), [16, 4096], 150)
    assert table["length_bp"].tolist() == [0, 16, 4096]
    assert table.loc[0].tolist()[1:] == [150, 150, 1.0, 1.0, 0.0]
    whole, pieces = (
        set(list_tokens(train_unigram(store_contigs(genome, 10**6)(n), 150))["token"])
        for n in (0, 16)
    )
    assert table.loc[1, "n_shared"] == len(whole & pieces)
    assert table.loc[1, "shared"] < table.loc[2, "shared"] <= 1
    assert table.loc[1, "weight_rmse"] > table.loc[2, "weight_rmse"]
    text = describe_contig_lengths(table)
    assert text.startswith("Of the 150 tokens of the unbroken sequence ")
    assert f"{100 * table.loc[1, 'shared']:.2f} % in contigs of 16 bp" in text
    assert "published" not in text
    with pytest.raises(ValueError, match="contig lengths are"):
        compare_contig_lengths(store_contigs(genome, 10**6), [0], 100)


def test_published_shares_stand_beside_ours():
    assert (LENGTHS[0], LENGTHS[-1], len(LENGTHS)) == (512, 2**20, 12)
    table = pd.DataFrame({"length_bp": [0, 512, 700, 2**20], "n_tokens": 10_000})
    table["shared"] = table["heavy_shared"] = [1, 0.5, 0.6, 0.9]
    published = add_published(table)["published"]
    assert published.fillna(-1).tolist() == [1.0, 0.757, -1.0, 0.9674]
    assert "50.00 % (published 75.70 %)" in describe_contig_lengths(add_published(table))
    assert list(PUBLISHED_SHARED.values()) == sorted(PUBLISHED_SHARED.values())


# --- published files -----------------------------------------------------------------------


@pytest.fixture
def human(data_dir):
    return data_dir / "tokenisation" / "genomenlp_grch38"


@pytest.mark.parametrize(
    ("size", "n_entries"), [(800, 3834), (1600, 8478), (3200, 18662), (9600, 80268)]
)
def test_pooled_files_of_human_chromosomes(human, size, n_entries):
    tokens = read_tokens(human / f"pooled_mean_outer.{size}.json.gz")
    assert len(tokens) == n_entries
    assert tokens["token"].nunique() == n_entries - len(SPECIAL_TOKENS)


@pytest.mark.parametrize(
    ("size", "shape", "n_outliers"), [(800, (16, 102), 0), (1600, (30, 104), 9)]
)
def test_weights_of_shared_tokens_as_published(human, size, shape, n_outliers):
    path = human / f"pooled_mean_outer_{size}.tsv.gz"
    published = pd.read_csv(path, sep="\t", index_col=0, keep_default_na=False)
    weights = published.drop(columns=["std", "is_outlier"]).astype(float)
    assert weights.shape == shape
    ours = describe_weights(weights)
    assert ours["token"].tolist() == published.index.tolist()  # in the published order
    assert ours["is_outlier"].sum() == n_outliers
    assert np.abs(ours["std"] - published["std"].astype(float).to_numpy()).max() < 1e-12
    assert ours["is_outlier"].tolist() == (published["is_outlier"].astype(str) == "True").tolist()
    pooled = read_tokens(human / f"pooled_mean_outer.{size}.json.gz").drop_duplicates("token")
    pooled = pooled.set_index("token")["weight"]
    assert np.abs(pooled[weights.index] - weights.mean(axis=1)).max() < 1e-12
    parts = [weights[name].rename("weight").rename_axis("token").reset_index() for name in weights]
    ours = dict(pool_tokens(parts, "inner", "mean", mode="reference"))
    assert {token: pooled[token] for token in ours} == pytest.approx(ours, abs=1e-12)
