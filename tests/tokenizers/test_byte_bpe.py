"""Byte-level byte-pair tokens: published layout and files, cuts, case, padding and truncation."""

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, RobertaConfig, RobertaForMaskedLM

from genomelm_utils.tokenizers.byte_bpe import (
    BOS,
    DNA_VOCAB_SIZE,
    EOS,
    MASK,
    PAD,
    SPECIAL_TOKENS,
    UNK,
    VOCAB_SIZE,
    byte_symbols,
    drop_dead_ids,
    encode_texts,
    load_byte_bpe,
    pad_left,
    replacement_ids,
    save_published,
    token_strings,
    train_byte_bpe,
)


def random_texts(n: int = 200, length: int = 300, letters: str = "AAACGTTN") -> list[str]:
    rng = np.random.default_rng(4)
    return ["".join(rng.choice(list(letters), length)) for _ in range(n)]


@pytest.fixture(scope="module")
def tokenizer():
    return train_byte_bpe(random_texts(), 400)


@pytest.fixture(scope="module")
def published(data_dir: Path) -> Path:
    return data_dir / "tokenisation" / "florabert_bpe"


@pytest.fixture(scope="module")
def promoters(data_dir: Path) -> list[str]:
    path = data_dir / "expression" / "florabert_maize_nam" / "merged_seq_genex.csv.gz"
    with gzip.open(path, "rt") as lines:
        return [row["seq"] for row in csv.DictReader(lines)]


def test_layout_of_both_alphabets() -> None:
    """Golden fact 1, on a small vocabulary: specials, byte symbols in order, then merges."""
    small = train_byte_bpe(random_texts(), 5 + 256 + 40)
    vocab = small.get_vocab()
    assert [vocab[name] for name in SPECIAL_TOKENS] == [BOS, EOS, PAD, UNK, MASK] == list(range(5))
    assert [vocab[symbol] for symbol in byte_symbols()] == list(range(5, 261))
    dna = train_byte_bpe(random_texts(), 5 + 5 + 40, alphabet="dna")
    assert [dna.get_vocab()[base] for base in "ACGNT"] == [5, 6, 7, 8, 9]
    assert token_strings(dna)[10:] == token_strings(small)[261:]
    assert VOCAB_SIZE == 5 + 256 + 4744
    assert DNA_VOCAB_SIZE == 5 + 5 + 4744


def test_decoding_gives_the_sequence_back(tokenizer, rng) -> None:
    for one in (tokenizer, drop_dead_ids(tokenizer)):
        for length in (0, 1, 2, 57, 400):
            text = "".join(rng.choice(list("ACGTN"), length))
            ids = one(text)["input_ids"]
            assert ids[0] == BOS
            assert ids[-1] == EOS
            assert one.decode(ids, skip_special_tokens=True) == text


def merge_by_hand(text: str, merges: list[list[str]]) -> list[str]:
    """Byte-pair encoding as defined: each merge in its turn, everywhere from the left."""
    words = list(text)
    for left, right in merges:
        at = 0
        while at < len(words) - 1:
            if words[at : at + 2] == [left, right]:
                words[at : at + 2] = [left + right]
            at += 1
    return words


def test_tokens_are_those_of_the_merges_in_their_order(tokenizer) -> None:
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    for text in random_texts(5, 120):
        assert tokenizer.tokenize(text) == merge_by_hand(text, merges)


def test_case_switch() -> None:
    texts = random_texts()
    corrected = train_byte_bpe(texts, 300)
    reference = train_byte_bpe(texts, 300, case="reference")
    text = texts[0]
    assert corrected(text.lower())["input_ids"] == corrected(text)["input_ids"]
    assert corrected("acguRrn")["input_ids"] == corrected("ACGTNNN")["input_ids"]
    assert reference(text)["input_ids"] == corrected(text)["input_ids"]
    assert len(reference(text.lower())["input_ids"]) == len(text) + 2
    assert reference.decode(reference("acgTN")["input_ids"][1:-1]) == "acgTN"


def test_special_tokens_in_a_text_are_themselves(tokenizer) -> None:
    assert tokenizer("<mask>")["input_ids"] == [BOS, MASK, EOS]


def test_truncation_keeps_the_tss_end(tokenizer) -> None:
    text = random_texts(1, 500)[0]
    whole = encode_texts(tokenizer, [text], 1000)[0]
    left = encode_texts(tokenizer, [text], 20)[0]
    assert len(left) == 20
    assert left.tolist() == [BOS, *whole[-19:].tolist()]
    assert text.endswith(tokenizer.decode(left, skip_special_tokens=True))
    reference = train_byte_bpe(random_texts(), 400, truncate="reference")
    right = encode_texts(reference, [text], 20)[0]
    assert right.tolist() == [*whole[:19].tolist(), EOS]
    for one, mine in ((tokenizer, left), (reference, right)):
        other = one(text, truncation=True, max_length=20)["input_ids"]
        assert other == mine.tolist()


