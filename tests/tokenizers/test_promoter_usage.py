"""Tokens per promoter, unused ids, and whose TSS is lost."""

import numpy as np
import pytest

from genomelm_utils.tokenizers.byte_bpe import drop_dead_ids, train_byte_bpe
from genomelm_utils.tokenizers.nmer import build_nmer_tokenizer
from genomelm_utils.tokenizers.promoter_usage import describe_promoter_tokens, say_promoter_tokens

RNG = np.random.default_rng(6)
TEXTS = ["".join(RNG.choice(list("AACGT"), n)) for n in (40, 50, 80, 200)]


def test_table_and_sentence() -> None:
    byte = train_byte_bpe(TEXTS * 3, 300, case="reference", truncate="reference", max_tokens=60)
    lower = [text.lower() for text in TEXTS]
    tokenizers = {
        "as released": byte,
        "bytes": train_byte_bpe(TEXTS * 3, 300, max_tokens=60),
        "bases": build_nmer_tokenizer(1, max_tokens=52),
        "dna": drop_dead_ids(byte),
    }
    table = describe_promoter_tokens(tokenizers, lower).set_index("tokenizer")
    released, ours = table.loc["as released"], table.loc["bytes"]
    assert (released["tokens_min"], released["tokens_max"]) == (40, 200)
    assert released["bases_per_token"] == 1
    assert released["cut_share"] == released["tss_lost_share"] == 0.5
    assert released["tokens_used"] == 4
    assert ours["tokens_max"] < 100
    assert ours["tss_lost_share"] == 0
    assert table.loc["bases", "cut_share"] == 0.5  # 80 and 200 bases; 50 and two more fit
    assert table.loc["bases", ["tokens_min", "tokens_mean"]].tolist() == [40, 92.5]
    assert table.loc["dna", "vocabulary"] == 49
    assert ours["unused_ids"] - table.loc["dna", "unused_ids"] == 251
    text = say_promoter_tokens(table.reset_index())
    assert "as released loses the TSS of 50 % of the promoters." in text
    assert text.startswith("dna cuts a promoter into ")
    assert "bytes loses" not in text


def test_no_sequences() -> None:
    with pytest.raises(ValueError, match="there is no sequence, expected at least one promoter"):
        describe_promoter_tokens({}, [])
