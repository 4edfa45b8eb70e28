import pytest
import torch

from igcl_lightning.data.augment import Augment

STILL = {"degrees": 0, "scale": 0, "shift": 0, "contrast": 0, "brightness": 0, "gamma": 0}


@pytest.fixture
def image():
    return torch.nn.functional.interpolate(torch.rand(3, 1, 8, 8) * 255, 64, mode="bilinear")


def test_nothing_asked_nothing_done(image):
    torch.testing.assert_close(Augment(**STILL)(image), image, atol=0.05, rtol=0)


def test_range_shape_and_type_are_kept(image):
    changed = Augment()(image.to(torch.uint8))
    assert changed.shape == image.shape
    assert changed.dtype == torch.float32
    assert changed.min() >= 0
    assert changed.max() <= 255


def test_each_image_gets_its_own_draw():
    torch.manual_seed(0)
    same = torch.rand(1, 1, 32, 32).repeat(4, 1, 1, 1) * 255
    changed = Augment()(same)
    assert len({round(value, 3) for value in changed.mean(dim=(1, 2, 3)).tolist()}) == 4


def test_left_stays_left():
    torch.manual_seed(0)
    half = torch.zeros(64, 1, 32, 32)
    half[..., :16] = 255
    changed = Augment()(half)
    assert (changed[..., :10].mean(dim=(1, 2, 3)) > changed[..., -10:].mean(dim=(1, 2, 3))).all()


@pytest.mark.parametrize(("option", "limit"), [("shift", 0.25), ("degrees", 45.0), ("scale", 0.5)])
def test_movements_stay_within_their_limit(option, limit):
    torch.manual_seed(0)
    spot = torch.zeros(200, 1, 65, 65)
    spot[:, :, 29:36, 45:52] = 255  # 16 pixels right of the centre
    moved = Augment(**STILL | {option: limit})(spot)[:, 0]
    weight = moved / moved.sum(dim=(1, 2), keepdim=True)
    position = torch.arange(65.0) - 32
    x, y = (weight.sum(dim=1) * position).sum(dim=1), (weight.sum(dim=2) * position).sum(dim=1)
    distance = torch.hypot(x, y)
    if option == "shift":
        assert (x - 16).abs().max() <= 0.25 * 65 + 1
        assert (x - 16).abs().max() > 0.2 * 65 * 0.9
    elif option == "degrees":
        torch.testing.assert_close(distance, torch.full_like(distance, 16), atol=0.5, rtol=0)
        assert torch.atan2(y, x).abs().max() <= torch.pi / 4 + 0.02
    else:
        assert distance.min() >= 16 / 1.5 - 0.5
        assert distance.max() <= 16 / 0.5 + 0.5


def test_a_black_image_stays_finite():
    assert Augment()(torch.zeros(2, 1, 16, 16)).isfinite().all()