def test_encoding_undoes_what_an_earlier_call_set(tokenizer) -> None:
    text = random_texts(1, 100)[0]
    tokenizer([text, "A"], truncation=True, max_length=5, padding="max_length")
    assert [len(row) for row in encode_texts(tokenizer, ["A", ""])] == [3, 2]
    assert len(encode_texts(tokenizer, [text])[0]) > 5


def test_left_padding_by_hand() -> None:
    rows = [np.array([0, 7, 1]), np.array([0, 8, 9, 1])]
    ids_BL, mask_BL = pad_left(rows)
    assert ids_BL.tolist() == [[PAD, 0, 7, 1], [0, 8, 9, 1]]
    assert mask_BL.tolist() == [[False, True, True, True], [True] * 4]
    wide_BL, _ = pad_left(rows, 6)
    assert wide_BL.tolist() == [[PAD] * 3 + [0, 7, 1], [PAD] * 2 + [0, 8, 9, 1]]
    assert pad_left([])[0].shape == (0, 0)
    with pytest.raises(ValueError, match="a row has 4 ids, expected at most 3"):
        pad_left(rows, 3)


def test_transformers_pads_and_cuts_alike(tokenizer) -> None:
    texts = [random_texts(1, n)[0] for n in (30, 700, 5)]
    batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    ids_BL, mask_BL = pad_left(encode_texts(tokenizer, texts))
    assert torch.equal(batch["input_ids"], ids_BL)
    assert torch.equal(batch["attention_mask"].bool(), mask_BL)
    assert tokenizer.model_max_length == 256


@pytest.mark.parametrize("dna", [False, True])
@pytest.mark.parametrize("beside_model", [False, True])
def test_auto_tokenizer_loads_the_same(tokenizer, tmp_path, dna, beside_model) -> None:
    mine = drop_dead_ids(tokenizer) if dna else tokenizer
    if beside_model:
        sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
        config = RobertaConfig(vocab_size=len(mine), intermediate_size=8, **sizes)
        RobertaForMaskedLM(config).save_pretrained(tmp_path)
    mine.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.is_fast
    assert (loaded.padding_side, loaded.truncation_side) == ("left", "left")
    texts = [random_texts(1, 600)[0].lower(), "acgtRN"]
    for options in ({}, {"padding": True, "truncation": True}):
        assert loaded(texts, **options)["input_ids"] == mine(texts, **options)["input_ids"]
    assert loaded.mask_token_id == MASK
    again = load_byte_bpe(tmp_path)
    assert again.get_vocab() == mine.get_vocab()
    assert again(texts)["input_ids"] == mine(texts)["input_ids"]


def test_dead_ids_are_dropped_and_cuts_stay(tokenizer) -> None:
    dna = drop_dead_ids(tokenizer)
    assert len(dna) == 400 - 251
    for text in random_texts(20, 200):
        assert dna.tokenize(text) == tokenizer.tokenize(text)
    trained = train_byte_bpe(random_texts(), 400 - 251, alphabet="dna")
    assert trained.get_vocab() == dna.get_vocab()
    assert dna("A-C")["input_ids"] == [BOS, dna.get_vocab()["A"], UNK, dna.get_vocab()["C"], EOS]


def test_replacement_ids(tokenizer) -> None:
    corrected = replacement_ids(tokenizer).tolist()
    strings = token_strings(tokenizer)
    assert len(corrected) == 400 - 5 - 251
    assert all(set(strings[index]) <= set("ACGTN") for index in corrected)
    assert replacement_ids(tokenizer, "reference").tolist() == list(range(400))
    with pytest.raises(ValueError, match="random_tokens is 'all', expected one of: corrected"):
        replacement_ids(tokenizer, "all")


def test_files_in_the_published_form_are_read_back(tokenizer, tmp_path) -> None:
    save_published(tokenizer, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["merges.txt", "vocab.json"]
    again = load_byte_bpe(tmp_path)
    assert again.get_vocab() == tokenizer.get_vocab()
    text = random_texts(1)[0]
    assert again(text)["input_ids"] == tokenizer(text)["input_ids"]


def test_published_files(published, promoters, tmp_path) -> None:
    """Golden fact 16: 166 to 210 tokens of 1000 bases, none over 254; lower case one per base."""
    tokenizer = load_byte_bpe(published)
    assert len(tokenizer) == 5 + 256 + 5000
    full = [text for text in promoters if len(text) == 1000]
    counts = np.array([len(row) - 2 for row in encode_texts(tokenizer, full)])
    assert (len(full), counts.min(), counts.max(), round(counts.mean())) == (1599, 166, 210, 194)
    reference = load_byte_bpe(published, case="reference")
    lower = encode_texts(reference, [full[0].lower()], 2000)[0]
    assert len(lower) == 1002
    assert encode_texts(tokenizer, [full[0].lower()])[0].size == counts[0] + 2
    save_published(tokenizer, tmp_path)
    for name in ("merges.txt", "vocab.json"):
        assert (tmp_path / name).read_text().strip() == (published / name).read_text().strip()


@pytest.mark.slow
def test_a_vocabulary_trained_on_maize(promoters) -> None:
    """Golden facts 1 and 16 with a vocabulary of our own: alleles of 26 lines need a limit."""
    tokenizer = train_byte_bpe(promoters, max_token_bases=16)
    assert len(tokenizer) == 5005
    assert len(json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]) == 4744
    assert max(map(len, token_strings(tokenizer))) == 16
    full = [text for text in promoters if len(text) == 1000]
    counts = [len(row) - 2 for row in encode_texts(tokenizer, full, 2000)]
    assert max(counts) <= 254
    assert len(drop_dead_ids(tokenizer)) == 4754


