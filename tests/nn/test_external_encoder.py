import pickle
import sys
import warnings

import numpy as np
import pytest
import torch

from igcl_lightning.errors import IgclError
from igcl_lightning.nn.external_encoder import ExternalOptions, XrvEncoder, create_image_encoder
from igcl_lightning.nn.image_encoder import ImageEncoder

SIZE = 64


@pytest.fixture(scope="module")
def xrv():
    with warnings.catch_warnings():
        return pytest.importorskip("torchxrayvision")


@pytest.fixture
def image():
    return torch.randint(0, 256, (2, 1, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def normalised(xrv, image):
    """As torchxrayvision prepares an image."""
    return torch.from_numpy(xrv.utils.normalize(image.numpy().astype(np.float32), 255))


def assert_close(got, expected):
    """Compare features by their scale, which is large where weights are random."""
    scale = expected.abs().max()
    torch.testing.assert_close(got / scale, expected / scale, rtol=0, atol=1e-4)


def refuse(*args, **options):
    raise OSError("no network")


def test_names_of_timm_with_and_without_prefix():
    for name in ("test_resnet", "timm:test_resnet"):
        encoder = create_image_encoder(ExternalOptions(name, 32))
        assert isinstance(encoder, ImageEncoder)
        assert (encoder.name, encoder.size) == ("test_resnet", 32)
    assert create_image_encoder(ExternalOptions("test_resnet")).size == 160


def test_images_are_prepared_as_in_the_training_of_the_weights():
    encoder = create_image_encoder(ExternalOptions("timm:test_vit"))
    assert (encoder.size, encoder.interpolation) == (160, "bicubic")
    assert (float(encoder.mean), float(encoder.std)) == (0.5, 0.5)
    asked = create_image_encoder(ExternalOptions("test_byobnet", size=64))
    assert asked.size == 64
    assert float(asked.mean) == pytest.approx((0.485 + 0.456 + 0.406) / 3)


@pytest.mark.parametrize("name", ["open_clip:vit", "xrv-densenet:all", "hf-hub:someone/model"])
def test_another_library_is_named(name):
    with pytest.raises(IgclError, match=f"backbone '{name}': encoders are called timm:NAME or xrv:NAME"):
        create_image_encoder(ExternalOptions(name))


def test_features_of_a_densenet_are_torchxrayvisions(xrv, image, tmp_path):
    model = xrv.models.DenseNet().eval()
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    encoder = create_image_encoder(
        ExternalOptions("xrv:densenet121-res224-all", SIZE, str(tmp_path / "weights.pt"))
    ).eval()
    with torch.no_grad():
        encoded, expected = encoder(image), model.features2(normalised(xrv, image))
    assert_close(encoded.pooled, expected)
    assert encoded.units.shape == (2, 4, encoder.out_channels)
    torch.testing.assert_close(encoded.pooled, encoded.units.mean(dim=1))


def test_features_of_a_resnet_are_torchxrayvisions(xrv, image, tmp_path, monkeypatch):
    network = xrv.models.torchvision.models.resnet50(num_classes=18)
    network.conv1 = torch.nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    torch.save(network.state_dict(), tmp_path / "published.pt")
    monkeypatch.setattr(xrv.models, "get_weights", lambda *args, **options: str(tmp_path / "published.pt"))
    model = xrv.models.ResNet("resnet50-res512-all")
    torch.save(model.state_dict(), tmp_path / "saved.pt")

    monkeypatch.setattr(xrv.utils, "fix_resolution", lambda image, *args: image)  # it insists on 512 pixels
    encoder = XrvEncoder("resnet50-res512-all", SIZE, "hub").eval()
    with torch.no_grad():
        pooled = encoder(image).pooled
        assert_close(pooled, model.features(normalised(xrv, image)))
    assert pooled.shape[1] == encoder.out_channels

    saved = XrvEncoder("resnet50-res512-all", SIZE, str(tmp_path / "saved.pt")).state_dict()
    for name, value in encoder.state_dict().items():
        torch.testing.assert_close(saved[name], value)


def test_the_size_is_the_trained_one_unless_asked_for(xrv):
    assert XrvEncoder("densenet121-res224-all").size == 224
    assert XrvEncoder("resnet50-res512-all").size == 512
    encoder = XrvEncoder("densenet121-res224-all", SIZE)
    assert encoder.preprocess(torch.zeros(1, 1, 100, 80)).shape == (1, 1, SIZE, SIZE)
    assert encoder.preprocess(torch.full((1, 1, 9, 9), 255.0)).max() == 1024
    assert f"size={SIZE}" in repr(encoder)


def test_the_published_densenets_are_pickles_and_are_converted_by_their_owner(xrv, image, tmp_path, monkeypatch):
    with pytest.raises(IgclError, match="a pickle, which can run code") as error:
        XrvEncoder("densenet121-res224-all", weights="hub")
    assert "\n" not in str(error.value)
    command = str(error.value).partition("with ")[2].partition(", and give")[0].replace("FILE.pt", "converted.pt")

    torch.save(xrv.models.DenseNet(), tmp_path / "published.pt")
    monkeypatch.setattr(xrv.models, "get_weights", lambda *args, **options: str(tmp_path / "published.pt"))
    monkeypatch.chdir(tmp_path)
    exec(command, {"torch": torch, "torchxrayvision": xrv})
    encoder = XrvEncoder("densenet121-res224-all", SIZE, "converted.pt").eval()
    model = torch.load(tmp_path / "published.pt", weights_only=False).eval()
    with torch.no_grad():
        expected = model.features2(normalised(xrv, image))
        assert_close(encoder(image).pooled, expected)


class Harmful:
    """Runs code as it is unpickled."""

    def __reduce__(self):
        return (sys.exit, (3,))


def test_a_pickle_is_never_run(xrv, tmp_path):
    (tmp_path / "harmful.pt").write_bytes(pickle.dumps(Harmful()))
    torch.save({"weights": Harmful()}, tmp_path / "harmful_too.pt")
    torch.save(xrv.models.DenseNet(), tmp_path / "module.pt")
    for name in ("harmful.pt", "harmful_too.pt", "module.pt"):
        with pytest.raises(IgclError, match=f"{name}: not a state dict of this backbone that loads as plain data"):
            XrvEncoder("densenet121-res224-all", SIZE, str(tmp_path / name))


def test_weights_of_another_network_are_named(xrv, tmp_path):
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "other.pt")
    with pytest.raises(
        IgclError, match=r"other.pt: lacks 604 weights of the backbone \(first: features.conv0.weight\)"
    ):
        XrvEncoder("densenet121-res224-all", SIZE, str(tmp_path / "other.pt"))
    with pytest.raises(IgclError, match="'gone.pt': no such file"):
        XrvEncoder("densenet121-res224-all", SIZE, "gone.pt")


def test_an_unreachable_hub_is_one_line(xrv, monkeypatch):
    monkeypatch.setattr(xrv.models, "get_weights", refuse)
    with pytest.raises(
        IgclError, match="weights 'hub' for xrv:resnet50-res512-all could not be downloaded: no network"
    ):
        XrvEncoder("resnet50-res512-all", weights="hub")


def test_an_unknown_network_is_named_with_those_there_are(xrv):
    with pytest.raises(IgclError, match="torchxrayvision has no network 'densenet', only densenet121-res224-all, "):
        create_image_encoder(ExternalOptions("xrv:densenet"))


def test_without_torchxrayvision_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchxrayvision", None)
    with pytest.raises(IgclError, match=r"xrv: backbones need torchxrayvision: pip install 'igcl-lightning\[xrv\]'"):
        create_image_encoder(ExternalOptions("xrv:densenet121-res224-all"))


def test_torchxrayvision_does_not_silence_our_warnings(xrv):
    XrvEncoder("densenet121-res224-all", SIZE)
    with pytest.warns(UserWarning, match="still heard"):
        warnings.warn("still heard", stacklevel=1)
