"""Networks of tokens as `Explained`: k-mer BERT classifiers, expression regressors, Hugging Face
classifiers (DistilBERT, BERT, ALiBi), and encoders by the likeness of their embeddings.

The numbers in place of tokens are word embeddings: while `forward` runs, a hook puts them in place
of what the embedding layer gives, so any network with an embedding layer can be explained, whether
it packs its tokens or not.

Shapes: S sequences, R rows, B rows of a batch, L ids of a padded row, D width, C outputs.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from genomelm_utils.interpretation.explained import Explained, Inputs, Rows, ready
from genomelm_utils.models.alibi_attention import pack_mask
from genomelm_utils.models.alibi_bert import mean_embedding
from genomelm_utils.sequences.alphabet import decode, encode
from genomelm_utils.tasks.classification import Classifier, run_windows, window_tokens
from genomelm_utils.tasks.embedding_models import max_ids_of
from genomelm_utils.tasks.encoder import classify_windows
from genomelm_utils.tasks.expression_rows import bases_per_token
from genomelm_utils.tasks.regressor import Regressor, run_rows
from genomelm_utils.tasks.windows import Codes, batch_by_length, build_windows
from genomelm_utils.tokenizers import kmer
from genomelm_utils.training.device import choose_device

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOKENS_PER_BATCH = 4096  # ids of a batch in prediction
SPACE_MARKS = "▁Ġ"  # what byte-level and unigram tokenizers write for a space; no base


class Batch(NamedTuple):
    """ids_BL, mask_BL (int64, 1 = token), what else the network reads, and its left padding."""

    ids_BL: torch.Tensor
    mask_BL: torch.Tensor
    more: tuple[torch.Tensor, ...]
    first_B: np.ndarray


@contextmanager
def replaced_embedding(
    embedding: nn.Module, x_BLD: torch.Tensor, mask_BL: torch.Tensor
) -> Iterator[None]:
    """Inside, the embedding layer gives x_BLD (packed as ALiBi networks do, where it packs)."""

    def swap(module: nn.Module, args: tuple, output: torch.Tensor) -> torch.Tensor:
        return x_BLD if output.ndim == x_BLD.ndim else pack_mask(mask_BL).pack(x_BLD)

    handle = embedding.register_forward_hook(swap)
    try:
        yield
    finally:
        handle.remove()


class TokenNetwork(Explained):
    """What networks of tokens share; subclasses make rows, batches, and calls.

    embedding: the layer of word embeddings. pad_id, mask_id: ids of the baselines 'pad' and 'mask'
    (mask_id None: there is none).
    """

    module: nn.Module
    embedding: nn.Module
    pad_id: int
    mask_id: int | None

    @abstractmethod
    def batch(self, rows: Rows, chosen_B: np.ndarray) -> Batch:
        """Padded ids of some rows."""

    @abstractmethod
    def call(
        self, ids_BL: torch.Tensor, mask_BL: torch.Tensor, *more: torch.Tensor
    ) -> torch.Tensor:
        """Outputs [B, C]."""

    def inputs(self, rows: Rows, chosen_B: np.ndarray, baseline: str) -> Inputs:
        batch = self.batch(rows, chosen_B)
        place = next(self.embedding.parameters()).device
        ids_BL = batch.ids_BL.to(place)
        read_BL = torch.zeros(ids_BL.shape, dtype=torch.bool, device=place)
        for i, (row, first) in enumerate(zip(chosen_B, batch.first_B, strict=True)):
            span_N2 = rows.spans[row]
            read = torch.from_numpy(span_N2[:, 1] > span_N2[:, 0]).to(place)
            read_BL[i, first : first + len(read)] = read
        with torch.no_grad():
            x_BLD = self.embedding(ids_BL)
            if baseline == "mean":
                share_BL1 = read_BL.unsqueeze(-1).to(x_BLD.dtype)
                mean_B1D = (x_BLD * share_BL1).sum(1, keepdim=True) / share_BL1.sum(
                    1, keepdim=True
                ).clamp(min=1)
                other_BLD = mean_B1D.expand_as(x_BLD)
            else:
                other_BLD = self.embedding(torch.full_like(ids_BL, self._baseline_id(baseline)))
            baseline_BLD = torch.where(read_BL.unsqueeze(-1), other_BLD, x_BLD)
        extras = (ids_BL, batch.mask_BL, *batch.more)
        return Inputs(x_BLD, baseline_BLD, read_BL, batch.first_B, extras)

    def _baseline_id(self, baseline: str) -> int:
        if baseline == "mask" and self.mask_id is None:
            raise ValueError(
                "baseline 'mask': the tokenizer has no mask token; take 'mean' or 'pad'"
            )
        return self.mask_id if baseline == "mask" else self.pad_id

    def forward(self, x_BLD: torch.Tensor, *extras: torch.Tensor) -> torch.Tensor:
        ids_BL, mask_BL, *more = extras
        with replaced_embedding(self.embedding, x_BLD, mask_BL):
            return self.call(ids_BL, mask_BL, *more)


class KmerClassifier(TokenNetwork):
    """A fine-tuned k-mer BERT (stage 05); long sequences in overlapping windows."""

    kind = "classes"
    pad_id, mask_id = kmer.PAD, kmer.MASK

    def __init__(self, classifier: Classifier, classes: Sequence[str] | None = None) -> None:
        self.classifier, self.module = classifier, classifier.model
        self.embedding = classifier.model.get_input_embeddings()
        self.outputs = _names(classes, classifier.model.config.num_labels)
        self.occlusion_window = classifier.k

    def predict(self, codes: Codes) -> np.ndarray:
        windows = build_windows(codes, self.classifier.k, window_tokens(self.module))
        return run_windows(self.module, windows, classify_windows).double().numpy()

    def rows(self, codes: Codes) -> Rows:
        k = self.classifier.k
        windows = build_windows(codes, k, window_tokens(self.module))
        lengths_S = np.array([len(one) for one in codes], dtype=np.int64)
        before_S = np.cumsum(lengths_S) - lengths_S
        texts_S = [decode(np.asarray(one)) for one in codes]
        spans, texts = [], []
        for begin, length, s in zip(
            windows.begin_W, windows.length_W, windows.sequence_W, strict=True
        ):
            start_N = begin - before_S[s] + np.arange(length)
            read_N2 = np.stack([start_N, start_N + k], axis=1)
            none = np.zeros((1, 2), dtype=np.int64)
            spans.append(np.concatenate([none, read_N2, none]))
            words = [texts_S[s][i : i + k] for i in start_N.tolist()]
            texts.append(["[CLS]", *words, "[SEP]"])
        return Rows(windows.sequence_W, windows.length_W + 2, spans, texts, lengths_S, windows)

    def batch(self, rows: Rows, chosen_B: np.ndarray) -> Batch:
        padded = rows.data.pad(chosen_B)
        zeros_B = np.zeros(len(chosen_B), dtype=np.int64)
        return Batch(padded["input_ids"], padded["attention_mask"], (), zeros_B)

    def call(
        self, ids_BL: torch.Tensor, mask_BL: torch.Tensor, *more: torch.Tensor
    ) -> torch.Tensor:
        return classify_windows(self.module, ids_BL, mask_BL)


class ExpressionRegressor(TokenNetwork):
    """A trained expression model (stage 07): its outputs are the tissues, on the label's scale.

    gap_bp: bases between the right end of every sequence and the TSS. Bases of rows that were cut
    to the model's length get 0.
    """

    kind = "values"

    def __init__(self, regressor: Regressor, gap_bp: int = 0) -> None:
        self.regressor, self.module, self.gap_bp = regressor, regressor.model, gap_bp
        self.embedding = regressor.model.encoder.get_input_embeddings()
        self.outputs = tuple(regressor.tissues)
        tokenizer = regressor.tokenizer
        self.pad_id = regressor.model.config.pad_id
        self.mask_id = tokenizer.mask_token_id
        self.width_V = bases_per_token(tokenizer)

    def _token_rows(self, codes: Codes):
        return self.regressor.rows([_plain(one) for one in codes], [self.gap_bp] * len(codes))

    def predict(self, codes: Codes) -> np.ndarray:
        rows = self._token_rows(codes)
        out_SC = np.empty((len(rows), len(self.outputs)))
        for rows_B, output in run_rows(self.module, rows):
            out_SC[rows_B] = output.logits.double().cpu().numpy()
        return out_SC

    def rows(self, codes: Codes) -> Rows:
        found = self._token_rows(codes)
        lengths_S = np.array([len(one) for one in codes], dtype=np.int64)
        spans, texts = [], []
        names = self.regressor.tokenizer.convert_ids_to_tokens(range(len(self.width_V)))
        for s, (begin, end) in enumerate(zip(found.begin_S[:-1], found.begin_S[1:], strict=True)):
            ids_N, distance_N = found.ids_N[begin:end], found.distance_N[begin:end]
            end_N = lengths_S[s] + self.gap_bp + distance_N + 1
            width_N = self.width_V[ids_N]
            span_N2 = np.stack([end_N - width_N, end_N], axis=1)
            spans.append(np.where((width_N > 0)[:, None], span_N2, 0).astype(np.int64))
            texts.append([names[i] for i in ids_N])
        return Rows(np.arange(len(found)), found.length_S, spans, texts, lengths_S, found)

    def batch(self, rows: Rows, chosen_B: np.ndarray) -> Batch:
        padded = rows.data.pad(chosen_B)
        width = padded["input_ids"].shape[1]
        left = rows.data.side == "left"
        first_B = width - rows.length_R[chosen_B] if left else np.zeros(len(chosen_B), np.int64)
        more = (padded["distance_bp"],)
        return Batch(padded["input_ids"], padded["attention_mask"], more, first_B)

    def call(
        self, ids_BL: torch.Tensor, mask_BL: torch.Tensor, *more: torch.Tensor
    ) -> torch.Tensor:
        # a copy: the reference's pooling changes the mask it is given
        return self.module(
            input_ids=ids_BL, attention_mask=mask_BL.clone(), distance_bp=more[0]
        ).logits


class TokenClassifier(TokenNetwork):
    """A Hugging Face sequence classifier with a tokenizer that reads DNA (DistilBERT of stage 06).

    specials: 'as_trained', rows as the tokenizer makes them; 'reference', genomeNLP's explainer:
    rows wrapped in the tokenizer's cls and sep, whose embeddings were never trained (a row of the
    table is then read that the model has never seen).
    Raises: ValueError for a row of more tokens than the model has positions.
    """

    kind = "classes"

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: "PreTrainedTokenizerBase",
        classes: Sequence[str] | None = None,
        *,
        specials: str = "as_trained",
    ) -> None:
        if specials not in ("as_trained", "reference"):
            raise ValueError(f"specials is {specials!r}, expected as_trained or reference")
        self.module, self.tokenizer, self.specials = model, tokenizer, specials
        self.embedding = model.get_input_embeddings()
        self.outputs = _names(classes, self._n_outputs())
        self.pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        self.mask_id = tokenizer.mask_token_id
        ends = (tokenizer.cls_token_id, tokenizer.sep_token_id)
        if specials == "reference" and None in ends:
            raise ValueError("specials 'reference' needs a tokenizer with cls and sep tokens")
        self.around = ends if specials == "reference" else None
        self.k = next((k for k in range(1, kmer.MAX_K + 1) if len(tokenizer) == kmer.vocab_size(k)
                       and tokenizer.get_vocab() == kmer.vocabulary(k)), 0)  # fmt: skip
        self.occlusion_window = max(self.k, 1)
        self.limit = max_ids_of(model, tokenizer)

    def _n_outputs(self) -> int:
        return self.module.config.num_labels

    def predict(self, codes: Codes) -> np.ndarray:
        rows = self.rows(codes)
        out_SC = np.empty((len(rows), len(self.outputs)))
        place, _ = choose_device()
        with ready(self.module, place), torch.no_grad():
            for chosen_B in batch_by_length(rows.length_R, TOKENS_PER_BATCH):
                batch = self.batch(rows, chosen_B)
                tensors = (one.to(place) for one in (batch.ids_BL, batch.mask_BL, *batch.more))
                out_SC[chosen_B] = self.call(*tensors).double().cpu().numpy()
        return out_SC

    def rows(self, codes: Codes) -> Rows:
        lengths_S = np.array([len(one) for one in codes], dtype=np.int64)
        ids, spans = [], []
        for one in codes:
            row_N, span_N2 = self._tokenise(np.asarray(one))
            ids.append(row_N)
            spans.append(span_N2)
        length_R = np.array([len(row) for row in ids], dtype=np.int64)
        if self.limit is not None and length_R.max() > self.limit:
            s = int(length_R.argmax())
            raise ValueError(
                f"sequence {s} (0-based) has {length_R[s]} tokens, the model reads {self.limit}; "
                "cut it into pieces first"
            )
        texts = [self.tokenizer.convert_ids_to_tokens(row.tolist()) for row in ids]
        return Rows(np.arange(len(ids)), length_R, spans, texts, lengths_S, ids)

    def _tokenise(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ids and the bases they read."""
        text = _plain(codes)
        if self.k:
            n = max(len(codes) - self.k + 1, 0)
            row_N = np.concatenate([[kmer.CLS], kmer.token_ids(codes, self.k), [kmer.SEP]])
            start_N = np.arange(n)
            read_N2 = np.stack([start_N, start_N + self.k], axis=1)
            none = np.zeros((1, 2), dtype=np.int64)
            return row_N.astype(np.int64), np.concatenate([none, read_N2, none])
        made = self.tokenizer(
            text, return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False,
            add_special_tokens=self.around is None,
        )  # fmt: skip
        row_N = np.array(made["input_ids"], dtype=np.int64)
        span_N2 = np.array(made["offset_mapping"], dtype=np.int64).reshape(-1, 2)
        pieces = self.tokenizer.convert_ids_to_tokens(row_N.tolist())
        unknown = self.tokenizer.unk_token_id
        for i, (token, piece) in enumerate(zip(row_N.tolist(), pieces, strict=True)):
            special = token in self.tokenizer.all_special_ids and token != unknown
            if special or not piece.strip(SPACE_MARKS):
                span_N2[i] = 0
        if self.around is not None:
            none = np.zeros((1, 2), dtype=np.int64)
            row_N = np.concatenate([self.around[:1], row_N, self.around[1:]])
            span_N2 = np.concatenate([none, span_N2, none])
        return row_N, span_N2

    def batch(self, rows: Rows, chosen_B: np.ndarray) -> Batch:
        width = int(rows.length_R[chosen_B].max())
        ids_BL = np.full((len(chosen_B), width), self.pad_id, dtype=np.int64)
        mask_BL = np.zeros_like(ids_BL)
        for i, row in enumerate(chosen_B):
            ids_BL[i, : rows.length_R[row]] = rows.data[row]
            mask_BL[i, : rows.length_R[row]] = 1
        zeros_B = np.zeros(len(chosen_B), dtype=np.int64)
        return Batch(torch.from_numpy(ids_BL), torch.from_numpy(mask_BL), (), zeros_B)

    def call(
        self, ids_BL: torch.Tensor, mask_BL: torch.Tensor, *more: torch.Tensor
    ) -> torch.Tensor:
        return self.module(input_ids=ids_BL, attention_mask=mask_BL).logits


