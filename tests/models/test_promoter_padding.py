"""What a sequence gives does not depend on its batch; the released way, in which it does."""

import promoter_toys as toys
import pytest
import torch
from torch import nn
from torch.nn import functional

from genomelm_utils.models.promoter_blocks import (
    PAD_CODE,
    BatchNorm,
    GroupNorm,
    base_shares,
    find_lengths,
    one_hot,
    stack_codes,
)
from genomelm_utils.models.promoter_cnns import MPRA_DOWNSTREAM, MPRA_UPSTREAM
from genomelm_utils.sequences.alphabet import encode

LENGTHS = [100, 57, 31, 88]


@pytest.mark.parametrize("name", toys.ANY_LENGTH)
def test_company_and_padding_change_nothing(name: str) -> None:
    net, rows = toys.small_net(name), toys.random_rows(LENGTHS)
    together = stack_codes(rows)
    wider = functional.pad(together, (0, 150), value=PAD_CODE)
    with torch.no_grad():
        expected = torch.cat([net(stack_codes([row])).logits for row in rows])
        for codes in (together, wider):
            assert torch.allclose(net(codes).logits, expected, atol=1e-5, rtol=1e-5)
    assert expected.std(0).max() > 1e-3  # not all the same anyway


@pytest.mark.parametrize("name", ["MTLucifer", "MTLuciferFirst", "ResNet", "LegNet"])
def test_reference_padding_counts_like_bases(name: str) -> None:
    rows = toys.random_rows([100])
    codes = stack_codes(rows)
    wider = functional.pad(codes, (0, 150), value=PAD_CODE)
    moved = {}
    for padding in ("corrected", "reference"):
        net = toys.small_net(name, padding=padding)
        with torch.no_grad():
            alone = net.embed(codes)
            moved[padding] = float((net.embed(wider) - alone).abs().max() / alone.std())
    assert moved["corrected"] < 1e-5
    assert moved["reference"] > 0.01


@pytest.mark.parametrize("padding", ["corrected", "reference"])
def test_padding_makes_no_difference_where_there_is_none(padding: str) -> None:
    codes = stack_codes(toys.random_rows([70, 70]))
    with torch.no_grad():
        expected = toys.small_net("MTLucifer")(codes).logits
        assert torch.equal(toys.small_net("MTLucifer", padding=padding)(codes).logits, expected)


def test_group_norm_counts_own_places_only() -> None:
    norm = GroupNorm(32)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
        x = torch.randn(3, 32, 20)
        lengths = torch.tensor([20, 7, 1])
        found = norm(x, lengths)
        for row, length in enumerate(lengths.tolist()):
            alone = norm(x[[row], :, :length])
            assert torch.allclose(found[[row], :, :length], alone, atol=1e-5)


def test_batch_norm_learns_from_places_of_sequences_only() -> None:
    ours, plain = BatchNorm(8).train(), nn.BatchNorm1d(8).train()
    x = torch.randn(3, 8, 20, requires_grad=True)
    lengths = torch.tensor([20, 7, 12])
    found = ours(x, lengths)
    places = torch.cat([x[row, :, :length].T for row, length in enumerate(lengths.tolist())])
    expected = plain(places)
    kept = torch.cat([found[row, :, :length].T for row, length in enumerate(lengths.tolist())])
    assert torch.allclose(kept, expected, atol=1e-5)
    assert torch.allclose(ours.running_mean, plain.running_mean, atol=1e-6)
    assert torch.allclose(ours.running_var, plain.running_var, atol=1e-6)
    assert int(ours.num_batches_tracked) == 1
    target = torch.randn(kept.shape)
    (wanted,) = torch.autograd.grad((expected * target).sum(), x, retain_graph=True)
    (got,) = torch.autograd.grad((kept * target).sum(), x)
    assert torch.allclose(got, wanted, atol=1e-4)


def test_one_hot_and_what_ambiguous_bases_read_as() -> None:
    codes = torch.from_numpy(encode("ACGTNR"))[None]
    codes = functional.pad(codes, (0, 1), value=PAD_CODE)
    zeros = one_hot(codes)[0].T
    assert torch.equal(zeros[:4], torch.eye(4))
    assert zeros[4:].abs().sum() == 0
    shares = one_hot(codes, "shares")[0].T
    assert torch.equal(shares[:4], torch.eye(4))
    assert shares[4].tolist() == [0.25] * 4
    assert shares[5].tolist() == [0.5, 0, 0.5, 0]
    assert shares[6].tolist() == [0] * 4
    assert torch.equal(base_shares()[:15].sum(1), torch.ones(15))


def test_ambiguous_policies_differ_only_where_a_base_is_ambiguous() -> None:
    nets = [toys.small_net("LegNet", ambiguous=policy) for policy in ("zeros", "shares")]
    plain, unsure = stack_codes(["ACGTACGTAC"]), stack_codes(["ACGTRCGTAC"])
    with torch.no_grad():
        assert torch.equal(*(net(plain).logits for net in nets))
        assert not torch.equal(*(net(unsure).logits for net in nets))


def test_lengths_are_found() -> None:
    assert find_lengths(stack_codes(["ACG", "TTT"])) is None
    assert find_lengths(stack_codes(["ACG", "T"])).tolist() == [3, 1]
    with pytest.raises(ValueError, match="padding before its end, or nothing else"):
        find_lengths(torch.tensor([[0, 1], [PAD_CODE, PAD_CODE]]))


@pytest.mark.parametrize("flanks", ["corrected", "reference"])
def test_malinois_puts_sequences_in_the_middle_of_the_plasmid(flanks: str) -> None:
    net = toys.small_net("Malinois", flanks=flanks).backbone
    rows = toys.random_rows([200, 99])
    placed = net.place(stack_codes(rows), torch.tensor([200, 99])).numpy()
    for row, one, left in zip(placed, rows, (200, 250), strict=True):
        right = 600 - left - len(one)
        assert (row[left : left + len(one)] == one).all()
        if flanks == "reference":
            assert (row[:left] == PAD_CODE).all()
            assert (row[-right:] == PAD_CODE).all()
        else:
            assert (row[:left] == encode(MPRA_UPSTREAM)[-left:]).all()
            assert (row[-right:] == encode(MPRA_DOWNSTREAM)[:right]).all()


def test_malinois_takes_another_plasmid_s_flanks() -> None:
    own = toys.small_net("Malinois", upstream="ACGT", downstream="GG").backbone
    placed = own.place(stack_codes(["TTT"]), None)[0].tolist()
    assert placed[294:305] == [0, 1, 2, 3, 3, 3, 3, 2, 2, PAD_CODE, PAD_CODE]
    assert placed[293] == PAD_CODE


def test_malinois_reads_the_flanks() -> None:
    codes = stack_codes(toys.random_rows([100]))
    nets = [toys.small_net("Malinois", flanks=f) for f in ("corrected", "reference")]
    with torch.no_grad():
        assert not torch.allclose(*(net(codes).logits for net in nets))
