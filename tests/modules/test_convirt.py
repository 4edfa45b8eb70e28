import shutil

import pytest
import torch
from lightning.pytorch import Trainer

from igcl_lightning.data.modules import PairedDataModule
from igcl_lightning.data.row_datasets import PairDataset
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.tokens import ReportTokenizer
from igcl_lightning.modules import BaseModule, ConVIRT
from igcl_lightning.modules.report_side import sample_sentences
from tiny_bert import save_tiny_bert

TINY = {"image": {"backbone": "test_resnet", "size": 32}, "text": {"channels": 16}}
WHOLE = {"channels": 16, "sentence_sampling": False}


@pytest.fixture
def batch(phantom_store):
    pairs = PairDataset(Store(phantom_store), "train")
    return pairs.batch(range(8))


@pytest.fixture
def bert(tmp_path):
    return save_tiny_bert(tmp_path / "bert", max_position=256)


def trainer(folder):
    return Trainer(max_epochs=1, accelerator="cpu", default_root_dir=folder, logger=False, num_sanity_val_steps=0)


def reports(*texts, model=None):
    return ReportTokenizer(model)(texts)


def assert_loads_as(module, path):
    for loader in (ConVIRT, BaseModule):
        loaded = loader.load_from_checkpoint(path)
        assert type(loaded) is ConVIRT
        for name, value in module.state_dict().items():
            torch.testing.assert_close(loaded.state_dict()[name], value)


def test_fit_test_and_checkpoint(phantom_store, tmp_path):
    module, data = ConVIRT(**TINY), PairedDataModule(str(phantom_store), batch_size=16)
    run = trainer(tmp_path)
    run.fit(module, data)
    assert {"train/loss", "val/loss", "val/image_to_report_recall@5"} <= run.callback_metrics.keys()
    run.test(module, data, verbose=False)
    assert "test/report_to_image_recall@10" in run.callback_metrics
    run.save_checkpoint(tmp_path / "convirt.ckpt")
    assert_loads_as(module, tmp_path / "convirt.ckpt")


def test_with_a_hub_model_the_checkpoint_needs_none_of_its_files(phantom_store, tmp_path, bert):
    module = ConVIRT(**TINY | {"text": {"model": bert, "frozen_layers": 2}})
    run = trainer(tmp_path)
    run.fit(module, PairedDataModule(str(phantom_store), batch_size=16, tokenizer=bert))
    run.save_checkpoint(tmp_path / "convirt.ckpt")
    shutil.rmtree(bert)
    assert_loads_as(module, tmp_path / "convirt.ckpt")


def test_another_tokenizer_than_the_text_models_is_refused(phantom_store, tmp_path, bert):
    with pytest.raises(IgclError, match=r"data.tokenizer is None, model.text.model is '.*bert': set both to the same"):
        trainer(tmp_path).fit(
            ConVIRT(**TINY | {"text": {"model": bert, "frozen_layers": 1}}),
            PairedDataModule(str(phantom_store), batch_size=16),
        )


def test_it_can_learn_eight_pairs_by_heart(batch):
    torch.manual_seed(0)
    module = ConVIRT(**TINY | {"text": WHOLE | {"dropout": 0.0}})
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3)
    for _ in range(60):
        loss = module.contrast_batch(batch)[0]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # Chance is log 8, 2.1.
    assert loss.item() < 0.5


def test_the_loss_is_equation_2_to_4(batch):
    module = ConVIRT(**TINY).eval()
    embedding = module(batch)
    logits = embedding.first @ embedding.second.T / 0.1
    own = torch.arange(8)
    image_to_report, report_to_image = (
        torch.nn.functional.cross_entropy(direction, own) for direction in (logits, logits.T)
    )
    torch.testing.assert_close(module.contrast_batch(batch)[0], 0.75 * image_to_report + 0.25 * report_to_image)
    assert "loss.logit_scale" not in dict(module.named_parameters())
    assert "loss.logit_scale" in dict(ConVIRT(**TINY, loss={"learn_temperature": True}).named_parameters())


def test_training_reads_one_sentence_and_evaluation_the_whole_report(batch):
    module = ConVIRT(**TINY).train()
    assert len(module.side_input("report", batch).x) < len(batch.report.x)
    assert module.eval().side_input("report", batch) is batch.report
    assert ConVIRT(**TINY | {"text": WHOLE}).train().side_input("report", batch) is batch.report


def test_every_sentence_of_a_report_is_drawn_alike_and_whole():
    texts = ["a b c . d e f g . h i . ", "", "one lone sentence", "2 . 1 ."]
    texts = [text.strip() for text in texts]
    torch.manual_seed(0)
    drawn = {}
    for _ in range(300):
        sample = sample_sentences(reports(*texts))
        assert sample.num_graphs == 4
        for row, text in enumerate(texts):
            words = sample.word[sample.batch == row].tolist()
            sentence = " ".join(text.split(" ")[word] for word in words)
            drawn[row, sentence] = drawn.get((row, sentence), 0) + 1
    assert set(drawn) == {
        *((0, sentence) for sentence in ("a b c .", "d e f g .", "h i .")),
        (1, ""),
        (2, "one lone sentence"),
        *((3, sentence) for sentence in ("2 .", "1 .")),
    }
    assert all(70 < drawn[0, sentence] < 130 for sentence in ("a b c .", "d e f g .", "h i ."))


def test_the_number_of_a_list_item_is_not_drawn():
    sentences = {tuple(sample_sentences(reports("1 . no effusion .")).word.tolist()) for _ in range(30)}
    assert sentences == {(2, 3, 4)}


def test_special_tokens_stay_with_the_drawn_sentence(bert):
    whole = reports("no effusion . left pneumothorax . heart large .", "", model=bert)
    sample = sample_sentences(whole)
    first = sample.x[sample.batch == 0, 0].tolist()
    assert (first[0], first[-1]) == (2, 3)
    assert len(set(sample.sentence[sample.batch == 0].tolist()) - {-1}) == 1
    assert sample.x[sample.batch == 1, 0].tolist() == [2, 3]


def test_a_batch_of_empty_reports_trains_every_parameter(batch):
    module = ConVIRT(**TINY).train()
    batch = batch._replace(report=reports(*[""] * 8))
    module.contrast_batch(batch)[0].backward()
    without = [name for name, value in module.named_parameters() if value.grad is None]
    assert not without


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": {"temperature": 0.0}}, "model.loss.temperature is 0.0, not above 0"),
        ({"loss": {"image_weight": 1.5}}, r"model.loss.image_weight is 1.5, not in \[0, 1\]"),
        ({"text": {"heads": 3}}, "model.text.channels 256 is not a multiple of model.text.heads 3"),
    ],
)
def test_arguments_out_of_range_are_named(options, message):
    with pytest.raises(IgclError, match=message):
        ConVIRT(**TINY | options)
