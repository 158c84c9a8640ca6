"""Unigram tokens: equal to the library's, in the published layout, honest about what they lack."""

import gzip
import json

import numpy as np
import pytest
from scipy.special import digamma as exact_digamma
from transformers import AutoTokenizer

from genomelm_utils.tokenizers import unigram_training as training
from genomelm_utils.tokenizers.unigram import (
    SPACE,
    SPECIAL_TOKENS,
    count_token_lengths,
    describe_token_lengths,
    list_tokens,
    load_unigram,
    make_layout,
    read_layout,
    read_tokens,
    save_unigram,
    train_unigram,
    train_unigram_on_files,
    wrap_layout,
)


def random_texts(rng, letters, n, longest):
    """Texts with repeats in them: pieces of a short common one, and noise."""
    source = "".join(rng.choice(list(letters), 200))
    texts = []
    for length in rng.integers(1, longest, n).tolist():
        text = ""
        while len(text) < length:
            begin = int(rng.integers(0, 180))
            text += source[begin : begin + int(rng.integers(1, 20))]
            text += "".join(rng.choice(list(letters), int(rng.integers(0, 4))))
        texts.append(text[:length])
    return texts


@pytest.fixture(scope="module")
def texts():
    return random_texts(np.random.default_rng(3), "ACGT", 150, 90)


@pytest.fixture(scope="module")
def tokenizer(texts):
    return train_unigram(texts, 200)


# --- the algorithm -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("letters", "n", "longest", "size"),
    [
        ("ACGT", 150, 90, 60),
        ("ACGT", 150, 90, 400),
        ("ACGTN", 30, 700, 100),
        ("ACDEFGHIKLMNPQRSTVWY", 100, 120, 150),
        ("acgtACGT", 60, 60, 40),
        ("ACGT", 1, 3000, 150),
    ],
)
def test_the_same_tokens_and_weights_as_the_library(rng, letters, n, longest, size):
    texts = random_texts(rng, letters, n, longest)
    texts += texts[: n // 3]  # repeated texts are counted in another way than repeated words
    ours = list_tokens(train_unigram(texts, size))
    theirs = list_tokens(train_unigram(texts, size, engine="tokenizers"))
    assert len(ours) == len(theirs) == size
    both = ours.merge(theirs, on="token", how="outer", suffixes=("", "_library"))
    assert both.notna().all(axis=None)
    assert np.abs(both["weight"] - both["weight_library"]).max() < 1e-9
    assert (np.diff(ours["weight"][len(SPECIAL_TOKENS) :]) <= 0).all()


def test_expected_uses_are_those_of_all_cuts_by_hand():
    """`AA` is A A or AA: with weights 0.5 and 0.2 the cuts have 0.25 and 0.2."""
    corpus = training.collect_texts(["AAC", "AAC"])
    pieces = training.seed_pieces(corpus)
    words = pieces.spell(corpus.alphabet)
    assert words == ["", "A", "C"]  # AA is there once in the one distinct text
    corpus = training.collect_texts(["AAC", "AAG", "CAAC"])
    pieces = training.seed_pieces(corpus)
    assert pieces.spell(corpus.alphabet) == ["", "A", "C", "G", "AA"]
    # 6 A, 3 C, 1 G; AA three times, followed by C and G. (AAC is twice, but always ends a text.)
    assert np.exp(pieces.score[1:]) == pytest.approx(np.array([6, 3, 1, 6]) / 16)
    again = training.reweigh(pieces, corpus)
    single, double = (6 / 16) ** 2, 6 / 16
    share = double / (single + double)
    uses = np.array([3 * 2 * (1 - share), 3, 1, 3 * share])
    assert again.spell(corpus.alphabet) == ["", "A", "C", "G", "AA"]
    expected = exact_digamma(uses) - exact_digamma(uses.sum())
    assert again.score[1:] == pytest.approx(expected, abs=1e-6)


def test_pruning_keeps_letters_and_what_costs_most():
    texts = ["AACG"] * 3 + ["AATG", "GAAT", "CGCG", "TCGA"]
    corpus = training.collect_texts(texts)
    pieces = training.reweigh(training.seed_pieces(corpus), corpus)
    left = training.prune(pieces, corpus, 6).spell(corpus.alphabet)
    assert set("ACGT") < set(left) and len(left) == 6


def test_digamma():
    values = np.array([0.5, 1.0, 3.7, 7.0, 1e3, 1e7])
    assert training.digamma(values) == pytest.approx(exact_digamma(values), abs=2e-9)


def test_texts_of_any_length_need_no_breaks(rng):
    """Probabilities of a long text are far below the smallest float; weights stay sane."""
    text = "".join(rng.choice(list("ACGT"), 60_000))
    tokens = list_tokens(train_unigram([text], 300))
    assert len(tokens) == 300
    assert np.isfinite(tokens["weight"]).all()
    assert np.exp(tokens["weight"][len(SPECIAL_TOKENS) :]).sum() == pytest.approx(1, abs=0.05)


def test_the_same_texts_give_the_same_tokens(texts):
    first, second = (list_tokens(train_unigram(iter(texts), 150)) for _ in range(2))
    assert first.equals(second)


def test_a_vocabulary_larger_than_the_texts_allow_is_told(caplog):
    tokenizer = train_unigram(["ACGTACGT", "ACGAACGA"], 1000)
    n_tokens = len(list_tokens(tokenizer))
    assert n_tokens < 30
    assert f"the texts hold {n_tokens} tokens, fewer than the 1000 asked for" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"vocab_size": 9}, r"room for 4 words, expected more than the 5 different letters"),
        ({"engine": "sentencepiece"}, "expected one of: compiled, tokenizers"),
        ({"special_tokens": ["<s>"]}, "expected different ones with <unk>"),
        ({"texts": []}, "no texts"),
        ({"texts": ["A C"]}, "a text holds a space"),
    ],
)
def test_what_is_refused(arguments, expected):
    options = {"texts": ["ACGT" * 10], "vocab_size": 12} | arguments
    with pytest.raises(ValueError, match=expected):
        train_unigram(**options)


