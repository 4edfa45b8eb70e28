"""A metric that nothing logs is refused before the run starts, and one that may be logged never is."""

import logging
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from igcl_lightning.callbacks import OnlineProbe
from igcl_lightning.cli import main
from igcl_lightning.doctor.config import Config
from igcl_lightning.errors import UsageError
from igcl_lightning.modules import IGCL, FineTune
from igcl_lightning.training.monitors import choose_by_loss_among_few, recall_says_nothing, refuse_unknown_monitors

PAIRS = {"class_path": "PairedDataModule", "init_args": {"batch_size": 16}}
LABELS = {"class_path": "LabeledDataModule", "init_args": {"batch_size": 16}}
MODELS = {
    "IGCL": ({"image": {"backbone": "test_resnet", "size": 32}, "graph": {"channels": 16}}, PAIRS),
    "RenamedIGCL": ({"backbone": "test_resnet"}, PAIRS),
    "FineTune": ({"image": {"backbone": "test_resnet", "size": 32}}, LABELS),
    "LinearProbe": ({"image": {"backbone": "test_resnet", "size": 32}}, LABELS),
}
EARLY = "lightning.pytorch.callbacks.EarlyStopping"
KEEP = "lightning.pytorch.callbacks.ModelCheckpoint"


class StepLoggingIGCL(IGCL):
    def training_step(self, batch, index):
        self.log("mine", 1.0)
        return super().training_step(batch, index)


class HookLoggingIGCL(IGCL):
    def on_validation_epoch_end(self):
        super().on_validation_epoch_end()
        self.log("mine", 1.0)


class RenamedIGCL(IGCL):
    """Nothing but another constructor: what it logs is known."""

    def __init__(self, backbone: str = "test_resnet"):
        super().__init__({"backbone": backbone, "size": 32}, {"channels": 16})


class DeclaringFineTune(FineTune):
    def on_validation_epoch_end(self):
        super().on_validation_epoch_end()
        self.log("mine", 1.0)

    def logged_metrics(self, data):
        return super().logged_metrics(data) | {"mine"}


class LoggingCallback(Callback):
    def on_validation_epoch_end(self, trainer, pl_module):
        pl_module.log("theirs", 1.0)


class MoreLoggingProbe(OnlineProbe):
    def on_validation_epoch_end(self, trainer, pl_module):
        super().on_validation_epoch_end(trainer, pl_module)
        pl_module.log("theirs", 1.0)


class PatientStopping(EarlyStopping):
    def __init__(self, monitor: str, patience: int = 30):
        super().__init__(monitor, patience=patience)


