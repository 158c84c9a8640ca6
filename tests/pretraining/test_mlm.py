"""Pretraining: batches as pure functions, loss at masked tokens, a run that resumes and loads."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import AutoTokenizer, BertForMaskedLM

from genomelm_utils.models.presets import build_masked_lm
from genomelm_utils.pretraining.bits import frozen_validation
from genomelm_utils.pretraining.masking import IGNORE, SCHEMES
from genomelm_utils.pretraining.mlm import MaskedLMTask, load_masked_lm, mlm_batches, pretrain
from genomelm_utils.tokenizers.kmer import encode_sequences, vocab_size

K = 3
SCRIPT = Path(__file__).with_name("run_mlm.py")


class RandomCorpus:
    """Rows of random bases of mixed length, half of them full: as crops come out."""

    def __init__(self, seed: int = 0, n_bases: int = 40) -> None:
        self.seed, self.n_bases = seed, n_bases

    def batch(self, step: int, micro: int, rows: int):
        rng = np.random.default_rng([self.seed, step, micro])
        lengths = np.where(
            rng.random(rows) < 0.5, self.n_bases, rng.integers(8, self.n_bases, rows)
        )
        # nearly all A: something that a few updates can learn
        letters = rng.integers(0, 4, (rows, self.n_bases))
        codes = np.where(rng.random(letters.shape) < 0.8, 0, letters).astype(np.uint8)
        return encode_sequences([row[:n] for row, n in zip(codes, lengths, strict=True)], K)


def make_batches(**changes):
    settings = {
        "k": K,
        "scheme": "contiguous",
        "centre_prob": 0.05,
        "rows_per_step": 10,
        "micro_batches": 3,
        "steps": 6,
        "seed": 1,
    }
    return mlm_batches(RandomCorpus(), **{**settings, **changes})


def test_batches_are_a_pure_function_in_any_order():
    first, second = make_batches(), make_batches()
    forward = {(s, m): first(s, m) for s in range(4) for m in range(3)}
    for s, m in [(3, 1), (0, 2), (2, 0), (0, 0), (3, 2)]:
        for name, value in second(s, m).items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(forward[s, m][name]))
    changed = make_batches(seed=2)(0, 0)["input_ids"]
    assert not torch.equal(changed, forward[0, 0]["input_ids"])


def test_micro_batches_hold_every_row_once_and_little_padding():
    batches = make_batches()
    masked, lengths_B = batches.step_rows(2)
    micro = [batches(2, m) for m in range(3)]
    assert sum(len(b["input_ids"]) for b in micro) == 10
    assert sum(b["n_tokens"] for b in micro) == int(lengths_B.sum())
    assert sum(b["n_targets"] for b in micro) == int((masked.labels_BL != IGNORE).sum())
    widths = [b["input_ids"].shape[1] for b in micro]
    assert widths == sorted(widths, reverse=True)
    for b in micro:
        mask = b.get("attention_mask", torch.ones_like(b["input_ids"]))
        assert b["n_tokens"] == int(mask.sum())
        assert bool((b["input_ids"][mask == 0] == 0).all())
        assert bool((mask.sum(1).max() == b["input_ids"].shape[1]).all())
        assert bool((b["targets"] >= 5).all())
    assert "attention_mask" not in micro[0]  # the longest rows are all full


def test_attended_pads_are_the_reference_switch():
    batch = make_batches(attend_pads=True)(0, 0)
    assert "attention_mask" not in batch
    assert bool((batch["input_ids"] == 0).any())


def test_too_few_rows():
    with pytest.raises(ValueError, match=r"rows_per_step is 2.*3 micro-batches"):
        make_batches(rows_per_step=2)


def test_loss_at_masked_positions_is_the_loss_of_the_whole_model():
    model = build_masked_lm("micro", K, seed=0).eval()
    batch = make_batches()(0, 2)
    labels = torch.full_like(batch["input_ids"], IGNORE).flatten()
    labels[batch["positions"]] = batch["targets"]
    logits = model(input_ids=batch["input_ids"], attention_mask=batch.get("attention_mask")).logits
    expected = F.cross_entropy(logits.flatten(0, 1), labels, reduction="sum")
    n_targets, _ = batch.pop("n_targets"), batch.pop("n_tokens")
    loss, n = MaskedLMTask(model)(**batch)
    assert n == n_targets
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_padding_changes_nothing_when_it_is_masked():
    model = build_masked_lm("micro", K, seed=0).eval()
    batch = make_batches()(0, 2)
    batch = {name: value for name, value in batch.items() if torch.is_tensor(value)}
    ids = batch["input_ids"]
    mask = batch.get("attention_mask", torch.ones_like(ids))
    rows, columns = batch["positions"] // ids.shape[1], batch["positions"] % ids.shape[1]
    wider = {
        "input_ids": F.pad(ids, (0, 7)),
        "attention_mask": F.pad(mask, (0, 7)),
        "positions": rows * (ids.shape[1] + 7) + columns,
        "targets": batch["targets"],
    }
    loss, wide = (MaskedLMTask(model)(**b)[0].item() for b in (batch, wider))
    assert wide == pytest.approx(loss, rel=1e-5)


def test_a_batch_without_masks_has_loss_zero_and_gradients_without_nan():
    task = MaskedLMTask(build_masked_lm("micro", K, seed=0))
    nothing = torch.zeros(0, dtype=torch.long)
    loss, n = task(torch.full((2, 9), 7), nothing, nothing)
    loss.backward()
    assert (loss.item(), n) == (0.0, 0)
    assert all(bool((p.grad == 0).all()) for p in task.parameters() if p.grad is not None)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_shares_of_every_scheme(scheme):
    ranks = torch.randperm(vocab_size(K), generator=torch.Generator().manual_seed(0))
    shares = make_batches(scheme=scheme, ranks_V=ranks, rows_per_step=50).measure_shares()
    assert 0 < shares["hidden_base_share_after_keep"] <= shares["hidden_base_share"]
    assert shares["hidden_base_share"] < shares["masked_token_share"] < 1
    assert shares["masked_per_hidden"] > 1


# ---- the whole run


RUN = {
    "preset": "micro",
    "k": K,
    "scheme": "span11",
    "centre_prob": 0.05,
    "rows_per_step": 12,
    "micro_batches": 2,
    "steps": 12,
    "warmup_steps": 2,
    "peak_lr": 5e-3,
    "eval_every": 6,
    "save_every": 6,
    "progress": False,
}


@pytest.fixture(scope="module")
def validation():
    return frozen_validation(RandomCorpus(seed=9), k=K, n_rows=40)


def test_pretraining_learns_resumes_and_loads(tmp_path, validation):
    run = {**RUN, "steps": 60, "rows_per_step": 32, "eval_every": 30}
    result = pretrain(RandomCorpus(), validation, folder=tmp_path, **run)
    bits = result.fit.history.set_index("step")["valid_bits_per_base"].dropna()
    assert bits.index.tolist() == [0, 30, 60]
    assert 1.8 < bits[0] < 2.5
    assert bits[60] < bits[0] - 0.3
    loaded = BertForMaskedLM.from_pretrained(result.final)
    ours = load_masked_lm(result.final)
    for name, value in result.model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
        assert torch.equal(ours.state_dict()[name], value)
    assert AutoTokenizer.from_pretrained(result.final)("GAT ATT")["input_ids"] == [2, 54, 10, 3]
    again = pretrain(RandomCorpus(), validation, folder=tmp_path, **run)
    assert torch.equal(again.model.state_dict()["cls.predictions.bias"], ours.cls.predictions.bias)
    assert len(again.fit.history) == len(result.fit.history)


def test_another_corpus_or_scheme_does_not_resume(tmp_path, validation):
    pretrain(RandomCorpus(), validation, folder=tmp_path, **RUN)
    with pytest.raises(ValueError, match=r"corpus: saved '.*', now"):
        pretrain(RandomCorpus(seed=3), validation, folder=tmp_path, **RUN)
    with pytest.raises(ValueError, match="scheme: saved 'span11', now 'contiguous'"):
        pretrain(RandomCorpus(), validation, folder=tmp_path, **{**RUN, "scheme": "contiguous"})


@pytest.mark.slow
def test_of_two_processes_one_writes_and_both_wait(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node=2", str(SCRIPT), str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [file.name for file in tmp_path.glob("writes-*")] == ["writes-0"]
    assert {file.name for file in tmp_path.glob("sees-*")} == {"sees-final-0", "sees-final-1"}
    load_masked_lm(tmp_path / "final")


# ---- published checkpoints


@pytest.fixture
def published(tmp_path):
    """A folder as DNABERT's authors released it: a pickle with pooler and tied decoder, no bias."""
    model = build_masked_lm("micro", K, seed=4)
    weights = dict(model.state_dict())
    width = model.config.hidden_size
    weights["bert.pooler.dense.weight"] = torch.zeros(width, width)
    weights["bert.pooler.dense.bias"] = torch.zeros(width)
    del weights["cls.predictions.decoder.bias"]
    model.config.save_pretrained(tmp_path)
    torch.save(weights, tmp_path / "pytorch_model.bin")
    return tmp_path, weights, model


