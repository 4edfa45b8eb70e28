import matplotlib.image
import pytest

from igcl_lightning.evaluation.plots import plot_label_efficiency, plot_per_label
from igcl_lightning.evaluation.results import summarise


@pytest.mark.parametrize("plot", [plot_label_efficiency, plot_per_label])
@pytest.mark.parametrize("kinds", ["fractions and shots", "shots"])
def test_pictures_are_drawn(simulated, tmp_path, plot, kinds):
    settings = [(None, 5), (None, 10)] + [(0.01, None), (1.0, None)] * ("fractions" in kinds)
    frame = simulated(settings=settings, seeds=1)
    frame = frame[(frame["method"] == "igcl") | (frame["shots"] != 5)]
    records = summarise(frame, versus=[("igcl", "random")], protocol="demo", store="phantom", resamples=20)
    plot(records, tmp_path / "plots" / "picture.png")
    picture = matplotlib.image.imread(tmp_path / "plots" / "picture.png")
    assert picture.shape[0] > 300
    assert picture.std() > 0.02
