"""What the outputs of an expression model mean: targets, losses and predictions of every mode.

Labels that were not measured are NaN: they have no loss, and no row is dropped for them.

Shapes: S sequences, B rows of a batch, T tissues.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from genomelm_utils.models.expression_heads import RULES, ExpressionOutput
from genomelm_utils.tasks.label_transform import BASES, LabelTransform

#: Mode -> what it is.
MODES = {
    "mse": "squared error of the transformed label",
    "huber": "Huber loss of the transformed label: large errors count linearly",
    "sparse": "a gate (expressed or not) and a value, FloraBERT's sparse mode",
    "poisson": "Poisson likelihood of TPM; the output is the logarithm of the rate",
    "classification": "expressed (TPM of at least theta) or not",
}
ALPHA = 0.1  # Source: released config.yaml, weight of the gate's loss in sparse mode
THETA_TPM = 1.0  # Source: released config.yaml, threshold of expression in TPM
HUBER_DELTA = 1.0  # Source: Huber 1964; torch's default


@dataclass(frozen=True)
class Mode:
    """A mode with its numbers.

    name: one of `MODES`. theta_tpm: from here on a gene counts as expressed (sparse,
    classification). alpha: weight of the gate's loss (sparse). threshold: 'reference' compares
    labels with ln theta instead of ln(theta + offset): for theta = 1 and offset 1 every gene is
    then "expressed". huber_delta: on the scale of the labels.
    """

    name: str = "mse"
    theta_tpm: float = THETA_TPM
    alpha: float = ALPHA
    threshold: str = "corrected"
    huber_delta: float = HUBER_DELTA

    def __post_init__(self) -> None:
        if self.name not in MODES:
            raise ValueError(f"mode is {self.name!r}, expected one of: {', '.join(MODES)}")
        if self.threshold not in RULES:
            raise ValueError(f"threshold is {self.threshold!r}, expected {' or '.join(RULES)}")
        if not self.theta_tpm > 0:
            raise ValueError(f"theta_tpm is {self.theta_tpm}, expected a number above 0")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha is {self.alpha}, expected a fraction in [0, 1]")
        if not self.huber_delta > 0:
            raise ValueError(f"huber_delta is {self.huber_delta}, expected a number above 0")

    @property
    def output(self) -> str:
        """The head's output, see `ExpressionConfig`."""
        return "sparse" if self.name == "sparse" else "value"

    def targets(self, tpm_ST: np.ndarray, transform: LabelTransform) -> np.ndarray:
        """float32 [S, T]: what the outputs learn, NaN where not measured."""
        y_ST = transform.apply(tpm_ST)  # also checks the table
        if self.name == "poisson":
            return np.asarray(tpm_ST, np.float32)
        if self.name == "classification":
            return np.where(np.isnan(y_ST), np.nan, tpm_ST >= self.theta_tpm).astype(np.float32)
        return y_ST

    def threshold_labels(self, transform: LabelTransform) -> np.ndarray:
        """float32 [T]: labels from here on count as expressed in sparse mode.

        Source: ln(theta + offset); reference: ln theta, released `models.py`.
        """
        if self.threshold == "corrected":
            return transform.threshold(self.theta_tpm)
        log = math.log(self.theta_tpm) / math.log(BASES[transform.base])
        return ((log - np.array(transform.center_T)) / transform.scale_T).astype(np.float32)

    def losses(
        self, output: ExpressionOutput, target_BT: torch.Tensor, threshold_T: torch.Tensor
    ) -> torch.Tensor:
        """float32 [B, T]: the loss of every label, 0 where it is NaN.

        Sparse: alpha BCE(gate, label >= threshold) + (1 - alpha) squared error of the value.
        Source: Levy et al. 2022 (rs-1927200/v1), released `models.py`.
        """
        known_BT = ~torch.isnan(target_BT)
        y_BT = torch.where(known_BT, target_BT, 0.0)
        values_BT = output.logits.float()
        if self.name == "mse":
            loss_BT = (values_BT - y_BT) ** 2
        elif self.name == "huber":
            loss_BT = F.huber_loss(values_BT, y_BT, reduction="none", delta=self.huber_delta)
        elif self.name == "poisson":
            loss_BT = F.poisson_nll_loss(values_BT, y_BT, log_input=True, reduction="none")
        elif self.name == "classification":
            loss_BT = F.binary_cross_entropy_with_logits(values_BT, y_BT, reduction="none")
        else:
            gate_BT = F.binary_cross_entropy_with_logits(
                output.gate.float(), (y_BT >= threshold_T).float(), reduction="none"
            )
            loss_BT = self.alpha * gate_BT + (1 - self.alpha) * (values_BT - y_BT) ** 2
        return torch.where(known_BT, loss_BT, 0.0)

    def read(self, output: ExpressionOutput, transform: LabelTransform) -> np.ndarray:
        """float32 [B, T]: predictions on the scale of the labels; in classification the
        probability of being expressed.

        Sparse: the value, or the label of 0 TPM where the gate says "not expressed".
        """
        values_BT = output.logits.float().cpu()
        if self.name == "classification":
            return torch.sigmoid(values_BT).numpy()
        if self.name == "poisson":
            return transform.apply(np.exp(values_BT.double().numpy()))
        if self.name == "sparse":
            off_BT = output.gate.float().cpu() < 0
            values_BT = torch.where(off_BT, torch.from_numpy(transform.threshold(0.0)), values_BT)
        return values_BT.numpy()

    def start_values(self, targets_ST: np.ndarray, transform: LabelTransform) -> np.ndarray:
        """float32 [T]: the constant outputs that fit training targets best (biases to start from).

        Tissues without any target start at 0.
        """
        known_ST = ~np.isnan(targets_ST)
        n_T = known_ST.sum(0)
        mean_T = np.where(known_ST, targets_ST, 0).sum(0, dtype=np.float64) / np.maximum(n_T, 1)
        if self.name == "poisson":
            mean_T = np.where(mean_T > 0, np.log(np.maximum(mean_T, 1e-6)), 0)
        elif self.name == "classification":
            share_T = np.clip(mean_T, 0.01, 0.99)
            mean_T = np.where(n_T > 0, np.log(share_T / (1 - share_T)), 0)
        return mean_T.astype(np.float32)
