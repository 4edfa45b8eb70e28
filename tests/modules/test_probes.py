import inspect
import json
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer
from PIL import Image
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from torch.utils.data import DataLoader

from igcl_lightning import modules
from igcl_lightning.callbacks import WritePredictions
from igcl_lightning.cli import main
from igcl_lightning.data.modules import LabeledDataModule, PairedDataModule
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.row_datasets import LabeledDataset
from igcl_lightning.data.samples import FeatureBatch, LabeledBatch, ProbeDraw
from igcl_lightning.data.store import Store
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.errors import IgclError
from igcl_lightning.losses.classification import masked_cross_entropy
from igcl_lightning.modules import IGCL, BaseModule, FewShotProbe, FineTune, LinearProbe
from igcl_lightning.modules.classifier import ClassifierModule, median_probability
from igcl_lightning.phantom import FINDINGS
from stores import prepare_studies

pytestmark = pytest.mark.usefixtures("blank_pictures")

RANDOM = {"image": {"backbone": "test_resnet", "size": 32}}


def trainer(folder, *callbacks, **options):
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
    }
    return Trainer(
        accelerator="cpu",
        default_root_dir=folder,
        num_sanity_val_steps=0,
        callbacks=list(callbacks),
        **{"max_epochs": 1} | quiet | options,
    )


def draw(size, seed, missing=()):
    generator = torch.Generator().manual_seed(seed)
    feature = torch.randn(size, 8, generator=generator) * torch.arange(1, 9) + 3
    target = (feature[:, :2] + 2 * torch.randn(size, 2, generator=generator) > 4).float()
    target[list(missing), 0] = torch.nan
    return FeatureBatch(feature, target, torch.arange(size))


def test_the_probe_is_scikit_learns_on_standardised_features_with_the_penalty_chosen_on_validation_rows():
    train, valid = draw(80, 0, missing=range(5)), draw(60, 1)
    probe = LinearProbe(**RANDOM)
    probe.label_names = ["a", "b"]
    weight, bias, penalty, best = probe.fit_draw(ProbeDraw(train, valid, 0))

    mean, deviation = train.feature.mean(dim=0), train.feature.std(dim=0, correction=0)
    x, x_valid = ((part.feature - mean) / deviation for part in (train, valid))
    scores = {}
    for candidate in probe.inverse_penalties:
        heads = []
        for label in range(2):
            known = ~train.target[:, label].isnan()
            model = LogisticRegression(C=candidate, tol=1e-10, max_iter=10_000)
            heads.append(model.fit(x[known].double().numpy(), train.target[known, label].numpy()))
        values = [roc_auc_score(valid.target[:, i], heads[i].decision_function(x_valid)) for i in range(2)]
        scores[candidate] = (np.mean(values), heads)
    expected = max(scores, key=lambda candidate: (round(scores[candidate][0], 9), -candidate))
    assert penalty == expected
    assert best == pytest.approx(scores[expected][0])
    logits = valid.feature.double() @ weight.T + bias
    for label in range(2):
        np.testing.assert_allclose(logits[:, label], scores[expected][1][label].decision_function(x_valid), atol=1e-3)


def test_the_encoder_stays_frozen_and_in_evaluation_mode(phantom_store, tmp_path):
    probe = LinearProbe(**RANDOM)
    before = {name: value.clone() for name, value in probe.image_encoder.state_dict().items()}
    data = LabeledDataModule(str(phantom_store), feature_cache=str(tmp_path))
    trainer(tmp_path).fit(probe, data)
    assert not any(module.training for module in probe.train().image_encoder.modules())
    for name, value in probe.image_encoder.state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_linear_probe_writes_predictions_and_results(phantom_store, tmp_path):
    probe, writer = LinearProbe(**RANDOM), WritePredictions()
    data = LabeledDataModule(
        str(phantom_store), labels=["Edema", "Cardiomegaly"], fraction=0.5, draws=3, feature_cache=str(tmp_path)
    )
    run = trainer(tmp_path, writer)
    run.fit(probe, data)
    run.test(probe, data, verbose=False)

    frame = pd.read_parquet(tmp_path / "predictions.parquet")
    store = Store(phantom_store)
    assert len(frame) == 3 * 2 * len(store.table("test"))
    assert set(frame["method"]) == {"random"}
    assert set(frame["seed"]) == {0, 1, 2}
    assert set(frame["fraction"]) == {0.5}
    expected = store.targets("test", ["Edema"])[:, 0]
    for _, head in frame[frame["label"] == "Edema"].groupby("seed"):
        ordered = head.set_index("row").loc[store.column("test", "row")]
        np.testing.assert_array_equal(ordered["target"], expected)
    by_seed = frame[frame["label"] == "Edema"].groupby("seed")
    values = [roc_auc_score(head["target"], head["score"]) for _, head in by_seed]
    assert run.callback_metrics["test/auroc_Edema"].item() == pytest.approx(np.mean(values), abs=1e-6)
    assert json.loads((tmp_path / "results.json").read_text())


