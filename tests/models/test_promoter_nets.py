"""Promoter networks: sizes and shapes of the published ones, saving, heads, refusals."""

import math
from pathlib import Path

import numpy as np
import promoter_toys as toys
import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_flatten

from genomelm_utils.models.promoter_blocks import stack_codes
from genomelm_utils.models.promoter_legnet import SqueezeExcite, pair_rank
from genomelm_utils.models.promoter_mtlucifer import rotary_angles, rotate
from genomelm_utils.models.promoter_nets import (
    BACKBONES,
    PromoterConfig,
    PromoterNet,
    build_promoter_net,
    load_promoter_net,
)
from genomelm_utils.models.promoter_sizes import SIZES, sizes_of

THREE = {"Fluorescence": ["JURKAT", "K562", "THP1"]}


def on_paper(name: str, heads: dict | None = None, length_bp: int = 250, **sizes) -> PromoterNet:
    """A network without numbers: shapes alone."""
    config = PromoterConfig(
        backbone=name,
        sizes=sizes_of(name, {}) | sizes,
        heads=heads or THREE,
        head=BACKBONES[name].head,
        length_bp=length_bp,
    )
    with torch.device("meta"):
        return PromoterNet(config)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


PUBLISHED = {
    ("MTLucifer", 250): (66_248_960, 1024),
    ("MTLuciferFirst", 250): (30_201_856, 768),
    ("MTLuciferWithResidualBlocks", 250): (74_131_200, 1024),
    ("PureCNN", 250): (29_841_408, 1024),
    ("PureCNN", 200): (25_647_104, 1024),
    ("PureCNN", 145): (19_355_648, 1024),
    ("PureCNNLarge", 250): (27_750_400, 1024),
    ("ResNet", 250): (114_537_472, 1024),
    ("MPRAnn", 250): (4_257_550, 200),
    ("MPRAnn", 200): (3_507_550, 200),
    # without the released mapper of 18 x (width + 1) weights, which nothing ever reads
    ("LegNet", 250): (1_849_262 - 1_170, 64),
    ("LegNetLarge", 250): (33_059_558 - 18 * 257, 256),
    ("LegNetOriginal", 250): (1_849_262 - 1_170, 16_000),
}


@pytest.mark.parametrize(("name", "length"), PUBLISHED)
def test_sizes_are_the_published_ones(name: str, length: int) -> None:
    net = on_paper(name, length_bp=length)
    n_parameters, width = PUBLISHED[name, length]
    assert count(net.backbone) == n_parameters
    assert net.backbone.width == width
    assert count(net.heads) == 3 * (width + 1)
    codes = torch.zeros((2, length), dtype=torch.uint8, device="meta")
    assert net.backbone(codes, None).shape == (2, width)


def test_parts_of_mtlucifer() -> None:
    net = on_paper("MTLucifer").backbone
    assert count(net.stem) == 3_287_296
    assert count(net.blocks[0]) == 12_592_128
    assert count(on_paper("MTLucifer")) == 66_252_035
    codes = torch.zeros((2, 250), dtype=torch.uint8, device="meta")
    assert net.convolve(codes, None)[0].shape == (2, 1024, 250)
    residual = on_paper("MTLuciferWithResidualBlocks").backbone
    assert residual.convolve(codes, None)[0].shape == (2, 1024, 63)
    first = on_paper("MTLuciferFirst").backbone
    x = torch.zeros((2, 4, 250), device="meta")
    for block in first.stem:
        x, _ = block(x, None)
    assert x.shape == (2, 768, 244)


def test_maps_of_the_convolutional_networks() -> None:
    codes = torch.zeros((2, 250), dtype=torch.uint8, device="meta")
    assert on_paper("PureCNN").backbone.convolve(codes).shape == (2, 1024, 9)
    assert on_paper("PureCNNLarge").backbone.convolve(codes).shape == (2, 1024, 3)
    assert on_paper("ResNet").backbone.convolve(codes, None)[0].shape == (2, 2048, 31)
    assert on_paper("MPRAnn").backbone.linear1.in_features == 11_500


