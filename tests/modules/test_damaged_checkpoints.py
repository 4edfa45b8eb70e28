"""A checkpoint that does not load is one line that names the file, whatever is wrong with it."""

import random
import sys
import types
import zipfile

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from igcl_lightning.cli import main
from igcl_lightning.errors import IgclError
from igcl_lightning.modules import IGCL, BaseModule, FineTune, LinearProbe
from igcl_lightning.modules.base import module_class, rebuild
from igcl_lightning.training.lightning_cli import stored_model

SMALL = {"image": {"backbone": "test_resnet", "size": 32}, "graph": {"channels": 16}}


class SmallModule(BaseModule):
    def __init__(self, width: int = 3, names: list[str] | None = None, table: dict[str, float] | None = None):
        super().__init__()
        self.save_hyperparameters()
        self.layer = nn.Linear(width, 2)


class OpenModule(SmallModule):
    """Takes further arguments without naming them."""

    def __init__(self, depth: int = 1, **rest):
        super().__init__(**rest)
        self.save_hyperparameters()
        self.depth = depth


class Opener(BaseModule):
    def __init__(self, **anything):
        super().__init__()
        self.save_hyperparameters()
        self.anything = anything


def save(module, path, **changes):
    trainer = Trainer(logger=False, accelerator="cpu", enable_progress_bar=False, enable_checkpointing=False)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(path)
    checkpoint = torch.load(path, weights_only=True)
    for part, values in changes.items():
        checkpoint[part] = {name: value for name, value in {**checkpoint[part], **values}.items() if value is not None}
    torch.save(checkpoint, path)
    return path


@pytest.fixture
def small(tmp_path):
    return save(SmallModule(4, ["a", "b"], {"x": 0.5}), tmp_path / "small.ckpt")


def damaged(data, draw, start, end):
    """Return bytes with one of many kinds of damage between two places, or cut off there."""
    place = draw.randrange(start, end)
    kind = draw.randrange(5)
    if kind == 0:
        return data[:place]
    if kind == 1:
        return data[:place] + draw.randbytes(draw.randrange(1, 200)) + data[place + 200 :]
    if kind == 2:
        return data[:place] + data[place + draw.randrange(1, 9) :]
    changed = bytearray(data)
    for _ in range(1 if kind == 3 else draw.randrange(2, 9)):
        changed[draw.randrange(start, end)] ^= 1 << draw.randrange(8)
    return bytes(changed)


def pickled(path):
    """Return where the pickle of names, shapes and hyper-parameters lies in a checkpoint."""
    with zipfile.ZipFile(path) as archive:
        info = next(info for info in archive.infolist() if info.filename.endswith("data.pkl"))
    return info.header_offset, info.header_offset + info.file_size + 64


def test_damaged_bytes_are_one_line_or_load(small, tmp_path):
    data, path, draw = small.read_bytes(), tmp_path / "damaged.ckpt", random.Random(0)
    said = []
    for number in range(400):
        start, end = pickled(small) if number % 2 else (0, len(data))
        path.write_bytes(damaged(data, draw, start, end))
        for load in (SmallModule.load_from_checkpoint, BaseModule.load_from_checkpoint, _read_as_the_command_line_does):
            try:
                load(path)
            except IgclError as error:
                said.append(str(error))
    assert len(said) > 400
    assert all(line.startswith(f"{path}: ") and "\n" not in line for line in said)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "is not a checkpoint of a training run"),
        ({"weights": {}}, "is not a checkpoint of a training run"),
        ({"state_dict": [torch.ones(1)]}, "is not a checkpoint of a training run"),
        ({"state_dict": {1: torch.ones(1)}}, "is not a checkpoint of a training run"),
        ({"state_dict": {}, "hyper_parameters": [1]}, "its hyper-parameters are damaged"),
        ({"state_dict": {}, "hyper_parameters": {2: 1}}, "its hyper-parameters are damaged"),
        ({"state_dict": {}, "hyper_parameters": {"_class_path": 3}}, "its hyper-parameters are damaged"),
        ({"state_dict": {}, "hyper_parameters": {"_class_path": "nowhere.Model"}}, "'nowhere.Model' is not imported"),
        ({"state_dict": {}, "inputs": 3}, "the weights do not fit"),
    ],
)
def test_files_that_hold_something_else_are_one_line(tmp_path, content, said):
    path = tmp_path / "odd.ckpt"
    torch.save(content, path)
    with pytest.raises(IgclError, match=f"odd.ckpt: .*{said}|odd.ckpt: {said}"):
        SmallModule.load_from_checkpoint(path)