@pytest.fixture
def config(phantom_store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(model, *callbacks):
        options, data = MODELS.get(model) or MODELS["FineTune" if "FineTune" in model else "IGCL"]
        data = {**data, "init_args": {**data["init_args"], "store": str(phantom_store)}}
        trainer = {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False, "num_sanity_val_steps": 0}
        trainer |= {"log_every_n_steps": 1}
        trainer |= {"limit_train_batches": 1, "callbacks": list(callbacks)}
        content = {"model": {"class_path": model, "init_args": options}, "data": data, "trainer": trainer}
        Path("c.yaml").write_text(yaml.safe_dump(content))

    return write


def monitoring(name, cls=EARLY, **options):
    return {"class_path": cls, "init_args": {"monitor": name, **options}}


WRONG = [
    ("IGCL", [monitoring("val/image_to_graph_recal@5")], "did you mean val/image_to_graph_recall@5?"),
    ("IGCL", [monitoring("val_loss", KEEP)], "ModelCheckpoint.monitor: nothing logs 'val_loss' in fit, did you mean"),
    ("IGCL", [monitoring("test/loss")], "did you mean val/loss?"),
    ("IGCL", [monitoring("lr-AdamW")], "in fit; it logs train/false_negative_rate, train/logit_scale, train/loss,"),
    ("IGCL", [monitoring("epoch")], "nothing logs 'epoch' in fit"),
    ("IGCL", [monitoring("val/online_auroc_mean")], "nothing logs 'val/online_auroc_mean'"),
    ("IGCL", [{"class_path": "OnlineProbe"}, monitoring("val/online_auroc_Edem")], "mean val/online_auroc_Edema?"),
    ("IGCL", [{"class_path": "CollapseMonitor"}, monitoring("val/std_report")], "did you mean val/std_"),
    ("RenamedIGCL", [monitoring("val/los")], "did you mean val/loss?"),
    ("IGCL", [monitoring("val/los", "PatientStopping")], "PatientStopping.monitor: nothing logs 'val/los'"),
    ("FineTune", [monitoring("val/auroc_men", KEEP)], "did you mean val/auroc_mean?"),
    ("FineTune", [monitoring("val/auroc_Edemma")], "did you mean val/auroc_Edema?"),
    ("LinearProbe", [monitoring("val/auroc_ensemble", KEEP)], "nothing logs 'val/auroc_ensemble'"),
    ("DeclaringFineTune", [monitoring("val/auroc_men", KEEP)], "did you mean val/auroc_mean?"),
]


@pytest.mark.parametrize(("model", "callbacks", "said"), WRONG)
def test_a_metric_that_nothing_logs_is_refused_at_once(config, capsys, model, callbacks, said):
    config(model, *callbacks)
    assert main(["fit", "--config", "c.yaml"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("igcl: ")]
    assert said in line
    assert [path.name for path in Path().iterdir()] == ["c.yaml"], "nothing was begun"


@pytest.mark.parametrize(
    ("model", "callbacks"),
    [
        ("IGCL", [monitoring("val/loss"), monitoring("step", KEEP, mode="max")]),
        ("IGCL", [{"class_path": "LearningRateMonitor"}, monitoring("lr-AdamW/pg1", KEEP)]),
        ("IGCL", [{"class_path": "CollapseMonitor"}, monitoring("val/alignment", KEEP)]),
        ("StepLoggingIGCL", [monitoring("mine")]),
        ("HookLoggingIGCL", [monitoring("mine")]),
        ("DeclaringFineTune", [monitoring("mine")]),
        ("IGCL", [{"class_path": "LoggingCallback"}, monitoring("theirs")]),
        ("IGCL", [{"class_path": "MoreLoggingProbe"}, monitoring("theirs")]),
    ],
)
def test_what_is_logged_can_be_monitored(config, model, callbacks):
    config(model, *callbacks)
    assert main(["fit", "--config", "c.yaml"]) == 0


def test_a_metric_of_one_of_several_loaders_can_be_monitored():
    model = IGCL(image={"backbone": "test_resnet", "size": 32}, graph={"channels": 16})
    refuse_unknown_monitors(SimpleNamespace(callbacks=[EarlyStopping("val/loss/dataloader_idx_0")]), model, None)
    with pytest.raises(UsageError) as error:
        refuse_unknown_monitors(SimpleNamespace(callbacks=[EarlyStopping("val/los/dataloader_idx_0")]), model, None)
    assert "nothing logs 'val/los/dataloader_idx_0' in fit" in error.value.message


@pytest.mark.parametrize(
    ("monitor", "pairs", "nothing"),
    [
        ("val/image_to_graph_recall@5", 19, True),
        ("val/image_to_graph_recall@5", 20, False),
        ("val/image_to_view_recall@1", 3, True),
        ("val/image_to_view_recall@1", 4, False),
        ("val/image_to_graph_recall@5", 0, False),  # not known
        ("val/loss", 3, False),
        (None, 3, False),
    ],
)
def test_recall_says_nothing_where_chance_reaches_a_quarter(monitor, pairs, nothing):
    assert recall_says_nothing(monitor, pairs) == nothing


@pytest.mark.parametrize(("pairs", "chosen"), [(19, ("val/loss", "min")), (20, ("val/image_to_graph_recall@5", "max"))])
def test_a_checkpoint_is_chosen_by_the_loss_among_few_pairs(caplog, capsys, pairs, chosen):
    model = IGCL(image={"backbone": "test_resnet", "size": 32}, graph={"channels": 16})
    callback = ModelCheckpoint(monitor="val/image_to_graph_recall@5", mode="max")
    early = EarlyStopping("val/image_to_graph_recall@5", mode="max")
    trainer = SimpleNamespace(callbacks=[callback, early], datamodule=SimpleNamespace(num_validation_pairs=pairs))
    with caplog.at_level(logging.INFO, "lightning.pytorch.utilities.rank_zero"):
        choose_by_loss_among_few(trainer, model)
    assert (callback.monitor, callback.mode) == chosen
    assert callback.kth_value == torch.tensor(math.inf if pairs < 20 else -math.inf)
    said = "val/image_to_graph_recall@5 says little among 19 validation pairs: val/loss chooses the best checkpoint"
    assert caplog.messages == ([f"{said} instead"] if pairs < 20 else [])
    warned = "igcl: warning: EarlyStopping.monitor: val/image_to_graph_recall@5 says little among 19 validation pairs"
    assert capsys.readouterr().err == (f"{warned}; monitor val/loss\n" if pairs < 20 else "")
    assert (early.monitor, early.mode) == ("val/image_to_graph_recall@5", "max")


def test_other_jobs_do_not_mind(config):
    config("IGCL", monitoring("val/los"))
    assert main(["validate", "--config", "c.yaml"]) == 0


def test_doctor_says_it_too(config):
    config("IGCL", monitoring("val/los"))
    examined = Config(["--config", "c.yaml"])
    (finding,) = examined.connect()
    assert (finding.level, finding.check) == ("error", "config")
    assert "EarlyStopping.monitor: nothing logs 'val/los' in fit, did you mean val/loss?" in finding.message
