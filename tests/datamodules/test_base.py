"""The base data module with a Trainer and a command line around it."""

from __future__ import annotations

import math
import warnings
from types import SimpleNamespace

import pytest
import torch
from data_recipes import whitened_on_ranks
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningCLI
from torch.utils.data import IterableDataset

from datamodules import DigitsDataModule, GANDataModule, RingDataModule
from datamodules.augmentation import HorizontalFlip
from datamodules.whitening import Identity, PCAWhitening, Standardize, ZCAWhitening


class Endless(IterableDataset):
    """Rows that have no numbers."""

    def __iter__(self):
        return iter(torch.zeros(3, 1))


class Probe(LightningModule):
    """Learns nothing and remembers the validation batches."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.validated = []

    def training_step(self, batch, batch_idx):
        return (self.weight * batch[0]).mean()

    def validation_step(self, batch, batch_idx):
        self.validated.append(batch[0])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def make_trainer(tmp_path, **kwargs):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    quiet |= {"enable_model_summary": False, "accelerator": "cpu", "devices": 1, "default_root_dir": tmp_path}
    return Trainer(**quiet, **{"max_steps": 3, **kwargs})


def save_fit(module, tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.fit(Probe(), datamodule=module)
    trainer.save_checkpoint(tmp_path / "fit.ckpt")
    return tmp_path / "fit.ckpt"


def forbid_training_data(monkeypatch, cls):
    load = cls.load

    def guarded(self, split):
        assert split != "train", "training data was read"
        return load(self, split)

    monkeypatch.setattr(cls, "load", guarded)


def test_a_stage_reads_what_it_needs_once(counting, monkeypatch):
    seen = []
    load = counting.load
    monkeypatch.setattr(counting, "load", lambda self, split: seen.append(split) or load(self, split))
    module = counting(batch_size=2, whitening=Standardize())
    for stage, expected in [("validate", ["val"]), ("fit", ["val", "train"]), ("test", ["val", "train", "test"])]:
        module.setup(stage)
        module.setup(stage)
        assert seen == expected
    module.train_dataloader(), module.val_dataloader(), module.test_dataloader(), list(module.reals("train"))
    assert seen == ["val", "train", "test"]


def test_whitening_is_fitted_on_the_training_split_when_first_needed(counting):
    for use in (
        lambda m: m.setup("fit"),
        lambda m: (m.setup("validate"), next(iter(m.val_dataloader()))),
        lambda m: m.decode(torch.zeros(1, 1)),
        lambda m: next(m.reals("test")),
    ):
        module = counting(batch_size=2, whitening=Standardize())
        assert not module.whitening.fitted
        use(module)
        assert module.whitening.mean.item() == 11.0  # of 0..22; the validation split's is 3


def test_processes_fit_one_whitening_each_reading_its_share(gloo):
    (first, rows), (second, more) = gloo(whitened_on_ranks)
    alone, seen = whitened_on_ranks(0, 1)
    assert (rows, more, seen) == (501, 500, 1_001)
    assert all(torch.equal(first[name], second[name]) for name in alone)
    assert torch.allclose(first["basis"].T @ alone["basis"], torch.eye(2).double(), atol=1e-10)
    assert torch.allclose(first["variance"], alone["variance"], rtol=1e-10)


def test_what_training_space_looks_like_is_known_before_any_data(counting, monkeypatch):
    assert DigitsDataModule(batch_size=4, whitening=PCAWhitening(rank=7)).training_shape == (7,)
    assert DigitsDataModule(batch_size=4, whitening=ZCAWhitening()).training_shape == (1, 8, 8)
    module = counting(batch_size=2, whitening=ZCAWhitening())
    monkeypatch.setattr(counting, "shape", (3, 128, 128))
    monkeypatch.setattr(counting, "load", lambda self, split: pytest.fail("data was read"))
    with pytest.raises(ValueError, match=r"GiB.*FourierWhitening"):
        module.setup("fit")


def test_a_whitening_reports_when_it_is_fitted(caplog):
    with caplog.at_level("INFO"):
        DigitsDataModule(batch_size=4, whitening=ZCAWhitening(power=0.5)).setup("fit")
    assert "ZCAWhitening, fitted on the training split" in caplog.text
    assert "60 of 64" in caplog.text  # four directions are blank in every training digit


def test_a_fitted_whitening_is_kept(counting):
    whitening = Standardize().fit(torch.tensor([[0.0], [2.0]]))
    module = counting(batch_size=2, whitening=whitening)
    module.setup("fit")
    assert module.whitening.mean.item() == 1.0


def test_a_whitening_that_was_fitted_elsewhere_needs_no_memory_for_a_fit(counting):
    whitening = ZCAWhitening().fit(torch.tensor([[0.0], [2.0]]))
    whitening.memory_limit = 0
    module = counting(batch_size=2, whitening=whitening)
    module.setup("fit")
    assert module.train_dataloader().batch(0)[0].shape == (2, 1)


def test_batches_are_encoded_and_identity_costs_nothing(counting):
    module = counting(batch_size=4, whitening=Standardize())
    module.setup("fit")
    stream = module.train_dataloader()
    assert torch.allclose(module.decode(stream.batch(0)[0]), stream.source.samples[stream._rows(0)], atol=1e-5)
    plain = counting(batch_size=4)
    plain.setup("fit")
    assert isinstance(plain.whitening, Identity)
    assert plain.train_dataloader().transform is None
    assert plain.val_dataloader().transform is None


@pytest.mark.parametrize("on_device", [True, False])
def test_batches_are_computed_on_the_device_wherever_the_data_are_kept(on_device, process):
    module = DigitsDataModule(batch_size=4, on_device=on_device)
    module.trainer = process()
    module.setup("fit")
    module.trainer.strategy = SimpleNamespace(root_device=torch.device("meta"))  # that no other device can stand for
    stream = module.train_dataloader()
    assert stream.source.samples.device.type == ("meta" if on_device else "cpu")
    (stored, _), (real, labels) = next(stream.source.read([torch.arange(3)])), stream.batch(0)
    assert (stored.device.type, stored.dtype) == ("meta", module.load("train")[0].dtype)
    assert (real.device.type, labels.device.type) == ("meta", "meta")


@pytest.mark.parametrize("restore_first", [True, False])
def test_a_restored_whitening_wins_whether_it_comes_before_or_after_setup(counting, monkeypatch, restore_first):
    saved = counting(batch_size=4, whitening=Standardize())
    saved.setup("fit")
    monkeypatch.setattr(counting, "sizes", {"train": 100, "val": 7, "test": 5})  # now fits to something else
    fresh = counting(batch_size=4, whitening=Standardize())
    if restore_first:
        fresh.load_state_dict({**saved.state_dict(), "stream": None})
        fresh.setup("fit")
    else:
        fresh.setup("fit")
        stream, real = fresh.train_dataloader(), fresh.train_dataloader().batch(0)[0]
        fresh.load_state_dict({**saved.state_dict(), "stream": None})
        assert not torch.equal(stream.batch(0)[0], real)  # also for batches of a stream made before
    x = torch.arange(4.0).unsqueeze(1)
    assert torch.equal(fresh.encode(x), saved.encode(x))


@pytest.mark.parametrize(
    ("saved", "restored"), [(Identity, ZCAWhitening), (ZCAWhitening, Identity), (Standardize, ZCAWhitening)]
)
def test_a_state_of_another_whitening_is_refused(counting, saved, restored):
    source = counting(batch_size=2, whitening=saved())
    source.setup("fit")
    target = counting(batch_size=2, whitening=restored())
    with pytest.raises(ValueError, match=f"{restored.__name__} needs .* pass the whitening that the checkpoint"):
        target.load_state_dict(source.state_dict())
    with pytest.raises(ValueError, match=r"holds \['mean'\], not \['stream', 'whitening'\]"):
        target.load_state_dict({"mean": torch.zeros(1)})


def test_state_before_setup_is_empty_and_loads(counting):
    module = counting(batch_size=2, whitening=Standardize())
    module.load_state_dict(module.state_dict())
    assert not module.whitening.fitted


@pytest.mark.parametrize(
    ("loaded", "message"),
    [
        ((torch.zeros(0, 1), None), "the train split has 0 samples"),
        ((torch.full((3, 1), math.inf), None), "train samples hold 3 NaN or infinite"),
        ((torch.zeros(3, 2), None), r"shape \(3, 2\), expected \(N, 1\)"),
        (torch.zeros(3, 1), r"load\('train'\) returned Tensor, expected \(samples, labels\)"),
        ((torch.zeros(3, 1).numpy(), None), r"returned \(ndarray, NoneType\), expected"),
        ((torch.zeros(3, 1), [0, 0, 0]), r"returned \(Tensor, list\), expected"),
        (Endless(), "returned Endless, expected .* or a map-style Dataset"),
        (None, "returned NoneType, expected"),
    ],
    ids=["empty", "infinite", "shape", "no pair", "array", "list of labels", "iterable", "nothing"],
)
def test_bad_data_is_refused_at_setup(counting, monkeypatch, loaded, message):
    monkeypatch.setattr(counting, "load", lambda self, split: loaded)
    with pytest.raises(ValueError, match=message):
        counting(batch_size=2).setup("fit")


def test_a_data_set_of_its_own_is_read_by_workers_and_whitened(counting, counting_from_workers):
    memory, workers = (cls(batch_size=4, whitening=Standardize()) for cls in (counting, counting_from_workers))
    for module in (memory, workers):
        module.setup("fit")
    assert torch.equal(memory.whitening.std, workers.whitening.std)
    for split in ("train", "val"):
        assert torch.equal(*(torch.cat([real for real, _ in module.reals(split)]) for module in (memory, workers)))


def test_an_empty_data_set_is_refused(counting_from_workers, monkeypatch):
    monkeypatch.setattr(counting_from_workers, "sizes", {"train": 0, "val": 7})
    with pytest.raises(ValueError, match="the train split has 0 samples"):
        counting_from_workers(batch_size=2).setup("fit")
    with pytest.raises(ValueError, match="num_workers must be at least 0, got -1"):
        counting_from_workers(batch_size=2, num_workers=-1)


def test_whitening_sees_the_images_that_training_sees(tmp_path):
    class Left(GANDataModule):
        """The left half is 0, the right 1; flipped in half of the images."""

        shape, num_classes, value_range = (1, 2, 2), None, (0.0, 1.0)
        augmentations = (HorizontalFlip(),)

        def load(self, split):
            return torch.tensor([[0, 255], [0, 255]], dtype=torch.uint8).expand(1_000, 1, 2, 2).contiguous(), None

    module = Left(batch_size=10, whitening=Standardize())
    module.setup("fit")
    assert torch.allclose(module.whitening.mean, torch.tensor(0.5, dtype=torch.float64), atol=0.1)
    assert torch.cat([module.train_dataloader().batch(t)[0] for t in range(50)]).mean().abs() < 0.2
    evaluated = torch.cat([module.decode(real) for real, _ in module.reals("train")])
    assert torch.allclose(evaluated.mean(0), torch.tensor([[0.0, 1.0], [0.0, 1.0]]), atol=1e-6)


@pytest.mark.parametrize("name", ["batch_size", "eval_batch_size", "epoch_iterations"])
def test_sizes_must_be_positive(counting, name):
    with pytest.raises(ValueError, match=f"{name} must be positive and finite, got 0"):
        counting(**{"batch_size": 2, name: 0})


def test_processes_that_do_not_divide_the_batch_are_refused(counting, process):
    module = counting(batch_size=4)
    module.trainer = process(world_size=3)
    with pytest.raises(ValueError, match=r"batch_size 4 .* world_size 3"):
        module.train_dataloader()


def test_overfit_batches_is_refused_rather_than_ignored(counting, tmp_path):
    with pytest.raises(ValueError, match="overfit_batches would not repeat batches"):
        make_trainer(tmp_path, overfit_batches=2).fit(Probe(), datamodule=counting(batch_size=4))


def test_checkpoint_of_a_python_run_holds_no_module_and_no_warning(tmp_path):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*is an instance of `nn.Module`.*")
        module = RingDataModule(batch_size=8, train_size=50, whitening=Standardize())
    path = save_fit(module, tmp_path)
    saved = torch.load(path, weights_only=True)["datamodule_hyper_parameters"]
    assert (saved["batch_size"], saved["train_size"], saved["modes"]) == (8, 50, 8)
    assert "whitening" not in saved
    again = RingDataModule.load_from_checkpoint(path, whitening=Standardize(), weights_only=True)
    assert torch.equal(again.whitening.std, module.whitening.std)


def test_command_line_builds_it_and_its_checkpoint_rebuilds_the_whitening(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["gan-modules"])
    arguments = ["--data=RingDataModule", "--data.batch_size=8", "--data.train_size=50", "--data.seed=3"]
    arguments += ["--data.whitening=ZCAWhitening", "--data.whitening.power=0.5"]
    cli = LightningCLI(
        Probe,
        GANDataModule,
        subclass_mode_data=True,
        run=False,
        args=arguments,
        trainer_defaults={"logger": False, "accelerator": "cpu"},
        save_config_callback=None,
    )
    assert cli.datamodule.whitening.power == 0.5
    path = save_fit(cli.datamodule, tmp_path)
    for cls in (LightningDataModule, RingDataModule):
        again = cls.load_from_checkpoint(path, weights_only=True)
        assert isinstance(again, RingDataModule)
        assert (again.seed, again.whitening.power) == (3, 0.5)
        assert torch.equal(again.whitening.gain, cli.datamodule.whitening.gain)


def test_validation_from_a_checkpoint_reads_no_training_data(tmp_path, monkeypatch):
    path = save_fit(DigitsDataModule(batch_size=8, whitening=ZCAWhitening()), tmp_path)
    forbid_training_data(monkeypatch, DigitsDataModule)
    module, probe = DigitsDataModule(batch_size=8, whitening=ZCAWhitening()), Probe()
    make_trainer(tmp_path).validate(probe, datamodule=module, ckpt_path=path, verbose=False)
    decoded = module.decode(torch.cat(probe.validated))
    assert torch.allclose(decoded, module.load("val")[0], rtol=0, atol=0.2)  # a few pixels never vary in training
    assert torch.equal(torch.cat(probe.validated), torch.cat([real for real, _ in module.reals("val")]))


def test_data_first_met_in_validation_can_still_be_trained_on(tmp_path):
    module, probe = RingDataModule(batch_size=8, train_size=50, whitening=ZCAWhitening()), Probe()
    make_trainer(tmp_path).validate(probe, datamodule=module, verbose=False)  # loads and fits in inference mode
    assert not module.train_dataloader().source.samples.is_inference()
    make_trainer(tmp_path).fit(probe, datamodule=module)
    next(module.reals("train"))[0].requires_grad_().square().sum().backward()


def test_printing_it_loads_nothing_and_leaves_the_stream_where_it_is():
    data = DigitsDataModule(batch_size=16)
    assert str(data) == "DigitsDataModule(nothing loaded)"
    data.setup("fit")
    batches = iter(data.train_dataloader())
    next(batches)
    assert str(data) == "DigitsDataModule(train 1,197, val 300)"
    assert data.state_dict()["stream"]["iteration"] == 1
