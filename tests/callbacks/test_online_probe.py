import math
from types import SimpleNamespace

import pytest
import torch
from sklearn.metrics import roc_auc_score

from igcl_lightning.callbacks import OnlineProbe
from igcl_lightning.errors import IgclError
from igcl_lightning.modules.contrastive import PairEmbedding

LABELS = ("Odd", "Even, sometimes known", "Never known")


@pytest.fixture
def labelled(data):
    data.store = SimpleNamespace(labels=LABELS)
    return data


def separable(module):
    """Features in which the first label is a direction, whatever the encoder learns."""
    forward = module.forward

    def with_label(batch):
        embedding = forward(batch)
        pooled = torch.cat([embedding.pooled, 3 * batch.target[:, :1]], dim=1)
        return PairEmbedding(embedding.first, embedding.second, pooled, batch.row)

    module.forward = with_label
    return module


def test_it_learns_and_logs_each_label(make_trainer, module, labelled):
    trainer = make_trainer(OnlineProbe(learning_rate=0.1), max_epochs=8)
    trainer.fit(separable(module), labelled)
    logged = trainer.callback_metrics
    assert float(logged["val/online_auroc_Odd"]) > 0.95
    assert "val/online_auroc_Never known" not in logged
    assert float(logged["val/online_auroc_labels"]) == 2
    values = [float(logged[f"val/online_auroc_{name}"]) for name in LABELS[:2]]
    assert float(logged["val/online_auroc_mean"]) == pytest.approx(sum(values) / 2)


def test_the_logged_auroc_is_that_of_the_head_on_known_rows(make_trainer, module, labelled):
    probe = OnlineProbe(learning_rate=0.1)
    trainer = make_trainer(probe, max_epochs=2)
    trainer.fit(module, labelled)
    head = probe.state_dict()["head"]
    batches = list(labelled.val_dataloader())
    with torch.no_grad():
        pooled = torch.cat([module(batch).pooled for batch in batches])
    target = torch.cat([batch.target for batch in batches])[:, 1]
    centred = pooled - pooled.mean(dim=1, keepdim=True)
    normalised = centred / (centred.square().mean(dim=1, keepdim=True) + 1e-5).sqrt()
    score = normalised @ head["weight"][1] + head["bias"][1]
    expected = roc_auc_score(target[~target.isnan()], score[~target.isnan()])
    assert float(trainer.callback_metrics[f"val/online_auroc_{LABELS[1]}"]) == pytest.approx(expected)


def test_the_module_trains_as_if_the_probe_were_not_there(make_trainer, module, labelled):
    start = {name: value.clone() for name, value in module.state_dict().items()}
    results = []
    for callbacks in ([], [OnlineProbe()]):
        module.load_state_dict(start)
        torch.manual_seed(7)
        make_trainer(*callbacks).fit(module, labelled)
        weights = {name: value.clone() for name, value in module.state_dict().items()}
        results.append((weights, torch.get_rng_state()))
    (without, rng_without), (with_probe, rng_with) = results
    assert all(torch.equal(without[name], with_probe[name]) for name in without)
    assert not torch.equal(without["image_encoder.weight"], start["image_encoder.weight"])
    assert torch.equal(rng_without, rng_with)


def test_a_label_that_is_never_known_leaves_its_head_at_zero(make_trainer, module, labelled):
    probe = OnlineProbe()
    make_trainer(probe, max_epochs=1).fit(module, labelled)
    weight = probe.state_dict()["head"]["weight"]
    assert weight[0].abs().min() > 0
    assert weight[2].abs().max() == 0


def test_a_resumed_run_continues_the_head(make_trainer, module, labelled, tmp_path):
    whole, half, rest = (OnlineProbe() for _ in range(3))
    start = {name: value.clone() for name, value in module.state_dict().items()}
    make_trainer(whole, max_epochs=4).fit(module, labelled)
    module.load_state_dict(start)
    trainer = make_trainer(half, max_epochs=2)
    trainer.fit(module, labelled)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    make_trainer(rest, max_epochs=4).fit(module, labelled, ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    torch.testing.assert_close(rest.state_dict()["head"], whole.state_dict()["head"])


def test_a_checkpoint_is_validated_with_its_head(make_trainer, module, labelled, tmp_path):
    trainer = make_trainer(OnlineProbe())
    trainer.fit(module, labelled)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    expected = trainer.callback_metrics["val/online_auroc_mean"]
    validation = make_trainer(OnlineProbe())
    validation.validate(module, labelled, ckpt_path=tmp_path / "last.ckpt", weights_only=True, verbose=False)
    assert float(validation.callback_metrics["val/online_auroc_mean"]) == float(expected)


def test_some_labels_in_another_order(make_trainer, module, labelled):
    probe = OnlineProbe(labels=[LABELS[1], LABELS[0]], learning_rate=0.1)
    trainer = make_trainer(probe, max_epochs=8)
    trainer.fit(separable(module), labelled)
    assert probe.state_dict()["head"]["weight"].shape[0] == 2
    assert float(trainer.callback_metrics["val/online_auroc_Odd"]) > 0.95


def test_an_unknown_label_is_refused_in_one_line(make_trainer, module, labelled):
    with pytest.raises(IgclError, match=r"OnlineProbe\.labels: the store has no label 'Edma'; only Odd, Even"):
        make_trainer(OnlineProbe(labels=["Edma"])).fit(module, labelled)


def test_without_labels_it_says_so_once_and_does_nothing(make_trainer, module, data, recwarn):
    trainer = make_trainer(OnlineProbe(labels=["Odd"]))
    trainer.fit(module, data)
    assert len([warning for warning in recwarn if "nothing is probed" in str(warning.message)]) == 1
    assert not any("online" in name for name in trainer.callback_metrics)


def test_gradients_are_the_mean_over_processes(module, labelled):
    """Another process's gradient, added by a stand-in for its strategy, is what the head steps with."""
    probe = OnlineProbe()
    seen = []

    def reduce(gradient, reduce_op):
        assert reduce_op == "mean"
        seen.append(gradient.clone())
        return torch.full_like(gradient, math.pi)

    trainer = SimpleNamespace(datamodule=labelled, strategy=SimpleNamespace(reduce=reduce))
    probe.setup(trainer, module, "fit")
    batch = next(iter(labelled.train_dataloader()))
    outputs = {"embedding": PairEmbedding(*(value.detach() for value in module(batch)))}
    probe.on_train_batch_end(trainer, module, outputs, batch, 0)
    assert [gradient.shape for gradient in seen] == [(3, 8), (3,)]
    # The first step of AdamW goes by the sign of the gradient.
    torch.testing.assert_close(probe.state_dict()["head"]["bias"], torch.full((3,), -0.01))