def test_alleles_of_one_promoter_become_one_token_without_a_limit() -> None:
    texts = [random_texts(1, 300)[0]] * 5
    free = train_byte_bpe(texts, 5 + 5 + 150, alphabet="dna")
    assert max(map(len, token_strings(free))) > 50
    limited = train_byte_bpe(texts, 5 + 5 + 60, alphabet="dna", max_token_bases=6)
    assert max(map(len, token_strings(limited))) == 6


def test_unusable_choices() -> None:
    with pytest.raises(ValueError, match="vocab_size is 200, expected at least 261"):
        train_byte_bpe(["ACGT"], 200)
    with pytest.raises(ValueError, match="the texts gave 261 ids, expected 262"):
        train_byte_bpe(["ACGT"], 262)
    with pytest.raises(ValueError, match="case is 'upper', expected one of: corrected, reference"):
        train_byte_bpe(["ACGT"], case="upper")
    with pytest.raises(ValueError, match="truncate is 'left', expected one of"):
        train_byte_bpe(["ACGT"], truncate="left")
    with pytest.raises(ValueError, match="alphabet is 'rna', expected one of: bytes, dna"):
        train_byte_bpe(["ACGT"], alphabet="rna")
    with pytest.raises(ValueError, match="'dna' has no lower-case letters"):
        train_byte_bpe(["ACGT"], alphabet="dna", case="reference")


def test_short_rows_are_refused(tokenizer) -> None:
    with pytest.raises(ValueError, match="max_tokens is 2, expected at least 3"):
        encode_texts(tokenizer, ["ACGT"], 2)


def write(folder: Path, vocab: object, merges: str) -> Path:
    (folder / "vocab.json").write_text(vocab if isinstance(vocab, str) else json.dumps(vocab))
    (folder / "merges.txt").write_text(merges)
    return folder


def test_damaged_files_are_explained(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"vocab\.json does not exist; expected vocab"):
        load_byte_bpe(tmp_path)
    good = {t: i for i, t in enumerate([*SPECIAL_TOKENS, *"ACGNT", "AA"])}
    assert load_byte_bpe(write(tmp_path, good, "#version: 0.2\nA A\n")).tokenize("AAA") == [
        "AA",
        "A",
    ]
    with pytest.raises(ValueError, match="has no lower-case letters, so case 'reference'"):
        load_byte_bpe(tmp_path, case="reference")
    with pytest.raises(ValueError, match=r"merges\.txt, line 2: 'AA', expected the two parts"):
        load_byte_bpe(write(tmp_path, good, "A A\nAA\n"))
    with pytest.raises(ValueError, match="merge 2, 'C' and 'C': 'CC' is no token of"):
        load_byte_bpe(write(tmp_path, good, "A A\nC C\n"))
    with pytest.raises(ValueError, match=r"vocab\.json is damaged: no JSON"):
        load_byte_bpe(write(tmp_path, "{", "A A\n"))
    with pytest.raises(ValueError, match=r"vocab\.json holds a list, expected a JSON object"):
        load_byte_bpe(write(tmp_path, [], "A A\n"))
    with pytest.raises(ValueError, match="<pad> is 3 instead of 2; <unk> is 2 instead of 3"):
        load_byte_bpe(write(tmp_path, {**good, "<pad>": 3, "<unk>": 2}, "A A\n"))
    with pytest.raises(ValueError, match="11 tokens with ids up to 12, expected each id from 0"):
        load_byte_bpe(write(tmp_path, {**good, "AA": 12}, "A A\n"))
    with pytest.raises(ValueError, match="has no token for T, expected all of ACGNT"):
        load_byte_bpe(write(tmp_path, {("X" if t == "T" else t): i for t, i in good.items()}, ""))
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "WordPiece"}}')
    with pytest.raises(ValueError, match="type 'WordPiece', expected 'BPE'"):
        load_byte_bpe(tmp_path)
