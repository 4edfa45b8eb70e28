"""Local matching beside loops over reports and over pairs: processor time of forward + backward, and peak memory.

    python benchmarks/local_matching.py [--rounds 5]

Both loops read each report at its true length. Memory is that of a large batch, in a process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from igcl_lightning.nn.local_units import Regions, Units
from igcl_lightning.nn.matching import LocalMatching, MatchingOptions
from igcl_lightning.nn.semantic_relations import SemanticRelationOptions
from side_by_side import Claim, Record, as_table, faster, times_in_turns

BATCH, NUM_REGIONS, NUM_UNITS, CHANNELS = 64, 64, 32, 64
LARGE = {"batch": 144, "num_regions": 196, "num_units": 112, "channels": 128}
LIMIT = 4.0  # GB
FORMS = (("cosine", 0), ("sqdiff", 0), ("hadamard", 0), ("hadamard", 1))
REACH = {"reports": 1.0, "pairs": 5.0}


def matching(channels, form, steps, recompute=False):
    torch.manual_seed(0)
    return LocalMatching(
        channels,
        channels,
        (channels, channels),
        MatchingOptions(channels=channels, form=form, form_channels=64, recompute=recompute),
        SemanticRelationOptions(steps),
    )


def sides(batch, num_regions, num_units, channels, full):
    """Random unit vectors; reports of all lengths up to `num_units`, or all of that length."""
    torch.manual_seed(0)
    shortest = num_units if full else 5
    mask = torch.arange(num_units) < torch.linspace(shortest, num_units, batch).round()[:, None]
    region = F.normalize(torch.randn(batch, num_regions, channels), dim=-1)
    unit = F.normalize(torch.randn(batch, num_units, channels), dim=-1) * mask[..., None]
    relation = torch.randint(0, 8, (batch, num_units, num_units)).to(torch.int8)
    units = Units(unit.requires_grad_(), mask, mask / mask.sum(1, keepdim=True), relation, None)
    return Regions(region.requires_grad_(), None), units


def relate(module, vector, relation):
    """Residual steps on the matchings [..., L, D] of one report."""
    for step in module.relations.steps:
        normed = step.norm(vector)
        attention = step.attention
        logits = attention.query(normed) @ attention.key(normed).transpose(-1, -2) / normed.shape[-1] ** 0.5
        weight = (logits + attention.relation[relation.long()]).softmax(-1)
        vector = vector + step.value(weight @ normed).relu()
    return vector


def report_score(module, region, unit, relation):
    """Score of one report without padding, [L, D], with images [I, M, D], as published code computes it."""
    weight = (torch.einsum("ld,imd->ilm", unit, region) / module.options.attention_temperature).softmax(-1)
    attended = F.normalize(torch.einsum("ilm,imd->ild", weight, region), dim=-1)
    score = (attended * unit).sum(-1)
    if module.vector is not None:
        vector = relate(
            module,
            module.vector(attended * unit if module.options.form == "hadamard" else (attended - unit) ** 2),
            relation,
        )
        score = score + module.read(module.norm(vector))[..., 0]
    return score.mean(-1)


def loop_over_reports(module, regions, units):
    columns = []
    for unit, size, relation in zip(units.feature, units.mask.sum(1).tolist(), units.relation, strict=True):
        columns.append(report_score(module, regions.feature, unit[:size], relation[:size, :size]))
    return torch.stack(columns, 1)


def loop_over_pairs(module, regions, units):
    columns = []
    for unit, size, relation in zip(units.feature, units.mask.sum(1).tolist(), units.relation, strict=True):
        of_report = unit[:size], relation[:size, :size]
        columns.append(torch.cat([report_score(module, region[None], *of_report) for region in regions.feature]))
    return torch.stack(columns, 1)


def compared(form, steps, full, rounds):
    """Records of one form of the matchings beside both loops."""
    module = matching(CHANNELS, form, steps)
    regions, units = sides(BATCH, NUM_REGIONS, NUM_UNITS, CHANNELS, full)
    loops = {"reports": loop_over_reports, "pairs": loop_over_pairs}
    found = []
    for name, loop in loops.items():
        with torch.no_grad():
            torch.testing.assert_close(module.score(regions, units), loop(module, regions, units))
        times = times_in_turns(
            lambda: step(module.score(regions, units)),
            lambda loop=loop: step(loop(module, regions, units)),
            rounds if name == "reports" else 1,  # one takes seconds
            time.process_time,
        )
        lengths = f"reports of {NUM_UNITS} units" if full else f"reports of 5 to {NUM_UNITS} units"
        what = f"local matching ({form}, {steps} steps), {BATCH} x {BATCH} pairs, {lengths}"
        claim = Claim(what, f"a loop over {name}", "times faster", REACH[name])
        found.append(claim.record(faster(times), f"{1e3 * min(own for own, _ in times):.0f} ms"))
    return found


def step(score):
    score.square().mean().backward()


def peak_gigabytes():
    """Peak memory of this process; `getrusage` would start from that of the process that started it."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1e6


def large_batch(form, steps, recompute):
    """Peak memory before and after one forward and backward pass."""
    torch.set_num_threads(1)
    module = matching(LARGE["channels"], form, steps, recompute)
    regions, units = sides(**LARGE, full=True)
    before = peak_gigabytes()
    module.score(regions, units).square().mean().backward()
    return before, peak_gigabytes()


def measure_memory(form, steps, recompute):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        before, peak = pool.apply(large_batch, (form, steps, recompute))
    size = " x ".join(str(LARGE[name]) for name in ("batch", "num_units", "num_regions"))
    how = f"{form}, {steps} steps, {'with' if recompute else 'without'} recompute, {size}"
    print(f"{how}: peak {peak:.2f} GB ({before:.2f} before), {'below' if peak < LIMIT else 'NOT below'} {LIMIT} GB")


def records(rounds: int = 5, forms=FORMS) -> list[Record]:
    torch.set_num_threads(1)
    return [record for form, steps in forms for full in (True, False) for record in compared(form, steps, full, rounds)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    print(as_table(records(**vars(parser.parse_args()))))
    for form, steps in (("cosine", 0), ("hadamard", 1)):
        measure_memory(form, steps, recompute=True)


if __name__ == "__main__":
    main()
