"""Use of byte-pair tokens: counts by hand, boundaries on both strands, the two extremes."""

from pathlib import Path

import numpy as np
import pytest

from genomelm_utils.sequences.alphabet import encode
from genomelm_utils.sequences.genome import BaseStore, store_from_codes
from genomelm_utils.tokenizers.bpe import (
    MIN_VOCAB,
    N_SPECIAL,
    UNK,
    token_bases,
    train_bpe,
    train_bpe_on_store,
)
from genomelm_utils.tokenizers.bpe_usage import (
    compare_ranks,
    compare_vocabularies,
    count_bpe_tokens,
    count_lengths,
    cut_text,
    describe_boundaries,
    describe_bpe_usage,
    describe_contigs,
    make_tokenizers,
    rank_bpe_tokens,
)
from genomelm_utils.tokenizers.usage import describe_usage

RANKS = ["rank", "frequency"]


def make_store(folder: Path, *records: str) -> BaseStore:
    codes = [encode(record) for record in records]
    starts = np.cumsum([0, *map(len, codes)])
    names = [f"r{i}" for i in range(len(codes))]
    return store_from_codes(names, np.concatenate(codes), starts, np.empty((0, 2)), folder / "s")


@pytest.fixture
def random_store(tmp_path: Path, rng: np.random.Generator) -> BaseStore:
    return make_store(tmp_path, "".join(rng.choice(list("ACGT"), 30_000)))


def single_bases():
    """A tokenizer without merges: every token is a base."""
    return train_bpe([], MIN_VOCAB)


def test_tokens_are_counted_within_records(tmp_path: Path) -> None:
    tokenizer = train_bpe(["ACACAC", "ACAC"], 10)  # the one merge is AC
    store = make_store(tmp_path, "TA", "CACNNG")
    assert cut_text(tokenizer, "TACAC") == "T AC AC"
    counts = count_bpe_tokens(store, tokenizer, 100)
    # T A, C AC N N G: the A and C on the two sides of the border stay apart
    expected = {"[UNK]": 2, "A": 1, "C": 1, "G": 1, "T": 1, "AC": 1}
    found = {t: int(counts[i]) for t, i in tokenizer.get_vocab().items() if counts[i]}
    assert found == expected
    assert count_bpe_tokens(store, tokenizer, 2).sum() == 2


def test_vocabularies_beside_each_other(random_store: BaseStore) -> None:
    bpe = train_bpe_on_store(random_store, 100, 30_000)
    tokenizers = {"bases": single_bases(), "BPE": bpe}
    table = compare_vocabularies(random_store, tokenizers, [1, 3], 30_000).set_index("tokenizer")
    assert table.index.tolist() == ["1-mers", "3-mers", "bases", "BPE"]
    assert table.loc["bases", "tokens_per_base"] == 1
    # single bases are 1-mers
    same = ["tokens_used", "rarest_use", "bits_per_token", "evenness", "bases_per_token"]
    assert table.loc["bases", same].to_numpy(float) == pytest.approx(
        table.loc["1-mers", same].to_numpy(float)
    )
    assert table.loc["3-mers", "bases_per_token"] == 3
    row = table.loc["BPE"]
    assert row["tokens_per_base"] == pytest.approx(1 / row["bases_per_token"])
    assert 2 < row["bases_per_token"] < 4
    assert row["evenness"] <= 1
    contigs = describe_contigs(random_store, bpe, n_contigs=5)
    text = describe_bpe_usage(table.reset_index(), contigs)
    assert text.startswith("BPE gives 0.")
    assert "a contig of 10,000 bp is" in text
    assert table["k"].dropna().to_dict() == {"1-mers": 1, "3-mers": 3}
    assert describe_usage(table.reset_index()).startswith("Overlapping 3-mers give")


def test_kmers_alone(random_store: BaseStore) -> None:
    table = compare_vocabularies(random_store, {}, [2], 30_000)
    assert table["tokenizer"].tolist() == ["2-mers"]
    assert compare_ranks(random_store, {}, [2], 30_000).columns.tolist() == ["k", *RANKS]


