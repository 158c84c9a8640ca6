"""Contrastive task: gradients of chunks, mixing draws, batches, the projection's files."""

import numpy as np
import pytest
import torch
from species_toy import Toy, make_toy, weights_of

from genomelm_utils.datasets import species_pairs
from genomelm_utils.models.alibi_bert import AlibiBertModel, Mixing
from genomelm_utils.sequences.alphabet import reverse_complement
from genomelm_utils.tasks.contrastive import (
    NO_SPECIES,
    ContrastiveTask,
    build_head,
    embed_strands,
    read_con_weights,
    same_species,
)
from genomelm_utils.tasks.contrastive_batches import (
    PairBatches,
    check_shares,
    draw_mixing,
    read_strands,
)
from genomelm_utils.tokenizers.bpe import pad_batch, tokenize_codes
from genomelm_utils.training.losses import imix, weighted_simclr


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return Toy(make_toy(tmp_path_factory.mktemp("toy")))


def split_batch(batch: dict) -> dict:
    return {k: v for k, v in batch.items() if torch.is_tensor(v)}


def make_batches(toy: Toy, mix: bool, **changes) -> PairBatches:
    settings = {"batch_pairs": 8, "seed": 4, "n_layers": 2 if mix else None, **changes}
    return PairBatches(toy.sampler(), toy.tokenizer, **settings)


# ---- mixing


def test_mixing_draws():
    """Golden fact 9: weights of Beta(1, 1) turned to [0.5, 1], mean 0.75; layers 0 to 11."""
    draws = [draw_mixing(48, 48, 12, seed=1, step=step) for step in range(300)]
    weights = torch.cat([draw.weight_B for draw in draws])
    assert weights.min() >= 0.5
    assert weights.max() <= 1
    assert weights.mean().item() == pytest.approx(0.75, abs=0.01)
    layers = torch.stack([draw.layer_B for draw in draws])
    assert (layers == layers[:, :1]).all()
    assert set(layers.flatten().tolist()) == set(range(12))
    for draw in draws[:3]:
        assert draw.partner_B.sort().values.tolist() == list(range(48))
        assert torch.equal(draw.partner_B, draw.label_B)
    fixed = draw_mixing(48, 48, 12, seed=1, step=0, layer=0)
    assert set(fixed.layer_B.tolist()) == {0}


def test_partners_stay_in_their_group_and_are_counted_in_the_batch():
    draw = draw_mixing(48, 6, 12, seed=1, step=3)
    own = torch.arange(48)
    assert torch.equal(draw.partner_B // 6, own // 6)
    assert draw.partner_B.sort().values.tolist() == list(range(48))
    ragged = draw_mixing(10, 4, 12, seed=1, step=3)
    assert ragged.partner_B[8:].sort().values.tolist() == [8, 9]


@pytest.mark.parametrize("partner_index", ["global", "replica"])
def test_weights_and_the_layer_do_not_depend_on_the_groups(partner_index):
    for step in range(20):
        draws = [
            draw_mixing(48, group, 12, seed=1, step=step, partner_index=partner_index)
            for group in (48, 12, 6)
        ]
        for draw in draws[1:]:
            assert torch.equal(draw.weight_B, draws[0].weight_B)
            if partner_index == "global":
                assert torch.equal(draw.layer_B, draws[0].layer_B)


def test_released_labels_are_counted_per_replica():
    """Defect B1: of 8 replicas with 6 rows only the first names its true partners."""
    right = 0
    for step in range(50):
        draw = draw_mixing(48, 6, 12, seed=1, step=step, partner_index="replica")
        assert draw.label_B.max() < 6
        assert torch.equal(draw.partner_B % 6, draw.label_B)
        right += (draw.partner_B == draw.label_B).sum().item()
    assert right / (50 * 48) == 1 / 8
    assert len(draw.layer_B.unique()) > 1


def test_mixed_lengths_are_those_of_the_shorter_parent(toy):
    """Golden fact 9: lengths [30, 20, 10, 25] with partners [1, 3, 2, 0]."""
    lengths = torch.tensor([30, 20, 10, 25])
    mask = torch.arange(30) < lengths[:, None]
    mixing = Mixing(layer=1, partner_B=torch.tensor([1, 3, 2, 0]), weight_B=torch.full((4,), 0.7))
    _, after = toy.model().encode(torch.full((4, 30), 5), mask, mixing)
    assert after.sum(1).tolist() == [20, 20, 10, 25]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer": 12}, "mix_layer is 12, expected 0 to 11"),
        ({"layer": -2}, "mix_layer is -2"),
        ({"partner_index": "local"}, "partner_index is 'local'.*global, replica"),
    ],
)
def test_bad_mixing_settings(changes, message):
    with pytest.raises(ValueError, match=message):
        draw_mixing(4, 4, 12, seed=0, step=0, **changes)