def test_sizes_of_malinois_with_its_branches() -> None:
    assert count(on_paper("Malinois")) == 4_107_183
    cells = {"MalinoisMPRA": ["K562", "HepG2", "GM12878", "SK-N-SH", "A549"]}
    five = on_paper("Malinois", cells)
    assert count(five) == 4_466_705
    assert five.backbone.linear.in_features == 2_600


@pytest.mark.parametrize(
    ("name", "n_motifs", "expected"),
    [
        ("MotifBasedFCN", 762, 5_235_200),
        ("MotifBasedFCN", 693, 5_093_888),
        ("MotifBasedFCNLarge", 762, 38_275_072),
        ("MotifBasedFCNLarge", 693, 38_133_760),
    ],
)
def test_sizes_of_the_motif_networks(name: str, n_motifs: int, expected: int) -> None:
    motifs = [f"m{i}" for i in range(n_motifs)]
    net = on_paper(name, motifs=motifs, max_width=20)
    assert count(net.backbone) == expected
    assert net.backbone.width == (1024 if "Large" in name else 512)


def test_parts_of_legnet() -> None:
    net = on_paper("LegNet").backbone
    assert count(net.stem) == 7_680
    blocks = [count(stage) - count(stage.resize) for stage in net.stages]
    assert blocks == [424_570, 191_382, 100_502, 49_362, 49_362, 49_362]
    assert [count(stage.resize) for stage in net.stages] == [
        *(459_008, 229_632, 114_816),
        *[57_472] * 3,
    ]
    assert count(SqueezeExcite(256, 512, 4)) == 152_698
    assert [pair_rank(n) for n in (64, 32, 16)] == [410, 102, 26]
    assert pair_rank(2) == 1  # of the narrowest networks, where a share rounds to none


def test_pairs_are_the_products_weighted_by_the_whole_tensor() -> None:
    net = toys.small_net("LegNet").backbone
    pairs = net.stages[0].excite.pairs
    x = torch.randn(3, pairs.a.shape[0], generator=torch.Generator().manual_seed(0))
    tensor = torch.einsum("r,ar,br,or->abo", pairs.weight, pairs.a, pairs.b, pairs.c)
    expected = torch.einsum("na,nb,abo->no", x, x, tensor) + pairs.bias
    assert torch.allclose(pairs(x), expected, atol=1e-6)
    assert float(tensor.detach().std()) == pytest.approx(0.00075, rel=0.2)


def test_rotary_positions_by_hand() -> None:
    angles = rotary_angles(2, 128, torch.device("cpu"))
    assert angles.shape == (2, 64)
    assert float(angles[1, 1]) == pytest.approx(0.8660, abs=5e-5)
    unit = torch.zeros(1, 1, 2, 128)
    unit[..., 0] = 1
    turned = rotate(unit, angles)[0, 0]
    assert turned[0, :2].tolist() == [1, 0]
    assert turned[1, :2].tolist() == pytest.approx([math.cos(1), math.sin(1)], abs=1e-6)
    assert turned[1, 2:].abs().max() == 0
    # what a query sees of a key depends on their distance alone
    q, k = torch.randn(2, 128, generator=torch.Generator().manual_seed(1))
    angles = rotary_angles(12, 128, torch.device("cpu"))
    at = [rotate(v.expand(1, 1, 12, 128), angles)[0, 0] for v in (q, k)]
    assert float(at[0][3] @ at[1][1]) == pytest.approx(float(at[0][11] @ at[1][9]), abs=1e-4)


class Bare(nn.Module):
    def forward(self, x: torch.Tensor, lengths: object) -> torch.Tensor:
        return x


def test_convolutions_of_mtlucifer_see_13_bases() -> None:
    net = toys.small_net("MTLucifer").backbone
    for block in net.stem:
        block.norm = Bare()  # a norm sees the whole sequence
    codes = torch.zeros((1, 60), dtype=torch.uint8)
    changed = codes.clone()
    changed[0, 30] = 2
    with torch.no_grad():
        moved = (net.convolve(codes, None)[0] - net.convolve(changed, None)[0]).abs().sum((0, 1))
    assert moved.nonzero()[:, 0].tolist() == list(range(24, 37))


