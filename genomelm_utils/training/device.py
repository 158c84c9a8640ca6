"""What the numbers are computed in: precision with its reason, and a clock that GPUs respect."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

PRECISIONS = ("auto", "bf16", "fp32", "fp16")
#: What matrix products are computed in; fp32 needs no autocast.
_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
PHASES = ("data", "compute", "optim", "other")


def choose_device(asked: str = "auto") -> tuple[torch.device, str]:
    """The device to compute on, and why: (cuda, 'a CUDA device is here').

    asked: 'auto' takes CUDA, else Apple's GPU (mps), else the CPU; or a device by name.
    Raises: ValueError for a name of no device, or of one that is not here.
    """
    n_cuda, mps = torch.cuda.device_count(), torch.backends.mps.is_available()
    if asked == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda"), "a CUDA device is here"
        if mps:
            return torch.device("mps"), "no CUDA device, but Apple's GPU is here"
        return torch.device("cpu"), "neither a CUDA device nor Apple's GPU is here"
    try:
        device = torch.device(asked)
    except RuntimeError as error:
        raise ValueError(f"device is {asked!r}, expected auto, cpu, cuda, cuda:0 or mps") from error
    if device.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"device is {asked!r}, expected auto, cpu, cuda, cuda:0 or mps")
    if device.type == "cuda" and (device.index or 0) >= n_cuda:
        raise ValueError(f"device is {asked!r}, but {n_cuda} CUDA devices are here; take cpu")
    if device.type == "mps" and not mps:
        raise ValueError(f"device is {asked!r}, but this torch finds no Apple GPU; take cpu")
    return device, "asked for"


def choose_precision(precision: str, device: torch.device) -> tuple[str, str]:
    """The precision to train in, and why: ('bf16', 'the CUDA device computes bf16 natively').

    Args:
        precision: 'auto', or 'bf16' / 'fp32' to insist. 'fp16' repeats a published training:
            float16 without loss scaling, where small gradients vanish; for comparisons only.
        device: where the training runs.
    Raises: ValueError for an unknown word, bf16 asked of a CUDA device without it, and anything but
    float32 asked of Apple's GPU, where no other has been tried.
    """
    if precision not in PRECISIONS:
        raise ValueError(
            f"unknown precision {precision!r}, expected one of: {', '.join(PRECISIONS)}"
        )
    native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    if precision == "bf16" and device.type == "cuda" and not native:
        name = torch.cuda.get_device_name(device)
        raise ValueError(f"precision 'bf16' needs hardware bf16, found {name}; use 'fp32'")
    if device.type == "mps" and precision not in ("auto", "fp32"):
        raise ValueError(f"precision {precision!r} is untried on Apple's GPU (mps); use 'fp32'")
    if precision != "auto":
        return precision, "asked for"
    if native:
        return "bf16", "the CUDA device computes bf16 natively"
    if device.type == "cuda":
        return "fp32", "the CUDA device has no native bf16"
    if device.type == "mps":
        return "fp32", "the device is mps: nothing else has been tried there"
    return "fp32", f"the device is {device.type}: exact and repeatable"


@contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """Inside: TF32 for the float32 remainders of bf16 (fp16) training, true float32 otherwise.

    The process-wide setting is put back on leaving.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision in _AUTOCAST else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context that runs matrix products in bf16 or fp16, or does nothing for 'fp32'."""
    dtype = _AUTOCAST.get(precision)
    return torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)


class PhaseClock:
    """Seconds spent per phase of a training step, without slowing the step down.

    On a CPU it reads the wall clock. On CUDA it drops events into the stream and reads them only in
    `read()`, which waits for the device; the time between two events is the device's own, so
    'data' there means that the device stood idle or copied a batch. Source: CUDA events,
    `torch.cuda.Event`.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.cuda = device.type == "cuda"
        self.marks: list[tuple[str, float | torch.cuda.Event]] = []

    def enter(self, phase: str) -> None:
        """From now on time counts for `phase`."""
        if self.cuda:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self.marks.append((phase, event))
        else:
            self.marks.append((phase, time.perf_counter()))

    def read(self) -> dict[str, float]:
        """Seconds per phase since the last reading, then starts anew."""
        self.enter("end")
        if self.cuda:
            torch.cuda.synchronize(self.device)
        spent = dict.fromkeys(PHASES, 0.0)
        for (phase, start), (_, end) in zip(self.marks, self.marks[1:], strict=False):
            seconds = start.elapsed_time(end) / 1000 if self.cuda else end - start
            spent[phase] = spent.get(phase, 0.0) + seconds
        self.marks.clear()
        return spent