def test_few_shot_reports_the_mean_of_draws_and_their_ensemble(phantom_store, tmp_path):
    probe, writer = FewShotProbe(**RANDOM), WritePredictions()
    data = LabeledDataModule(str(phantom_store), shots=3, draws=4, feature_cache=str(tmp_path))
    run = trainer(tmp_path, writer)
    run.fit(probe, data)
    run.test(probe, data, verbose=False)
    frame = writer.frame
    assert set(frame["shots"]) == {3}
    ensemble = []
    for _, label in frame.groupby("label"):
        probability = 1 / (1 + np.exp(-label.pivot_table(index="row", columns="seed", values="score")))
        target = label.drop_duplicates("row").set_index("row")["target"].loc[probability.index]
        if 0 < target.sum() < len(target):
            ensemble.append(roc_auc_score(target, np.median(probability, axis=1)))
    assert run.callback_metrics["test/auroc_ensemble"].item() == pytest.approx(np.mean(ensemble), abs=1e-6)


def test_the_ensemble_is_the_median_probability():
    logits = torch.randn(5, 4, 2)
    torch.testing.assert_close(median_probability(logits), torch.from_numpy(np.median(logits.sigmoid(), axis=1)))


def test_few_shot_needs_shots(phantom_store, tmp_path):
    with pytest.raises(IgclError, match="needs data.shots"):
        trainer(tmp_path).fit(
            FewShotProbe(**RANDOM), LabeledDataModule(str(phantom_store), feature_cache=str(tmp_path))
        )


@pytest.fixture
def store_without_hernia(tmp_path):
    """Hernia has no positive in training but one elsewhere."""
    generator = np.random.default_rng(0)
    studies = []
    for number in range(40):
        split = "train" if number < 24 else "valid" if number < 32 else "test"
        pixels = generator.integers(0, 100, (64, 64), dtype=np.uint8) + np.uint8(100 * (number % 2))
        labels = {"Edema": float(number % 2), "Hernia": float(number in (30, 39))}
        images = (StudyImage(f"i{number}", pixels),)
        studies.append(Study(f"s{number}", f"p{number}", images, labels=labels, split=split))
    prepare_studies(studies, tmp_path / "store", labels=["Edema", "Hernia"], options=Options(size=64, lossless=True))
    return tmp_path / "store"


@pytest.mark.parametrize("module_class", [LinearProbe, FineTune])
def test_a_label_that_no_training_image_has_is_named_and_left_out(store_without_hernia, tmp_path, module_class):
    module, writer = module_class(**RANDOM), WritePredictions()
    data = LabeledDataModule(str(store_without_hernia), batch_size=8)
    run = trainer(tmp_path, writer)
    with pytest.warns(UserWarning, match="only one class in the training rows: Hernia; not trained, not scored"):
        run.fit(module, data)
    with pytest.warns(UserWarning, match="test: no AUROC for Hernia; left out of the mean"):
        run.test(module, data, verbose=False)
    assert run.callback_metrics["test/auroc_labels"] == 1
    assert run.callback_metrics["test/auroc_mean"] == run.callback_metrics["test/auroc_Edema"]
    assert "test/auroc_Hernia" not in run.callback_metrics
    assert set(writer.frame["label"]) == {"Edema"}


