"""What the metrics of this package add to torchmetrics: states that merge exactly, and reals that outlive ``reset``."""

from __future__ import annotations

import inspect
from abc import ABC
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors

from callbacks.metrics.extractors.base import full_precision
from callbacks.metrics.known import Known, NotApplicable
from callbacks.metrics.moments import ROWS, extended, merged, no_moments, widened
from callbacks.metrics.reservoir import DTYPES, least, position

CAPACITY = 10_000  # rows that a metric keeps of each side


class SampleMetric(Metric, ABC):
    """A metric of generated samples, perhaps against real ones.

    ``update(view, real, ...)`` takes what the class ``sees`` of a batch of samples: first its ``features`` (N, d), or
    the ``samples`` themselves, or their ``modes`` or class ``probabilities``; after ``real`` further views. ``setup``
    may tell beforehand what is known of the data; who calls ``update`` alone gives constructor arguments instead.

    Subclasses keep what they know of real samples in states named ``real_*``, of generated ones in ``fake_*``. There
    are three kinds of states, which all merge exactly over batches and processes, also where a process saw nothing and
    so does not know their shape: sums (``add_state(..., dist_reduce_fx="sum")``), moments (``add_moments``), and rows
    (``add_rows``). States keep their dtype when a module that holds the metric is cast, and do not enter its
    ``state_dict``.

    Args:
        reset_real_features: whether ``reset`` forgets the reals too. With False they are seen once and serve every
            evaluation.
        kwargs: as of ``torchmetrics.Metric``. ``compute_with_cache`` is False by default: a process without new data
            would return its last value and leave the others waiting for it.
    """

    #: the views that ``update`` takes, ``real`` after the first: "features", "samples", "modes", "probabilities",
    #: "labels", "index"
    sees: Sequence[str] = ("features",)
    #: which split the reals are of: what the generator has not seen, or what it was trained on; None: it takes none
    reals: ClassVar[Literal["held_out", "training"] | None] = "held_out"
    #: what a single value is called in logs; values that come in a dict are called by their keys
    name: ClassVar[str] = ""

    is_differentiable = False
    full_state_update = False
    plot_lower_bound: float | None = 0.0

    def __init__(self, reset_real_features: bool = True, **kwargs: Any) -> None:
        super().__init__(**{"compute_with_cache": False} | kwargs)
        if not isinstance(reset_real_features, bool):
            raise ValueError(f"reset_real_features={reset_real_features!r} must be True or False.")
        self.reset_real_features = reset_real_features
        self._capacities: dict[str, int] = {}

    def setup(self, known: Known) -> None:
        """Take from what is known of data and features whatever the constructor was not given.

        Raises:
            NotApplicable: the metric says nothing about such data.
        """
        if "probabilities" in self.sees and not known.classifies:
            raise NotApplicable(
                f"{type(self).__name__} needs class probabilities, so an extractor that is a Classifier"
            )
        if "modes" in self.sees and not known.has_modes:
            raise NotApplicable(
                f"{type(self).__name__} needs modes: known ones, or an extractor that is a Classifier of these data"
            )
        if "labels" in self.sees and known.num_classes is None:
            raise NotApplicable(f"{type(self).__name__} needs a class-conditional generator (num_classes)")

    @property
    def settings(self) -> dict[str, Any]:
        """The numbers and names that the constructor was given other than by default: what may change the value."""
        try:
            default = type(self)()._settings()
        except TypeError:  # a user's metric that must be given arguments
            default = {}
        return {name: value for name, value in self._settings().items() if value != default.get(name)}

    def _settings(self) -> dict[str, Any]:
        arguments = {name: getattr(self, name, None) for name in inspect.signature(type(self).__init__).parameters}
        plain = {name: value for name, value in arguments.items() if isinstance(value, int | float | str | None)}
        rows = {f"{side}_capacity": capacity for side, capacity in self._capacities.items()}
        return {name: value for name, value in (plain | rows).items() if name != "reset_real_features"}

    # --- states -----------------------------------------------------------------------------------------------------

    def add_moments(self, name: str, num_features: int | None = None) -> None:
        """States of count, mean and scatter of features (see ``moments``); of unknown d where None.

        Rows wait in a second state until there are more than d of them, and enough for products at full speed. Until
        then they are the smaller state, and a factor of their covariance (see ``few``).
        """
        self.add_state(name, no_moments(num_features or 0), dist_reduce_fx=merged)
        self.add_state(f"{name}_waiting", [], dist_reduce_fx="cat")

    def extend(self, name: str, rows: Tensor) -> None:
        """Add checked rows (N, d) to moments."""
        block = max(rows.shape[1], ROWS)
        for part in torch.split(rows, block) if len(rows) else ():
            getattr(self, f"{name}_waiting").append(part.clone())  # who gave them may write over them
            if self._waiting(name) > block:
                self.moments(name)

    def num_rows(self, name: str) -> int:
        """How many rows moments were given."""
        return int(getattr(self, name)[0, 0]) + self._waiting(name)

    def few(self, name: str) -> Tensor | None:
        """The rows themselves, (n, d), where they are no more than d; else None."""
        if not 0 < self.num_rows(name) == self._waiting(name) <= self.num_features:
            return None
        return torch.cat(list(getattr(self, f"{name}_waiting"))).to(getattr(self, name).device)  # which has float64

    def moments(self, name: str) -> Tensor:
        """The moments of all rows; none waits any longer."""
        waiting = getattr(self, f"{name}_waiting")
        state: Tensor = widened(getattr(self, name), self.num_features)
        if len(waiting):
            state = extended(state, waiting)
            setattr(self, name, state)
            setattr(self, f"{name}_waiting", [])
        return state

    def _waiting(self, name: str) -> int:
        return sum(map(len, getattr(self, f"{name}_waiting")))

    def add_rows(self, side: str, capacity: int = CAPACITY) -> None:
        """States that keep up to ``capacity`` rows (N, d), a uniform sample of all that ``keep`` was given.

        Raises:
            ValueError: the capacity is below 2.
        """
        if capacity < 2:
            raise ValueError(f"capacity={capacity} must be at least 2 rows.")
        self._capacities[side] = capacity
        self.add_state(f"{side}_rows", [], dist_reduce_fx="cat")
        self.add_state(f"{side}_index", [], dist_reduce_fx="cat")
        self.add_state(f"{side}_seen", torch.tensor(0), dist_reduce_fx="sum")

    def keep(self, side: str, rows: Tensor, index: Tensor | None = None) -> None:
        """Add checked rows (N, d) to a side; ``index`` (N,) are their numbers in the whole sequence of samples.

        Which rows are kept, and in which order ``kept`` gives them, depends on these numbers alone and so not on
        batches or processes. Without them rows are numbered as they come, process r of R taking r, r + R, r + 2 R, ...
        """
        seen: Tensor = getattr(self, f"{side}_seen")
        if index is None:
            index = position(int(seen), len(rows))
        elif index.shape != (len(rows),) or index.is_floating_point():
            raise ValueError(f"index of shape {tuple(index.shape)} and {index.dtype} must be ({len(rows)},) integers.")
        if len(rows):
            getattr(self, f"{side}_rows").append(rows.clone())  # who gave them may write over them
            getattr(self, f"{side}_index").append(index.to(rows.device, torch.int64))
        setattr(self, f"{side}_seen", seen + len(rows))
        if sum(map(len, getattr(self, f"{side}_rows"))) > 2 * self._capacities[side]:
            self._put(side, *least(*self._got(side), self._capacities[side]))

    def kept(self, side: str) -> Tensor:
        """The rows that are kept, (n, d), n <= capacity, in a random order that the rows' numbers determine."""
        rows, index = least(*self._got(side), self._capacities[side])
        self._put(side, rows, index)  # one copy of them in memory, not two
        return rows

    def _got(self, side: str) -> tuple[Tensor, Tensor]:
        rows, index = getattr(self, f"{side}_rows"), getattr(self, f"{side}_index")
        if len(rows):
            return torch.cat(list(rows)), torch.cat(list(index))
        return torch.empty(0, 0, device=self.device), torch.empty(0, dtype=torch.int64, device=self.device)

    def _put(self, side: str, rows: Tensor, index: Tensor) -> None:
        setattr(self, f"{side}_rows", [rows] if len(rows) else [])
        setattr(self, f"{side}_index", [index] if len(rows) else [])

    @property
    def num_features(self) -> int:
        """d, or 0 while it is unknown."""
        widths = [getattr(self, name).shape[-1] - 1 for name, how in self._reductions.items() if how is merged]
        lists = [getattr(self, name) for name, default in self._defaults.items() if isinstance(default, list)]
        widths += [parts[0].shape[1] for parts in lists if len(parts) and parts[0].ndim == 2]
        return int(max(widths, default=0))

    def checked(self, features: Tensor) -> Tensor:
        """Features that fit the metric, (N, d) floating, on its device, without a graph, at least float32.

        Raises:
            ValueError: not 2-D, not floating, another d than before, or not finite.
        """
        if features.ndim != 2 or not features.is_floating_point():
            raise ValueError(
                f"features of shape {tuple(features.shape)} and {features.dtype} must be floating and (N, d): "
                "flatten each sample's features to one row."
            )
        if self.num_features not in (0, features.shape[1]):
            raise ValueError(
                f"features have d={features.shape[1]} columns, but this metric holds d={self.num_features}: "
                "use one metric for each extractor."
            )
        if not (finite := torch.isfinite(features)).all():
            rows = int((~finite).any(1).sum())
            raise ValueError(f"{rows} of {len(features)} rows of features are not finite: look at the samples.")
        return features.detach().to(self.device, features.dtype if features.dtype in DTYPES else torch.float32)

    def require(self, real: bool, have: int, need: int, why: str = "") -> None:
        """Raise a ValueError where a side has fewer samples than ``why``, a noun, or the metric itself needs."""
        if have < need:
            who = f"{why} " if why else ""
            raise ValueError(
                f"{type(self).__name__} has {have} {'real' if real else 'generated'} sample(s), and {who}needs at "
                f"least {need}: call update({self.sees[0]}, real={real}) with more before compute()."
            )

    # --- what torchmetrics asks -------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Forget the generated samples, and the reals too if ``reset_real_features``."""
        keeps = [] if self.reset_real_features else [name for name in self._defaults if name.startswith("real_")]
        kept = {name: list(state) if isinstance(state := getattr(self, name), list) else state for name in keeps}
        super().reset()  # empties lists in place
        for name, value in kept.items():
            setattr(self, name, value)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Accumulate a batch as ``update`` does, and return the value of that batch against all reals seen so far.

        torchmetrics' own would forget the reals before it computes, or, where they are cached, count them twice.

        Raises:
            ValueError: the batch alone has no value (reals, too few samples). It has been accumulated nevertheless.
        """
        self.update(*args, **kwargs)
        alone = self.clone()
        alone.reset_real_features = False
        alone.reset()
        alone.update(*args, **kwargs)
        alone._to_sync = self.dist_sync_on_step
        self._forward_cache = alone.compute()
        return self._forward_cache

    def _reduce_states(self, incoming_state: Mapping[str, Any]) -> None:
        """Add the state of another metric (``merge_state``)."""
        for name, how in self._reductions.items():
            mine, other = getattr(self, name), incoming_state[name]
            if isinstance(mine, list):
                result: Any = [*mine, *(other if isinstance(other, list) else [other])]
            else:
                shape = _largest([list(mine.shape), list(other.shape)])
                both = torch.stack([_padded(mine, shape), _padded(other.to(mine.device), shape)])
                result = merged(both) if how is merged else both.sum(0)
            setattr(self, name, result)

    def _sync_dist(self, dist_sync_fn: Callable[..., Any] = gather_all_tensors, process_group: Any = None) -> None:
        """Merge over processes: sums and moments by sums, for a gather would hold those of all processes at once."""
        gather = partial(dist_sync_fn, group=process_group or self.process_group)
        widths = {int(width) for width in gather(torch.tensor(self.num_features, device=self.device))}
        if len(widths - {0}) > 1:
            raise ValueError(f"processes hold features of different d: {sorted(widths - {0})}.")
        for side in self._capacities:
            self._put(side, *_gathered(*self._got(side), max(widths), gather))
        for name, how in self._reductions.items():
            if how is merged:
                self._gather_waiting(name, max(widths), gather)
        for name, how in self._reductions.items():
            state = getattr(self, name)
            if isinstance(state, list):
                continue
            if state.ndim:
                shapes = gather(torch.tensor(state.shape, device=state.device))
                state = _padded(state, _largest([shape.tolist() for shape in shapes]))
            total = partial(_total, gather=gather)
            setattr(self, name, merged(state[None], total) if how is merged else total(state))

    def _gather_waiting(self, name: str, width: int, gather: Callable[..., Any]) -> None:
        """Rows of all processes wait on each of them while they are no more than d together, as on one process."""
        counts = torch.stack(list(gather(torch.tensor([self.num_rows(name), self._waiting(name)], device=self.device))))
        count, waiting = counts.sum(0).tolist()
        if count != waiting or count > width:
            self.moments(name)
        elif count:
            parts = getattr(self, f"{name}_waiting")
            rows = torch.cat(list(parts)) if len(parts) else torch.empty(0, 0, device=self.device)
            setattr(self, f"{name}_waiting", [_rows_of_all(rows, width, gather)])

    @contextmanager
    def sync_context(
        self,
        dist_sync_fn: Callable[..., Any] | None = None,
        process_group: Any | None = None,
        should_sync: bool = True,
        should_unsync: bool = True,
        distributed_available: Callable[..., Any] | None = None,
    ) -> Generator[None, None, None]:
        """As torchmetrics', except that an error inside leaves this process its own state, not that of all."""
        self.sync(dist_sync_fn, process_group, should_sync, distributed_available)
        try:
            yield
        finally:
            self.unsync(should_unsync=self._is_synced and should_unsync)

    def _wrap_compute(self, compute: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(compute)
        def exactly(*args: Any, **kwargs: Any) -> Any:
            with torch.autocast(self.device.type, enabled=False), full_precision():  # whatever training may want
                return compute(*args, **kwargs)

        wrapped: Callable[..., Any] = super()._wrap_compute(exactly)
        return wrapped

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> nn.Module:
        def move(tensor: Tensor) -> Tensor:
            device = fn(torch.empty(0, device=tensor.device)).device
            return tensor if device.type == "mps" else tensor.to(device)  # it has no float64, which values are of

        return super()._apply(move, exclude_state)

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw ``val``, a value or a list of values, or else what ``compute`` gives; needs matplotlib."""
        return self._plot(val, ax)


class RowMetric(SampleMetric):
    """A metric of the rows of features that are kept of both sides, in the states ``real_*`` and ``fake_*``."""

    sees = ("features", "index")

    def update(self, features: Tensor, real: bool, index: Tensor | None = None) -> None:
        """Keep features (N, d) of real or of generated samples, with their numbers (N,) in the whole sequence.

        Raises:
            ValueError: not 2-D, another d than before, not finite, or numbers of another length.
        """
        self.keep("real" if real else "fake", self.checked(features), index)


def _largest(shapes: list[list[int]]) -> list[int]:
    return [max(sizes) for sizes in zip(*shapes, strict=True)]


def _padded(state: Tensor, shape: list[int]) -> Tensor:
    """A state of zeros where it is smaller than others, which have seen what it has not."""
    padding = [p for have, want in zip(state.shape[::-1], shape[::-1], strict=True) for p in (0, want - have)]
    return nn.functional.pad(state, padding) if any(padding) else state


def _gathered(rows: Tensor, index: Tensor, width: int, gather: Callable[..., Any]) -> tuple[Tensor, Tensor]:
    return _rows_of_all(rows, width, gather), torch.cat(list(gather(index)))


def _rows_of_all(rows: Tensor, width: int, gather: Callable[..., Any]) -> Tensor:
    """Rows of all processes; one without rows takes part with none of the others' width and dtype."""
    kinds = gather(torch.tensor(DTYPES.index(rows.dtype) if len(rows) else 0, device=rows.device))
    rows = rows.reshape(len(rows), width).to(DTYPES[max(int(kind) for kind in kinds)])
    return torch.cat(list(gather(rows.contiguous())))


def _total(part: Tensor, gather: partial[Any]) -> Tensor:
    if gather.func is not gather_all_tensors:  # the user's own, which may not go through torch.distributed
        return torch.stack(list(gather(part))).sum(0)
    part = part.clone()
    torch.distributed.all_reduce(part, **gather.keywords)
    return part
