"""fit, validate and predict of every pretraining module, through the command line; `test_configs.py` tests too."""

import inspect

import pandas as pd
import pytest
from torch import tensor

import igcl_lightning.modules
from igcl_lightning.cli import main
from igcl_lightning.data.store import Store
from igcl_lightning.modules import RECLF, ContrastiveModule, GLoRIA, MatchingModule

SMALL = {"image.backbone": "test_resnet", "image.size": "32", "graph.channels": "16", "text.channels": "16"}
CONFIG = """
data: {class_path: PairedDataModule, init_args: {store: STORE, batch_size: 16}}
trainer:
  accelerator: cpu
  enable_progress_bar: false
  enable_model_summary: false
  log_every_n_steps: 1
  callbacks:
    - {class_path: lightning.pytorch.callbacks.ModelCheckpoint, init_args: {filename: last}}
    - class_path: LearningCurve
    - class_path: RetrievalSheet
    - class_path: MatchingSheet
    - class_path: EmbeddingMap
    - class_path: WriteEmbeddings
    - class_path: WriteMatchings
  logger: {class_path: lightning.pytorch.loggers.CSVLogger, init_args: {save_dir: FOLDER, name: run}}
"""


def pretraining_modules():
    exported = (getattr(igcl_lightning.modules, name) for name in igcl_lightning.modules.__all__)
    return [
        cls
        for cls in exported
        if inspect.isclass(cls)
        and issubclass(cls, ContrastiveModule)
        and cls not in (ContrastiveModule, MatchingModule)
    ]


def logged(run):
    table = pd.read_csv(run / "metrics.csv")
    return {name: values.dropna().iloc[-1] for name, values in table.items() if values.notna().any()}


@pytest.mark.parametrize("module_class", pretraining_modules(), ids=lambda cls: cls.__name__)
@pytest.mark.usefixtures("blank_pictures")
def test_every_job_shows_what_the_module_learned(module_class, phantom_store, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.replace("STORE", str(phantom_store)).replace("FOLDER", str(tmp_path)))
    groups = inspect.signature(module_class).parameters
    options = {name: value for name, value in SMALL.items() if name.partition(".")[0] in groups}
    words = ["--config", str(config), "--config", "callbacks/comfort.yaml", "--model", module_class.__name__]
    words += [word for name, value in options.items() for word in (f"--model.{name}", value)]
    runs = [tmp_path / "run" / f"version_{number}" for number in range(3)]
    first, second = module_class.sides
    sheet = {"matching_sheet.png"} if module_class in (RECLF, GLoRIA) else set()

    assert main(["fit", *words, "--trainer.max_epochs", "2"]) == 0
    trained = logged(runs[0])
    assert {f"val/rankme_{first}", f"val/std_{second}", "val/online_auroc_mean", "train/samples_per_second"} <= set(
        trained
    )
    assert 1 <= trained[f"val/rankme_{first}"] <= 128
    pictures = {path.name for path in (runs[0] / "plots").iterdir()}
    assert pictures == {"learning_curve.png", "retrieval_sheet.png", "embedding_map.png", *sheet}

    resumed = ["--ckpt_path", str(runs[0] / "checkpoints" / "last.ckpt")]
    assert main(["validate", *words, *resumed]) == 0
    validated = logged(runs[1])
    for name in (f"val/{first}_to_{second}_recall@5", f"val/{second}_to_{first}_median_rank", "val/online_auroc_mean"):
        assert validated[name] == pytest.approx(trained[name], abs=1e-5)
    assert {"retrieval_sheet.png", "embedding_map.png", *sheet} <= {path.name for path in (runs[1] / "plots").iterdir()}

    assert main(["predict", *words, *resumed]) == 0
    assert (runs[2] / "matchings.parquet").exists() == bool(sheet)
    embeddings = pd.read_parquet(runs[2] / "embeddings.parquet")
    assert list(embeddings) == ["row", "study", "patient", "split", first, second, "feature"]
    assert set(embeddings["split"]) == {"test"}
    assert embeddings["row"].tolist() == Store(phantom_store).column("test", "row")
    assert tensor(embeddings[first].tolist()).norm(dim=1).numpy() == pytest.approx(1, abs=1e-4)
    assert tensor(embeddings["feature"].tolist()).std() > 0
