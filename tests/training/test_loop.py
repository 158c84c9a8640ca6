"""The loop: exact steps, exact resume, one loss however many processes, nothing left behind."""

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from toy import SETTINGS, ToyBatches, ToyTask, evaluate

from genomelm_utils.training import checkpoint as ckpt
from genomelm_utils.training.history import overhead_share
from genomelm_utils.training.loop import fit

SCRIPT = Path(__file__).with_name("run_toy.py")
TIMES = ["tokens_per_s", "data_s", "compute_s", "optim_s", "other_s", "eval_s", "wall_s"]


def train(task: nn.Module, folder: Path | None = None, batches=None, **changes):
    settings = {**SETTINGS, "log_every": 1, "progress": False, **changes}
    return fit(task, batches or ToyBatches(), folder=folder, **settings)


def weights_of(task: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in task.parameters()])


class Interrupted(Exception):
    pass


class StopAt:
    """Batches that fail when a step is asked for: an interruption in the middle."""

    def __init__(self, step: int) -> None:
        self.step, self.inner = step, ToyBatches()

    def __call__(self, step: int, micro: int) -> dict:
        if step >= self.step:
            raise Interrupted
        return self.inner(step, micro)


# ---- what a step is


def test_equals_a_plain_torch_loop():
    """One micro-batch, no clipping: the same weights as ten lines of torch."""
    task, plain = ToyTask(dropout=0.0), ToyTask(dropout=0.0)
    train(task, steps=4, micro_batches=1, clip_norm=0.0, schedule="constant", warmup_steps=0)
    exempt = [p for n, p in plain.named_parameters() if n.endswith("bias") or "LayerNorm" in n]
    others = [p for p in plain.parameters() if all(p is not e for e in exempt)]
    optimizer = torch.optim.AdamW(
        [{"params": others, "weight_decay": 0.01}, {"params": exempt, "weight_decay": 0.0}],
        lr=SETTINGS["peak_lr"],
    )
    for step in range(4):
        batch = ToyBatches()(step, 0)
        n = batch.pop("n_targets")
        loss, _ = plain(**batch)
        (loss / n).backward()
        optimizer.step()
        optimizer.zero_grad()
    # softmax does not see a shift of all keys: their bias has a gradient of 0, up to round-off that
    # Adam divides by itself
    found, expected = (
        [p.detach().flatten() for n, p in t.named_parameters() if not n.endswith("key.bias")]
        for t in (task, plain)
    )
    assert torch.allclose(torch.cat(found), torch.cat(expected), atol=1e-6)


def test_loss_is_per_target_of_the_whole_step():
    """Micro-batches of unequal size: the first step's loss is the sum over targets / targets."""
    task = ToyTask(dropout=0.0)
    loss_sum, n_targets = 0.0, 0
    for micro in range(3):
        batch = ToyBatches()(0, micro)
        n_targets += batch.pop("n_targets")
        loss_sum += task(**batch)[0].item()
    history = train(task).history
    assert history["train_loss"][0] == pytest.approx(loss_sum / n_targets, abs=1e-6)
    assert history["n_targets"][0] == n_targets


