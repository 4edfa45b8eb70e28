import pytest
import torch
from lightning.pytorch import Trainer

from igcl_lightning.data.modules import PairedDataModule
from igcl_lightning.data.row_datasets import PairDataset
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from igcl_lightning.modules import BaseModule, SimCLR

TINY = {"image": {"backbone": "test_resnet", "size": 32}}


@pytest.fixture
def batch(phantom_store):
    pairs = PairDataset(Store(phantom_store), "train")
    return pairs.batch(range(8))


def test_fit_test_and_checkpoint(phantom_store, tmp_path):
    module, data = SimCLR(**TINY), PairedDataModule(str(phantom_store), batch_size=16, augment=False)
    run = Trainer(max_epochs=1, accelerator="cpu", default_root_dir=tmp_path, logger=False, num_sanity_val_steps=0)
    run.fit(module, data)
    assert {"train/loss", "val/loss", "val/image_to_view_recall@5"} <= run.callback_metrics.keys()
    run.test(module, data, verbose=False)
    assert "test/view_to_image_recall@10" in run.callback_metrics
    run.save_checkpoint(tmp_path / "simclr.ckpt")
    for loader in (SimCLR, BaseModule):
        loaded = loader.load_from_checkpoint(tmp_path / "simclr.ckpt")
        assert type(loaded) is SimCLR
        for name, value in module.state_dict().items():
            torch.testing.assert_close(loaded.state_dict()[name], value)


def test_it_can_learn_eight_images_by_heart(batch):
    torch.manual_seed(0)
    module = SimCLR(**TINY, view={"crop_area": 0.8, "degrees": 5.0, "contrast": 0.1, "brightness": 0.05, "gamma": 0.1})
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3)
    for _ in range(60):
        loss = module.contrast_batch(batch)[0]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # Chance is the log of the 15 other views, 2.7.
    assert loss.item() < 1


def test_both_sides_share_one_encoder_that_is_trained_once():
    module = SimCLR(**TINY)
    assert module.view_encoder is module.image_encoder
    assert module.view_projection is module.image_projection
    assert not [name for name in module.state_dict() if name.startswith("view")]
    grouped = [parameter for group in module.parameter_groups() for parameter in group.parameters]
    assert len(grouped) == len({id(parameter) for parameter in grouped}) == len(list(module.parameters()))


def test_training_contrasts_two_views_and_evaluation_the_image_with_a_constant_view(batch):
    module = SimCLR(**TINY).train()
    first, second = (module.side_input(side, batch) for side in module.sides)
    for one, two in ((first, second), (first, batch.image), (second, batch.image)):
        assert (one.float() - two.float()).abs().mean() > 5
    module.eval()
    assert module.side_input("image", batch) is batch.image
    view = module.side_input("view", batch)
    torch.testing.assert_close(module.side_input("view", batch), view)
    assert (view - batch.image).abs().mean() > 5


def test_the_view_of_an_image_does_not_depend_on_its_batch(batch):
    module = SimCLR(**TINY).eval()
    together = module.side_input("view", batch)
    for chosen in ([3], [5, 3, 0]):
        part = batch._replace(image=batch.image[chosen], row=batch.row[chosen])
        torch.testing.assert_close(module.side_input("view", part), together[chosen])


def test_the_loss_is_nt_xent_of_the_two_views(batch):
    module = SimCLR(**TINY, loss={"temperature": 0.2}).eval()
    embedding = module(batch)
    view = torch.cat([embedding.first, embedding.second])
    similarity = (view @ view.T / 0.2).masked_fill(torch.eye(16, dtype=torch.bool), -torch.inf)
    positive = torch.cat([torch.arange(8, 16), torch.arange(8)])
    expected = torch.nn.functional.cross_entropy(similarity, positive)
    torch.testing.assert_close(module.contrast_batch(batch)[0], expected)
    torch.testing.assert_close(embedding.pooled, module.image_encoder(batch.image).pooled)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": {"temperature": 0.0}}, "model.loss.temperature is 0.0, not above 0"),
        ({"view": {"crop_area": 0.0}}, r"model.view.crop_area is 0.0, not in \(0, 1\]"),
    ],
)
def test_arguments_out_of_range_are_named(options, message):
    with pytest.raises(IgclError, match=message):
        SimCLR(**TINY | options)


def test_retrieval_of_views_does_not_read_reports(batch):
    module = SimCLR(**TINY).eval()
    values = []
    for key in (torch.arange(8), torch.zeros(8, dtype=torch.int64)):
        embedding = module(batch)
        module.retrieval.update(
            embedding.first,
            embedding.second,
            module.statement(batch._replace(graph_key=key)),
            batch.patient,
            batch.row,
        )
        values.append(module.retrieval.compute())
        module.retrieval.reset()
    assert values[0] == values[1]
    assert "within_patient_accuracy" not in values[0]


def test_a_view_that_changes_nothing_is_the_image(batch):
    still = {"crop_area": 1.0, "degrees": 0.0, "contrast": 0.0, "brightness": 0.0, "gamma": 0.0, "blur": 0.0}
    module = SimCLR(**TINY, view=still).train()
    image = batch.image.float()
    torch.testing.assert_close(module.side_input("view", batch).float(), image, atol=1e-2, rtol=0)
