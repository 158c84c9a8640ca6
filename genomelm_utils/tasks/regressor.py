"""A trained expression model in use: promoters in, expression in TPM out, in bounded memory.

Shapes: S sequences, B rows of a batch, T tissues, D width.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from transformers import PreTrainedModel

from genomelm_utils.models.expression_heads import ExpressionModel, ExpressionOutput
from genomelm_utils.sequences.alphabet import decode
from genomelm_utils.sequences.tss import Gaps
from genomelm_utils.tasks.embedding import TOKEN_BUDGET, ready_model
from genomelm_utils.tasks.embedding_models import max_ids_of
from genomelm_utils.tasks.encoder import quiet_loading
from genomelm_utils.tasks.expression_rows import TokenRows, tokenise_rows
from genomelm_utils.tasks.label_transform import LabelTransform
from genomelm_utils.tasks.regression_modes import Mode
from genomelm_utils.tasks.windows import batch_by_length
from genomelm_utils.training.checkpoint import write_folder
from genomelm_utils.training.device import choose_precision

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

FILE = "regressor.json"
BLOCK_RECORDS = 4096  # promoters of a FASTA in memory at a time
FLORA_FIRST_POSITION = 2


@dataclass(frozen=True)
class Regressor:
    """A trained model with all that is needed to use it.

    transform: of the labels it learned. mode: what its outputs mean. max_ids, truncate: how rows
    are made. settings: of the training, as written into `regressor.json`. history: one row per
    logged step (None after loading a folder without one).
    """

    model: ExpressionModel
    tokenizer: "PreTrainedTokenizerBase"
    transform: LabelTransform
    mode: Mode
    max_ids: int | None
    truncate: str = "corrected"
    settings: dict[str, Any] | None = None
    history: pd.DataFrame | None = None

    @property
    def tissues(self) -> tuple[str, ...]:
        """Names of the columns of every prediction."""
        return self.transform.tissues

    def rows(self, sequences: Sequence[str], gap_bp: Gaps = None) -> TokenRows:
        """Token rows of promoters, as in training."""
        return tokenise_rows(
            self.tokenizer,
            sequences,
            max_ids=self.max_ids,
            gap_bp=gap_bp,
            truncate=self.truncate,
            side=padding_side(self.model.encoder),
        )

    def predict(
        self,
        sequences: Sequence[str],
        gap_bp: Gaps = None,
        *,
        token_budget: int | None = None,
    ) -> np.ndarray:
        """Predictions float32 [S, T] on the scale of `transform` (classification: probabilities).

        sequences: upper-case ACGTN, TSS at the right end. gap_bp: bases between that end and the
        TSS. No labels needed. What a promoter gets does not depend on its neighbours, their order
        or `token_budget` (ids of a batch), but for rounding (less than 1e-5).
        """
        rows = self.rows(sequences, gap_bp)
        out_ST = np.empty((len(rows), len(self.tissues)), np.float32)
        for rows_B, output in run_rows(self.model, rows, token_budget):
            out_ST[rows_B] = self.mode.read(output, self.transform)
        return out_ST

    def predict_tpm(self, sequences: Sequence[str], gap_bp: Gaps = None) -> np.ndarray:
        """Predictions float64 [S, T] in the unit of the training table.

        Raises: ValueError in classification mode, which knows no amounts.
        """
        if self.mode.name == "classification":
            raise ValueError("a model trained for classification predicts no TPM; use predict")
        return self.transform.inverse(self.predict(sequences, gap_bp))

    def embed(self, sequences: Sequence[str]) -> np.ndarray:
        """float32 [S, D]: activations before the last layer, FloraBERT's sequence embeddings.

        Those of tissues are `model.tissue_embeddings()`, in the same space.
        """
        rows = self.rows(sequences)
        out_SD = np.empty((len(rows), self.model.encoder.config.hidden_size), np.float32)
        for rows_B, output in run_rows(self.model, rows):
            out_SD[rows_B] = output.embedding.float().cpu().numpy()
        return out_SD

    def save(self, folder: str | Path) -> Path:
        """Write model, tokenizer, transform, settings, history; replaces `folder` as a whole."""
        with write_folder(Path(folder)) as partial:
            self.model.save_pretrained(partial)
            write_beside(partial, self)
            if self.history is not None:
                self.history.to_csv(partial / "history.csv", index=False)
        return Path(folder)


def write_beside(folder: Path, regressor: Regressor) -> None:
    """What a folder needs beside the model: tokenizer, label transform, `regressor.json`."""
    regressor.tokenizer.save_pretrained(folder)
    regressor.transform.save(folder)
    facts = {
        "mode": asdict(regressor.mode),
        "max_ids": regressor.max_ids,
        "truncate": regressor.truncate,
        "settings": regressor.settings,
    }
    (folder / FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def load_regressor(folder: str | Path) -> Regressor:
    """The regressor in a folder (of `Regressor.save`, or a checkpoint of its training).

    Raises: FileNotFoundError or ValueError naming the file that is missing or damaged.
    """
    from transformers import AutoTokenizer

    folder = Path(folder)
    path = folder / FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing, expected a folder written by Regressor.save")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        mode = Mode(**facts["mode"])
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is damaged ({error}); copy it again") from error
    transform = LabelTransform.load(folder)
    with quiet_loading():
        model = ExpressionModel.from_pretrained(folder, dtype=torch.float32).eval()
    if tuple(model.config.tissues) != transform.tissues:
        raise ValueError(
            f"{folder}: the model's tissues are {', '.join(model.config.tissues)}, those of its "
            f"label transform {', '.join(transform.tissues)}; the files are of two models"
        )
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    table = folder / "history.csv"
    history = pd.read_csv(table) if table.is_file() else None
    return Regressor(
        model, tokenizer, transform, mode, facts["max_ids"], facts["truncate"], facts["settings"],
        history,
    )  # fmt: skip


def run_rows(
    model: ExpressionModel, rows: TokenRows, token_budget: int | None = None
) -> Iterator[tuple[np.ndarray, ExpressionOutput]]:
    """(row numbers, outputs) batch by batch, rows of similar length together, longest first.

    On the GPU when there is one (bf16 where it has it). Nothing of a batch is kept once the next
    one is asked for, so memory does not grow with the number of rows. The model is put back as it
    was, also when the caller stops early.
    """
    place = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision, _ = choose_precision("auto", place)
    budget = token_budget or TOKEN_BUDGET[place.type]
    with ready_model(model, place, precision):
        for rows_B in batch_by_length(rows.length_S, budget):
            yield rows_B, model(**to_device(rows.pad(rows_B), place))


def to_device(batch: dict[str, torch.Tensor], place: torch.device) -> dict[str, torch.Tensor]:
    """The tensors of a batch on a device."""
    return {name: tensor.to(place, non_blocking=True) for name, tensor in batch.items()}


def padding_side(encoder: nn.Module) -> str:
    """'left' for encoders that count positions from the TSS, 'right' for all others."""
    return "left" if getattr(encoder.config, "tss_positions", None) else "right"


def longest_row(
    encoder: PreTrainedModel, tokenizer: "PreTrainedTokenizerBase", max_ids: int | None
) -> int | None:
    """Ids a row may have: what positions and tokenizer allow, or fewer if `max_ids` says so."""
    limits = [max_ids, max_ids_of(encoder, tokenizer)]
    if getattr(encoder.config, "tss_positions", None):
        limits.append(encoder.config.max_position_embeddings - FLORA_FIRST_POSITION)
    return min((limit for limit in limits if limit is not None), default=None)


def predict_fasta(regressor: Regressor, path: str | Path) -> Iterator[pd.DataFrame]:
    """TPM tables of the promoters of a FASTA, block by block: name, then one column per tissue.

    The TSS is taken to be at the right end of every record. Memory is that of a block, whatever
    the size of the file. Records without a definite base are left out, counted and named in the
    log.
    """
    from genomelm_utils.sequences.stream import RecordStream

    for block in RecordStream(path, block_records=BLOCK_RECORDS):
        # `decode` gives IUPAC letters; models know N alone
        sequences = [_plain_letters(decode(codes)) for codes in block.codes]
        table = pd.DataFrame(regressor.predict_tpm(sequences), columns=list(regressor.tissues))
        table.insert(0, "name", block.names)
        yield table


def write_tpm_table(regressor: Regressor, path: str | Path, out: str | Path) -> int:
    """Predict a FASTA into a tab-separated table (name, TPM per tissue); the promoters written.

    The table appears whole or not at all.
    """
    out, n_written = Path(out), 0
    partial = out.with_name(f".{out.name}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="") as stream:
            for table in predict_fasta(regressor, path):
                table.to_csv(
                    stream, sep="\t", index=False, header=not n_written, float_format="%.6g"
                )
                n_written += len(table)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return n_written


def predict_mean(regressors: Sequence[Regressor], sequences: Sequence[str]) -> np.ndarray:
    """Mean prediction float32 [S, T] of models that differ in their seed.

    Raises: ValueError for models of different label transforms, whose numbers have no mean.
    """
    if len({(one.transform, one.mode) for one in regressors}) != 1:
        raise ValueError("expected one or more models of the same label transform and mode")
    return np.mean([one.predict(sequences) for one in regressors], axis=0, dtype=np.float32)


def _plain_letters(text: str) -> str:
    return "".join(letter if letter in "ACGTN" else "N" for letter in text)