def _read_as_the_command_line_does(path):
    stored_model(path, "igcl_lightning.modules.base.BaseModule")


CONFIG = """\
trainer: {accelerator: cpu, logger: false, enable_progress_bar: false, limit_test_batches: 1, max_epochs: 1}
model: {class_path: IGCL, init_args: {image: {backbone: test_resnet, size: 32}, graph: {channels: 16}}}
data: {class_path: PairedDataModule, init_args: {store: STORE, batch_size: 8}}
"""


def test_the_command_line_says_it_in_one_line(phantom_store, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(CONFIG.replace("STORE", str(phantom_store)))
    whole = save(IGCL(**SMALL), tmp_path / "igcl.ckpt")
    data, path, draw = whole.read_bytes(), tmp_path / "damaged.ckpt", random.Random(1)
    for number in range(6):
        path.write_bytes(damaged(data, draw, *pickled(whole)))
        status = main(["fit" if number % 4 else "test", "--config", "c.yaml", "--ckpt_path", str(path)])
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("igcl: error: ")]
        assert (status, len(lines)) in ((0, 0), (1, 1), (2, 1))
        assert all("damaged.ckpt" in line for line in lines)


@pytest.mark.parametrize("part", ["optimizer_states", "lr_schedulers"])
def test_a_run_cannot_continue_from_weights_alone(phantom_store, tmp_path, monkeypatch, capsys, part):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(CONFIG.replace("STORE", str(phantom_store)))
    path = save(IGCL(**SMALL), tmp_path / "weights.ckpt")
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint[part]
    torch.save(checkpoint, path)
    assert main(["fit", "--config", "c.yaml", "--ckpt_path", str(path)]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("igcl: error: ")]
    assert "weights.ckpt: cannot be restored" in line


def test_an_argument_that_the_class_has_no_longer_is_named(tmp_path, small):
    path = save(SmallModule(), tmp_path / "old.ckpt", hyper_parameters={"widht": 3})
    for load in (SmallModule.load_from_checkpoint, BaseModule.load_from_checkpoint, _read_as_the_command_line_does):
        with pytest.raises(IgclError, match=r"old.ckpt: SmallModule has no argument 'widht', did you mean width\?"):
            load(path)
    more = save(SmallModule(), tmp_path / "older.ckpt", hyper_parameters={"one": 3, "two": 1, "three": 1})
    with pytest.raises(IgclError, match=r"older.ckpt: SmallModule has no argument 'one' \(nor 2 others\)"):
        SmallModule.load_from_checkpoint(more)
    with pytest.raises(IgclError, match="SmallModule has no argument 'hight'"):
        SmallModule.load_from_checkpoint(small, hight=2)


def test_an_old_argument_of_a_probes_encoder_is_named(tmp_path):
    old = save(IGCL(**SMALL), tmp_path / "old.ckpt", hyper_parameters={"graph_chanels": 16})
    with pytest.raises(IgclError, match="old.ckpt: IGCL has no argument 'graph_chanels', did you mean graph.channels"):
        LinearProbe(str(old))
    good = save(IGCL(**SMALL), tmp_path / "good.ckpt")
    head = FineTune(str(good))
    head.encoder.stored = {**head.encoder.stored, "gone": 1}
    path = save(head, tmp_path / "head.ckpt")
    for cls in (FineTune, BaseModule):
        with pytest.raises(IgclError, match=r"head.ckpt: IGCL has no argument 'gone'"):
            cls.load_from_checkpoint(path)
    with pytest.raises(IgclError, match="stored without its class"):
        rebuild({"backbone": "test_resnet"})


