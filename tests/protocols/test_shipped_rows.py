"""Every row of the shipped tables: its options are read, reach model and data, and its training begins."""

from dataclasses import replace
from functools import cache, partial, reduce
from operator import getitem

import pytest
import yaml

from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.sources.phantom import phantom_study
from igcl_lightning.nn import rotate
from igcl_lightning.phantom import FINDINGS
from igcl_lightning.protocols import pretraining
from igcl_lightning.protocols.contestants import check_pairs
from igcl_lightning.protocols.evaluation_table import read_table
from igcl_lightning.training import lightning_cli
from igcl_lightning.training.options import shipped_configs
from stores import prepare_studies

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]  # libraries warn of what they call
TABLES = {path.stem: read_table(str(path)).rows for path in sorted(shipped_configs().glob("evaluation/*.yaml"))}
PAPER = {row.name: row for row in TABLES["ablation_paper"]}
ON_PHANTOMS = {
    f"{table}: {row.name}": row for table, rows in TABLES.items() if table != "ablation_paper" for row in rows
}
TINY = {
    "model.image.backbone": "test_byobnet",
    "model.image.weights": "none",
    "model.image.size": 32,
    "model.graph.channels": 16,
    "model.projection.channels": 16,
    "data.num_workers": 0,
    "trainer.max_steps": 2,
    "trainer.log_every_n_steps": 1,
    "trainer.accelerator": "cpu",
    "trainer.limit_val_batches": 0,
    "trainer.callbacks": [],
}
"""Options that make a model of the paper small; they come behind those of a row, and replace none of them."""

PAIRS = {"ablation": 2520, "ablation_paper": 368_960}
"""Training pairs of the store that a table is for: 3,600 phantoms, or the images of MIMIC-CXR."""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Phantoms with features of nodes as wide as BERT's, of which 1 % are a batch of two."""
    pytest.importorskip("transformers", reason="the extra `text` is not installed")
    from tiny_bert import save_tiny_bert

    folder = tmp_path_factory.mktemp("shipped_rows")
    bert = save_tiny_bert(folder / "bert", layers=1, hidden_size=768)
    studies = [partial(phantom_study, index, size=64, views="frontal") for index in range(240)]
    prepare_studies(studies, folder / "store", labels=FINDINGS, options=Options(size=32, lossless=True, node_text=bert))
    return str(folder / "store")


@pytest.fixture(scope="module")
def built():
    """Trainer, model and data that the command line built last; RotatE is fitted in few steps."""
    parts = []
    look = lightning_cli.refuse_unknown_monitors
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rotate, "STEPS", (20, 20))
        patch.setattr(lightning_cli, "refuse_unknown_monitors", lambda *given: parts.append(given) or look(*given))
        yield lambda: dict(zip(("trainer", "model", "data"), parts[-1], strict=True))


@pytest.fixture(scope="module")
def trained(store, built, tmp_path_factory):
    """Train a row of the paper's table as its cell does; returns what was built, and the loss of its last epoch."""

    @cache
    def train(name):
        row = PAPER[name]
        options = TINY | {"data.batch_size": 2 if "data.fraction" in row.options else 16}
        assert not options.keys() & row.options.keys()
        words = [*row.words, *replace(row, epochs=None, options=options).words[2:], "--seed_everything=0"]
        cell = tmp_path_factory.mktemp("row")
        pretraining.pretrained(cell, cell, words, store, "")
        return built(), built()["trainer"].callback_metrics["train/loss"].item()

    return train


@pytest.fixture(scope="module")
def opened(store, built):
    """Build a row of the other tables and open its data as the command does; returns what was built."""

    @cache
    def build(name):
        row = ON_PHANTOMS[name]
        check_pairs(small_batches(row), store)
        return built()

    return build


def small_batches(row):
    """Return a row whose share of the few phantoms here has a batch."""
    return replace(row, options={**row.options, "data.batch_size": 2}) if "data.fraction" in row.options else row


def value_of(parts, option):
    """Return what an option is in the object that it is for."""
    part, name, *within = option.split(".")
    if part == "model":
        return reduce(getitem, within, parts[part].hparams_initial[name])
    return reduce(getattr, within, getattr(parts[part], name))


def settings(parts):
    """Return all that rows change, as text."""
    data = {name: getattr(parts["data"], name) for name in ("fraction", "noise", "node_text", "batch_size")}
    return repr((sorted(parts["model"].hparams_initial.items()), data, parts["trainer"].max_epochs))


@pytest.mark.parametrize("name", PAPER)
def test_a_row_of_the_paper_trains_with_its_options(name, trained):
    parts, loss = trained(name)
    assert parts["trainer"].global_step == 2
    assert 0 < loss < 10
    for option, value in PAPER[name].options.items():
        assert value_of(parts, option) == value
    assert parts["trainer"].max_epochs == (PAPER[name].epochs or 10)


def test_no_two_rows_of_the_paper_are_alike(trained):
    """The weights begin alike: a row that trains otherwise has another loss."""
    assert len({settings(trained(name)[0]) for name in PAPER}) == len(PAPER)
    assert len({trained(name)[1] for name in PAPER}) == len(PAPER)


@pytest.mark.parametrize("table", PAIRS)
def test_every_share_of_the_pairs_has_a_batch(table):
    """On the store that the table is for; the phantoms here are too few for batches of their size."""
    shares = [row for row in TABLES[table] if "data.fraction" in row.options]
    for row in shares:
        usual = yaml.safe_load((shipped_configs() / row.config).read_text())["data"]["init_args"]["batch_size"]
        assert row.options["data.fraction"] * PAIRS[table] >= row.options.get("data.batch_size", usual)
    assert len(shares) == 3


@pytest.mark.parametrize("name", ON_PHANTOMS)
def test_a_row_on_phantoms_is_built_with_its_options(name, opened):
    parts = opened(name)
    for option, value in small_batches(ON_PHANTOMS[name]).options.items():
        assert value_of(parts, option) == value


@pytest.mark.parametrize("table", sorted({name.partition(":")[0] for name in ON_PHANTOMS}))
def test_no_two_rows_on_phantoms_are_alike(table, opened):
    names = [name for name in ON_PHANTOMS if name.startswith(f"{table}: ")]
    assert len({settings(opened(name)) for name in names}) == len(names)
