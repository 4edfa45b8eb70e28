"""What the protocols would train, without training it."""

import torch

from igcl_lightning.protocols import head_fits


def see_fits(monkeypatch):
    """Return a list that gets (trainer, module, data) of each fit, then the checkpoint that predicts."""
    seen = []

    def fit(trainer, module, data):
        seen.append((trainer, module, data))
        trainer.checkpoint_callback.best_model_score = torch.tensor(0.5)

    monkeypatch.setattr(head_fits.Trainer, "fit", fit)
    monkeypatch.setattr(head_fits.Trainer, "predict", lambda self, *_, **given: seen.append(given["ckpt_path"]))
    return seen