def test_stops_exactly_at_steps_and_lr_follows_the_schedule():
    asked = []

    def batches(step, micro):
        asked.append((step, micro))
        return ToyBatches()(step, micro)

    result = train(ToyTask(), batches=batches)
    assert result.step == 8
    assert asked == [(step, micro) for step in range(8) for micro in range(3)]
    assert result.history["step"].tolist() == list(range(1, 9))
    expected = [0, 0.5, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    assert result.history["lr"].tolist() == pytest.approx([1e-2 * f for f in expected])


def test_a_step_without_targets_changes_nothing(caplog):
    task, shorter = ToyTask(), ToyTask()
    with caplog.at_level(logging.WARNING):
        result = train(task, batches=ToyBatches(empty_steps=(7,)))
    assert "no target" in caplog.text
    assert result.step == 8
    assert bool(torch.isfinite(weights_of(task)).all())
    assert pd.isna(result.history["train_loss"].iloc[-1])
    with pytest.raises(Interrupted):
        train(shorter, batches=StopAt(7))
    assert torch.equal(weights_of(task), weights_of(shorter))


def test_micro_batch_without_targets_among_others():
    def batches(step, micro):
        batch = ToyBatches(empty_steps=(step,))(step, micro)
        return batch if micro else ToyBatches()(step, micro)

    task = ToyTask()
    assert train(task, batches=batches).history["train_loss"].notna().all()
    assert bool(torch.isfinite(weights_of(task)).all())


def test_divergence_is_an_error_and_the_history_is_kept(tmp_path):
    with pytest.raises(FloatingPointError, match=r"loss is nan.*lower peak_lr"):
        train(ToyTask(), tmp_path, peak_lr=float("inf"), warmup_steps=0)
    assert len(pd.read_csv(tmp_path / "history.csv"))


def test_task_and_batch_must_agree_on_targets():
    def batches(step, micro):
        batch = ToyBatches()(step, micro)
        return {**batch, "n_targets": batch["n_targets"] + 1}

    with pytest.raises(ValueError, match="step 0, micro-batch 0: the task counted"):
        train(ToyTask(), batches=batches)


# ---- what is left behind


def test_caller_finds_everything_as_it_was():
    task = ToyTask()
    task.eval()
    task.model.bert.encoder.train()
    modes = [module.training for module in task.modules()]
    attributes = set(vars(task))
    torch.manual_seed(11)
    state, precision = torch.random.get_rng_state(), torch.get_float32_matmul_precision()
    train(task, evaluate=evaluate)
    assert [module.training for module in task.modules()] == modes
    assert all(p.grad is None and p.device.type == "cpu" for p in task.parameters())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_float32_matmul_precision() == precision
    assert set(vars(task)) == attributes


def test_same_arguments_same_weights_whatever_ran_before():
    first, second = ToyTask(), ToyTask()
    train(first)
    torch.rand(5)
    train(second, precision="fp32")
    assert torch.equal(weights_of(first), weights_of(second))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile on a CPU needs g++")
def test_compiled_reaches_the_same_loss_and_leaves_the_task_plain():
    task = ToyTask(dropout=0.0)
    attributes = set(vars(task))
    compiled = train(task, compile_model=True)
    plain = train(ToyTask(dropout=0.0))
    np.testing.assert_allclose(
        compiled.history["train_loss"], plain.history["train_loss"], rtol=1e-4
    )
    assert set(vars(task)) == attributes


def test_bf16_on_a_cpu_trains_too():
    result = train(ToyTask(), precision="bf16", steps=20)
    assert result.history["train_loss"].iloc[-1] < result.history["train_loss"].iloc[0]
    assert result.description["precision"] == "bf16"


def test_run_describes_itself_before_the_first_step(caplog):
    with caplog.at_level(logging.INFO):
        result = train(ToyTask())
    text = caplog.text
    for word in ("n_parameters=", "tokens_per_step=108", "device=cpu", "precision_why=", "world"):
        assert word in text
    assert result.description["tokens_per_step"] == 3 * 3 * 12
    assert result.description["precision"] == "fp32"


def test_history_and_tensorboard(tmp_path):
    result = train(ToyTask(), tmp_path, evaluate=evaluate, eval_every=4, log_every=3)
    table = pd.read_csv(tmp_path / "history.csv")
    assert table["step"].tolist() == [0, 3, 4, 6, 8]
    assert table["valid_loss"].notna().tolist() == [True, False, True, False, True]
    assert {"lr", "train_loss", "grad_norm", *TIMES} <= set(table.columns)
    assert 0 < overhead_share(result.history) < 1
    pytest.importorskip("tensorboard")
    assert list((tmp_path / "tensorboard").iterdir())


def test_evaluation_runs_without_gradients_and_dropout():
    seen = []

    def look(task):
        seen.append((task.training, torch.is_grad_enabled()))
        return {"loss": 0.0}

    train(ToyTask(), evaluate=look, eval_every=4)
    assert seen == [(False, False)] * 3


def test_early_stopping_keeps_the_best(tmp_path):
    values = iter([9.0, 5.0, 3.0, 4.0, 4.0, 1.0])
    result = train(
        ToyTask(),
        tmp_path,
        evaluate=lambda task: {"loss": next(values)},
        eval_every=1,
        monitor="loss",
        patience=2,
        keep=1,
    )
    assert (result.step, result.best_step, result.best_value) == (4, 2, 3.0)
    assert result.stopped_early
    assert list(ckpt.list_checkpoints(tmp_path)) == [2, 4]
    assert result.best_checkpoint.name == "step-00000002"
    again = train(
        ToyTask(),
        tmp_path,
        evaluate=lambda task: {"loss": 0.0},
        eval_every=1,
        monitor="loss",
        patience=2,
        keep=1,
        resume=True,
    )
    assert again.step == 4


def test_the_best_is_kept_without_early_stopping_too(tmp_path):
    values = iter([9.0, 5.0, 3.0, 4.0, 4.0])
    result = train(
        ToyTask(),
        tmp_path,
        evaluate=lambda task: {"loss": next(values)},
        eval_every=2,
        monitor="loss",
        keep=1,
    )
    assert (result.best_step, result.best_value) == (4, 3.0)
    assert list(ckpt.list_checkpoints(tmp_path)) == [4, 8]
    assert result.best_checkpoint.name == "step-00000004"


def test_learning_rate_of_a_part_by_its_name(tmp_path):
    frozen = ToyTask()
    train(frozen, tmp_path, lr_scales={"model.": 0.0}, weight_decay=0.0)
    start = ToyTask()
    assert torch.equal(
        frozen.model.get_input_embeddings().weight, start.model.get_input_embeddings().weight
    )
    assert not torch.equal(frozen.scale, start.scale)
    with pytest.raises(ValueError, match="lr_scales: saved"):
        train(ToyTask(), tmp_path, resume=True, weight_decay=0.0, lr_scales={"model.": 1.0})


def test_higher_is_better():
    values = iter([0.1, 0.5, 0.9, 0.7, 0.6])
    result = train(
        ToyTask(),
        evaluate=lambda task: {"auc": next(values)},
        eval_every=2,
        monitor="auc",
        higher_is_better=True,
    )
    assert (result.best_step, result.best_value) == (4, 0.9)


# ---- resume


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path, dropout):
    whole, cut = ToyTask(dropout), ToyTask(dropout)
    settings = {"evaluate": evaluate, "eval_every": 4, "save_every": 2, "log_every": 3}
    expected = train(whole, tmp_path / "whole", **settings)
    with pytest.raises(Interrupted):
        train(cut, tmp_path / "cut", batches=StopAt(5), **settings)
    assert list(ckpt.list_checkpoints(tmp_path / "cut")) == [2, 4]
    resumed = ToyTask(dropout, seed=99)  # other weights: all must come from the checkpoint
    result = train(resumed, tmp_path / "cut", resume=True, **settings)
    assert result.description["from_step"] == 4
    assert torch.equal(weights_of(whole), weights_of(resumed))
    columns = [name for name in expected.history if name not in TIMES]
    pd.testing.assert_frame_equal(expected.history[columns], result.history[columns])