def test_what_a_head_was_trained_on_travels_with_it(phantom_store, tmp_path):
    run, cache = trainer(tmp_path), {"feature_cache": str(tmp_path)}
    probe = FewShotProbe(**RANDOM)
    run.fit(probe, LabeledDataModule(str(phantom_store), shots=3, draws=2, draw_seed=5, **cache))
    run.save_checkpoint(tmp_path / "head.ckpt")
    writer = WritePredictions()
    loaded = FewShotProbe.load_from_checkpoint(tmp_path / "head.ckpt")
    trainer(tmp_path, writer).test(loaded, LabeledDataModule(str(phantom_store), **cache), verbose=False)
    assert set(writer.frame["shots"]) == {3}
    assert writer.frame["fraction"].isna().all()
    assert set(writer.frame["seed"]) == {5, 6}
    assert set(writer.frame["method"]) == {"random"}


def test_predict_writes_scores(phantom_store, tmp_path):
    data = LabeledDataModule(str(phantom_store), batch_size=16)
    module, run = FineTune(**RANDOM), trainer(tmp_path, WritePredictions())
    run.fit(module, data)
    run.predict(module, data)
    assert len(pd.read_parquet(tmp_path / "predictions.parquet")) == module.trained.sum() * len(
        Store(phantom_store).table("test")
    )


def test_a_head_that_was_never_trained_is_refused(phantom_store, tmp_path):
    data = LabeledDataModule(str(phantom_store), feature_cache=str(tmp_path))
    with pytest.raises(IgclError, match="never trained: give its checkpoint with --ckpt_path"):
        trainer(tmp_path).test(LinearProbe(**RANDOM), data, verbose=False)


def test_shots_of_one_label_have_no_negatives_and_are_refused(phantom_store, tmp_path):
    data = LabeledDataModule(str(phantom_store), labels=["Edema"], shots=2, feature_cache=str(tmp_path))
    with pytest.raises(IgclError, match="every label has only one class in the training rows"):
        trainer(tmp_path).fit(FewShotProbe(**RANDOM), data)


def test_reduced_precision_is_refused(phantom_store, tmp_path):
    data = LabeledDataModule(str(phantom_store), feature_cache=str(tmp_path))
    with pytest.raises(IgclError, match="trainer.precision to 32-true"):
        trainer(tmp_path, precision="bf16-mixed").fit(LinearProbe(**RANDOM), data)


def test_a_label_that_is_not_trained_takes_no_part_in_the_loss():
    module = FineTune(**RANDOM, label_names=["a", "b"])
    module.trained[1] = False
    image = torch.randint(0, 256, (4, 1, 32, 32), dtype=torch.uint8)
    batch = LabeledBatch(image, torch.tensor([[1.0, 1.0]] * 4), torch.arange(4))
    module.log = lambda *args, **options: None
    module.training_step(batch, 0).backward()
    assert module.head.bias.grad[0] != 0
    assert module.head.bias.grad[1] == 0


def test_a_label_that_is_not_trained_has_no_score():
    module = FineTune(**RANDOM, label_names=["a", "b"]).eval()
    module.trained[1] = False
    image = torch.randint(0, 256, (4, 1, 32, 32), dtype=torch.uint8)
    score = module.predict_step(LabeledBatch(image, torch.ones(4, 2), torch.arange(4)), 0).score
    assert score[:, 0].isfinite().all()
    assert score[:, 1].isnan().all()


def test_a_label_is_trained_only_if_every_draw_has_both_of_its_classes(monkeypatch):
    both, only_positive = torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0, 1.0], [1.0, 1.0]])
    data = SimpleNamespace(drawn_targets=lambda: [both, only_positive], drawn_setting=dict)
    monkeypatch.setattr(ClassifierModule, "data", data)
    probe = LinearProbe(name="probe", label_names=["a", "b"], in_channels=4, num_heads=2)
    with pytest.warns(UserWarning, match="only one class in the training rows: b; not trained, not scored"):
        ClassifierModule.on_fit_start(probe)
    assert probe.trained.tolist() == [True, False]