def test_only_the_cls_token_of_the_last_block_is_needed() -> None:
    """The shortcut gives what all tokens would have given."""
    net = toys.small_net("MTLucifer").backbone
    codes = stack_codes(toys.random_rows([80, 80]))
    seen = []
    last = net.blocks[-1]
    handle = last.register_forward_pre_hook(lambda module, args: seen.append(args))
    with torch.no_grad():
        short = net(codes, None)
        handle.remove()
        tokens, angles, mask, n_queries = seen[0]
        whole = last(tokens, angles, mask)
    assert n_queries == 1
    assert whole.shape[1] == 81
    assert torch.allclose(whole[:, 0], short, atol=1e-6)


@pytest.mark.parametrize("name", toys.SMALL)
def test_saved_and_loaded_is_the_same(name: str, tmp_path: Path) -> None:
    net = toys.small_net(name, {"a": ["x", "y"], "b": ["z"]})
    net.save_pretrained(tmp_path)
    loaded = load_promoter_net(tmp_path)
    assert loaded.state_dict().keys() == net.state_dict().keys()
    for key, tensor in net.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], tensor)
    codes = stack_codes(toys.random_rows([toys.length_of(name)] * 2))
    with torch.no_grad():
        for task, n_outputs in (("a", 2), ("b", 1)):
            expected, found = net(codes, task=task), loaded(codes, task=task)
            assert torch.allclose(expected.logits, found.logits, atol=1e-6)
            assert found.logits.shape == (2, n_outputs)
            assert found.embedding.shape == (2, net.backbone.width)
            # what torch.compile and DDP do with outputs; a field named `values` hid the dict's own
            assert tree_flatten(found)[0][0] is found.logits
    assert not loaded.training
    assert loaded.outputs("a") == ["x", "y"]


@pytest.mark.parametrize("name", toys.SMALL)
def test_every_weight_learns(name: str) -> None:
    net = toys.small_net(name).train()
    codes = stack_codes(toys.random_rows([toys.length_of(name)] * 3))
    net(codes).logits.square().sum().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None] == []


def test_new_heads_on_a_pretrained_backbone(tmp_path: Path) -> None:
    net = toys.small_net("LegNet")
    net.save_pretrained(tmp_path)
    before = torch.random.get_rng_state()
    first = load_promoter_net(tmp_path, {"c": ["p", "q", "r"]}, seed=1)
    again = load_promoter_net(tmp_path, {"c": ["p", "q", "r"]}, seed=1)
    other = load_promoter_net(tmp_path, {"c": ["p", "q", "r"]}, seed=2, head="mlp")
    assert torch.equal(torch.random.get_rng_state(), before)
    for loaded in (first, again, other):
        for name, tensor in net.backbone.state_dict().items():
            assert torch.equal(loaded.backbone.state_dict()[name], tensor)
    assert torch.equal(first.heads["c"].weight, again.heads["c"].weight)
    codes = stack_codes(toys.random_rows([50]))
    assert other(codes).logits.shape == (1, 3)
    assert other.config.head == "mlp"


def test_the_same_seed_gives_the_same_network() -> None:
    nets = [build_promoter_net("LegNetMini", THREE, seed=s) for s in (4, 4, 5)]
    first, again, other = (net.state_dict() for net in nets)
    assert all(torch.equal(first[name], again[name]) for name in first)
    name = "backbone.stem.conv.weight"
    assert not torch.equal(first[name], other[name])


@pytest.mark.parametrize("head", ["linear", "mlp", "branched"])
def test_outputs_of_a_head_have_weights_of_their_own(head: str) -> None:
    net = toys.small_net("LegNet", head=head)
    codes = stack_codes(toys.random_rows([60, 60]))
    net(codes).logits[:, 0].sum().backward()
    output = net.heads["a"] if head == "linear" else net.heads["a"].output
    gradient = output.weight.grad.flatten(1).abs().sum(1)
    assert gradient[0] > 0
    assert gradient[1] == 0