def test_resume_of_a_finished_training_only_reads(tmp_path):
    task, again = ToyTask(), ToyTask(seed=5)
    train(task, tmp_path)
    result = train(again, tmp_path, batches=StopAt(0), resume=True)
    assert result.step == 8
    assert torch.equal(weights_of(task), weights_of(again))


def damage(path: Path) -> str:
    """Change a byte of the weights; what `resume` shall say of it."""
    file = path / "model.safetensors"
    expected = ckpt.hash_file(file)
    with file.open("r+b") as stream:
        stream.seek(10)
        stream.write(b"\x00\x01")
    return f"{file} is damaged: expected SHA-256 {expected}, found {ckpt.hash_file(file)}"


@pytest.mark.parametrize(("n_damaged", "goes_on"), [(1, 4), (2, 2), (3, 0)])
def test_resume_sets_damaged_checkpoints_aside(tmp_path, caplog, n_damaged, goes_on):
    settings = {"evaluate": evaluate, "eval_every": 4, "save_every": 2, "keep": 9}
    whole, resumed = ToyTask(), ToyTask()
    expected = train(whole, **settings)
    with pytest.raises(Interrupted):
        train(ToyTask(), tmp_path, batches=StopAt(7), **settings)
    found = ckpt.list_checkpoints(tmp_path)
    assert list(found) == [2, 4, 6]
    said = [damage(found[step]) for step in sorted(found)[-n_damaged:]]
    result = train(resumed, tmp_path, resume=True, **settings)
    assert result.description["from_step"] == goes_on
    rest = f"step-{goes_on:08d}" if goes_on else "the start"
    for text in said:
        assert text in caplog.text
    assert f"set aside as damaged-step-{goes_on + 2:08d}, going on from {rest}" in caplog.text
    aside = sorted(path.name for path in ckpt.checkpoints_dir(tmp_path).glob("damaged-*"))
    assert aside == [f"damaged-step-{step:08d}" for step in (2, 4, 6)[-n_damaged:]]
    assert list(ckpt.list_checkpoints(tmp_path)) == [2, 4, 6, 8]
    assert torch.equal(weights_of(whole), weights_of(resumed))
    pd.testing.assert_frame_equal(
        expected.history.drop(columns=TIMES), result.history.drop(columns=TIMES)
    )


def test_folder_in_use_and_other_settings_are_refused(tmp_path):
    train(ToyTask(), tmp_path)
    with pytest.raises(ValueError, match=r"already holds a training.*resume=True"):
        train(ToyTask(), tmp_path)
    with pytest.raises(
        ValueError, match=r"corpus: saved 'nothing', now 'b'; peak_lr: saved 0.01, now 0.02"
    ):
        train(ToyTask(), tmp_path, resume=True, peak_lr=0.02, settings={"corpus": "b"})


