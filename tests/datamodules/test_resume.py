"""A run that was stopped and resumed trains on the rows of one that was not, whenever the checkpoint was taken."""

from __future__ import annotations

import warnings

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

EPOCH = 5


class Recorder(LightningModule):
    """Two draws per manual step; remembers the rows of every batch."""

    draws = 2

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.layer = torch.nn.Linear(1, 1)
        self.rows = []

    def training_step(self, batch, batch_idx):
        self.rows.append(batch[0].flatten().int().tolist())
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(self.layer(batch[0]).mean())
        optimizer.step()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 1e-3)


class SaveAt(Callback):
    """Saves a checkpoint in one hook at one step."""

    def __init__(self, hook, step, path):
        self.step, self.path = step, path
        setattr(self, hook, self.save)

    def save(self, trainer, *args):
        if trainer.global_step == self.step and not trainer.sanity_checking:
            trainer.save_checkpoint(self.path)


def fit(datamodule, tmp_path, callbacks=(), ckpt_path=None, **kwargs):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    quiet |= {"enable_model_summary": False, "accelerator": "cpu", "devices": 1, "default_root_dir": tmp_path}
    recorder = Recorder()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*dataloader is not resumable.*")
        Trainer(**quiet, callbacks=list(callbacks), **kwargs).fit(recorder, datamodule=datamodule, ckpt_path=ckpt_path)
    return recorder.rows


def check(build, tmp_path, hook, step, **kwargs):
    whole = fit(build(), tmp_path, **kwargs)
    path = tmp_path / "stopped.ckpt"
    assert fit(build(), tmp_path, [SaveAt(hook, step, path)], **kwargs) == whole
    assert path.exists()
    assert len(whole) > step
    assert fit(build(), tmp_path, ckpt_path=path, **kwargs) == whole[step:]
    return whole


@pytest.fixture
def build(counting):
    """A function that makes a fresh data module: 23 rows, 8 an iteration, 5 iterations an epoch."""
    return lambda: counting(batch_size=4, epoch_iterations=EPOCH)


@pytest.mark.parametrize("limit", [{"max_epochs": 3}, {"max_steps": 14}], ids=["epochs", "steps"])
@pytest.mark.parametrize(
    ("hook", "step"),
    [
        ("on_train_batch_end", 1),
        ("on_train_batch_end", 7),
        ("on_train_batch_end", 10),  # the last batch of an epoch
        ("on_train_epoch_end", 5),
        ("on_train_epoch_end", 10),
        ("on_validation_end", 10),
    ],
)
def test_resume_in_and_between_epochs(build, tmp_path, hook, step, limit):
    whole = check(build, tmp_path, hook, step, **limit)
    order = torch.tensor(whole).flatten()
    assert torch.equal(order[:23].sort().values, torch.arange(23))  # the whole run is the stream's order, unbroken
    assert torch.equal(order[23:46].sort().values, torch.arange(23))


@pytest.mark.parametrize(
    "options",
    [
        {"limit_train_batches": 3, "max_epochs": 4},
        {"limit_train_batches": 0.6, "max_steps": 12},
        {"reload_dataloaders_every_n_epochs": 1, "max_epochs": 4},
        {"val_check_interval": 2, "max_steps": 14},
    ],
    ids=str,
)
@pytest.mark.parametrize(("hook", "step"), [("on_train_batch_end", 4), ("on_train_batch_end", 7)])
def test_resume_where_lightning_cuts_epochs_its_own_way(build, tmp_path, hook, step, options):
    check(build, tmp_path, hook, step, **options)


def test_resume_at_the_end_of_a_shortened_epoch(build, tmp_path):
    check(build, tmp_path, "on_train_epoch_end", 6, limit_train_batches=3, max_epochs=4)


@pytest.mark.parametrize("workers", [0, 2])
def test_rows_from_workers_are_those_from_memory_and_resume_in_mid_epoch(
    build, counting_from_workers, tmp_path, workers
):
    def from_workers():
        return counting_from_workers(batch_size=4, epoch_iterations=EPOCH, num_workers=workers)

    whole = check(from_workers, tmp_path, "on_train_batch_end", 7, max_steps=14)
    assert whole == fit(build(), tmp_path, max_steps=14)


def test_reloading_the_loader_does_not_start_the_order_again(build, tmp_path):
    plain = fit(build(), tmp_path, max_epochs=3)
    assert fit(build(), tmp_path, max_epochs=3, reload_dataloaders_every_n_epochs=1) == plain


def test_a_second_stop_continues_as_well(build, tmp_path):
    whole = fit(build(), tmp_path, max_epochs=3)
    first, second = tmp_path / "first.ckpt", tmp_path / "second.ckpt"
    fit(build(), tmp_path, [SaveAt("on_train_epoch_end", 5, first)], max_epochs=3)
    fit(build(), tmp_path, [SaveAt("on_train_batch_end", 8, second)], ckpt_path=first, max_epochs=3)
    assert fit(build(), tmp_path, ckpt_path=second, max_epochs=3) == whole[8:]


def test_stopping_by_max_steps_is_not_seen_in_the_rows(build, tmp_path):
    whole = fit(build(), tmp_path, max_steps=14)
    path = tmp_path / "stopped.ckpt"
    fit(build(), tmp_path, [SaveAt("on_train_batch_end", 7, path)], max_steps=7)
    assert fit(build(), tmp_path, ckpt_path=path, max_steps=14) == whole[7:]


@pytest.mark.parametrize("options", [{}, {"reload_dataloaders_every_n_epochs": 1}], ids=str)
def test_each_fit_without_a_checkpoint_begins_anew(build, tmp_path, options):
    module = build()
    first = fit(module, tmp_path, max_steps=7, **options)
    assert fit(module, tmp_path, max_steps=7, **options) == first
    module.load_state_dict(module.state_dict())  # as in an evaluation of a checkpoint
    assert fit(module, tmp_path, max_steps=7, **options) == first


@pytest.mark.parametrize(
    ("change", "message"),
    [({"seed": 1}, "seed 0, this run has 1"), ({"batch_size": 2}, "rows_per_iteration 8, this run has 4")],
)
@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_train_epoch_end"])
def test_resuming_another_order_is_refused(counting, tmp_path, hook, change, message):
    settings = {"batch_size": 4, "epoch_iterations": EPOCH}
    path = tmp_path / "stopped.ckpt"
    fit(counting(**settings), tmp_path, [SaveAt(hook, 5, path)], max_epochs=3)
    with pytest.raises(ValueError, match=message):
        fit(counting(**{**settings, **change}), tmp_path, ckpt_path=path, max_epochs=3)