def test_arguments_that_are_taken_by_any_name_stay(tmp_path):
    path = save(OpenModule(2, width=5), tmp_path / "open.ckpt")
    loaded = BaseModule.load_from_checkpoint(path)
    assert (loaded.depth, loaded.layer.in_features) == (2, 5)
    path = save(OpenModule(2, width=5), tmp_path / "old.ckpt", hyper_parameters={"gone": 1})
    with pytest.raises(IgclError, match=r"old.ckpt: OpenModule cannot be built.*gone"):
        BaseModule.load_from_checkpoint(path)
    path = save(Opener(depth=3, name="b"), tmp_path / "opener.ckpt")
    assert BaseModule.load_from_checkpoint(path).anything == {"depth": 3, "name": "b"}
    assert stored_model(path, "")["dict_kwargs"] == {"depth": 3, "name": "b"}


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"layer.bias": None}, 'Missing key(s) in state_dict: "layer.bias"'),
        ({"layer.bias": None, "layer.weight": None}, 'Missing key(s) in state_dict: "layer.weight", "layer.bias"'),
        ({"a": torch.ones(1), "b": torch.ones(1)}, 'Unexpected key(s) in state_dict: "a", "b"'),
        ({"layer.bias": torch.ones(3)}, "size mismatch for layer.bias"),
        ({"layer.bias": 3}, 'While copying the parameter named "layer.bias"'),
        (
            {"layer.bias": None, "b": torch.ones(1)},
            'Missing key(s) in state_dict: "layer.bias". Unexpected key(s) in state_dict: "b"',
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path, weights, said):
    path = save(SmallModule(), tmp_path / "odd.ckpt", state_dict=weights)
    for cls in (SmallModule, BaseModule):
        with pytest.raises(IgclError, match="odd.ckpt: the weights do not fit SmallModule: ") as caught:
            cls.load_from_checkpoint(path)
        assert said in str(caught.value)
    if "key(s)" in said:
        assert type(SmallModule.load_from_checkpoint(path, strict=False)) is SmallModule


def test_weights_that_do_not_fit_are_one_line_of_the_command_line(phantom_store, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(CONFIG.replace("STORE", str(phantom_store)))
    path = save(IGCL(**SMALL), tmp_path / "odd.ckpt", state_dict={"extra": torch.ones(1)})
    for job in ("fit", "test", "predict"):
        assert main([job, "--config", "c.yaml", "--ckpt_path", str(path)]) == 1
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("igcl: error: ")]
        assert line.endswith('odd.ckpt: the weights do not fit IGCL: Unexpected key(s) in state_dict: "extra".')


CELL = """
from torch import nn
from igcl_lightning.modules import BaseModule
class CellModule(BaseModule):
    generation = {generation}
    def __init__(self, width: int = 3):
        super().__init__()
        self.save_hyperparameters()
        self.layer = nn.Linear(width, 2)
"""


def test_of_a_class_defined_twice_the_latest_counts(tmp_path, monkeypatch):
    """As when the cell of a notebook is run again, with the first definition still referred to."""
    notebook = types.ModuleType("made_up_notebook")
    monkeypatch.setitem(sys.modules, "made_up_notebook", notebook)
    exec(CELL.format(generation=1), notebook.__dict__)
    first = notebook.CellModule
    path = save(first(4), tmp_path / "cell.ckpt")
    exec(CELL.format(generation=2), notebook.__dict__)
    second = notebook.CellModule
    assert BaseModule.load_from_checkpoint(path).generation == 2
    assert type(second.load_from_checkpoint(path)) is second
    assert type(first.load_from_checkpoint(path)) is first
    assert module_class("made_up_notebook.CellModule") is second
    assert rebuild({"_class_path": "made_up_notebook.CellModule", "width": 4}).generation == 2
    del notebook.CellModule
    assert module_class("made_up_notebook.CellModule") is second, "the latest, also where the name is gone"


def test_a_class_defined_inside_a_function_loads_too(tmp_path):
    class Local(SmallModule):
        def __init__(self, width: int = 3):
            super().__init__(width)

    loaded = BaseModule.load_from_checkpoint(save(Local(5), tmp_path / "local.ckpt"))
    assert (type(loaded), loaded.layer.in_features) == (Local, 5)


def test_a_checkpoint_is_never_loaded_as_code(small):
    assert SmallModule.load_from_checkpoint(small, weights_only=True).layer.in_features == 4
    with pytest.raises(IgclError, match="as plain data"):
        SmallModule.load_from_checkpoint(small, weights_only=False)


def test_arguments_can_be_overridden_and_a_device_chosen(small):
    loaded = SmallModule.load_from_checkpoint(small, "cpu", names=["c"])
    assert (loaded.hparams["names"], loaded.device.type) == (["c"], "cpu")
