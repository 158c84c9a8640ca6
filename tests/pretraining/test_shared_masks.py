"""Bases hidden once for all tokenizers: the same for each, nothing shown, bits by hand."""

import math

import numpy as np
import pytest
import torch

from genomelm_utils.models.florabert import build_flora_mlm, flora_config
from genomelm_utils.pretraining.shared_masks import (
    BaseJudge,
    SharedTokens,
    draw_hidden,
    freeze_shared,
    shared_baselines,
    shared_bits,
)
from genomelm_utils.tokenizers.bpe import train_bpe
from genomelm_utils.tokenizers.byte_bpe import (
    MASK,
    drop_dead_ids,
    encode_texts,
    token_strings,
    train_byte_bpe,
)
from genomelm_utils.tokenizers.nmer import build_nmer_tokenizer

RNG = np.random.default_rng(8)
TEXTS = ["".join(RNG.choice(list("AAACGTTN"), n)) for n in (60, 120, 90) * 14]


@pytest.fixture(scope="module")
def tokenizers() -> dict:
    byte = train_byte_bpe(TEXTS, 320)
    return {
        "bytes": byte,
        "dna": drop_dead_ids(byte),
        "bases": build_nmer_tokenizer(1),
        "3-mers": build_nmer_tokenizer(3),
        "dnabert2": train_bpe(TEXTS, 60),
    }


@pytest.fixture(scope="module")
def hidden() -> list[np.ndarray]:
    return draw_hidden(TEXTS)


def test_hidden_bases_are_frozen_and_definite(hidden) -> None:
    again = draw_hidden(TEXTS[:5])
    assert all(np.array_equal(a, b) for a, b in zip(hidden, again, strict=False))
    other = draw_hidden(TEXTS, seed=1)
    assert any(not np.array_equal(a, b) for a, b in zip(hidden, other, strict=True))
    for text, at in zip(TEXTS, hidden, strict=True):
        assert "N" not in {text[i] for i in at}
        assert np.all(np.diff(at) > 0)


def test_share_and_spans_of_hidden_bases() -> None:
    text = "ACGT" * 50_000
    (at,) = draw_hidden([text], hidden_share=0.1, span_bp=6)
    assert len(at) / len(text) == pytest.approx(0.1, abs=0.01)
    ends = np.flatnonzero(np.diff(at) > 1)
    runs = np.diff(np.concatenate([[-1], ends, [len(at) - 1]]))
    assert runs[1:-1].min() == 6  # those cut by the text's ends aside
    short = draw_hidden(["ACGTACGT"] * 3000, hidden_share=0.2, span_bp=6, seed=2)
    counts = np.bincount(np.concatenate(short), minlength=8) / 3000
    np.testing.assert_allclose(counts, 0.2, atol=0.03)  # ends are hidden as often as the middle


@pytest.mark.parametrize("name", ["bytes", "dna", "bases", "3-mers", "dnabert2"])
def test_every_hidden_base_is_in_a_masked_token_and_in_no_visible_one(
    tokenizers, hidden, name
) -> None:
    tokenizer = tokenizers[name]
    batches = freeze_shared(TEXTS, hidden, tokenizer)
    strings = token_strings(tokenizer)
    judged = 0
    rows = sorted(
        (i for i in range(len(TEXTS)) if len(hidden[i])),
        key=lambda i: -len(encode_texts(tokenizer, [TEXTS[i]], 10**6)[0]),
    )
    at = 0
    for batch in batches:
        ids_BL = batch.input_ids_BL.clone()
        assert bool((ids_BL.view(-1)[batch.positions_N] == MASK).all())
        ids_BL.view(-1)[batch.positions_N] = batch.targets_N
        tokens_H = batch.targets_N[batch.token_H]
        chars = [strings[t][o] for t, o in zip(tokens_H, batch.offset_H, strict=True)]
        assert chars == ["ACGT"[code] for code in batch.codes_H]
        judged += len(chars)
        expected = []
        for ids_L, mask_L in zip(ids_BL, batch.mask_BL, strict=True):
            text, places = TEXTS[rows[at]], hidden[rows[at]]
            inner = ids_L[mask_L].tolist()[1:-1]
            assert "".join(strings[i] or "N" for i in inner) == text
            expected += [text[i] for i in places]
            at += 1
        assert chars == expected
        touched = set(batch.token_H.tolist())
        assert touched == set(range(len(batch.targets_N)))  # no token is masked in vain
    assert judged == sum(map(len, hidden))


