"""Masking schemes: the released code's masks, published shares, a naive twin, invariances."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from genomelm_utils.pretraining.masking import (
    SCHEMES,
    centre_prob_for_hidden,
    draw_centres,
    hidden_bases,
    mask_tokens,
    ranks_by_token,
    spans_from_centres,
)
from genomelm_utils.pretraining.spans import REFERENCE_MIN_HIGH, Rows, _rank_tokens, _widen_half
from genomelm_utils.sequences.kmers import kmer_index
from genomelm_utils.tokenizers.kmer import (
    CLS,
    MASK,
    N_SPECIAL,
    PAD,
    SEP,
    UNK,
    encode_sequences,
    vocab_size,
    vocabulary,
)

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "genemask_masks.json").read_text(encoding="utf-8")
)
CASES = GOLDEN["cases"]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_ranks(k: int = 6) -> torch.Tensor:
    return torch.randperm(vocab_size(k), generator=seeded(99))


def random_rows(n_rows: int, n_tokens: int, k: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    codes = np.random.default_rng(5).integers(0, 4, (n_rows, n_tokens + k - 1), dtype=np.uint8)
    return encode_sequences(codes, k)


def centres_at(n_tokens: int, *positions: int) -> torch.Tensor:
    centres = torch.zeros(1, n_tokens + 2, dtype=torch.bool)
    centres[0, list(positions)] = True
    return centres


def grow(n_tokens: int, *positions: int, scheme: str, **options) -> list[int]:
    """Masked positions of one row of `n_tokens` tokens from given centres."""
    options.setdefault("ids", torch.full((1, n_tokens + 2), N_SPECIAL))
    masked = spans_from_centres(
        options.pop("ids"),
        torch.tensor([n_tokens + 2]),
        centres_at(n_tokens, *positions),
        scheme=scheme,
        **options,
    )
    return masked[0].nonzero()[:, 0].tolist()


# --- the released code and the golden facts -------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=[f"{len(case['centres'])}centres" for case in CASES])
def test_masks_of_the_released_code(case):
    ranks = random_ranks()
    ranks[: len(GOLDEN["position_ranks"])] = torch.tensor(GOLDEN["position_ranks"])
    ranks[:N_SPECIAL] = 1234  # the reference decodes positions 1..4 to rank 0 whatever stands here
    n_tokens, centres = case["n_tokens"], case["centres"]
    released = grow(n_tokens, *centres, scheme="genemask_reference", ranks_V=ranks)
    assert released == case["released"]
    assert grow(n_tokens, *centres, scheme="contiguous") == case["contiguous"]


def test_golden_position_ranks_are_those_of_the_published_file(data_dir):
    ranking = pd.read_csv(data_dir / "pmi/genemask/Data-A_norm-pmi-score-ranking.csv.gz")
    rank_of = dict(zip(ranking["ngram"], ranking["norm_pmi_rank_rel"], strict=True))
    words = list(vocabulary(6))[: len(GOLDEN["position_ranks"])]
    assert [rank_of.get(word, 0) for word in words] == GOLDEN["position_ranks"]


def test_span_of_a_lone_centre():
    assert grow(506, 100, scheme="contiguous") == list(range(98, 104))
    for best, expected in ((98, range(93, 104)), (103, range(98, 109)), (100, range(95, 106))):
        ids = torch.full((1, 508), 5)
        ids[0, best] = 6
        ranks = torch.full((4101,), 9)
        ranks[6] = 1
        assert grow(506, 100, scheme="genemask", ids=ids, ranks_V=ranks) == list(expected)


def test_six_tokens_hide_one_base_and_eleven_hide_six():
    lengths = torch.tensor([508])
    for span, n_hidden in (((98, 104), 1), ((93, 104), 6), ((98, 103), 0), ((1, 7), 6)):
        masked = torch.zeros(1, 508, dtype=torch.bool)
        masked[0, span[0] : span[1]] = True
        assert hidden_bases(masked, lengths, 6).tolist() == [n_hidden]
    everything = centres_at(506, *range(1, 507))
    assert hidden_bases(everything, lengths, 6).tolist() == [511]


@pytest.mark.parametrize(
    ("scheme", "n_centres", "n_wide"),
    [("genemask_reference", n, w) for n, w in ((1, 1), (8, 8), (9, 5), (10, 5), (11, 6), (12, 6))]
    + [("genemask", n, w) for n, w in ((1, 1), (2, 1), (8, 4), (9, 5), (11, 6))]
    + [("span11", 8, 4), ("genemask_worst", 9, 5), ("curriculum", 3, 2)],
)
def test_number_of_wide_spans(scheme, n_centres, n_wide):
    positions = range(20, 20 + 30 * n_centres, 30)
    ids, _ = random_rows(1, 506)
    masked = grow(
        506, *positions, scheme=scheme, ids=ids, ranks_V=random_ranks(), generator=seeded()
    )
    assert len(masked) == 11 * n_wide + 6 * (n_centres - n_wide)


@pytest.mark.parametrize(
    ("scheme", "p", "masked", "hidden", "after_keep"),
    [
        ("contiguous", 0.025, 0.1397, 0.0342, 0.018),
        ("contiguous", 0.0176, 0.1007, 0.0222, None),
        ("genemask_reference", 0.0176, 0.1532, 0.0793, 0.042),
    ],
)
def test_published_shares_at_506_tokens(scheme, p, masked, hidden, after_keep):
    ids, lengths = random_rows(6000, 506)
    ranks = random_ranks()
    ranks[: len(GOLDEN["position_ranks"])] = torch.tensor(GOLDEN["position_ranks"])
    got = mask_tokens(
        ids,
        lengths,
        scheme=scheme,
        centre_prob=p,
        ranks_V=ranks,
        generator=seeded(1),
        corrupt="token",
    )
    assert got.masked_share == pytest.approx(masked, abs=0.0015)
    assert got.hidden_share == pytest.approx(hidden, abs=0.001)
    if after_keep is not None:
        assert got.hidden_after_keep_share == pytest.approx(after_keep, abs=0.001)


def test_published_shares_with_ranks_by_content_and_the_rule_of_eight():
    """The table's fourth row ranks by content but keeps the released rule for up to 8 centres."""
    ids, lengths = random_rows(6000, 506)
    rows = Rows(ids, lengths, 6)
    masked = _widen_half(
        draw_centres(lengths, 508, 0.0176, seeded(2)),
        rows,
        _rank_tokens(rows, random_ranks().float()),
        min_high=REFERENCE_MIN_HIGH,
    )
    assert masked.sum() / (6000 * 506) == pytest.approx(0.1530, abs=0.0015)
    assert hidden_bases(masked, lengths, 6).sum() / (6000 * 511) == pytest.approx(0.0794, abs=0.001)


