"""Checkpoints of untrained modules, for tests."""

from lightning.pytorch import Trainer

from igcl_lightning.data.inputs import describe_inputs
from igcl_lightning.data.modules import PairedDataModule
from igcl_lightning.data.store import Store
from igcl_lightning.data.words import training_words


def save_as_fit(module, path, store):
    """Save a module as a fit on a store would, and return the path."""
    words = {side: training_words(Store(store), side) for side in ("graph", "report")}
    module.input_record = {**describe_inputs(PairedDataModule(str(store))), "words": words}
    trainer = Trainer(logger=False, accelerator="cpu", enable_progress_bar=False, enable_checkpointing=False)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(path)
    return str(path)
