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


def test_a_crop_shows_a_part_of_the_image_enlarged_and_nothing_else():
    torch.manual_seed(0)
    # Each pixel holds its own place, so that a view tells where it was cut; its border mixes with what is outside.
    place = (torch.arange(64) + 0.5) / 64 * 255
    view = Augment(**STILL, crop_area=0.25)(place.expand(300, 1, 64, 64))[:, 0, 32] / 255
    side = (view[:, 48] - view[:, 16]) * 2
    left = view[:, 16] - side * 16.5 / 64
    assert left.min() >= -1e-3
    assert (left + side).max() <= 1 + 1e-3
    assert side.min() >= 0.5 - 1e-3
    # Uniform are the area, and not the side, and the place.
    assert side.square().mean().item() == pytest.approx((0.25 + 1) / 2, abs=0.04)
    assert (left[side < 0.9] / (1 - side[side < 0.9])).mean().item() == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("limit", [0.01, 0.05])
def test_blur_is_a_gaussian_of_at_most_its_limit(limit):
    torch.manual_seed(0)
    spot = torch.zeros(200, 1, 65, 81)
    spot[:, :, 32, 40] = 255
    soft = Augment(**STILL, blur=limit)(spot)[:, 0]
    soft = soft.where(soft > 0.001, 0)  # no gamma of nothing: black is a little above 0
    torch.testing.assert_close(soft.sum(dim=(1, 2)), torch.full((200,), 255.0), atol=0.5, rtol=0)
    for dim, side in ((1, 81), (2, 65)):
        profile = soft.sum(dim=dim) / 255
        deviation = (profile * (torch.arange(side) - side // 2).square()).sum(dim=1).sqrt() / side
        assert deviation.max() <= limit * 1.05
        assert deviation.max() > limit * 0.85


def test_blur_keeps_an_even_image_even_up_to_its_border():
    even = torch.full((3, 1, 32, 32), 100.0)
    torch.testing.assert_close(Augment(**STILL, blur=0.1)(even)[..., 2:-2, 2:-2], even[..., 2:-2, 2:-2])


def test_a_generator_repeats_its_draws(image):
    one, two = (Augment(crop_area=0.3, blur=0.02)(image, torch.Generator().manual_seed(4)) for _ in range(2))
    torch.testing.assert_close(one, two)
    other = Augment(crop_area=0.3, blur=0.02)(image, torch.Generator().manual_seed(5))
    assert not torch.allclose(one, other)