def test_disk_full_leaves_the_earlier_checkpoint(tmp_path, monkeypatch):
    save = torch.save

    def full(state, path):
        if state["step"] == 6:
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device")
        save(state, path)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="the checkpoint of step 4 stands") as error:
        train(ToyTask(), tmp_path, save_every=2)
    assert error.value.errno == 28
    assert list(ckpt.list_checkpoints(tmp_path)) == [2, 4]
    assert not list((tmp_path / "checkpoints").glob(".partial*"))
    monkeypatch.undo()
    whole, resumed = ToyTask(), ToyTask(seed=4)
    train(whole)
    train(resumed, tmp_path, save_every=2, resume=True)
    assert torch.equal(weights_of(whole), weights_of(resumed))


# ---- other processes


def run_script(folder: Path, *arguments: str, processes: int = 1) -> list[float]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    launcher = [sys.executable]
    if processes > 1:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        launcher += ["-m", "torch.distributed.run", f"--nproc_per_node={processes}"]
        launcher += ["--master_addr=127.0.0.1", f"--master_port={port}"]
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        [*launcher, str(SCRIPT), str(folder), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.strip().splitlines()[-1])
    assert report["world_size"] == processes
    return report["losses"]


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted(tmp_path):
    """`kill -9` while step 5 waits for its batch; the second run ends at the same weights."""
    expected = run_script(tmp_path / "whole")
    folder = tmp_path / "killed"
    with subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), "--slow"],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        deadline = time.monotonic() + 120
        while not ckpt.list_checkpoints(folder) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert list(ckpt.list_checkpoints(folder)) == [4]
    assert run_script(folder) == expected
    weights = [torch.load(tmp_path / name / "weights.pt") for name in ("whole", "killed")]
    assert torch.equal(*weights)


def test_processes_that_do_not_see_each_other_are_an_error(monkeypatch):
    train(ToyTask())  # Accelerate's state of this process is now that of a single one
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RuntimeError, match="2 processes were started, Accelerate sees 1"):
        train(ToyTask())


@pytest.mark.slow
def test_two_processes_reach_the_loss_of_one(tmp_path):
    """Three micro-batches over two gloo processes: unequal shares, equal loss."""
    one = run_script(tmp_path / "one")
    two = run_script(tmp_path / "two", processes=2)
    assert two == pytest.approx(one, abs=1e-5)
    weights = [torch.load(tmp_path / name / "weights.pt") for name in ("one", "two")]
    np.testing.assert_allclose(*weights, atol=1e-5)


# ---- bad arguments


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"schedule": "step"}, "unknown schedule 'step'.*linear, constant, cosine"),
        ({"precision": "half"}, "unknown precision 'half'"),
        ({"patience": 2}, "patience needs monitor"),
        ({"monitor": "loss"}, "no evaluate function"),
        ({"monitor": "mcc", "evaluate": evaluate}, "evaluate returned only: loss"),
    ],
)
def test_contradicting_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        train(ToyTask(), **changes)


# ---- GPU


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_trains_in_bf16_close_to_the_cpu_and_hands_the_model_back():
    gpu, cpu = ToyTask(dropout=0.0), ToyTask(dropout=0.0)
    state = torch.cuda.get_rng_state()
    result = train(gpu, evaluate=evaluate, eval_every=4)
    assert result.description["device"].startswith("cuda")
    assert result.description["precision"] == (
        "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    )
    assert all(p.device.type == "cpu" for p in gpu.parameters())
    assert torch.equal(state, torch.cuda.get_rng_state())
    # the plain loop on a CPU stands in for an fp32 reference of the first step's loss
    batch = [ToyBatches()(0, micro) for micro in range(3)]
    n_targets = sum(b.pop("n_targets") for b in batch)
    loss = sum(cpu(**b)[0].item() for b in batch) / n_targets
    assert result.history["train_loss"].dropna().iloc[0] == pytest.approx(loss, rel=2e-2)
    for phase in ("data_s", "compute_s", "optim_s", "other_s"):
        assert (result.history[phase].dropna() >= 0).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_resume_is_close(tmp_path):
    whole, resumed = ToyTask(), ToyTask(seed=9)
    settings = {"precision": "fp32", "save_every": 4}
    train(whole, **{**settings, "save_every": 0})
    with pytest.raises(Interrupted):
        train(ToyTask(), tmp_path, batches=StopAt(5), **settings)
    train(resumed, tmp_path, resume=True, **settings)
    assert torch.allclose(weights_of(whole), weights_of(resumed), atol=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.skipif(shutil.which("gcc") is None, reason="torch.compile needs a C compiler")
def test_compiled_on_cuda_reaches_the_same_loss():
    compiled = train(ToyTask(dropout=0.0), compile_model=True, precision="fp32")
    plain = train(ToyTask(dropout=0.0), precision="fp32")
    np.testing.assert_allclose(
        compiled.history["train_loss"], plain.history["train_loss"], rtol=1e-2
    )
