import numpy as np
import pytest
import torch

from igcl_lightning.data.augment import Augment, AugmentDraw

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


@pytest.mark.parametrize("direction", ["across", "down"])
def test_a_crop_shows_a_part_of_the_image_enlarged_and_nothing_else(direction):
    torch.manual_seed(0)
    # Each pixel holds its own place, so that a view tells where it was cut; its border mixes with what is outside.
    place = (torch.arange(64) + 0.5) / 64 * 255
    image = place.expand(300, 1, 64, 64)
    if direction == "down":
        view = Augment(**STILL, crop_area=0.25)(image.mT)[:, 0, :, 32] / 255
    else:
        view = Augment(**STILL, crop_area=0.25)(image)[:, 0, 32] / 255
    side = (view[:, 48] - view[:, 16]) * 2
    left = view[:, 16] - side * 16.5 / 64
    assert left.min() >= -1e-3
    assert (left + side).max() <= 1 + 1e-3
    assert side.min() >= 0.5 - 1e-3
    # Uniform are the area, and not the side, and the place.
    assert side.square().mean().item() == pytest.approx((0.25 + 1) / 2, abs=0.04)
    position = left[side < 0.9] / (1 - side[side < 0.9])
    assert position.mean().item() == pytest.approx(0.5, abs=0.06)
    assert position.std().item() == pytest.approx(1 / 12**0.5, abs=0.04)


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


WILD = {"degrees": 40, "scale": 0.3, "shift": 0.2, "crop_area": 0.3, "blur": 0.02}
CPU = torch.device("cpu")


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def source_of(draw, number, x, y, height, width):
    """Where image `number` takes from what it shows at pixel (x, y); pixels count from the centre of the first."""
    across, down = (2 * x + 1) / width - 1, (2 * y + 1) / height - 1
    angle, zoom = float(draw.angle[number]), float(draw.zoom[number])
    from_x = zoom * (np.cos(angle) * across - np.sin(angle) * down) + float(draw.shift_x[number])
    from_y = zoom * (np.sin(angle) * across + np.cos(angle) * down) + float(draw.shift_y[number])
    return ((from_x + 1) * width - 1) / 2, ((from_y + 1) * height - 1) / 2


def pixel(image, x, y):
    inside = 0 <= x < image.shape[1] and 0 <= y < image.shape[0]
    return float(image[int(y), int(x)]) if inside else 0.0


def bilinear(image, x, y):
    left, top = np.floor(x), np.floor(y)
    return sum(
        pixel(image, left + dx, top + dy) * (1 - abs(x - left - dx)) * (1 - abs(y - top - dy))
        for dx in (0, 1)
        for dy in (0, 1)
    )


def test_images_and_masks_are_those_of_the_slow_loop():
    height, width = 12, 15
    image = torch.randint(0, 256, (6, 1, height, width), generator=seeded(0), dtype=torch.uint8)
    mask = torch.randint(0, 5, (6, 2, height, width), generator=seeded(1), dtype=torch.uint8)
    augment = Augment(**WILD | {"blur": 0.0})
    draw = augment.draw(6, CPU, seeded(2))
    shown, masks = augment.apply(image, draw), augment.apply_masks(mask, draw)
    assert masks.dtype == mask.dtype
    for number in range(6):
        places = [[source_of(draw, number, x, y, height, width) for x in range(width)] for y in range(height)]
        moved = np.array([[bilinear(image[number, 0], *place) for place in row] for row in places]) / 255
        toned = moved ** float(draw.gamma[number])
        middle = toned.mean()
        toned = middle + float(draw.contrast[number]) * (toned - middle) + float(draw.brightness[number])
        np.testing.assert_allclose(shown[number, 0], toned.clip(0, 1) * 255, atol=0.02)
        for kind in range(2):
            nearest = [[pixel(mask[number, kind], round(x), round(y)) for x, y in row] for row in places]
            np.testing.assert_array_equal(masks[number, kind], nearest)