@pytest.mark.parametrize(("labelled", "kinds"), [(True, ("image", "label")), (False, ("image",))])
def test_a_store_without_labels_has_no_policy_to_compare(monkeypatch, labelled, kinds):
    monkeypatch.setattr(ClassifierModule, "_data", lambda self: SimpleNamespace(labelled=labelled))
    assert LinearProbe(name="probe", label_names=["a"], in_channels=4, num_heads=1).input_kinds == kinds


def test_other_labels_than_the_checkpoints_are_refused(phantom_store, tmp_path):
    probe = LinearProbe(**RANDOM, label_names=["Hernia"], num_heads=1)
    with pytest.raises(IgclError, match="the module was trained on Hernia; data.labels gives Edema"):
        trainer(tmp_path).test(
            probe, LabeledDataModule(str(phantom_store), labels=["Edema"], feature_cache=str(tmp_path)), verbose=False
        )


def test_fine_tuning_trains_the_encoder(phantom_store, tmp_path):
    module = FineTune(**RANDOM)
    before = next(module.image_encoder.parameters()).detach().clone()
    run = trainer(tmp_path)
    run.fit(module, LabeledDataModule(str(phantom_store), labels=list(FINDINGS), batch_size=16))
    assert not torch.equal(before, next(module.image_encoder.parameters()))
    assert {"train/loss", "val/loss", "val/auroc_mean"} <= run.callback_metrics.keys()


def test_missing_labels_take_no_part_in_the_loss():
    logits = torch.tensor([[0.3, -1.2], [2.0, 0.5]])
    target = torch.tensor([[1.0, torch.nan], [0.0, 1.0]])
    terms = [-np.log(1 / (1 + np.exp(-0.3))), -np.log(1 - 1 / (1 + np.exp(-2.0))), -np.log(1 / (1 + np.exp(-0.5)))]
    assert masked_cross_entropy(logits, target).item() == pytest.approx(np.mean(terms), rel=1e-5)
    assert masked_cross_entropy(logits, torch.full_like(logits, torch.nan)) == 0


def weights_file(folder):
    state = LinearProbe(**RANDOM).image_encoder.backbone.state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, folder / "weights.safetensors")
    return str(folder / "weights.safetensors")


def test_results_have_one_name_per_method(tmp_path):
    assert LinearProbe(**RANDOM).method_name == "random"
    assert FineTune(**RANDOM).method_name == "supervised"
    image = RANDOM["image"] | {"weights": weights_file(tmp_path)}
    assert LinearProbe(image=image).method_name == "timm:test_resnet"
    assert LinearProbe(image=image | {"backbone": "timm:test_resnet"}).method_name == "timm:test_resnet"
    assert FineTune(image=image).method_name == "timm:test_resnet_fine_tuned"
    assert LinearProbe(image=image, name="mine").method_name == "mine"


def test_a_given_name_stands_in_the_predictions_and_travels(phantom_store, tmp_path):
    data = LabeledDataModule(str(phantom_store), feature_cache=str(tmp_path))
    run, writer = trainer(tmp_path), WritePredictions()
    run.fit(LinearProbe(**RANDOM, name="mine"), data)
    run.save_checkpoint(tmp_path / "head.ckpt")
    loaded = LinearProbe.load_from_checkpoint(tmp_path / "head.ckpt")
    trainer(tmp_path, writer).test(loaded, data, verbose=False)
    assert set(writer.frame["method"]) == {"mine"}


