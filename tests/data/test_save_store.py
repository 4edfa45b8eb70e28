import datasets
import numpy as np
import pytest

from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.row_datasets import PairDataset
from igcl_lightning.data.save_store import save_store
from igcl_lightning.data.store import Store
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.errors import IgclError
from stores import prepare_studies


def store_of(path, numbers):
    studies = [
        Study(
            f"s{number}",
            f"p{number}",
            (StudyImage(f"i{number}", np.full((8, 8), number, np.uint8)),),
            report={"findings": "Small effusion."},
            labels={"Edema": float(number % 2)},
            split="train" if number % 3 else "valid",
        )
        for number in numbers
    ]
    prepare_studies(studies, path, labels=["Edema"], options=Options(size=8, lossless=True))
    return Store(path)


def prepare_studies_of_size(path, size):
    image = StudyImage("i1", np.zeros((8, 8), np.uint8))
    study = Study("s1", "p1", (image,), labels={"Edema": 1.0}, split="train")
    prepare_studies([study], path, labels=["Edema"], options=Options(size=size, lossless=True))
    return Store(path)


@pytest.fixture
def stores(tmp_path):
    return store_of(tmp_path / "a", range(10)), store_of(tmp_path / "b", range(10, 16))


def test_stores_are_concatenated_and_filtered_by_datasets(stores, tmp_path):
    tables = {
        split: datasets.concatenate_datasets([store.table(split) for store in stores]).filter(
            lambda labels: labels["Edema"] == 1, input_columns="labels"
        )
        for split in ("train", "valid")
    }
    manifest = save_store(tables, tmp_path / "both", stores[0].manifest)
    both = Store(tmp_path / "both")
    assert both.column("train", "row") == [f"i{number}" for number in range(16) if number % 3 and number % 2]
    assert manifest["rows"] == {"train": 5, "valid": 3}
    assert not {"dropped", "flags", "rows_by_report", "inputs"} & set(manifest)  # which were counted over other rows
    assert (both.targets("train") == 1).all()
    assert PairDataset(both, "train")[1].image.unique().tolist() == [5]


def test_what_came_from_a_parquet_file_is_a_store_again(stores, tmp_path):
    stores[0].table("train").to_parquet(str(tmp_path / "train.parquet"))
    pulled = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "train.parquet"), cache_dir=str(tmp_path / "cache"), split="train"
    )
    save_store({"train": pulled}, tmp_path / "again", stores[0].manifest)
    again = PairDataset(Store(tmp_path / "again"), "train")
    for one, other in zip(again, PairDataset(stores[0], "train"), strict=True):
        assert (one.row, one.graph_key) == (other.row, other.graph_key)
        assert (one.image == other.image).all()


def test_the_fingerprint_is_that_of_the_content(stores, tmp_path):
    train = stores[0].table("train")
    prints = [
        save_store({"train": table}, tmp_path / str(number), stores[0].manifest)["fingerprint"]
        for number, table in enumerate([train, train.select(range(len(train))), train.select([0, 1])])
    ]
    assert prints[0] == prints[1] != prints[2]


def test_what_is_no_store_is_refused(stores, tmp_path):
    train, valid = (stores[0].table(split) for split in ("train", "valid"))
    out, manifest = tmp_path / "out", stores[0].manifest
    for tables, message in (
        ({"train": train, "test": train}, "'i1' occurs twice"),
        ({"train": datasets.concatenate_datasets([train, train])}, "'i1' occurs twice"),
        ({"fold": train}, "split 'fold' is not one of train"),
        ({"train": train.remove_columns("graph")}, "no column 'graph'; these are not the rows of a store"),
        ({"train": train.select([])}, "the tables have no rows"),
    ):
        with pytest.raises(IgclError, match=message):
            save_store(tables, out, manifest)
    renamed = valid.map(lambda row: {"row": f"v{row['row']}", "patient": "p1"})
    with pytest.raises(IgclError, match="patient 'p1' is in both train and valid"):
        save_store({"train": train, "valid": renamed}, out, manifest)
    small = prepare_studies_of_size(tmp_path / "small", 4)
    with pytest.raises(IgclError, match="row 'i1': its image is 4 x 4, that of others 8 x 8"):
        save_store({"train": small.table("train")}, out, manifest)
    assert not out.exists()
    assert not out.with_name("out.partial").exists()
    out.with_name("out.partial").mkdir()
    with pytest.raises(IgclError, match="out.partial: exists already"):
        save_store({"train": train}, out, manifest)
    out.with_name("out.partial").rmdir()
    save_store({"train": train}, out, manifest)
    with pytest.raises(IgclError, match="exists already"):
        save_store({"train": train}, out, manifest)
