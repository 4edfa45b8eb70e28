"""Gradient clipping is Lightning's own; this shows that a config's bound holds for our modules."""

from typing import ClassVar

import torch
from lightning.pytorch import Callback

from igcl_lightning.cli import main

BOUND = 0.01


class GradientNorms(Callback):
    norms: ClassVar[list[float]] = []

    def on_before_zero_grad(self, trainer, pl_module, optimizer):
        gradients = [p.grad.flatten() for p in pl_module.parameters() if p.grad is not None]
        if gradients:
            self.norms.append(float(torch.cat(gradients).norm()))


def test_the_configs_bound_holds(phantom_store, tmp_path):
    words = ["fit", "--config", "pretrain/phantom.yaml", "--data.store", str(phantom_store), "--data.batch_size", "16"]
    words += ["--model.image.backbone", "test_resnet", "--model.image.size", "32", "--trainer.accelerator", "cpu"]
    words += ["--trainer.max_epochs", "1", "--trainer.logger", "false", "--trainer.limit_val_batches", "0"]
    words += ["--trainer.default_root_dir", str(tmp_path), "--trainer.enable_progress_bar", "false"]
    words += ["--trainer.callbacks+", f"{__name__}.GradientNorms", "--trainer.gradient_clip_val"]
    for bound, holds in (("1000", False), (str(BOUND), True)):
        GradientNorms.norms.clear()
        assert main([*words, bound]) == 0
        assert len(GradientNorms.norms) > 1
        assert (max(GradientNorms.norms) <= BOUND * 1.001) is holds
