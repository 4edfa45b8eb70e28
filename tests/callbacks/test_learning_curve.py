import matplotlib.image
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from igcl_lightning.callbacks import LearningCurve


def test_it_draws_what_was_logged_and_numbers_it_by_step(make_trainer, module, data, tmp_path):
    curve = LearningCurve()
    make_trainer(curve).fit(module, data)
    assert list(curve.points) == ["val/loss", "val/image_to_graph_recall@5", "train/loss"]
    assert [step for step, _ in curve.points["train/loss"]] == [3, 6]
    assert [step for step, _ in curve.points["val/loss"]] == [3, 6]
    assert [value for _, value in curve.points["val/image_to_graph_recall@5"]] == pytest.approx([0.1, 0.2])
    picture = matplotlib.image.imread(tmp_path / "plots" / "learning_curve.png")
    assert picture.shape[1] > 2 * picture.shape[0]


def test_the_training_loss_is_the_mean_of_its_epoch(make_trainer, module, data):
    curve = LearningCurve()
    losses = []
    step = module.training_step
    module.training_step = lambda batch, batch_idx: losses.append(step(batch, batch_idx)["loss"]) or losses[-1]
    make_trainer(curve, max_epochs=1).fit(module, data)
    assert curve.points["train/loss"][0][1] == pytest.approx(torch.stack(losses).mean().item())


def test_it_writes_beside_the_logger_files(make_trainer, module, data, tmp_path):
    make_trainer(LearningCurve(), max_epochs=1, logger=CSVLogger(tmp_path, name="runs")).fit(module, data)
    assert (tmp_path / "runs" / "version_0" / "plots" / "learning_curve.png").exists()


def test_a_resumed_run_continues_the_curve(make_trainer, module, data, tmp_path):
    trainer = make_trainer(LearningCurve())
    trainer.fit(module, data)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    curve = LearningCurve()
    make_trainer(curve, max_epochs=3).fit(module, data, ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert [step for step, _ in curve.points["val/loss"]] == [3, 6, 9]


def test_metrics_that_the_module_does_not_log_are_left_out(make_trainer, module, data, tmp_path):
    make_trainer(LearningCurve(metrics=["val/auroc_mean"]), max_epochs=1).fit(module, data)
    picture = matplotlib.image.imread(tmp_path / "plots" / "learning_curve.png")
    assert picture.shape[1] < 1.5 * picture.shape[0]


def test_a_full_disk_does_not_end_training(make_trainer, module, data, tmp_path):
    (tmp_path / "plots").write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match=r"learning_curve\.png: picture not written"):
        make_trainer(LearningCurve(), max_epochs=1).fit(module, data)


def test_the_default_metrics_follow_the_sides_of_the_module(make_trainer, module, data):
    module.sides = ("image", "report")
    curve = LearningCurve()
    make_trainer(curve, max_epochs=1).fit(module, data)
    assert list(curve.points) == ["val/loss", "train/loss"]