def test_registry_and_sizes_agree() -> None:
    assert set(BACKBONES) == set(SIZES)
    for name, (sizes, source) in SIZES.items():
        assert sizes_of(name, {}) == sizes
        assert source
    with pytest.raises(ValueError, match="LegNet has no size 'n_layers', expected one of: chan"):
        sizes_of("LegNet", {"n_layers": 3})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "Bert"}, "unknown backbone 'Bert', expected one of: MTLucifer, "),
        ({"name": "PureCNN"}, "flattens places: give length_bp"),
        ({"name": "MPRAnn", "length_bp": 15}, "length_bp 15 is too short"),
        ({"name": "PureCNN", "length_bp": 20}, "length_bp 20 is too short"),
        ({"name": "MotifBasedFCN"}, "needs motifs"),
        ({"name": "DNABERT"}, "DNABERT needs checkpoint"),
        ({"name": "Enformer"}, "Enformer needs checkpoint"),
        ({"name": "LegNetMini", "heads": {}}, "no head"),
        ({"name": "LegNetMini", "heads": {"a.b": ["x"]}}, "without '.'"),
        ({"name": "LegNetMini", "heads": {"a": ["x", "x"]}}, "all of different names"),
        ({"name": "LegNetMini", "head": "deep"}, "head is 'deep', expected one of: linear, "),
        ({"name": "LegNetMini", "ambiguous": "n"}, "ambiguous is 'n', expected one of: zeros"),
        ({"name": "Malinois", "padding": "reference"}, "Malinois never counts padding"),
        ({"name": "Malinois", "flanks": "none"}, "flanks is 'none', expected corrected or"),
        ({"name": "MTLuciferMini", "n_heads": 5}, "width 128 in 5 heads"),
        ({"name": "MTLuciferMini", "channels": [40, 64]}, "40 channels, expected a multiple of 16"),
    ],
)
def test_wrong_settings_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_promoter_net(**{"heads": THREE, **arguments})


@pytest.mark.parametrize("name", toys.ONE_LENGTH)
def test_other_lengths_are_refused_by_networks_of_one_length(name: str) -> None:
    net = toys.small_net(name)
    only = toys.length_of(name)
    for rows in ([only, only - 1], [only + 20] * 2, [only - 10]):
        with pytest.raises(ValueError, match=rf"sequences of {only} bases only, found \d+ to"):
            net(stack_codes(toys.random_rows(rows)))


@pytest.mark.parametrize(
    ("name", "length"), [("Malinois", 601), ("DNABERTRandomInit", 516), ("MTLuciferFirst", 6)]
)
def test_lengths_that_an_architecture_cannot_read(name: str, length: int) -> None:
    with pytest.raises(ValueError, match=r"takes sequences of \d+ to \d+ bases, found"):
        toys.small_net(name)(stack_codes(toys.random_rows([length])))


def test_rows_that_are_no_codes_are_refused() -> None:
    net = toys.small_net("LegNet")
    with pytest.raises(ValueError, match="expected whole numbers"):
        net(torch.zeros(2, 50, 4))
    codes = stack_codes(toys.random_rows([50, 50]))
    codes[0, 10] = 15
    with pytest.raises(ValueError, match="padding before its end"):
        net(codes)
    with pytest.raises(ValueError, match=r"found 'J' .* at position 2"):
        stack_codes(["ACGT", "ACJT"])
    with pytest.raises(ValueError, match="no sequence"):
        stack_codes([])
    with pytest.raises(ValueError, match="sequence 1 has shape"):
        stack_codes(["ACGT", np.array([], dtype=np.uint8)])


def test_tasks_are_asked_for_by_name() -> None:
    net = toys.small_net("LegNet", {"a": ["x"], "b": ["z"]})
    codes = stack_codes(toys.random_rows([50]))
    with pytest.raises(ValueError, match="task is None, expected one of: a, b"):
        net(codes)
    with pytest.raises(ValueError, match="task is 'c', expected one of: a, b"):
        net(codes, task="c")


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    toys.small_net("LegNet").save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    weights["odd"] = weights.pop("backbone.stem.conv.weight")
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"missing weights \['backbone.stem.conv.weight'\]"):
        load_promoter_net(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"config\.json does not exist"):
        load_promoter_net(tmp_path / "nowhere")