def test_ranks_of_all_stand_below_each_other(random_store: BaseStore) -> None:
    bpe = train_bpe_on_store(random_store, 100, 30_000)
    table = compare_ranks(random_store, {"BPE": bpe}, [2, 3], 30_000)
    assert table["k"].dropna().unique().tolist() == [2, 3]
    pairs = table[table["tokenizer"] == "BPE"]
    assert pairs["k"].isna().all()
    expected = rank_bpe_tokens(count_bpe_tokens(random_store, bpe, 30_000))
    assert pairs[RANKS].reset_index(drop=True).equals(expected)


def test_the_tokenizer_is_read_trained_or_none(random_store: BaseStore, tmp_path: Path) -> None:
    options = {"n_bases": 30_000, "seed": 1}
    assert make_tokenizers(random_store, vocab_size=0, **options) == {}
    (trained,) = make_tokenizers(random_store, vocab_size=60, **options).items()
    assert (trained[0], len(trained[1])) == ("BPE, 60", 60)
    trained[1].save_pretrained(tmp_path / "t")
    (read,) = make_tokenizers(random_store, tmp_path / "t", vocab_size=0, **options).items()
    assert read[0] == "published BPE, 60"
    assert read[1].get_vocab() == trained[1].get_vocab()


def test_only_unknown_bases_is_an_error(tmp_path: Path) -> None:
    store = make_store(tmp_path, "NNNNNNACGTACGT")
    assert count_bpe_tokens(store, single_bases(), 6)[UNK] == 6
    with pytest.raises(ValueError, match="look at more bases"):
        compare_vocabularies(store, {"bases": single_bases()}, [], 6)
    table = compare_vocabularies(store, {"bases": single_bases()}, [], 14)
    assert table["unknown_share"].tolist() == [6 / 14]


def test_ranks_and_lengths(random_store: BaseStore) -> None:
    bpe = train_bpe_on_store(random_store, 100, 30_000)
    counts = count_bpe_tokens(random_store, bpe, 30_000)
    ranks = rank_bpe_tokens(counts)
    assert ranks["rank"].iloc[[0, -1]].tolist() == [1, 100 - N_SPECIAL]
    assert ranks["frequency"].iloc[0] == counts[N_SPECIAL:].max() / counts[N_SPECIAL:].sum()
    assert ranks["frequency"].is_monotonic_decreasing
    lengths = count_lengths(counts, token_bases(bpe))
    assert lengths["n_tokens"].sum() == 100 - N_SPECIAL
    assert lengths["use_share"].sum() == pytest.approx(1)
    assert lengths["bases"].tolist()[:2] == [1, 2]


def test_single_bases_are_cut_alike_on_both_strands(random_store: BaseStore) -> None:
    table = describe_contigs(random_store, single_bases(), lengths_bp=[50, 500], n_contigs=3)
    assert table["length_bp"].tolist() == [50, 500]
    assert table["tokens_mean"].tolist() == [52, 502]
    for name in ("tokens_per_base", "kept_reverse", "kept_chance"):
        assert table[name].tolist() == [1, 1]
    assert table["resync_bp"].tolist() == [1, 1]


def test_cuts_depend_on_the_strand_and_soon_forget_the_start(random_store: BaseStore) -> None:
    bpe = train_bpe_on_store(random_store, 400, 30_000)
    table = describe_contigs(random_store, bpe, n_contigs=20)
    assert table["length_bp"].tolist() == [500, 1000, 2000, 5000, 10_000]
    assert (table["kept_reverse"] < 1).all()
    assert (table["kept_chance"] < 0.5).all()
    assert (table["resync_bp"] < 100).all()
    assert (table["tokens_max"] >= table["tokens_mean"]).all()
    again = describe_contigs(random_store, bpe, n_contigs=20)
    assert again.equals(table)
    text = describe_boundaries(table)
    assert text.startswith("Read from the other strand, a contig of 10,000 bp keeps")
    assert f"{table['resync_bp'].iloc[-1]:.0f} bases after its start" in text


def test_no_room_for_a_contig(tmp_path: Path) -> None:
    store = make_store(tmp_path, "ACGT" * 40)
    with pytest.raises(ValueError, match=r"no run of definite bases holds 600 bases"):
        describe_contigs(store, single_bases())