# --- a naive twin ---------------------------------------------------------------------------------


def naive_spans(centres, n_tokens, k, rank_at, min_high):
    """Spans of one row, token by token; rank_at(position) -> sortable; None: no wide spans."""
    low, high = -((k - 1) // 2), k // 2
    masked = {c + o for c in centres for o in range(low, high + 1)}
    if rank_at is not None:
        best = []
        for c in centres:
            choice = c
            for position in range(c + low, c + high + 1):
                if 1 <= position <= n_tokens and rank_at(position) < rank_at(choice):
                    choice = position
            best.append(choice)
        n_wide = -(-len(centres) // 2)
        n_wide = len(centres) if n_wide < min_high else n_wide
        order = sorted(range(len(centres)), key=lambda i: rank_at(best[i]))
        for i in order[:n_wide]:
            masked |= set(range(best[i] - k + 1, best[i] + k))
    return sorted(position for position in masked if 1 <= position <= n_tokens)


@pytest.mark.parametrize("k", [3, 4, 5, 6])
@pytest.mark.parametrize(
    "scheme", ["contiguous", "genemask", "genemask_worst", "genemask_reference", "curriculum"]
)
def test_equal_to_a_naive_twin(scheme, k):
    longest = 60  # the reference needs positions below the vocabulary size, 69 for k = 3
    n_tokens = [longest, 1, 2, 5, 0, 33, 47]
    rng = np.random.default_rng(7)
    ids, lengths = encode_sequences(
        [rng.integers(0, 4, n + k - 1 if n else 0, dtype=np.uint8) for n in n_tokens], k
    )
    ids[0, 20:26] = UNK
    ranks = random_ranks(k)
    by_token = [float(rank) for rank in ranks]
    sought = min(by_token[5:]) + 0.7 * (max(by_token[5:]) - min(by_token[5:]))
    scores = {
        "genemask": lambda token, _: by_token[token] if token > 4 else 1e9,
        "genemask_worst": lambda token, _: -by_token[token] if token > 4 else 1e9,
        "genemask_reference": lambda _, position: by_token[position] if position > 4 else 0,
        "curriculum": lambda token, _: abs(by_token[token] - sought) if token > 4 else 1e9,
    }
    for seed in range(20):
        centres = draw_centres(lengths, ids.shape[1], 0.12, seeded(seed))
        masked = spans_from_centres(
            ids, lengths, centres, scheme=scheme, ranks_V=ranks, k=k, progress=0.3
        )
        for row, n in enumerate(n_tokens):
            score = scores.get(scheme)
            rank_at = score and (lambda p, row=row, score=score: score(int(ids[row, p]), p))
            expected = naive_spans(
                centres[row].nonzero()[:, 0].tolist(),
                n,
                k,
                rank_at,
                REFERENCE_MIN_HIGH if scheme == "genemask_reference" else 0,
            )
            assert masked[row].nonzero()[:, 0].tolist() == expected


def test_hidden_bases_equal_a_naive_count():
    generator = seeded(3)
    for k in (3, 6):
        n_tokens = [40, 1, 0, 7]
        lengths = torch.tensor(n_tokens) + 2
        masked = torch.rand(4, 42, generator=generator) < 0.8
        for row, n in enumerate(n_tokens):
            covered = {
                base
                for t in range(1, n + 1)
                if not masked[row, t]
                for base in range(t - 1, t + k - 1)
            }
            n_bases = n + k - 1 if n else 0
            assert int(hidden_bases(masked, lengths, k)[row]) == n_bases - len(covered)


# --- what holds for every scheme ------------------------------------------------------------------


def mixed_batch() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(11)
    lengths = [511, 100, 6, 3, 300, 70] * 20
    return encode_sequences([rng.integers(0, 4, n, dtype=np.uint8) for n in lengths], 6)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("corrupt", ["span", "token"])
def test_invariances(scheme, corrupt):
    ids, lengths = mixed_batch()
    before = ids.clone()
    ranks = random_ranks()

    def mask(seed):
        return mask_tokens(
            ids,
            lengths,
            scheme=scheme,
            centre_prob=0.0176,
            ranks_V=ranks,
            generator=seeded(seed),
            corrupt=corrupt,
            progress=0.5,
        )

    got, again, other = mask(1), mask(1), mask(2)
    assert torch.equal(ids, before)
    for special in (CLS, SEP, PAD):
        assert not got.masked_BL[ids == special].any()
        assert torch.equal(got.input_ids_BL[ids == special], ids[ids == special])
    assert torch.equal(got.labels_BL, torch.where(got.masked_BL, ids, -100))
    assert torch.equal(got.input_ids_BL[~got.masked_BL], ids[~got.masked_BL])
    for name in ("input_ids_BL", "labels_BL", "hidden_bases_B", "hidden_after_keep_B"):
        assert torch.equal(getattr(got, name), getattr(again, name))
    assert not torch.equal(got.masked_BL, other.masked_BL)
    assert bool((got.hidden_after_keep_B <= got.hidden_bases_B).all())
    assert bool((got.hidden_bases_B <= got.n_bases_B).all())
    assert got.n_bases_B.tolist()[:6] == [511, 100, 6, 0, 300, 70]
    has_target = got.masked_BL.any(dim=1)
    if corrupt == "span":
        assert torch.equal(has_target, lengths > 2)
    else:
        assert not bool(has_target[lengths == 3].all())  # one token, hardly ever drawn


def test_control_has_the_span_lengths_of_genemask():
    ids, lengths = random_rows(4000, 506)
    shares = {}
    for scheme in ("genemask", "genemask_worst", "span11", "curriculum"):
        got = mask_tokens(
            ids,
            lengths,
            scheme=scheme,
            centre_prob=0.0176,
            ranks_V=random_ranks(),
            generator=seeded(4),
            progress=0.4,
        )
        shares[scheme] = (got.masked_share, got.hidden_share)
    for masked, hidden in shares.values():
        assert masked == pytest.approx(shares["span11"][0], abs=0.002)
        assert hidden == pytest.approx(shares["span11"][1], abs=0.0015)


def test_genemask_hides_better_ranked_kmers_than_controls():
    """The k-mers whose k bases are all hidden: all 2k-1 tokens around them are masked."""
    ids, lengths = random_rows(500, 506)
    ranks = random_ranks()

    def hidden_rank(scheme, progress=0.0):
        masked = mask_tokens(
            ids,
            lengths,
            scheme=scheme,
            centre_prob=0.0176,
            ranks_V=ranks,
            generator=seeded(6),
            progress=progress,
        ).masked_BL
        hidden = masked.unfold(1, 11, 1).all(dim=2)
        return float(ranks[ids[:, 5:-5][hidden]].float().mean())

    best, control, worst = (hidden_rank(s) for s in ("genemask", "span11", "genemask_worst"))
    assert control == pytest.approx(4096 / 2, abs=100)
    assert best < control - 500
    assert worst > control + 500
    assert hidden_rank("curriculum", 0.0) == worst
    assert hidden_rank("curriculum", 1.0) == best
    assert worst > hidden_rank("curriculum", 0.2) > hidden_rank("curriculum", 0.8) > best


def test_special_tokens_are_never_the_modified_centre():
    ids = torch.full((1, 508), 7)
    ids[0, 98] = UNK
    ranks = torch.full((4101,), 100)
    ranks[:N_SPECIAL] = -1
    assert grow(506, 100, scheme="genemask", ids=ids, ranks_V=ranks) == list(range(95, 106))
    ranks[:N_SPECIAL] = 9999
    assert grow(506, 100, scheme="genemask_worst", ids=ids, ranks_V=ranks) == list(range(95, 106))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.float32])
