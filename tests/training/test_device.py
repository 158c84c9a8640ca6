"""Where to compute: CUDA, else Apple's GPU, else the CPU, with reasons; what each computes in."""

import numpy as np
import pytest
import torch

from genomelm_utils.evaluation.binning import bin_contigs
from genomelm_utils.training.device import autocast, choose_device, choose_precision

MPS = torch.device("mps")


def pretend(monkeypatch: pytest.MonkeyPatch, n_cuda: int, mps: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: n_cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("n_cuda", "mps", "expected"),
    [(2, True, "cuda"), (1, False, "cuda"), (0, True, "mps"), (0, False, "cpu")],
)
def test_auto_takes_the_best_device_there_is_and_says_why(
    n_cuda: int, mps: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, n_cuda, mps)
    device, why = choose_device()
    assert device == torch.device(expected)
    assert {"cuda": "a CUDA device", "mps": "no CUDA device, but", "cpu": "neither"}[
        expected
    ] in why


def test_a_named_device_is_taken_if_it_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, n_cuda=2, mps=True)
    for name in ("cpu", "cuda", "cuda:1", "mps"):
        assert choose_device(name) == (torch.device(name), "asked for")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cuda", "'cuda', but 0 CUDA devices are here; take cpu"),
        ("mps", "'mps', but this torch finds no Apple GPU; take cpu"),
        ("tpu9", "'tpu9', expected auto, cpu, cuda, cuda:0 or mps"),
        ("meta", "'meta', expected auto"),
    ],
)
def test_devices_that_are_not_here_are_refused(
    name: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, n_cuda=0, mps=False)
    with pytest.raises(ValueError, match=message):
        choose_device(name)


def test_apples_gpu_computes_in_float32_only() -> None:
    assert choose_precision("auto", MPS) == (
        "fp32",
        "the device is mps: nothing else has been tried there",
    )
    assert choose_precision("fp32", MPS)[0] == "fp32"
    with pytest.raises(ValueError, match="'bf16' is untried on Apple's GPU"):
        choose_precision("bf16", MPS)
    with autocast(MPS, "fp32"):
        assert not torch.is_autocast_enabled("mps")


def test_binning_needs_float64() -> None:
    with pytest.raises(ValueError, match=r"float64, which Apple's GPU .* take cpu"):
        bin_contigs(np.eye(3, dtype=np.float32), 0.5, device="mps")
