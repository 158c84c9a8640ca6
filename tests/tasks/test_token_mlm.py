"""Pretraining on byte-pair tokens: pure batches, loss at masked tokens, resume, what it learns."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForMaskedLM, AutoTokenizer

from genomelm_utils.datasets.species import simulate_genome_set
from genomelm_utils.datasets.species_pairs import Pairs, PairSampler
from genomelm_utils.models.alibi_loading import load_alibi
from genomelm_utils.pretraining.masking import IGNORE
from genomelm_utils.pretraining.token_bits import freeze_tokens, token_baselines
from genomelm_utils.sequences.alphabet import encode
from genomelm_utils.sequences.simulate_species import simulate_species
from genomelm_utils.tasks.token_mlm import (
    TokenBatches,
    TokenMLMTask,
    build_alibi_mlm,
    pretrain_alibi_mlm,
)
from genomelm_utils.tokenizers.bpe import MASK, load_bpe, token_bases, train_bpe, train_bpe_on_store


@pytest.fixture(scope="module")
def genomes(tmp_path_factory: pytest.TempPathFactory):
    simulated = simulate_species(np.random.default_rng(5), n_species=3, bases_per_species=30_000)
    return simulate_genome_set(simulated, tmp_path_factory.mktemp("mlm"), n_train=2, seed=1)


@pytest.fixture(scope="module")
def tokenizer(genomes):
    return train_bpe_on_store(genomes.store, 64, 60_000, runs=genomes.regions("train")[0])


def make_sampler(genomes, part: str = "train") -> PairSampler:
    return PairSampler(genomes, part, lengths_bp=(60, 120), seed=2)


def make_batches(genomes, tokenizer, **changes) -> TokenBatches:
    settings = {"rows_per_step": 10, "micro_batches": 3, "max_tokens": 40, "seed": 1}
    return TokenBatches(make_sampler(genomes), tokenizer, **{**settings, **changes})


def test_batches_are_a_pure_function_in_any_order(genomes, tokenizer) -> None:
    first, second = make_batches(genomes, tokenizer), make_batches(genomes, tokenizer)
    forward = {(s, m): first(s, m) for s in range(4) for m in range(3)}
    for s, m in [(3, 1), (0, 2), (2, 0), (0, 0), (3, 2)]:
        for name, value in second(s, m).items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(forward[s, m][name]))
    other = make_batches(genomes, tokenizer, seed=2)(0, 0)
    assert not torch.equal(other["input_ids"], forward[0, 0]["input_ids"])


def test_micro_batches_share_the_rows_of_a_step(genomes, tokenizer) -> None:
    batches = make_batches(genomes, tokenizer)
    parts = [batches(2, m) for m in range(3)]
    assert [len(part["input_ids"]) for part in parts] == [3, 3, 4]
    rows = make_sampler(genomes).pairs(2, 0, 10).first
    restored = []
    for part in parts:
        ids_BL = part["input_ids"].clone()
        ids_BL.view(-1)[part["positions"]] = part["targets"]
        restored += [row[m] for row, m in zip(ids_BL, part["attention_mask"], strict=True)]
        assert part["n_targets"] == len(part["targets"])
        assert part["n_tokens"] == int(part["attention_mask"].sum())
        assert int(part["attention_mask"].sum(dim=1).max()) <= 40
    bases_V = token_bases(tokenizer)
    uncut = [i for i, row in enumerate(restored) if len(row) < 40]
    assert uncut
    assert all(bases_V[restored[i]].sum() == len(rows[i]) for i in uncut)


def test_more_micro_batches_than_rows(genomes, tokenizer) -> None:
    with pytest.raises(ValueError, match="at least one row for each of the 3 micro-batches"):
        make_batches(genomes, tokenizer, rows_per_step=2)


def test_loss_is_the_cross_entropy_at_the_masked_tokens(genomes, tokenizer) -> None:
    model = build_alibi_mlm("micro", len(tokenizer), seed=3).eval()
    batch = make_batches(genomes, tokenizer)(0, 0)
    n_targets, _ = batch.pop("n_targets"), batch.pop("n_tokens")
    loss, n = TokenMLMTask(model)(**batch)
    labels_BL = torch.full_like(batch["input_ids"], IGNORE)
    labels_BL.view(-1)[batch["positions"]] = batch["targets"]
    logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    expected = F.cross_entropy(logits.flatten(0, 1), labels_BL.flatten(), reduction="sum")
    assert n == n_targets
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_same_seed_gives_the_same_weights(tokenizer) -> None:
    torch.manual_seed(7)
    state = torch.get_rng_state()
    first, again = (build_alibi_mlm("micro", len(tokenizer), seed=4) for _ in range(2))
    other = build_alibi_mlm("micro", len(tokenizer), seed=5)
    name = "bert.embeddings.word_embeddings.weight"
    assert torch.equal(first.state_dict()[name], again.state_dict()[name])
    assert not torch.equal(first.state_dict()[name], other.state_dict()[name])
    assert torch.equal(torch.get_rng_state(), state)


class Killed(Exception):
    pass


class DyingWindows:
    """Windows up to a step."""

    def __init__(self, windows: PairSampler, step: int) -> None:
        self.windows, self.step = windows, step

    def pairs(self, step: int, start: int, stop: int) -> Pairs:
        if step == self.step:
            raise Killed
        return self.windows.pairs(step, start, stop)


def run(genomes, tokenizer, folder: Path, dies_at: int = -1, **changes):
    settings = {"preset": "micro", "rows_per_step": 8, "micro_batches": 2, "steps": 6}
    settings |= {"max_tokens": 40, "warmup_steps": 2, "eval_every": 3, "save_every": 2}
    settings |= {"precision": "fp32", "progress": False, "seed": 6}
    frozen = freeze_tokens(make_sampler(genomes, "valid"), tokenizer, n_rows=8, max_tokens=40)
    windows = DyingWindows(make_sampler(genomes), dies_at)
    return pretrain_alibi_mlm(windows, frozen, tokenizer, folder=folder, **(settings | changes))


def test_a_run_that_stops_goes_on_and_loads(genomes, tokenizer, tmp_path: Path) -> None:
    whole = run(genomes, tokenizer, tmp_path / "whole")
    history = whole.fit.history
    assert {"valid_bits_per_base", "valid_bits_per_base_length_known"} <= set(history.columns)

    with pytest.raises(Killed):
        run(genomes, tokenizer, tmp_path / "killed", dies_at=4)
    resumed = run(genomes, tokenizer, tmp_path / "killed")
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name

    with pytest.raises(ValueError, match="tokenizer"):
        other = train_bpe_on_store(genomes.store, 64, 60_000, seed=9)
        run(genomes, other, tmp_path / "killed", steps=8)

    loaded = AutoModelForMaskedLM.from_pretrained(whole.final)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name
    encoder = load_alibi(whole.final, "encoder")
    name = "embeddings.word_embeddings.weight"
    assert torch.equal(encoder.state_dict()[name], whole.model.state_dict()[f"bert.{name}"])
    assert load_bpe(whole.final).get_vocab() == tokenizer.get_vocab()
    assert AutoTokenizer.from_pretrained(whole.final).mask_token_id == MASK


class AlternatingWindows:
    """Rows of one of two words all along, so that the neighbours tell most of it."""

    def pairs(self, step: int, start: int, stop: int) -> SimpleNamespace:
        rng = np.random.default_rng([step, start])
        words = [encode("ACA" * 8), encode("GTT" * 8)]
        return SimpleNamespace(first=[words[i] for i in rng.integers(0, 2, stop - start)])


def test_the_context_is_learnt(tmp_path: Path) -> None:
    tokenizer = train_bpe(["ACGT"], 9)
    frozen = freeze_tokens(AlternatingWindows(), tokenizer, n_rows=20)
    counts_V = np.bincount(torch.cat([batch.targets_N for batch in frozen]), minlength=9)
    table = token_baselines(counts_V, frozen, token_bases(tokenizer)).set_index("baseline")
    result = pretrain_alibi_mlm(
        AlternatingWindows(),
        frozen,
        tokenizer,
        folder=tmp_path,
        preset="micro",
        rows_per_step=16,
        steps=30,
        warmup_steps=3,
        peak_lr=1e-3,
        eval_every=0,
        save_every=0,
        precision="fp32",
        progress=False,
    )
    last = result.fit.history.iloc[-1]
    assert table.loc["frequencies", "bits_per_base"] > 1.5
    assert last["valid_bits_per_base"] < 1.2
