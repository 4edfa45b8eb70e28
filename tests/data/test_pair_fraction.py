"""A share of the training patients: exact, nested, by patients, and the same for any seed."""

import logging
from itertools import pairwise

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from igcl_lightning.data.inputs import describe_inputs
from igcl_lightning.data.modules import PairedDataModule
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.report_noise import NoiseOptions
from igcl_lightning.data.splits import draw_patients
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.schema import Entity, ReportGraph, stable_hash
from stores import prepare_studies

PATIENTS = 25  # of which four have no pairs


class Model(nn.Module):
    """A module that contrasts images with graphs."""

    sides = ("image", "graph")


def studies():
    """One to three images of each training patient, of whom some have no report; ten rows to validate on."""
    for patient in range(PATIENTS + 10):
        images = tuple(StudyImage(f"i{patient}.{at}", np.zeros((8, 8), np.uint8)) for at in range(1 + patient % 3))
        word = f"word{patient}"
        graph = ReportGraph("") if patient < 4 else ReportGraph(word, (Entity(word, "OBS-DP", 0, 0),))
        split = "train" if patient < PATIENTS else "valid"
        yield Study(f"s{patient}", f"p{patient}", images, graph=graph, split=split)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "share"
    prepare_studies(list(studies()), path, options=Options(size=8), chunk=10)
    return path


def module(path, batch_size=2, **options):
    data = PairedDataModule(str(path), batch_size, **options)
    data.trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    data.trainer.strategy.connect(Model())
    return data


def rows(loader):
    return [row for batch in loader for row in batch.row.tolist()]


def trained(path, **options):
    """Patients and rows of an epoch."""
    batches = list(module(path, 2, **options).train_dataloader())
    return {patient for batch in batches for patient in batch.patient.tolist()}, rows(batches)


def test_shares_are_exact_nested_and_at_least_one_patient():
    patients = [f"p{number % 130}" for number in range(400)]
    drawn = [draw_patients(patients, share) for share in (1e-9, 0.01, 0.1, 0.25, 0.5, 1.0)]
    kept = [{patient for patient, is_kept in zip(patients, each, strict=True) if is_kept} for each in drawn]
    assert list(map(len, kept)) == [1, 1, 13, 32, 65, 130]
    for smaller, larger in pairwise(kept):
        assert smaller <= larger
    for each, known in zip(drawn, kept, strict=True):
        assert each.tolist() == [patient in known for patient in patients]  # all rows of a patient
    # Known to every run and machine: a change would train on other patients.
    assert sorted(kept[2], key=lambda name: int(name[1:]))[:3] == ["p6", "p9", "p12"]


def test_all_pairs_of_the_drawn_patients_are_trained_on_for_any_seed(store):
    share = module(store, fraction=0.5).train_dataloader().dataset.rows
    batch = share.batch(range(len(share)))
    patients = set(batch.patient.tolist())
    assert len(patients) == round(0.5 * (PATIENTS - 4)) == 10
    number = {stable_hash(f"p{patient}"): patient for patient in range(4, PATIENTS)}
    drawn = {number[patient] for patient in patients}
    expected = [stable_hash(f"i{patient}.{at}") for patient in sorted(drawn) for at in range(1 + patient % 3)]
    assert sorted(batch.row.tolist()) == sorted(expected)
    assert trained(store, fraction=0.5, order_seed=7)[0] <= patients
    smaller = module(store, fraction=0.2).train_dataloader().dataset.rows
    assert set(smaller.batch(range(len(smaller))).patient.tolist()) < patients


def test_validation_is_whole_and_one_is_the_order_of_before(store):
    assert rows(module(store, fraction=0.1).val_dataloader()) == rows(module(store).val_dataloader())
    assert module(store, fraction=0.1).num_validation_pairs == module(store).num_validation_pairs
    assert trained(store, fraction=1.0) == trained(store)


def test_what_is_left_out_is_counted_in_one_line(store, caplog):
    with caplog.at_level(logging.INFO):
        module(store, fraction=0.5).setup("fit")
    lines = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    pairs = sum(1 + patient % 3 for patient in range(4, PATIENTS))
    kept = len(module(store, fraction=0.5).train_dataloader().dataset.rows)
    assert len(lines) == 1
    assert "left out 7 of 49 train rows, which lack" in lines[0]
    assert lines[0].endswith(
        f"; data.fraction 0.5 leaves out 11 of 21 training patients, {pairs - kept} of {pairs} pairs"
    )


def test_fewer_pairs_than_a_batch_are_an_error_that_counts_them(store):
    with pytest.raises(
        IgclError, match=r"data.fraction 0.05 leaves \d training pairs? of 1 patient, less than a batch of 64; raise it"
    ):
        module(store, 64, fraction=0.05).setup("fit")
    module(store, 64).setup("fit")  # a tiny store is one batch, as before
    kept = len(module(store, fraction=0.5).train_dataloader().dataset.rows)
    module(store, kept, fraction=0.5).setup("fit")
    with pytest.raises(
        IgclError, match=f"less than a batch of {kept + 1}; raise it, or set data.batch_size to at most {kept}$"
    ):
        module(store, kept + 1, fraction=0.5).setup("fit")


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5, float("nan")])
def test_a_share_out_of_range_is_named(store, share):
    with pytest.raises(IgclError, match=rf"^data.fraction is {share}, not in \(0, 1\]$"):
        PairedDataModule(str(store), fraction=share)


def test_a_stream_knows_no_patients(store):
    with pytest.raises(IgclError, match="data.fraction needs all patients, which a stream lacks; copy it"):
        module(store.as_uri(), fraction=0.5).setup("fit")


def test_the_record_of_a_checkpoint_has_share_noise_and_the_words_of_the_share(store):
    data = module(store, fraction=0.5, noise=NoiseOptions(entities=0.1))
    record = describe_inputs(data, words=True)
    assert record["training"] == {
        "fraction": 0.5,
        "noise": {"entities": 0.1, "assertions": 0.0, "relations": 0.0, "reports": 0.0, "every_epoch": False},
    }
    share = PairedDataModule(str(store), fraction=0.5).train_dataloader().dataset.rows
    patients = {stable_hash(f"p{number}"): f"word{number}" for number in range(PATIENTS)}
    expected = {patients[patient] for patient in share.batch(range(len(share))).patient.tolist()}
    assert record["words"] == {"graph": " ".join(sorted(expected))}
    assert "training" not in describe_inputs(module(store), words=True)


def test_exchanged_reports_are_those_of_the_share(store):
    data = module(store, fraction=0.5, noise=NoiseOptions(reports=1.0))
    share = data.train_dataloader().dataset.rows
    plain = module(store, fraction=0.5).train_dataloader().dataset.rows.batch(range(len(share)))
    batch = share.batch(range(len(share)))
    assert torch.equal(batch.patient, plain.patient)
    assert set(batch.graph_key.tolist()) <= set(plain.graph_key.tolist())
    assert (batch.graph_key != plain.graph_key).all()


@pytest.mark.parametrize(("patients", "fraction", "drawn"), [(25, 0.3, 8), (25, 0.1, 2), (27, 0.1, 3), (9, 0.01, 1)])
def test_a_share_of_patients_is_rounded_to_the_nearest_and_at_least_one(patients, fraction, drawn):
    assert draw_patients([f"p{number}" for number in range(patients)], fraction).sum() == drawn