def test_ranks_are_left_as_they_are(dtype):
    ids, lengths = random_rows(4, 60)
    ranks = random_ranks().to(dtype)
    before = ranks.clone()
    for scheme in SCHEMES:
        mask_tokens(ids, lengths, scheme=scheme, centre_prob=0.1, ranks_V=ranks, generator=seeded())
    assert torch.equal(ranks, before)


# --- centres and corruption -----------------------------------------------------------------------


def test_centres_are_drawn_at_tokens_only_and_at_the_given_rate():
    lengths = torch.tensor([508, 102, 3, 2] * 500)
    centres = draw_centres(lengths, 508, 0.0176, seeded())
    assert not centres[:, 0].any()
    position = torch.arange(508)
    assert not centres[position >= lengths[:, None] - 1].any()
    assert centres.sum() / (lengths - 2).sum() == pytest.approx(0.0176, abs=0.001)
    empty = ~centres[lengths == 102].any(dim=1)
    assert empty.float().mean() == pytest.approx((1 - 0.0176) ** 100, abs=0.05)


def test_forced_centre_is_uniform_and_changes_no_other_row():
    lengths = torch.full((20000,), 12)
    drawn = draw_centres(lengths, 12, 0.02, seeded())
    forced = draw_centres(lengths, 12, 0.02, seeded(), force_one=True)
    empty = ~drawn.any(dim=1)
    assert torch.equal(forced[~empty], drawn[~empty])
    assert forced[empty].sum(dim=1).unique().tolist() == [1]
    shares = forced[empty].float().mean(dim=0)
    assert shares[[0, 11]].tolist() == [0, 0]
    assert shares[1:11].numpy() == pytest.approx(0.1, abs=0.012)