class EncoderLikeness(TokenClassifier):
    """An encoder without a head (DNABERT-S, stage 09): cosine of its embedding with directions.

    directions: float [C, D], such as the mean embeddings of species; names of the C outputs. The
    embedding is the mean over all tokens, as in use there.
    """

    kind = "values"

    def __init__(
        self,
        encoder: PreTrainedModel,
        tokenizer: "PreTrainedTokenizerBase",
        directions: np.ndarray,
        names: Sequence[str],
    ) -> None:
        if np.ndim(directions) != 2 or len(directions) != len(names):
            raise ValueError(
                f"directions of shape {np.shape(directions)} for {len(names)} names, expected one "
                "row each"
            )
        self.direction_CD = torch.from_numpy(np.asarray(directions, dtype=np.float32))
        super().__init__(encoder, tokenizer, names)

    def _n_outputs(self) -> int:
        return len(self.direction_CD)

    def call(
        self, ids_BL: torch.Tensor, mask_BL: torch.Tensor, *more: torch.Tensor
    ) -> torch.Tensor:
        hidden_BLD = self.module(input_ids=ids_BL, attention_mask=mask_BL).last_hidden_state
        mean_BD = functional.normalize(mean_embedding(hidden_BLD, mask_BL), dim=1)
        return mean_BD @ functional.normalize(self.direction_CD.to(mean_BD), dim=1).T


def on_letters(call: Callable[[list[str]], np.ndarray]) -> Callable[[list[np.ndarray]], np.ndarray]:
    """A function of text as a function of base codes, for `BlackBox`."""
    return lambda codes: call([_plain(one) for one in codes])


def as_codes(sequences: Sequence[str]) -> list[np.ndarray]:
    """Base codes of texts; a letter that is no nucleotide is an error that names the sequence."""
    return [encode(one, f"sequence {i}") for i, one in enumerate(sequences)]


def _names(classes: Sequence[str] | None, n: int) -> tuple[str, ...]:
    names = tuple(classes) if classes is not None else tuple(f"class {i}" for i in range(n))
    if len(names) != n or len(set(names)) != n:
        raise ValueError(f"names of outputs are {names}, expected {n}, all different")
    return names


def _plain(codes: np.ndarray) -> str:
    """Upper-case ACGT; N for every ambiguity code."""
    return "".join(letter if letter in "ACGT" else "N" for letter in decode(np.asarray(codes)))