def test_a_mask_stays_on_what_it_marks():
    spots = torch.zeros(50, 1, 64, 64)
    for number in range(50):
        x, y = 5 + number % 40, 10 + 7 * number % 35
        spots[number, 0, y : y + 15, x : x + 12] = 255
    augment = Augment(**STILL | WILD | {"blur": 0.0})
    draw = augment.draw(50, CPU, seeded(0))
    masks = augment.apply_masks(spots > 0, draw)
    assert masks.dtype == torch.bool
    assert (masks == (augment.apply(spots, draw) > 127)).float().mean() > 0.995
    assert masks.float().mean() > 0.02


@pytest.mark.parametrize("seed", range(3))
def test_a_box_follows_its_square(seed):
    rng, number, height, width = np.random.default_rng(seed), 40, 120, 160
    spots, boxes = torch.zeros(number, 1, height, width), torch.zeros(number, 1, 4)
    for index in range(number):
        x, y, across, down = (int(value) for value in rng.integers([5, 5, 10, 10], [100, 70, 40, 40]))
        spots[index, 0, y : y + down, x : x + across] = 255
        boxes[index, 0] = torch.tensor([x, y, x + across, y + down])
    augment = Augment(**STILL | WILD | {"degrees": 25, "blur": 0.0})
    draw = augment.draw(number, CPU, seeded(seed))
    shown, moved = augment.apply(spots, draw), augment.apply_boxes(boxes, draw, (height, width))
    edge = torch.tensor([width, height] * 2)
    inside = ((moved > 2) & (moved < edge - 2)).all(dim=-1)[:, 0]
    assert inside.sum() > 5
    for index in inside.nonzero().flatten().tolist():
        y, x = (shown[index, 0] > 127).nonzero().unbind(dim=1)
        seen = torch.stack([x.min(), y.min(), x.max() + 1, y.max() + 1])
        torch.testing.assert_close(moved[index, 0], seen.float(), atol=2.5, rtol=0)  # corners fade


def test_boxes_are_the_hulls_of_their_corners_cut_at_the_edge():
    rng, height, width = np.random.default_rng(0), 50, 70
    boxes = np.sort(rng.uniform([0, 0], [width, height], (8, 3, 2, 2)), axis=2).reshape(8, 3, 4)
    augment = Augment(**WILD)
    draw = augment.draw(8, CPU, seeded(0))
    moved = augment.apply_boxes(torch.from_numpy(boxes), draw, (height, width))
    outside = 0
    for number in range(8):
        angle, zoom = float(draw.angle[number]), float(draw.zoom[number])
        shown_to_source = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        shift = np.array([float(draw.shift_x[number]), float(draw.shift_y[number])])
        for box in range(3):
            x_min, y_min, x_max, y_max = boxes[number, box]
            corners = np.array([[x, y] for x in (x_min, x_max) for y in (y_min, y_max)]) / [width, height] * 2 - 1
            places = [
                (np.linalg.solve(shown_to_source, corner - shift) + 1) / 2 * [width, height] for corner in corners
            ]
            hull = np.concatenate([np.min(places, axis=0), np.max(places, axis=0)]).clip(0, [width, height] * 2)
            np.testing.assert_allclose(moved[number, box], hull, atol=1e-4)
            outside += bool(hull[0] == hull[2] or hull[1] == hull[3])
    assert outside > 0  # a box that has moved out has no area


def test_unknown_boxes_stay_unknown():
    boxes = torch.tensor([[[1.0, 2, 3, 4], [torch.nan] * 4]])
    augment = Augment()
    moved = augment.apply_boxes(boxes, augment.draw(1, CPU), (8, 8))
    assert moved.isnan().tolist() == boxes.isnan().tolist()


def test_nothing_drawn_moves_nothing():
    boxes, mask = torch.tensor([[[1.0, 2, 30, 40]]]), torch.rand(1, 1, 64, 64) > 0.5
    augment = Augment(**STILL)
    draw = augment.draw(1, CPU)
    torch.testing.assert_close(augment.apply_boxes(boxes, draw, (64, 64)), boxes)
    assert torch.equal(augment.apply_masks(mask, draw), mask)


