import pytest
import torch

from igcl_lightning.callbacks import CollapseMonitor
from igcl_lightning.metrics.collapse import embedding_std, rankme

NAMES = {f"val/{name}_{side}" for name in ("rankme", "std", "uniformity") for side in ("image", "graph")}


def test_it_logs_what_the_whole_split_gives(make_trainer, module, data):
    trainer = make_trainer(CollapseMonitor(), max_epochs=1)
    trainer.fit(module, data)
    logged = trainer.callback_metrics
    assert NAMES | {"val/alignment"} <= logged.keys()
    module.eval()
    with torch.no_grad():
        first = torch.cat([module(batch).first for batch in data.val_dataloader()])
    assert float(logged["val/rankme_image"]) == pytest.approx(float(rankme(first)), rel=1e-4)
    assert float(logged["val/std_image"]) == pytest.approx(float(embedding_std(first)), rel=1e-4)


def test_no_more_rows_are_kept_than_wanted(make_trainer, module, data):
    trainer = make_trainer(CollapseMonitor(max_rows=5))
    trainer.validate(module, data, verbose=False)
    with torch.no_grad():
        first = module(next(iter(data.val_dataloader()))).first[:5]
    assert float(trainer.callback_metrics["val/rankme_image"]) == pytest.approx(float(rankme(first)), rel=1e-4)


def test_a_collapsed_side_is_named_once(make_trainer, module, data, recwarn):
    torch.nn.init.zeros_(module.graph_encoder.weight)
    module.graph_encoder.requires_grad_(requires_grad=False)
    trainer = make_trainer(CollapseMonitor(), max_epochs=3)
    trainer.fit(module, data)
    warnings = [str(warning.message) for warning in recwarn if "collapses" in str(warning.message)]
    assert len(warnings) == 1
    assert warnings[0].startswith("the graph side collapses: the std of its unit vectors is 0.000")
    assert float(trainer.callback_metrics["val/std_graph"]) == pytest.approx(0, abs=1e-5)


def test_a_healthy_run_and_other_modules_are_left_alone(make_trainer, module, data, recwarn):
    make_trainer(CollapseMonitor(), max_epochs=1).fit(module, data)
    module.validation_step = lambda batch, batch_idx: None
    trainer = make_trainer(CollapseMonitor())
    trainer.validate(module, data, verbose=False)
    assert not [warning for warning in recwarn if "collapses" in str(warning.message)]
    assert not NAMES & trainer.callback_metrics.keys()


def test_a_diverged_run_goes_on(make_trainer, module, data):
    torch.nn.init.constant_(module.image_encoder.weight, torch.nan)
    trainer = make_trainer(CollapseMonitor(), max_epochs=1)
    trainer.fit(module, data)
    assert trainer.callback_metrics["val/rankme_image"].isnan()
