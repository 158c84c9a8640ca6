"""Masks of single tokens: shares, what is never touched, and the same for the same generator."""

import pytest
import torch

from genomelm_utils.pretraining.masking import IGNORE
from genomelm_utils.pretraining.token_masking import choose_tokens, mask_tokens_bert
from genomelm_utils.tokenizers.bpe import CLS, MASK, N_SPECIAL, PAD, SEP, UNK

V = 200


def make_rows(n_rows: int = 300, n_tokens: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of random tokens, one `[UNK]` in each, the second half of every other row padded."""
    generator = torch.Generator().manual_seed(0)
    ids_BL = torch.randint(N_SPECIAL, V, (n_rows, n_tokens + 2), generator=generator)
    ids_BL[:, 0], ids_BL[:, -1], ids_BL[:, 7] = CLS, SEP, UNK
    ids_BL[::2, n_tokens // 2] = SEP
    ids_BL[::2, n_tokens // 2 + 1 :] = PAD
    return ids_BL, ids_BL != PAD


def mask(ids_BL, mask_BL, seed: int = 1, mask_share: float = 0.15, **options):
    generator = torch.Generator().manual_seed(seed)
    sizes = {"mask_id": MASK, "vocab_size": V, "n_special": N_SPECIAL, **options}
    return mask_tokens_bert(ids_BL, mask_BL, generator=generator, mask_share=mask_share, **sizes)


def test_shares_are_80_10_10_of_15_percent() -> None:
    ids_BL, mask_BL = make_rows()
    input_ids_BL, labels_BL = mask(ids_BL, mask_BL)
    asked_BL = labels_BL != IGNORE
    n_tokens = int((ids_BL >= N_SPECIAL).sum())
    assert int(asked_BL.sum()) / n_tokens == pytest.approx(0.15, abs=0.01)
    seen, true = input_ids_BL[asked_BL], labels_BL[asked_BL]
    assert float((seen == MASK).float().mean()) == pytest.approx(0.8, abs=0.02)
    # one random token in V - 5 is the true one
    assert float((seen == true).float().mean()) == pytest.approx(0.1, abs=0.02)
    random = seen[(seen != MASK) & (seen != true)]
    assert len(random) / len(seen) == pytest.approx(0.1, abs=0.02)
    assert int(random.min()) >= N_SPECIAL
    assert int(random.max()) < V


def test_what_is_not_asked_for_stays_and_specials_are_never_asked_for() -> None:
    ids_BL, mask_BL = make_rows()
    before = ids_BL.clone()
    input_ids_BL, labels_BL = mask(ids_BL, mask_BL, mask_share=0.9)
    asked_BL = labels_BL != IGNORE
    assert torch.equal(ids_BL, before)
    assert torch.equal(input_ids_BL[~asked_BL], ids_BL[~asked_BL])
    assert torch.equal(labels_BL[asked_BL], ids_BL[asked_BL])
    assert not bool(asked_BL[ids_BL < N_SPECIAL].any())


def test_what_the_mask_leaves_out_is_never_asked_for() -> None:
    ids_BL, _ = make_rows()
    none_BL = torch.zeros_like(ids_BL, dtype=torch.bool)
    assert bool((mask(ids_BL, none_BL)[1] == IGNORE).all())


def test_the_generator_decides() -> None:
    ids_BL, mask_BL = make_rows(20)
    first, again, other = (mask(ids_BL, mask_BL, seed) for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
def test_a_share_out_of_range(share: float) -> None:
    ids_BL, mask_BL = make_rows(2)
    with pytest.raises(ValueError, match=r"expected in \(0, 1\); BERT masks 0.15"):
        choose_tokens(
            ids_BL,
            mask_BL,
            generator=torch.Generator(),
            mask_share=share,
            n_special=N_SPECIAL,
        )


def test_random_tokens_come_from_the_ids_given() -> None:
    ids_BL, mask_BL = make_rows()
    before = ids_BL.clone()
    for allowed in (torch.tensor([9, 11, 150]), torch.arange(V)):
        input_ids_BL, labels_BL = mask(ids_BL, mask_BL, random_ids_R=allowed)
        asked_BL = labels_BL != IGNORE
        seen, true = input_ids_BL[asked_BL], labels_BL[asked_BL]
        random = seen[(seen != MASK) & (seen != true)]
        assert set(random.tolist()) <= set(allowed.tolist())
        assert (int(random.min()) < N_SPECIAL) == (len(allowed) == V)
        assert torch.equal(labels_BL != IGNORE, mask(ids_BL, mask_BL)[1] != IGNORE)
    assert torch.equal(ids_BL, before)
