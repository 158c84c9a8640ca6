"""k-mers that were seen: ids, files, letters of any kind, the published tokenizer's habits."""

import json

import numpy as np
import pytest

from genomelm_utils.tokenizers.kmer import seq2kmer
from genomelm_utils.tokenizers.seen_kmers import SeenKmers, load_encoder
from genomelm_utils.tokenizers.unigram import SPECIAL_TOKENS, read_tokens


def kmers_of(text, k):
    return (
        seq2kmer(text, k).split() if k <= 8 else [text[i : i + k] for i in range(len(text) - k + 1)]
    )


@pytest.mark.parametrize(
    ("kind", "k", "alphabet"),
    [
        ("dna", 1, "ACGT"),
        ("dna", 6, "ACGTNRY"),
        ("dna", 12, "ACGT"),  # of too many possible words for a table
        ("rna", 4, "ACGU"),
        ("protein", 3, "ACDEFGHIKLMNPQRSTVWYX*"),
        ("protein", 8, "ACDEFGHIKLMNPQRSTVWY"),
    ],
)
def test_ids_are_places_in_the_alphabet_of_what_was_seen(rng, kind, k, alphabet):
    texts = ["".join(rng.choice(list(alphabet), n)) for n in rng.integers(0, 60, 30)]
    seen = SeenKmers(k, kind)
    for i in range(0, 30, 7):
        seen.add(texts[i : i + 7])
    words = sorted({word for text in texts for word in kmers_of(text, k)})
    assert seen.words == words
    assert seen.tokens == [*SPECIAL_TOKENS, *words]
    ids, offsets = seen.encode(texts)
    for i, text in enumerate(texts):
        row = ids[offsets[i] : offsets[i + 1]].tolist()
        assert [seen.tokens[index] for index in row] == kmers_of(text, k)
    reference = SeenKmers(k, kind, ids="reference")
    reference.add(texts)
    assert (reference.encode(texts)[0] + len(SPECIAL_TOKENS) == ids).all()


def test_short_sequences_have_none_and_case_is_kept_apart():
    seen = SeenKmers(3, "dna", lower_case=True)
    seen.add(["ACGT", "acgt", "AC", ""])
    assert seen.words == ["ACG", "CGT", "acg", "cgt"]
    ids, offsets = seen.encode(["AC", "ACGT", ""])
    assert (ids.tolist(), offsets.tolist()) == ([5, 6], [0, 0, 2, 2])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0, "dna"), "k is 0, expected 1 to 16 for 15 letters of dna"),
        ((14, "protein"), "expected 1 to 13"),
    ],
)
def test_k_out_of_range(arguments, expected):
    with pytest.raises(ValueError, match=expected):
        SeenKmers(*arguments)


def test_what_was_not_added_and_what_is_no_letter():
    seen = SeenKmers(3, "dna")
    seen.add(["ACGT"])
    with pytest.raises(ValueError, match="was not added"):
        seen.encode(["ACGA"])
    with pytest.raises(ValueError, match="found 'E'"):
        seen.add(["ACE"])
    with pytest.raises(ValueError, match="ids is 'both'"):
        SeenKmers(3, "dna", ids="both")
    assert SeenKmers(13, "dna").encode([""])[0].tolist() == []


def test_files_and_the_encoder_they_give(tmp_path):
    seen = SeenKmers(3, "dna")
    seen.add(["ACGTTGA"])
    seen.save(tmp_path / "a" / "mappings.json", tmp_path / "b" / "tokeniser.json")
    mapping = json.loads((tmp_path / "a" / "mappings.json").read_text())
    tokens = read_tokens(tmp_path / "b" / "tokeniser.json")
    assert mapping == {"ACG": 5, "CGT": 6, "GTT": 7, "TGA": 8, "TTG": 9}
    assert tokens["token"].tolist() == [*SPECIAL_TOKENS, *mapping]
    assert set(tokens["weight"][5:]) == {-1.0}
    encoder = load_encoder(tmp_path / "b" / "tokeniser.json")
    ids, offsets = encoder.encode(["ACGTTGA", "AAA"])
    assert [encoder.tokens[i] for i in ids[:5]] == kmers_of("ACGTTGA", 3)
    assert (ids[5:].tolist(), offsets.tolist()) == ([2], [0, 5, 6])  # AAA is unknown


def test_the_released_tokenizer_cuts_end_to_end(tmp_path):
    """As published: a leading `<unk>` and a phase that depends on the length."""
    seen = SeenKmers(3, "dna")
    seen.add(["ACGTTGA"])
    seen.save(tmp_path / "m.json", tmp_path / "t.json")
    encoder = load_encoder(tmp_path / "t.json", kmers="reference")
    ids, _ = encoder.encode(["ACGTTGA"])
    assert [encoder.tokens[i] for i in ids] == ["<unk>", "CGT", "TGA"]
    with pytest.raises(ValueError, match="kmers is 'both'"):
        load_encoder(tmp_path / "t.json", kmers="both")


def test_files_with_ids_in_any_order(tmp_path):
    path = tmp_path / "t.json"
    words = ["GTT", "ACG", "TGA", "CGT"]
    vocab = [[token, 0.0] for token in SPECIAL_TOKENS] + [[word, -1.0] for word in words]
    path.write_text(json.dumps({"model": {"type": "Unigram", "vocab": vocab}}))
    encoder = load_encoder(path)
    ids, _ = encoder.encode(["ACGTTGA"])
    assert ids.tolist() == [6, 8, 5, 2, 7]
    assert encoder.tokens[5:] == words
    assert np.isin(ids, [2, 5, 6, 7, 8]).all()