def corruption_counts(corrupt: str):
    ids, lengths = random_rows(3000, 506)
    got = mask_tokens(
        ids, lengths, scheme="contiguous", centre_prob=0.02, generator=seeded(8), corrupt=corrupt
    )
    seen, true = got.input_ids_BL, ids
    return got, seen == MASK, (seen == true) & got.masked_BL


def test_corruption_per_token_is_80_10_10():
    got, is_mask, is_kept = corruption_counts("token")
    n_masked = got.masked_BL.sum()
    assert is_mask.sum() / n_masked == pytest.approx(0.8, abs=0.005)
    assert is_kept.sum() / n_masked == pytest.approx(0.1, abs=0.005)
    random = got.input_ids_BL[got.masked_BL & ~is_mask & ~is_kept]
    assert random.min() == 0  # special ids included, as in the released code
    assert random.max() == 4100
    assert random.float().mean() == pytest.approx(2050, abs=30)


def test_corruption_per_span_treats_a_run_as_one():
    got, is_mask, is_kept = corruption_counts("span")
    n_masked = got.masked_BL.sum()
    assert is_mask.sum() / n_masked == pytest.approx(0.8, abs=0.01)
    assert is_kept.sum() / n_masked == pytest.approx(0.1, abs=0.01)
    random = got.input_ids_BL[got.masked_BL & ~is_mask & ~is_kept]
    assert random.min() >= N_SPECIAL
    kind = torch.where(is_mask, 1, torch.where(is_kept, 2, 3))
    inside = got.masked_BL[:, 1:] & got.masked_BL[:, :-1]
    same = kind[:, 1:] == kind[:, :-1]
    # a random id may equal the true one, once in 4096 tokens
    assert same[inside].float().mean() > 0.999
    # whole spans are kept or hidden: one tenth of the hidden bases comes to light, not half
    assert got.hidden_after_keep_share / got.hidden_share == pytest.approx(0.9, abs=0.03)


