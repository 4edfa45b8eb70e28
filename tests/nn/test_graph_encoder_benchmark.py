import importlib.util
import re
from pathlib import Path

FILE = Path(__file__).parents[2] / "benchmarks" / "graph_encoder.py"


def test_the_benchmark_of_the_graph_encoder_prints_its_ratios(capsys):
    spec = importlib.util.spec_from_file_location("graph_encoder_benchmark", FILE)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    benchmark.main(["--reports", "8", "--width", "16", "--repeats", "1"])
    sizes, same, default = capsys.readouterr().out.splitlines()
    entities, joined, padded = map(int, re.findall(r"\d+", sizes)[1:])
    assert entities < joined < padded
    assert same.startswith("same primary-joined graphs, width 16: ")
    assert default.startswith("default on bare graphs: ")
    for line in (same, default):
        assert re.search(r"ratio \d+\.\d\d \[\d+\.\d\d, \d+\.\d\d\]$", line)
