"""DNABERT's token ids: published facts, text and base codes agree, AutoTokenizer loads them."""

import gzip
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

from genomelm_utils.sequences.alphabet import decode, encode, reverse_complement
from genomelm_utils.sequences.kmers import revcomp_codes
from genomelm_utils.tokenizers.kmer import (
    CLS,
    PAD,
    SEP,
    UNK,
    build_tokenizer,
    code_of_token,
    encode_sequences,
    ids_from_text,
    kmer2seq,
    seq2kmer,
    token_ids,
    token_of_code,
    vocab_size,
    vocabulary,
)

# Golden facts 9 and 10 of the GeneMask specification, from DNABERT's vocabulary file.
PUBLISHED_IDS = {
    "AAAAAA": 5,
    "AAAAAT": 6,
    "AAAAAC": 7,
    "AAAAAG": 8,
    "ATTACA": 333,
    "TTACAG": 1320,
    "TTTTTT": 1370,
    "CCTCCC": 2671,
    "GATTAC": 3159,
    "GGGGGG": 4100,
}


def test_published_ids_of_6mers():
    assert {kmer: vocabulary(6)[kmer] for kmer in PUBLISHED_IDS} == PUBLISHED_IDS
    assert {kmer: int(token_ids(encode(kmer), 6)[0]) for kmer in PUBLISHED_IDS} == PUBLISHED_IDS