def test_an_encoder_of_torchxrayvision_is_probed_like_any_other(phantom_store, tmp_path):
    with warnings.catch_warnings():
        xrv = pytest.importorskip("torchxrayvision")
    torch.save(xrv.models.DenseNet().state_dict(), tmp_path / "weights.pt")
    name = "xrv:densenet121-res224-all"
    probe = LinearProbe(image={"backbone": name, "size": 32, "weights": str(tmp_path / "weights.pt")})
    run, writer = trainer(tmp_path, WritePredictions()), WritePredictions()
    data = LabeledDataModule(str(phantom_store), feature_cache=str(tmp_path / "cache"))
    run.fit(probe, data)
    run.save_checkpoint(tmp_path / "head.ckpt")
    (tmp_path / "weights.pt").unlink()
    loaded = LinearProbe.load_from_checkpoint(tmp_path / "head.ckpt")
    trainer(tmp_path, writer).test(loaded, data, verbose=False)
    assert set(writer.frame["method"]) == {name}
    image = torch.randint(0, 256, (1, 1, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(loaded.encoder(image), probe.encoder(image))


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    path = tmp_path_factory.mktemp("pretrained") / "igcl.ckpt"
    module = IGCL(image={"backbone": "test_resnet", "size": 32}, graph={"channels": 16}, projection={"channels": 6})
    run = trainer(path.parent)
    run.strategy.connect(module)
    run.save_checkpoint(path)
    return module.eval(), path


def test_projected_features_are_the_projection_without_its_normalisation(pretrained):
    module, path = pretrained
    image = torch.randint(0, 256, (3, 1, 32, 32), dtype=torch.uint8)
    probe = LinearProbe(str(path), features="projected")
    with torch.no_grad():
        got = probe.feature_encoder()(image)
        pooled = module.image_encoder(image).pooled
        first, relu, last = module.image_projection
        torch.testing.assert_close(got, relu(pooled @ first.weight.T + first.bias) @ last.weight.T)
        torch.testing.assert_close(torch.nn.functional.normalize(got), module.image_projection(pooled))
        torch.testing.assert_close(LinearProbe(str(path)).feature_encoder()(image), pooled)
    assert (probe.encoder.out_channels, LinearProbe(str(path)).encoder.out_channels) == (6, pooled.shape[1])


def test_projected_features_are_probed_frozen(pretrained, phantom_store, tmp_path):
    probe = LinearProbe(str(pretrained[1]), features="projected")
    run = trainer(tmp_path)
    run.fit(probe, LabeledDataModule(str(phantom_store), feature_cache=str(tmp_path)))
    assert probe.weight.shape[-1] == 6
    assert not any(parameter.requires_grad for parameter in probe.encoder.image_projection.parameters())
    for name, value in pretrained[0].image_projection.state_dict().items():
        torch.testing.assert_close(probe.encoder.image_projection.state_dict()[name], value)


def test_projected_features_need_a_projection(tmp_path):
    with pytest.raises(IgclError, match="model.features projected needs a pretrained model"):
        LinearProbe(**RANDOM, features="projected")
    with pytest.raises(IgclError, match="model.features 'last' is not one of pooled, projected"):
        LinearProbe(**RANDOM, features="last")
    module = FineTune(**RANDOM, label_names=["a"])
    run = trainer(tmp_path)
    run.strategy.connect(module)
    run.save_checkpoint(tmp_path / "head.ckpt")
    assert LinearProbe(str(tmp_path / "head.ckpt")).encoder.image_projection is None
    with pytest.raises(IgclError, match="FineTune has no image_projection"):
        LinearProbe(str(tmp_path / "head.ckpt"), features="projected")


def file_of_features(store, path, channels=5, splits=("train", "valid", "test")):
    rows = [row for split in splits for row in Store(store).column(split, "row")]
    feature = np.random.default_rng(0).normal(size=(len(rows), channels))
    pd.DataFrame({"row": rows, "feature": list(feature)}).sample(frac=1, random_state=0).to_parquet(path)
    return dict(zip(rows, feature, strict=True))


@pytest.mark.parametrize(("module_class", "options"), [(LinearProbe, {}), (FewShotProbe, {"shots": 3})])
def test_a_file_of_features_is_probed_without_an_encoder(phantom_store, tmp_path, module_class, options):
    feature = file_of_features(phantom_store, tmp_path / "biovil.parquet")
    data = LabeledDataModule(str(phantom_store), features=str(tmp_path / "biovil.parquet"), draws=2, **options)
    run, writer = trainer(tmp_path), WritePredictions()
    probe = module_class()
    run.fit(probe, data)
    run.save_checkpoint(tmp_path / "head.ckpt")
    loaded = module_class.load_from_checkpoint(tmp_path / "head.ckpt")
    trainer(tmp_path, writer).test(loaded, data, verbose=False)
    assert set(writer.frame["method"]) == {"biovil"}
    label, row = probe.label_names[0], writer.frame["row"][0]
    lines = writer.frame[(writer.frame["label"] == label) & (writer.frame["row"] == row)].sort_values("seed")
    expected = probe.weight[:, 0].detach() @ torch.from_numpy(feature[row]).float() + probe.bias[:, 0].detach()
    np.testing.assert_allclose(lines["score"], expected, rtol=1e-5)


def test_features_of_a_file_that_do_not_fit_are_refused(phantom_store, tmp_path):
    file_of_features(phantom_store, tmp_path / "part.parquet", splits=("train", "test"))
    data = LabeledDataModule(str(phantom_store), features=str(tmp_path / "part.parquet"))
    with pytest.raises(IgclError, match="part.parquet: lacks the features of .* rows"):
        trainer(tmp_path).fit(LinearProbe(), data)
    with pytest.raises(IgclError, match="data.features replaces the encoder: leave out model.checkpoint"):
        trainer(tmp_path).test(LinearProbe(**RANDOM, label_names=["Edema"]), data, verbose=False)
    with pytest.raises(IgclError, match="data.features: only a probe on frozen features reads them"):
        trainer(tmp_path).fit(FineTune(**RANDOM), data)
    head = LinearProbe(label_names=data.label_names, in_channels=7, num_heads=1)
    with pytest.raises(IgclError, match="features of length 5; the head reads 7"):
        trainer(tmp_path).test(head, data, verbose=False)


@pytest.mark.parametrize("config", ["linear", "few_shot"])
def test_a_head_tested_from_its_checkpoint_reads_the_trained_encoder(
    config, pretrained, phantom_store, tmp_path, capsys
):
    """The command line builds the encoder with random weights first; features must wait for those of the checkpoint."""
    words = ["--config", f"probe/{config}.yaml", "--data.store", str(phantom_store), "--trainer.logger", "CSVLogger"]
    words += [
        "--trainer.logger.save_dir",
        str(tmp_path),
        "--trainer.logger.name",
        "run",
        "--trainer.accelerator",
        "cpu",
    ]
    words += ["--data.feature_cache", str(tmp_path / "features"), "--trainer.enable_progress_bar", "false"]
    assert main(["fit", *words, "--model.checkpoint", str(pretrained[1])]) == 0
    checkpoint = tmp_path / "run" / "version_0" / "checkpoints" / "best.ckpt"
    assert main(["test", *words, "--ckpt_path", str(checkpoint)]) == 0

    written = pd.read_parquet(tmp_path / "run" / "version_1" / "predictions.parquet")
    head = BaseModule.load_from_checkpoint(checkpoint).eval()
    images = LabeledDataset(Store(phantom_store), "test", head.label_names)
    with torch.no_grad():
        feature = pretrained[0].image_encoder(torch.stack([image.image for image in images])).pooled
        expected = head(feature)[:, 0, head.trained].flatten()
    first = written[written["seed"] == written["seed"].min()]
    by_label = {label: rows["score"].to_numpy() for label, rows in first.groupby("label", sort=False)}
    got = torch.tensor(np.stack([by_label[name] for name in by_label], axis=1)).flatten()
    torch.testing.assert_close(got.float(), expected, rtol=1e-3, atol=1e-3)

    printed = capsys.readouterr().out
    record = json.loads((tmp_path / "run" / "version_1" / "results.json").read_text())[-1]
    (mean,) = [line.split() for line in printed.splitlines() if line.startswith("mean ")]
    assert (mean[1], mean[-2:]) == (f"{record['value']:.3f}", [str(record["n"]), str(record["patients"])])
    assert ("test/auroc_ensemble" in printed) == (config == "few_shot")
    assert "Test metric" not in printed, "there is one table"
    new_images_are_scored(head, checkpoint, words, tmp_path)


def new_images_are_scored(head, checkpoint, words, folder):
    """Two commands lead from a folder of images to a table of probabilities."""
    (folder / "new").mkdir()
    generator = np.random.default_rng(0)
    images = [folder / "new" / f"{name}.png" for name in "abc"]
    for path in images:
        Image.fromarray(generator.integers(0, 256, (64, 64), dtype=np.uint8)).save(path)
    store = ["--root", str(folder / "new"), "--out", str(folder / "store"), "--size", "64", "--jobs", "1"]
    main(["prepare", "folder", *store, "--lossless"])
    assert main(["predict", *words, "--ckpt_path", str(checkpoint), "--data.store", str(folder / "store")]) == 0
    table = pd.read_csv(folder / "run" / "version_2" / "predictions.csv").sort_values("row")
    names = [name for name, trained in zip(head.label_names, head.trained, strict=True) if trained]
    assert list(table) == ["row", "study", "patient", "split", *names]
    assert table["row"].tolist() == [path.name for path in images]
    expected = head.score_images(images)[names]
    np.testing.assert_allclose(table[names], expected, rtol=0, atol=2e-5)
    frame = pd.read_parquet(folder / "run" / "version_2" / "predictions.parquet")
    assert frame["target"].isna().all()
    assert len(frame) == len(images) * len(names) * head.num_heads
    assert not (folder / "run" / "version_2" / "results.json").exists()


HEADS = [LinearProbe, FewShotProbe, FineTune]


def test_every_head_is_tested_for_what_holds_of_every_head():
    """But for those that score as they are: `test_zero_shot.py`."""
    exported = (getattr(modules, name) for name in modules.__all__)
    heads = {head for head in exported if inspect.isclass(head) and issubclass(head, ClassifierModule)}
    assert {head for head in heads if head.trains} == set(HEADS)


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
@pytest.mark.parametrize("head", HEADS)
def test_scores_are_in_single_precision_whatever_the_encoder_works_in(head, precision, phantom_store, tmp_path):
    """A score in bfloat16 has eight bits: among a thousand rows many are equal, and the AUROC counts them as halves."""
    data = LabeledDataModule(
        str(phantom_store), labels=["Edema", "Atelectasis"], shots=2, batch_size=16, feature_cache=str(tmp_path)
    )
    run, writer = trainer(tmp_path, precision=precision), WritePredictions()
    if head is not FineTune and precision != "64-true":
        with pytest.raises(IgclError, match="set trainer.precision to 32-true"):
            run.fit(head(**RANDOM), data)
        return
    module = head(**RANDOM)
    run.fit(module, data)
    tested = trainer(tmp_path, writer, precision=precision)
    scores = tested.predict(module, data)
    assert all(batch.score.dtype == (torch.float64 if precision == "64-true" else torch.float32) for batch in scores)
    written = torch.tensor(writer.frame["score"].to_numpy())
    assert (written != written.bfloat16().double()).all()


def test_the_loss_of_a_split_is_the_mean_over_its_known_labels_whatever_the_batches(phantom_store, tmp_path):
    module = FineTune(**RANDOM, label_names=["Edema", "Atelectasis", "Cardiomegaly"])
    module.trained[2] = False
    for batch_size in (1, 3, 16):
        data = LabeledDataModule(str(phantom_store), labels=module.label_names, batch_size=batch_size)
        # Labels of every third row are not known, so that batches hold different numbers of known ones.
        store = data.store
        target = store.targets("test", module.label_names).copy()
        target[::3] = np.nan
        store.targets = lambda *_, target=target: target
        writer = WritePredictions()
        run = trainer(tmp_path, writer)
        run.test(module, data, verbose=False)
        lines = writer.frame.dropna(subset="target")
        expected = log_loss(lines["target"], 1 / (1 + np.exp(-lines["score"])), labels=[0, 1])
        assert run.callback_metrics["test/loss"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("penalties", [[1e-3, 1e-1, 10.0], [10.0, 1e-3, 1e-1]])
def test_of_penalties_that_do_equally_well_the_strongest_is_kept(penalties):
    """One feature ranks the rows alike, however small its weight: all penalties have one AUROC."""
    feature = torch.linspace(-1, 1, 20)[:, None]
    target = (feature > 0.3).float()
    rows = FeatureBatch(feature, target, torch.arange(20))
    probe = LinearProbe(inverse_penalties=penalties, label_names=["a"], in_channels=1)
    _, _, chosen, best = probe.fit_draw(ProbeDraw(rows, rows, 0))
    assert best == 1
    assert chosen == 1e-3


def test_splits_to_predict_are_chosen(phantom_store, tmp_path):
    store = Store(phantom_store)
    for module in (FineTune(**RANDOM), LinearProbe(**RANDOM)):
        options = {"batch_size": 16, "predict_splits": ["valid", "test"], "labels": ["Edema"]}
        data = LabeledDataModule(str(phantom_store), **options, feature_cache=str(tmp_path))
        run, writer = trainer(tmp_path, WritePredictions()), WritePredictions()
        run.fit(module, data)
        trainer(tmp_path, writer).predict(module, data)
        expected = [(split, row) for split in ("valid", "test") for row in store.column(split, "row")]
        assert list(zip(writer.frame["split"], writer.frame["row"], strict=True)) == expected
        np.testing.assert_array_equal(writer.frame["target"][:8], store.targets("valid", ["Edema"])[:8, 0])
    with pytest.raises(IgclError, match="fold1"):
        trainer(tmp_path).predict(module, LabeledDataModule(str(phantom_store), predict_splits=["fold1"]))


@pytest.mark.parametrize("head", HEADS)
def test_a_data_module_of_another_kind_is_refused_in_one_line(head, phantom_store, tmp_path):
    message = f"{head.__name__} needs a data module such as LabeledDataModule; PairedDataModule lacks 'label_names'"
    with pytest.raises(IgclError) as error:
        trainer(tmp_path).fit(head(**RANDOM), PairedDataModule(str(phantom_store)))
    assert str(error.value) == message
    with pytest.raises(IgclError, match=f"{head.__name__} needs a data module, such as LabeledDataModule; none was"):
        trainer(tmp_path).fit(head(**RANDOM), DataLoader([]))


def test_any_data_module_that_serves_labelled_rows_will_do(tmp_path):
    """What `LabeledRows` lists is all that a head asks for."""

    class Labelled(LightningDataModule):
        draws, shots, feature_file, feature_channels, store_path = 1, None, None, None, "made up"

        def __init__(self):
            super().__init__()
            self.label_names = ["Edema"]
            generator = torch.Generator().manual_seed(0)
            image = torch.randint(0, 256, (12, 1, 32, 32), generator=generator, dtype=torch.uint8)
            self.rows = LabeledBatch(image, torch.arange(12)[:, None] % 2.0, torch.arange(12))

        def drawn_setting(self):
            return {"fraction": 1.0, "shots": None, "draw_seed": 0}

        def drawn_targets(self):
            return [self.rows.target]

        def row_ids(self, row):
            return (f"r{row}", f"s{row}", f"p{row}")

        def row_split(self, row):
            return "test"

        def train_dataloader(self):
            return DataLoader([self.rows], batch_size=None)

        val_dataloader = test_dataloader = train_dataloader

    module, data, writer = FineTune(**RANDOM), Labelled(), WritePredictions()
    trainer(tmp_path).fit(module, data)
    trainer(tmp_path, writer).test(module, data, verbose=False)
    assert writer.frame["row"].tolist() == [f"r{row}" for row in range(12)]
    assert json.loads((tmp_path / "results.json").read_text())[0]["store"] == "made up"


def test_a_probe_of_a_head_reads_the_encoder_that_the_head_holds(pretrained, phantom_store, tmp_path):
    module = FineTune(str(pretrained[1]), features="projected", label_names=["Edema"])
    run = trainer(tmp_path)
    run.strategy.connect(module)
    run.save_checkpoint(tmp_path / "head.ckpt")
    image = torch.randint(0, 256, (3, 1, 32, 32), dtype=torch.uint8)
    probe = LinearProbe(str(tmp_path / "head.ckpt"), features="projected")
    with torch.no_grad():
        torch.testing.assert_close(probe.encoder(image), module.eval().encoder(image))
    assert probe.method_name == "finetune"
    assert not any(part.training for part in probe.train().encoder.modules())
    assert all(part.training for part in module.train().encoder.modules())