def test_contrast_is_about_the_mean_of_each_image():
    torch.manual_seed(0)
    image = torch.rand(20, 1, 16, 16) * 60 + torch.linspace(60, 120, 20)[:, None, None, None]
    changed = Augment(**STILL | {"contrast": 0.4})(image)
    torch.testing.assert_close(changed.mean(dim=(1, 2, 3)), image.mean(dim=(1, 2, 3)), atol=0.01, rtol=0)
    spread = changed.std(dim=(1, 2, 3)) / image.std(dim=(1, 2, 3))
    assert spread.min() < 0.8
    assert spread.max() > 1.2


def test_each_value_is_uniform_within_its_limits():
    augment = Augment(10, 0.2, 0.1, 0.3, 0.05, 0.4, 1.0, 0.03)
    draw = augment.draw(20_000, CPU, seeded(0))
    limits = {
        "angle": (-np.radians(10), np.radians(10)),
        "zoom": (0.8, 1.2),
        "shift_x": (-0.2, 0.2),
        "shift_y": (-0.2, 0.2),
        "blur": (0, 0.03),
        "contrast": (0.7, 1.3),
        "brightness": (-0.05, 0.05),
    }
    values = draw._asdict()
    values["gamma"], limits["gamma"] = values["gamma"].log(), (-0.4, 0.4)
    assert limits.keys() == set(AugmentDraw._fields)
    for name, (low, high) in limits.items():
        places = (values[name] - low) / (high - low)
        assert -1e-5 <= places.min() < 0.001 < 0.999 < places.max() <= 1 + 1e-5, name
        assert places.mean().item() == pytest.approx(0.5, abs=0.01), name
        assert places.std().item() == pytest.approx(1 / 12**0.5, abs=0.01), name
    # Nothing goes with anything else.
    apart = np.corrcoef(torch.stack(list(values.values())))[~np.eye(len(values), dtype=bool)]
    assert np.abs(apart).max() < 0.05


def test_a_crop_lies_anywhere_across_and_down_independently():
    draw = Augment(**STILL, crop_area=0.25).draw(20_000, CPU, seeded(0))
    assert min(draw.shift_x.abs().max(), draw.shift_y.abs().max()) > 0.4
    assert abs(np.corrcoef(draw.shift_x, draw.shift_y)[0, 1]) < 0.05


def test_equal_seeds_give_equal_draws_and_leave_other_random_states_alone():
    augment, before = Augment(**WILD), torch.get_rng_state()
    one, same, other = (augment.draw(9, CPU, seeded(seed)) for seed in (3, 3, 4))
    for first, second, third in zip(one, same, other, strict=True):
        assert torch.equal(first, second)
        assert not torch.equal(first, third)
    augment.draw_rows(torch.arange(5), CPU)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_row_has_its_own_draw_in_any_batch():
    augment, rows = Augment(**WILD), torch.tensor([5, 2**63 - 1, 0, 12345, 5])
    together = augment.draw_rows(rows, CPU)
    for number, row in enumerate(rows.tolist()):
        alone = augment.draw_rows(torch.tensor([row]), CPU)
        assert all(torch.equal(one, many[number : number + 1]) for one, many in zip(alone, together, strict=True))
    assert together.angle.unique().numel() == 4
    many = augment.draw_rows(torch.arange(4000), CPU)
    assert many.shift_x.std().item() == pytest.approx(augment.draw(4000, CPU, seeded(0)).shift_x.std().item(), rel=0.05)
    assert augment.draw_rows(rows[:0], CPU).zoom.shape == (0,)


def test_mixed_precision_does_not_coarsen_greys(image):
    augment = Augment(**WILD)
    draw = augment.draw(3, CPU, seeded(0))
    plain = augment.apply(image, draw)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(augment.apply(image, draw), plain)


def test_what_is_applied_stays_as_it_was(image):
    before = image.clone()
    Augment(**WILD)(image)
    assert torch.equal(image, before)