# --- ranks, probabilities, errors -----------------------------------------------------------------


def test_ranks_by_token_follow_the_kmer_not_its_code():
    rank_of_code = np.arange(1, 4**6 + 1)
    ranks = ranks_by_token(rank_of_code, 6)
    assert len(ranks) == 4101
    for word in ("AAAAAA", "GATTAC", "TTTTTT", "GGGGGG"):
        assert int(ranks[vocabulary(6)[word]]) == kmer_index(word) + 1
    assert bool((ranks[:N_SPECIAL] > ranks[N_SPECIAL:].max()).all())
    with pytest.raises(ValueError, match="ranking has 64 entries, expected one per 6-mer: 4096"):
        ranks_by_token(np.arange(64), 6)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_centre_probability_for_a_share_of_hidden_bases(scheme):
    ranks = random_ranks()
    p = centre_prob_for_hidden(scheme, 0.10, 379, ranks_V=ranks, progress=0.5)
    ids, lengths = random_rows(3000, 379)
    got = mask_tokens(
        ids,
        lengths,
        scheme=scheme,
        centre_prob=p,
        ranks_V=ranks,
        generator=seeded(123),
        progress=0.5,
    )
    assert got.hidden_share == pytest.approx(0.10, abs=0.003)


@pytest.mark.parametrize("scheme", ["contiguous", "genemask", "genemask_reference"])
def test_centre_probability_for_rows_of_many_lengths(scheme):
    rng = np.random.default_rng(1)
    n_tokens = np.where(rng.random(2000) < 0.5, 506, rng.integers(1, 506, 2000))
    p = centre_prob_for_hidden(scheme, 0.10, n_tokens)
    rows = [rng.integers(0, 4, n + 5, dtype=np.uint8) for n in n_tokens]
    got = mask_tokens(
        *encode_sequences(rows, 6),
        scheme=scheme,
        centre_prob=p,
        ranks_V=random_ranks(),
        generator=seeded(5),
    )
    assert got.hidden_share == pytest.approx(0.10, abs=0.003)