@pytest.mark.parametrize(("k", "size"), [(3, 69), (4, 261), (5, 1029), (6, 4101)])
def test_vocabulary_is_all_words_in_the_order_atcg(k, size):
    words = list(vocabulary(k))
    assert len(words) == vocab_size(k) == size
    assert words[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert words[5:] == ["".join(word) for word in product("ATCG", repeat=k)]
    assert list(vocabulary(k).values()) == list(range(size))


@pytest.mark.parametrize("k", [1, 3, 6])
def test_code_and_token_tables_are_inverse(k):
    codes = code_of_token(k)
    assert np.array_equal(codes[:5], [-1] * 5)
    assert np.array_equal(codes[token_of_code(k)], np.arange(4**k))


def test_unusable_k_is_explained():
    with pytest.raises(ValueError, match=r"k is 0, expected 1\.\.8"):
        vocab_size(0)


@pytest.mark.parametrize("k", [3, 4, 5, 6])
def test_ids_from_codes_equal_ids_from_text(k, rng):
    codes = rng.integers(0, 4, 300).astype(np.uint8)
    codes[[40, 41, 200]] = [14, 4, 9]  # N, R, M
    from_text = [vocabulary(k).get(word, UNK) for word in seq2kmer(decode(codes), k).split()]
    assert token_ids(codes, k).tolist() == from_text
    both = token_ids(np.stack([codes, codes[::-1]]), k)
    assert both[0].tolist() == from_text
    assert both[1].tolist() == token_ids(codes[::-1], k).tolist()


@pytest.mark.parametrize("k", [3, 6])
def test_other_strand_has_the_reverse_complements_in_reverse_order(k, rng):
    codes = rng.integers(0, 4, 100).astype(np.uint8)
    kmers = code_of_token(k)[token_ids(codes, k)]
    other = code_of_token(k)[token_ids(reverse_complement(codes), k)]
    assert np.array_equal(other, revcomp_codes(k)[kmers][::-1])


@pytest.mark.parametrize(("n_bases", "n_tokens"), [(511, 506), (70, 65), (300, 295), (40, 35)])
def test_number_of_tokens(n_bases, n_tokens):
    codes = np.zeros((1, n_bases), dtype=np.uint8)
    assert token_ids(codes, 6).shape == (1, n_tokens)
    ids, lengths = encode_sequences(codes, 6)
    assert ids.shape == (1, n_tokens + 2)
    assert lengths.tolist() == [n_tokens + 2]


def test_encoded_sequences_are_wrapped_and_padded():
    ids, lengths = encode_sequences([encode("GATTACAG"), encode("gattac"), encode("GAT")], 6)
    assert ids.dtype == torch.int64
    assert ids.tolist() == [
        [CLS, 3159, 333, 1320, SEP],
        [CLS, 3159, SEP, PAD, PAD],
        [CLS, SEP, PAD, PAD, PAD],
    ]
    assert lengths.tolist() == [5, 3, 2]
    block = np.stack([encode("GATTACAG")] * 2)
    assert torch.equal(encode_sequences(block, 6)[0], ids[[0, 0]])


def test_no_sequences_give_an_empty_batch():
    ids, lengths = encode_sequences([], 6)
    assert ids.shape == (0, 2)
    assert lengths.shape == (0,)


def test_ids_from_text_with_the_reference_quirk():
    text = '"GATTAC ATTACA TTACAG"'
    assert ids_from_text(text, 6, keep_quotes=True) == [UNK, 3159, 333, 1320, UNK]
    assert ids_from_text(text, 6, keep_quotes=False) == [3159, 333, 1320]
    assert ids_from_text("attaca NTTACA GATTACA GATTAC", 6) == [UNK, UNK, UNK, 3159]


def test_seq2kmer_and_its_inverse(rng):
    assert seq2kmer("ACGTACG", 3) == "ACG CGT GTA TAC ACG"
    for k in (3, 6):
        for length in range(k, 20):
            sequence = decode(rng.integers(0, 4, length).astype(np.uint8))
            assert kmer2seq(seq2kmer(sequence, k)) == sequence
    assert seq2kmer("AC", 3) == kmer2seq("") == ""


def test_kmer2seq_refuses_words_that_do_not_overlap():
    with pytest.raises(ValueError, match=r"k-mers 0 and 1 are 'ACG' and 'TTT'"):
        kmer2seq("ACG TTT")


@pytest.mark.parametrize("k", [3, 6])
@pytest.mark.parametrize("beside_model", [False, True])
def test_auto_tokenizer_gives_the_same_ids(k, beside_model, tmp_path, rng):
    if beside_model:
        config = BertConfig(
            vocab_size=vocab_size(k),
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            intermediate_size=8,
        )
        BertForMaskedLM(config).save_pretrained(tmp_path)
    build_tokenizer(k).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.is_fast
    assert tokenizer.model_max_length == 512
    assert len(tokenizer) == vocab_size(k)
    assert tokenizer.mask_token_id == 4
    assert tokenizer.pad_token_id == PAD

    rows = [rng.integers(0, 4, length).astype(np.uint8) for length in (40, 70, 12)]
    texts = [seq2kmer(decode(row), k) for row in rows]
    ids, lengths = encode_sequences(rows, k)
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    assert torch.equal(batch["input_ids"], ids)
    assert torch.equal(batch["attention_mask"].sum(1), lengths)
    plain = tokenizer.decode(batch["input_ids"][1], skip_special_tokens=True)
    assert plain == texts[1]


def test_tokenizer_reads_text_as_the_released_one_does():
    tokenizer = build_tokenizer(6)
    assert tokenizer("GATTAC ATTACA TTACAG")["input_ids"] == [2, 3159, 333, 1320, 3]
    assert tokenizer("attaca NTTACA", add_special_tokens=False)["input_ids"] == [UNK, UNK]
    for text in ('"GATTAC ATTACA TTACAG"', '""GATTAC'):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert ids == ids_from_text(text, 6, keep_quotes=True)


def test_published_ranking_words_have_ids_and_fewshot_rows_agree(data_dir):
    with gzip.open(data_dir / "pmi/genemask/Data-A_norm-pmi-score-ranking.csv.gz") as file:
        ranking = pd.read_csv(file)
    assert set(ranking["ngram"]) == set(list(vocabulary(6))[5:])
    few_shot = data_dir / "classification/genemask/Prom-core/10/train.tsv.gz"
    with gzip.open(few_shot, "rt") as file:
        text = file.readlines()[1].split("\t")[0]
    ids = ids_from_text(text, 6)
    assert len(ids) == 65
    assert ids == token_ids(encode(kmer2seq(text.strip('"'))), 6).tolist()
    assert ids_from_text(text, 6, keep_quotes=True) == [UNK, *ids, UNK]