# --- files ---------------------------------------------------------------------------------


def test_files_in_and_what_came_of_them(tmp_path, texts):
    path = tmp_path / "a.fa.gz"
    records = "".join(f">r{i}\n{text.lower()}\n" for i, text in enumerate(texts))
    path.write_bytes(gzip.compress(records.encode()))
    found = train_unigram_on_files([path], 200)
    assert found[1:] == (200, 200, len(texts), sum(map(len, texts)))
    assert list_tokens(found.tokenizer).equals(list_tokens(train_unigram(texts, 200)))
    kept = train_unigram_on_files([path], 100, case="keep").tokenizer
    assert set("".join(list_tokens(kept)["token"][5:])) == {*"acgt", SPACE}
    broken = train_unigram_on_files([path, path], 100, break_size=20)
    pieces = [text[i : i + 20] for text in texts for i in range(0, len(text), 20)]
    assert list_tokens(broken.tokenizer).equals(list_tokens(train_unigram(pieces * 2, 100)))


def test_files_of_different_kinds_are_refused(tmp_path):
    for name, text in (("d.fa", "ACGTACGTAC"), ("p.fa", "MELTWRIKL")):
        (tmp_path / name).write_text(f">a\n{text}\n")
    with pytest.raises(ValueError, match=r"d\.fa is dna, p\.fa is protein"):
        train_unigram_on_files([tmp_path / "d.fa", tmp_path / "p.fa"], 50)
    with pytest.raises(ValueError, match="is this a protein sequence"):
        train_unigram_on_files([tmp_path / "p.fa"], 50, kind="dna")