def test_published_checkpoint_loads_and_names_what_it_leaves_out(published, caplog):
    folder, _, model = published
    with caplog.at_level("INFO"):
        loaded = load_masked_lm(folder)
    assert "bert.pooler.dense.weight" in caplog.text
    assert not loaded.training
    ids = torch.tensor([[2, 9, 4, 11, 3]])
    assert torch.equal(loaded(ids).logits, model.eval()(ids).logits)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("cls.predictions.bias"), "missing: cls.predictions.bias"),
        (lambda w: w.update({"classifier.weight": torch.zeros(2)}), "unexpected: classifier"),
        (
            lambda w: w.update({"cls.predictions.transform.dense.bias": torch.zeros(3)}),
            r"of another shape: .* is \(3,\), expected \(64,\)",
        ),
        (
            lambda w: w.update({"cls.predictions.decoder.weight": torch.zeros(69, 64)}),
            "decoder.weight differs from",
        ),
    ],
)
def test_wrong_weights_are_refused_loudly(published, change, message):
    folder, weights, _ = published
    change(weights)
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=message):
        load_masked_lm(folder)


def test_missing_files_and_foreign_vocabulary(published):
    folder, _, model = published
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no weights: expected model.safetensors"):
        load_masked_lm(folder)
    with pytest.raises(FileNotFoundError, match=r"config\.json does not exist"):
        load_masked_lm(folder / "nowhere")
    model.config.vocab_size = 4096
    model.config.save_pretrained(folder)
    with pytest.raises(ValueError, match="4096 tokens is no k-mer vocabulary"):
        load_masked_lm(folder)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_pretraining_on_cuda_in_bf16(tmp_path, validation):
    run = {**RUN, "steps": 60, "rows_per_step": 32, "eval_every": 30}
    result = pretrain(RandomCorpus(), validation, folder=tmp_path, **run)
    bits = result.fit.history["valid_bits_per_base"].dropna()
    assert bits.iloc[-1] < bits.iloc[0] - 0.3
    assert next(result.model.parameters()).device.type == "cpu"
    load_masked_lm(result.final)
