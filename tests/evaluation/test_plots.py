import matplotlib.image
import pytest
from matplotlib.figure import Figure

from igcl_lightning.evaluation.plots import plot_label_efficiency, plot_per_label
from igcl_lightning.evaluation.results import summarise


@pytest.mark.parametrize("plot", [plot_label_efficiency, plot_per_label])
@pytest.mark.parametrize("kinds", ["fractions and shots", "shots"])
def test_pictures_are_drawn(simulated, tmp_path, plot, kinds):
    settings = [(None, 5), (None, 10)] + [(0.01, None), (1.0, None)] * ("fractions" in kinds)
    frame = simulated(settings=settings, seeds=1)
    frame = frame[(frame["method"] == "igcl") | (frame["shots"] != 5)]
    records = summarise(frame, versus=[("igcl", "random")], protocol="demo", store="phantom")
    plot(records, tmp_path / "plots" / "picture.png")
    picture = matplotlib.image.imread(tmp_path / "plots" / "picture.png")
    assert picture.shape[0] > 300
    assert picture.std() > 0.02


METHODS = ("igcl", "convirt", "simclr", "supervised", "random", "timm:resnet50", "xrv:densenet121-res224-all")


@pytest.mark.parametrize("plot", [plot_label_efficiency, plot_per_label])
def test_the_legend_of_many_methods_stays_in_the_picture(simulated, tmp_path, monkeypatch, plot):
    frame = simulated(dict.fromkeys(METHODS, 1.0), seeds=1)
    records = summarise(frame, protocol="compare", store="phantom")
    figures, save = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *args, **options: figures.append(self) or save(self, *args, **options)
    )
    plot(records, tmp_path / "picture.png")
    (figure,) = figures
    legend = figure.legends[0].get_window_extent()
    assert figure.bbox.x0 <= legend.x0
    assert legend.x1 <= figure.bbox.x1
    assert len(figure.legends[0].get_texts()) == len(METHODS)
