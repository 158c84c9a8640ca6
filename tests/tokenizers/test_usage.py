"""Use of k-mer tokens: against counts by hand, never across records, and the two extremes."""

import numpy as np
import pytest

from genomelm_utils.sequences.alphabet import encode
from genomelm_utils.sequences.genome import BaseStore, store_from_codes
from genomelm_utils.tokenizers.kmer import UNK, vocab_size, vocabulary
from genomelm_utils.tokenizers.usage import (
    count_tokens,
    describe_usage,
    describe_vocabularies,
    rank_frequencies,
    sample_text,
)


def make_store(tmp_path, *records: str) -> BaseStore:
    codes = [encode(record) for record in records]
    starts = np.cumsum([0, *map(len, codes)])
    names = [f"r{i}" for i in range(len(codes))]
    return store_from_codes(names, np.concatenate(codes), starts, np.empty((0, 2)), tmp_path / "s")


def naive_counts(records: list[str], k: int) -> dict[str, int]:
    counts: dict[str, int] = {}
    for record in records:
        for i in range(len(record) - k + 1):
            word = record[i : i + k]
            word = "[UNK]" if set(word) - set("ACGT") else word
            counts[word] = counts.get(word, 0) + 1
    return counts


@pytest.mark.parametrize("k", [1, 2, 3])
def test_counts_are_those_of_every_record_alone(tmp_path, k):
    records = ["ACGTNACG", "AC", "G", "TTTTR", "CAGGA"]
    store = make_store(tmp_path, *records)
    counts = count_tokens(store, k, store.n_bases)
    words = list(vocabulary(k))
    found = {words[i]: int(n) for i, n in enumerate(counts) if n}
    assert found == naive_counts(records, k)


def test_only_the_first_bases_are_counted(tmp_path):
    store = make_store(tmp_path, "ACGTACGTTT", "GGGG")
    counts = count_tokens(store, 2, 5)
    assert counts.sum() == 4
    assert counts[vocabulary(2)["AC"]] == 1
    assert count_tokens(store, 2, 1000).sum() == 9 + 3


def test_even_use_has_all_bits_and_one_word_none(tmp_path):
    # every 2-mer once: a de Bruijn sequence
    row = describe_vocabularies(make_store(tmp_path, "AACAGATCCGCTGGTTA"), [2], 17).iloc[0]
    assert (row["vocabulary"], row["tokens_used"], row["rarest_use"]) == (21, 16, 1)
    assert row["bits_per_token"] == pytest.approx(4)
    assert row["tokens_per_base"] == pytest.approx(16 / 17)
    assert row["unknown_share"] == 0
    row = describe_vocabularies(make_store(tmp_path, "A" * 20 + "N"), [3], 100).iloc[0]
    assert (row["tokens_used"], row["bits_per_token"]) == (1, 0)
    assert row["unknown_share"] == pytest.approx(1 / 19)
    assert row["tokens_per_base"] == pytest.approx(19 / 21)


def test_ranks_fall_and_start_with_the_most_used(tmp_path, rng):
    text = "".join(rng.choice(list("ACGT"), 3000, p=[0.4, 0.1, 0.1, 0.4]))
    store = make_store(tmp_path, text)
    table = rank_frequencies(store, [2, 4], 3000)
    assert list(table.columns) == ["k", "rank", "frequency"]
    for k, part in table.groupby("k"):
        assert part["rank"].iloc[0] == 1
        assert part["rank"].iloc[-1] == 4**k
        assert (part["rank"].diff().dropna() > 0).all()
        assert (part["frequency"].diff().dropna() <= 0).all()
        assert part["frequency"].iloc[0] == max(naive_counts([text], k).values()) / (3001 - k)
    assert table.loc[table["k"] == 2, "frequency"].sum() == pytest.approx(1)  # 16 ranks, none left


def test_sample_is_the_start_of_the_longest_run(tmp_path):
    store = make_store(tmp_path, "ACGNTTGACCANG", "CCC")
    assert sample_text(store, 4) == "TTGA"
    assert sample_text(store, 100) == "TTGACCA"


def test_sentence_is_about_the_largest_vocabulary(tmp_path):
    store = make_store(tmp_path, "AACAGATCCGCTGGTTA")
    text = describe_usage(describe_vocabularies(store, [2, 1], 17))
    assert text == (
        "Overlapping 2-mers give 0.941 tokens per base; 16 of the 16 are used, with 4.00 bits per "
        "token of 4 possible."
    )


def test_nothing_but_n_is_explained(tmp_path):
    store = make_store(tmp_path, "N" * 10 + "ACGT")
    with pytest.raises(ValueError, match="first 8 bases hold no 3-mer without N; look at more"):
        describe_vocabularies(store, [3], 8)
    counts = count_tokens(store, 3, 13)
    assert (counts[UNK], counts.sum(), len(counts)) == (10, 11, vocab_size(3))