def test_centre_probability_without_a_ranking_and_out_of_reach():
    p = centre_prob_for_hidden("genemask", 0.0664, 506, n_rows=1000)
    assert p == pytest.approx(0.0176, abs=0.001)
    with pytest.raises(ValueError, match=r"with one centre per row \(mean 10 tokens\)"):
        centre_prob_for_hidden("span11", 0.05, 10)
    with pytest.raises(ValueError, match="is 15, expected in"):
        centre_prob_for_hidden("span11", 15, 500)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheme": "genmask"}, r"scheme is 'genmask'.*did you mean genemask\?"),
        ({"corrupt": "spans"}, r"corrupt is 'spans'.*did you mean span\?"),
        ({"centre_prob": 15}, r"centre probability is 15, expected in \(0, 1\)"),
        ({"progress": 2.0}, "progress is 2.0"),
        ({"ranks_V": None}, "genemask ranks 6-mers and needs ranks_V"),
        ({"ranks_V": torch.arange(4096)}, "ranks_V has 4096 entries, expected .* 4101"),
    ],
)
def test_wrong_arguments_are_explained(options, message):
    ids, lengths = random_rows(2, 20)
    given = {"scheme": "genemask", "centre_prob": 0.1, "ranks_V": random_ranks()} | options
    with pytest.raises(ValueError, match=message):
        mask_tokens(ids, lengths, generator=seeded(), **given)


def test_reference_needs_positions_that_are_token_ids():
    ids, lengths = random_rows(2, 100, k=3)
    with pytest.raises(ValueError, match="rows of 102 ids need a vocabulary"):
        mask_tokens(
            ids,
            lengths,
            scheme="genemask_reference",
            centre_prob=0.1,
            ranks_V=random_ranks(3),
            k=3,
            generator=seeded(),
        )


def test_empty_batches():
    for n_rows, length in ((0, 2), (3, 2)):
        ids = torch.tensor([[CLS, SEP]] * n_rows, dtype=torch.int64).reshape(n_rows, 2)
        for scheme in SCHEMES:
            got = mask_tokens(
                ids,
                torch.full((n_rows,), length),
                scheme=scheme,
                centre_prob=0.5,
                ranks_V=random_ranks(),
                generator=seeded(),
            )
            assert not got.masked_BL.any()
            assert got.hidden_share == got.masked_share == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_cuda_grows_the_same_spans(scheme):
    ids, lengths = mixed_batch()
    ranks = random_ranks()
    centres = draw_centres(lengths, ids.shape[1], 0.02, seeded())
    if scheme != "span11":  # draws on the device, where the same seed gives other numbers
        here, there = (
            spans_from_centres(
                ids.to(device),
                lengths.to(device),
                centres.to(device),
                scheme=scheme,
                ranks_V=ranks,
                progress=0.3,
            ).cpu()
            for device in ("cpu", "cuda")
        )
        assert torch.equal(here, there)
    got = mask_tokens(
        ids.cuda(),
        lengths.cuda(),
        scheme=scheme,
        centre_prob=0.02,
        ranks_V=ranks,
        generator=torch.Generator("cuda").manual_seed(1),
    )
    assert got.masked_share > 0.05
    assert torch.equal(got.labels_BL.cpu(), torch.where(got.masked_BL.cpu(), ids, -100))