def test_ids_of_special_tokens(tokenizer):
    n_tokens = len(list_tokens(tokenizer))
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == [0, 1, 2, 3, 4]
    added = tokenizer.sep_token_id, tokenizer.cls_token_id, len(tokenizer)
    assert added == (n_tokens, n_tokens + 1, n_tokens + 2)
    named = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id)
    assert (*named, tokenizer.pad_token_id, tokenizer.mask_token_id) == (0, 1, 2, 3, 4)
    ids = tokenizer("ACGT").input_ids  # nothing is put around it
    assert tokenizer.convert_ids_to_tokens(ids)[0].startswith(SPACE)
    assert "".join(tokenizer.convert_ids_to_tokens(ids)) == SPACE + "ACGT"


@pytest.mark.parametrize("name", ["t.json", "t.json.gz"])
def test_written_and_read_again(tmp_path, tokenizer, texts, name):
    path = tmp_path / "new" / name
    save_unigram(tokenizer, path)
    layout = read_layout(path)
    plain = make_layout([])
    assert {key: layout[key] for key in plain if key != "model"} == {
        key: plain[key] for key in plain if key != "model"
    }
    assert read_tokens(path).equals(list_tokens(tokenizer))
    again = load_unigram(path)
    assert again(texts).input_ids == tokenizer(texts).input_ids
    assert len(again) == len(tokenizer)
    assert [entry.name for entry in path.parent.iterdir()] == [name]


def test_auto_tokenizer_reads_the_folder(tmp_path, tokenizer, texts):
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again(texts).input_ids == tokenizer(texts).input_ids
    assert (again.sep_token_id, again.cls_token_id) == (
        tokenizer.sep_token_id,
        tokenizer.cls_token_id,
    )


def test_the_old_layout_is_read(tmp_path):
    layout = make_layout([("A", -1.0), (SPACE, -2.0), ("AC", -2.5), ("C", -3.0)])
    del layout["model"]["byte_fallback"]
    old = {"type": "Metaspace", "replacement": SPACE, "add_prefix_space": True}
    (tmp_path / "old.json").write_text(json.dumps(layout | {"pre_tokenizer": old, "decoder": old}))
    ids = load_unigram(tmp_path / "old.json")("ACAG").input_ids
    assert ids == wrap_layout(layout)("ACAG").input_ids == [6, 7, 5, 2]


def test_special_tokens_that_stand_twice(tmp_path):
    layout = make_layout([*((token, 0.0) for token in sorted(SPECIAL_TOKENS)), ("A", -1.0)])
    path = tmp_path / "pooled.json"
    path.write_text(json.dumps(layout))
    corrected, reference = (load_unigram(path, duplicates=d) for d in ("corrected", "reference"))
    assert corrected.convert_tokens_to_ids(["<s>", "<unk>", "A", "<sep>"]) == [0, 2, 5, 6]
    assert corrected("AC").input_ids == [2, 5, 2]
    assert reference.convert_tokens_to_ids(["<s>", "<unk>", "A"]) == [8, 9, 10]
    assert reference("AC").input_ids == [2, 10, 2]  # `<unk>` is 9 and comes out as 2
    with pytest.raises(ValueError, match="duplicates is 'both'"):
        load_unigram(path, duplicates="both")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "is damaged or no tokenizer"),
        ("[]", "is damaged or no tokenizer"),
        ('{"model": {"type": "BPE", "vocab": {"A": 1}}}', "holds a BPE tokenizer"),
        ('{"model": {"type": "Unigram", "vocab": []}}', "no list of"),
        ('{"model": {"type": "Unigram", "vocab": [["A", -1]]}, "version": "9"}', "can be read"),
    ],
)
def test_damaged_files(tmp_path, content, expected):
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(ValueError, match=expected):
        load_unigram(tmp_path / "t.json")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_unigram(tmp_path / "none.json")


def test_token_lengths():
    tokens = wrap_layout(make_layout([(SPACE, -1.0), (SPACE + "AC", -1.5), ("AC", -2.0)]))
    table = count_token_lengths(list_tokens(tokens))
    assert table.to_numpy().tolist() == [[0, 1], [2, 2]]
    assert describe_token_lengths(table) == (
        "The 3 learned tokens have 1.3 letters on average; 2 of them have 2, the most there are."
    )