def test_bits_by_hand() -> None:
    """Three tokens reach the judged place: AC and A by .5 and .1 at place 0, TG by .2."""
    tokenizer = build_nmer_tokenizer(1)
    judge = BaseJudge(tokenizer)
    judge.lengths_V = torch.tensor([0, 0, 0, 0, 0, 2, 1, 2, 1])  # AC, A, TG, N
    judge.codes_VJ = torch.tensor(
        [[-1, -1]] * 5 + [[0, 1], [0, -1], [3, 2], [4, -1]], dtype=torch.int64
    )
    p_V = torch.tensor([0.05, 0, 0, 0, 0, 0.5, 0.1, 0.2, 0.15])
    none = torch.empty(0)
    batch = SharedTokens(
        none, none, none, torch.tensor([5]), torch.tensor([0, 0]), torch.tensor([0, 1]), none
    )
    batch = SharedTokens(**{**vars(batch), "codes_H": torch.tensor([0, 1])})
    found = judge.bits(p_V.log()[None], batch)
    assert found.tolist() == pytest.approx([-math.log2(0.6 / 0.8), -math.log2(0.5 / 0.7)], rel=1e-5)


def test_tables_of_a_tokenizer(tokenizers) -> None:
    judge = BaseJudge(tokenizers["dna"])
    strings = token_strings(tokenizers["dna"])
    for index, text in enumerate(strings):
        assert int(judge.lengths_V[index]) == len(text)
        codes = judge.codes_VJ[index].tolist()
        assert codes[: len(text)] == ["ACGTN".index(base) for base in text]
        assert set(codes[len(text) :]) <= {-1}


def test_bits_of_a_model(tokenizers, hidden) -> None:
    tokenizer = tokenizers["bases"]
    model = build_flora_mlm(flora_config("nano", vocab_size=10, max_tokens=130)).train()
    batches = freeze_shared(TEXTS, hidden, tokenizer)
    found = shared_bits(model, batches, BaseJudge(tokenizer))
    assert model.training
    model.eval()
    bits, n = 0.0, 0
    for batch in batches:
        with torch.no_grad():
            logits = model(batch.input_ids_BL, attention_mask=batch.mask_BL).logits
        known = logits.flatten(0, 1)[batch.positions_N][:, [5, 6, 7, 8]].log_softmax(dim=1)
        true = batch.targets_N - 5
        bits -= float(known.gather(1, true[:, None]).sum()) / math.log(2)
        n += len(true)
    assert found["bits_per_hidden_base"] == pytest.approx(bits / n, rel=1e-4)
    assert found["hidden_bases"] == found["masked_tokens"] == n == sum(map(len, hidden))


def test_baselines(tokenizers, hidden) -> None:
    """Of single bases both baselines are the composition; it is the same for every tokenizer."""
    values = {}
    for name in ("bases", "bytes", "dna"):
        tokenizer = tokenizers[name]
        counts_V = np.bincount(
            np.concatenate(encode_texts(tokenizer, TEXTS)), minlength=len(tokenizer)
        )
        batches = freeze_shared(TEXTS, hidden, tokenizer)
        table = shared_baselines(counts_V, batches, BaseJudge(tokenizer))
        values[name] = table.set_index("baseline")["bits_per_hidden_base"]
    joined = "".join(TEXTS)
    share = np.array([joined.count(base) + 1.0 for base in "ACGT"])
    share /= share.sum()
    truth = [TEXTS[i][j] for i, at in enumerate(hidden) for j in at]
    expected = -np.mean([math.log2(share["ACGT".index(base)]) for base in truth])
    for name in values:
        assert values[name]["composition"] == pytest.approx(expected, rel=1e-6)
    assert values["bases"]["frequencies"] == pytest.approx(expected, rel=1e-5)
    assert values["bytes"]["frequencies"] == pytest.approx(values["dna"]["frequencies"], rel=1e-2)


def test_bad_input(tokenizers) -> None:
    with pytest.raises(ValueError, match=r"hidden_share is 0, expected in \(0, 1\)"):
        draw_hidden(TEXTS, hidden_share=0)
    with pytest.raises(ValueError, match="no base of the 2 sequences is hidden"):
        draw_hidden(["NNNN", ""])
    with pytest.raises(ValueError, match="sequence 1 of 120 bases is 122 ids, expected at most 90"):
        freeze_shared(TEXTS[:2], [np.arange(3)] * 2, tokenizers["bases"], max_tokens=90)
    with pytest.raises(ValueError, match="sequence 0: base 60 is in no token, which end after 60"):
        freeze_shared(["A" * 61], [np.array([60])], tokenizers["3-mers"])
