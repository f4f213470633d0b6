"""What a metric's value depends on besides the generator: values of one protocol can be compared."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class EvaluationProtocol:
    """How samples were compared with data.

    Attributes:
        extractor: its name.
        extractor_hash: of its weights and of what it does to samples before them.
        resize: what it does to images before its network.
        value_range: of the samples it takes; None where there is no bound.
        split: that the reals are of.
        data: digest of the reals (see ``data_digest``).
        n_real: number of reals.
        n_generated: number of generated samples.
        metrics: by class, what a metric's constructor was given other than by default.
    """

    extractor: str
    extractor_hash: str
    resize: str | None
    value_range: tuple[float, float] | None
    split: str
    data: str
    n_real: int
    n_generated: int
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def hash(self) -> str:
        """Twelve hex digits of all of it."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]

    def __str__(self) -> str:
        return (
            f"{self.n_generated:,} samples against {self.n_real:,} of the {self.split} split, features "
            f"{self.extractor} ({self.extractor_hash}), protocol {self.hash}"
        )


class DataDigest:
    """Tells one data set from another, in whatever batches and on whatever processes its rows are seen.

    It is a sum over rows, modulo 2^64, so those of several processes add up.

    Attributes:
        rows: number of rows seen.
        value: the sum, in [-2^63, 2^63 - 1].
    """

    def __init__(self, rows: int = 0, value: int = 0) -> None:
        self.rows = rows
        self.value = value

    def see(self, samples: Tensor, index: Tensor) -> None:
        """Add rows (N, *shape) that have the numbers (N,) in the data set."""
        kind = str((str(samples.dtype), tuple(samples.shape[1:]))).encode()[:64]
        arrays = samples.detach().cpu().contiguous().flatten(1).view(torch.uint8).numpy()  # numpy has no bfloat16
        for number, row in zip(index.tolist(), arrays, strict=True):
            digest = hashlib.blake2b(row.tobytes(), digest_size=8, key=kind, salt=number.to_bytes(16, "little"))
            self.value += int.from_bytes(digest.digest(), "little")
        self.value = (self.value + 2**63) % 2**64 - 2**63  # as int64 wraps
        self.rows += len(samples)

    def __str__(self) -> str:
        return f"{self.value % 2**64:016x}"