# ---- batches


@pytest.mark.parametrize("mix", [False, True])
def test_shares_of_processes_make_up_the_batch(toy, mix):
    whole = make_batches(toy, mix, chunk_pairs=4)(3, 0)
    shares = [make_batches(toy, mix, chunk_pairs=4, n_processes=2)(3, rank) for rank in (0, 1)]
    assert whole["n_targets"] == sum(share["n_targets"] for share in shares) == 8
    assert whole["n_tokens"] == sum(share["n_tokens"] for share in shares)
    names = ["species"] + ["mix_partner", "mix_label", "mix_weight", "mix_layer"] * mix
    for name in names:
        assert torch.equal(whole[name], torch.cat([share[name] for share in shares])), name
    for view in ("first", "second"):
        rows = [
            ids[mask]
            for batch in (whole, *shares)
            for ids, mask in zip(batch[f"{view}_ids"], batch[f"{view}_mask"], strict=True)
        ]
        assert all(torch.equal(a, b) for a, b in zip(rows[:8], rows[8:], strict=True))


def test_batches_are_pure_and_cut_to_max_tokens(toy):
    batches = make_batches(toy, True, max_tokens=20)
    first, again, later = batches(2, 0), batches(2, 0), batches(3, 0)
    assert all(torch.equal(first[k], again[k]) for k in split_batch(first))
    assert not torch.equal(first["first_ids"], later["first_ids"])
    assert first["first_ids"].shape[2] == 20
    shifted = make_batches(toy, True, max_tokens=20, first_step=2)(1, 0)
    assert torch.equal(shifted["first_ids"], later["first_ids"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((9, 2, 0), "batch_pairs is 9, expected at least 2 and a multiple of the 2 processes"),
        ((1, 1, 0), "batch_pairs is 1"),
        ((8, 2, 3), "chunk_pairs is 3, expected 0 or a divisor of the 4 pairs"),
    ],
)
def test_batches_that_cannot_be_shared(arguments, message):
    with pytest.raises(ValueError, match=message):
        check_shares(*arguments)


def test_mixing_groups_that_depend_on_the_processes_are_refused(toy):
    with pytest.raises(ValueError, match=r"chunk_pairs is 0 for mixtures in 2 processes.*take 4"):
        make_batches(toy, True, n_processes=2)
    assert make_batches(toy, False, n_processes=2)(0, 1)["n_targets"] == 4
    taken = [make_batches(toy, True, chunk_pairs=4, n_processes=n)(0, n - 1) for n in (1, 2)]
    assert torch.equal(taken[0]["mix_label"][4:], taken[1]["mix_label"])


# ---- the task


@pytest.mark.parametrize("head_dim", [0, 16])
@pytest.mark.parametrize("strands", ["both", "random"])
@pytest.mark.parametrize("objective", ["weighted_simclr", "mix"])
def test_loss_is_that_of_the_encoded_views(toy, objective, strands, head_dim):
    """Encoded row by row, projected and compared by hand."""
    batch = split_batch(make_batches(toy, True, strands=strands)(0, 0))
    assert batch["first_ids"].shape[1] == (2 if strands == "both" else 1)
    task = ContrastiveTask(toy.model(), objective=objective, head_dim=head_dim).eval()

    def embed(ids, mask):
        windows = [
            sum(task.model.encode(i[m][None])[0][0].mean(0) for i, m in zip(*strands, strict=True))
            for strands in zip(ids, mask, strict=True)
        ]
        return torch.nn.functional.normalize(task.head(torch.stack(windows) / ids.shape[1]))

    with torch.no_grad():
        loss, n = task(**batch)
        second = embed(batch["second_ids"], batch["second_mask"])
        same = same_species(batch["species"])
        if objective == "mix":
            mixing = Mixing(int(batch["mix_layer"][0]), batch["mix_partner"], batch["mix_weight"])
            strands = zip(batch["first_ids"].unbind(1), batch["first_mask"].unbind(1), strict=True)
            encoded = [task.model.encode(ids, mask, mixing) for ids, mask in strands]
            rows = [
                torch.stack([h[m].mean(0) for h, m in zip(hidden, mask, strict=True)])
                for hidden, mask in encoded
            ]
            first = torch.nn.functional.normalize(task.head(sum(rows) / len(rows)))
            expected = imix(
                first, second, batch["mix_partner"], batch["mix_weight"], 0.05, same_BB=same
            )
        else:
            first = embed(batch["first_ids"], batch["first_mask"])
            expected = weighted_simclr(first, second, 0.05, same_BB=same)
    assert n == 8
    assert loss.item() / 8 == pytest.approx(expected.item(), rel=1e-4)


def gradients(toy, objective, dropout=0.0, **changes):
    task = ContrastiveTask(toy.model(dropout), objective=objective, **changes).train()
    # groups of 4 in both, so that mixing is the same
    batch = split_batch(make_batches(toy, True, chunk_pairs=4)(0, 0))
    if changes.get("chunk_pairs") != 4:
        batch["mix_partner"] = batch["mix_label"]
    torch.manual_seed(1)
    loss, _ = task(**batch)
    loss.backward()
    return loss.item(), {n: p.grad for n, p in task.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("objective", ["weighted_simclr", "simclr", "mix"])
def test_chunks_have_the_gradient_of_the_whole_batch(toy, objective):
    whole, expected = gradients(toy, objective)
    chunked, found = gradients(toy, objective, chunk_pairs=4)
    assert chunked == pytest.approx(whole, rel=1e-5)
    scale = max(gradient.abs().max() for gradient in expected.values())
    for name, gradient in expected.items():
        assert torch.allclose(found[name] / scale, gradient / scale, atol=1e-5), name


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("objective", ["weighted_simclr", "mix"])
def test_chunks_on_cuda_have_the_loss_and_gradient_of_the_cpu(toy, objective):
    batch = split_batch(make_batches(toy, True, chunk_pairs=4)(0, 0))
    found = []
    for device in ("cpu", "cuda"):
        task = ContrastiveTask(toy.model(), objective=objective, chunk_pairs=4).to(device)
        loss, _ = task(**{name: tensor.to(device) for name, tensor in batch.items()})
        loss.backward()
        gradients = [p.grad.flatten().cpu() for p in task.parameters() if p.requires_grad]
        found.append((loss.item(), torch.cat(gradients)))
    (cpu_loss, cpu), (cuda_loss, cuda) = found
    assert cuda_loss == pytest.approx(cpu_loss, rel=1e-2)
    assert torch.nn.functional.cosine_similarity(cpu, cuda, dim=0) > 0.99


def test_chunks_compute_twice_with_the_same_dropout_and_one_chunk_computes_once(toy, monkeypatch):
    calls = []
    encode = AlibiBertModel.encode

    def note(self, *arguments):
        out = encode(self, *arguments)
        calls.append(out[0].detach().clone())
        return out

    monkeypatch.setattr(AlibiBertModel, "encode", note)
    gradients(toy, "weighted_simclr", dropout=0.1, chunk_pairs=4)
    assert len(calls) == 8  # two chunks of two views, once each way
    for chunk, again in ((0, 6), (1, 7), (2, 4), (3, 5)):
        assert torch.equal(calls[chunk], calls[again])
    calls.clear()
    gradients(toy, "weighted_simclr", dropout=0.1, chunk_pairs=8)
    assert len(calls) == 2


def test_every_parameter_but_the_pooler_learns(toy):
    for objective in ("weighted_simclr", "mix"):
        task = ContrastiveTask(toy.model(), objective=objective)
        loss, _ = task(**split_batch(make_batches(toy, True)(0, 0)))
        loss.backward()
        for name, parameter in task.named_parameters():
            assert (parameter.grad is None) == name.startswith("model.pooler."), name


def test_same_species_pairs_are_negatives_only_as_released(toy):
    batch = split_batch(make_batches(toy, False)(0, 0))
    batch["species"] = torch.zeros(8, dtype=torch.int64)
    loss, _ = ContrastiveTask(toy.model())(**batch)
    assert loss.item() == 0
    released, _ = ContrastiveTask(toy.model(), same_species_negatives=True)(**batch)
    batch["species"] = torch.full((8,), NO_SPECIES)
    unknown, _ = ContrastiveTask(toy.model())(**batch)
    assert released.item() == unknown.item() > 0
    assert species_pairs.NO_SPECIES == NO_SPECIES


def test_wrong_words(toy):
    with pytest.raises(ValueError, match=r"unknown objective 'imix'.*weighted_simclr"):
        ContrastiveTask(toy.model(), objective="imix")
    with pytest.raises(ValueError, match="unknown soft_labels 'hard'"):
        ContrastiveTask(toy.model(), soft_labels="hard")
    task = ContrastiveTask(toy.model(), objective="mix")
    with pytest.raises(ValueError, match="'mix' needs batches with mix_partner"):
        task(**split_batch(make_batches(toy, False)(0, 0)))


# ---- the projection


def test_projection_has_the_published_layout(tmp_path, toy):
    """Golden fact 1: 688,128 parameters under the keys 0.weight and 2.weight."""
    head = build_head(768)
    assert {name: tuple(w.shape) for name, w in head.state_dict().items()} == {
        "0.weight": (768, 768),
        "2.weight": (128, 768),
    }
    assert sum(w.numel() for w in head.parameters()) == 688_128
    state = torch.random.get_rng_state()
    assert torch.equal(weights_of(build_head(8, 4, seed=2)), weights_of(build_head(8, 4, seed=2)))
    assert torch.equal(state, torch.random.get_rng_state())
    with pytest.raises(FileNotFoundError, match=r"neither con_weights\.safetensors nor"):
        read_con_weights(tmp_path)
    task = ContrastiveTask(toy.model())
    torch.save(task.head.state_dict(), tmp_path / "con_weights.ckpt")
    released = read_con_weights(tmp_path)
    task.save_beside(tmp_path)
    ours = read_con_weights(tmp_path)
    for name, weight in task.head.state_dict().items():
        assert torch.equal(weight, ours[name])
        assert torch.equal(weight, released[name])


def test_projections_are_unit_vectors(toy):
    task = ContrastiveTask(toy.model())
    found = task.project(torch.from_numpy(np.random.default_rng(0).normal(size=(5, 32))).float())
    assert torch.allclose(found.norm(dim=1), torch.ones(5))
    assert found.shape == (5, 128)


def test_both_strands_are_the_window_and_its_reverse_complement(toy):
    """The second strand of a row is what the reverse complement of its window is tokenised to."""
    windows = toy.sampler().pairs(0, 0, 3).first
    read = read_strands(windows, "both")
    assert len(read) == 6
    for window, given, turned in zip(windows, read[::2], read[1::2], strict=True):
        assert np.array_equal(given, window)
        assert np.array_equal(reverse_complement(turned), window)
    assert len(read_strands(windows, "forward")) == 3


def test_an_unknown_word_for_strands_names_the_choices(toy):
    with pytest.raises(ValueError, match="strands is 'two', expected one of: both, random, forw"):
        make_batches(toy, False, strands="two")


def test_embeddings_over_both_strands_do_not_depend_on_the_strand_given(toy):
    model = toy.model().eval()
    windows = toy.sampler().pairs(0, 0, 4).first
    found = []
    for given in (windows, [reverse_complement(codes) for codes in windows]):
        ids = tokenize_codes(toy.tokenizer, read_strands(given, "both"))
        ids_BL, mask_BL = pad_batch(ids)
        with torch.no_grad():
            rows = ids_BL.unflatten(0, (4, 2)), mask_BL.unflatten(0, (4, 2))
            found.append(embed_strands(model, *rows))
    assert torch.allclose(*found, atol=1e-6)


def test_without_a_projection_nothing_is_saved_beside(toy, tmp_path):
    task = ContrastiveTask(toy.model(), head_dim=0)
    task.save_beside(tmp_path)
    assert not list(tmp_path.iterdir())
    unit = task.project(torch.tensor([[3.0, 4.0]]))
    assert torch.allclose(unit, torch.tensor([[0.6, 0.8]]))
