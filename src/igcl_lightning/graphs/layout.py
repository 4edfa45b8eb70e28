"""Layout of a report graph in a picture: nodes of a component in rows, components in lines like words.

Rows follow Sugiyama et al. (IEEE Transactions on Systems, Man, and Cybernetics 11, 1981): arrows point downwards. Names
of arrows, and the points where arrows cross a row, are also nodes of the layout, so that nothing overlaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import networkx as nx
import numpy as np
from scipy.optimize import isotonic_regression

# Lengths are points, 72 to the inch.
NODE_HEIGHT = 18.0
ROW_HEIGHT = 23.0
NODE_GAP = 9.0
COMPONENT_GAP = 26.0
LINE_GAP = 22.0
SWEEPS = 8  # passes over the rows of a component; each moves nodes closer to their neighbours


class Layout(NamedTuple):
    """Nodes and edges of a graph in a picture."""

    centre: np.ndarray  # centre of each node, float [N, 2], in points from the lower left corner
    paths: list[np.ndarray]  # points of each edge between its ends, float [P, 2]; its name is at the first
    size: tuple[float, float]  # width and height of the picture, in points


class _Part(NamedTuple):
    """One component: its nodes, their centres from its lower left corner, its width and height."""

    nodes: list[int]
    centre: np.ndarray
    size: tuple[float, float]


def lay_out(
    edges: Sequence[tuple[int, int]], width: np.ndarray, name_width: Sequence[float], line_width: float
) -> Layout:
    """Place the nodes of a graph and the names of its edges without overlap.

    Edges point downwards, except in cycles. Components are side by side in the order of their first nodes.

    Args:
        edges: head and tail of each edge, each pair once.
        width: widths of the node boxes, float [N], in points.
        name_width: width of the name of each edge, in points.
        line_width: width of the picture, in points; a wider component has its own line.
    """
    graph, paths = _in_rows(edges, width, name_width)
    lines: list[list[_Part]] = [[]]
    for nodes in sorted(sorted(part) for part in nx.connected_components(graph)):
        part = _component(graph.subgraph(nodes), nodes)
        if lines[-1] and _line_width([*lines[-1], part]) > line_width:
            lines.append([])
        lines[-1].append(part)
    centre, size = _stack(lines, len(graph))
    return Layout(centre[: len(width)], [centre[path] for path in paths], size)


def lay_out_within(
    edges: Sequence[tuple[int, int]], width: np.ndarray, name_width: Sequence[float], ratio: float
) -> Layout:
    """Do the same with the line width that best fills a frame with this ratio of width to height."""
    widest = float(width.sum() + sum(name_width)) + COMPONENT_GAP * len(width) + 1
    layouts = (lay_out(edges, width, name_width, line_width) for line_width in np.linspace(widest / 16, widest, 32))
    return min(layouts, key=lambda layout: max(layout.size[0], layout.size[1] * ratio))


def _in_rows(
    edges: Sequence[tuple[int, int]], width: np.ndarray, name_width: Sequence[float]
) -> tuple[nx.Graph, list[list[int]]]:
    """Return the graph with extra nodes for names of edges and the rows they pass, and these nodes by edge."""
    height = _heights(edges, len(width))
    graph = nx.Graph()
    graph.add_nodes_from((node, {"row": 2 * height[node], "width": size}) for node, size in enumerate(width))
    paths = []
    for (head, tail), size in zip(edges, name_width, strict=True):
        rows = range(2 * height[head] - 1, 2 * height[tail], -1) or [2 * height[head] + 1]
        path = list(range(len(graph), len(graph) + len(rows)))
        graph.add_nodes_from((node, {"row": row, "width": 0.0}) for node, row in zip(path, rows, strict=True))
        graph.nodes[path[0]]["width"] = size
        nx.add_path(graph, [head, *path, tail])
        paths.append(path)
    return graph, paths


def _heights(edges: Sequence[tuple[int, int]], num_nodes: int) -> list[int]:
    """Return the longest path from each node down to a sink; the nodes of a cycle share a height."""
    graph = nx.DiGraph()
    graph.add_nodes_from(range(num_nodes))
    graph.add_edges_from(edges)
    condensed = nx.condensation(graph)
    height: dict[int, int] = {}
    for part in reversed(list(nx.topological_sort(condensed))):
        height[part] = 1 + max((height[below] for below in condensed.successors(part)), default=-1)
    return [height[condensed.graph["mapping"][node]] for node in range(num_nodes)]


def _component(graph: nx.Graph, nodes: list[int]) -> _Part:
    """Place the nodes of one component."""
    row = np.array([graph.nodes[node]["row"] for node in nodes])
    width = np.array([graph.nodes[node]["width"] for node in nodes])
    near = nx.to_numpy_array(graph, nodelist=nodes)
    near /= np.maximum(near.sum(axis=1, keepdims=True), 1)
    x = np.zeros(len(nodes))
    for sweep in range(SWEEPS):
        for level in range(row.max() + 1)[:: -1 if sweep % 2 else 1]:
            here = np.flatnonzero(row == level)
            x[here] = _apart(near[here] @ x, width[here])
    left, right = (x - width / 2).min(), (x + width / 2).max()
    y = NODE_HEIGHT / 2 + ROW_HEIGHT * row
    return _Part(nodes, np.column_stack([x - left, y]), (right - left, y.max() + NODE_HEIGHT / 2))


def _apart(wish: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Return the positions of boxes side by side that are closest to `wish` in least squares."""
    order = np.argsort(wish, kind="stable")
    step = (width[order][:-1] + width[order][1:]) / 2 + NODE_GAP
    offset = np.concatenate([[0.0], np.cumsum(step)])[: len(wish)]
    place = np.empty(len(wish))
    # After subtracting the offsets, "ordered and apart" means "non-decreasing".
    place[order] = isotonic_regression(wish[order] - offset).x + offset
    return place


def _stack(lines: list[list[_Part]], num_nodes: int) -> tuple[np.ndarray, tuple[float, float]]:
    """Return the centres of all nodes, the first line of components on top, and the size of the picture."""
    centre = np.zeros((num_nodes, 2))
    bottom = 0.0
    for line in reversed(lines):
        left = 0.0
        for part in line:
            centre[part.nodes] = np.add(part.centre, (left, bottom))
            left += part.size[0] + COMPONENT_GAP
        bottom += max((part.size[1] for part in line), default=0.0) + LINE_GAP
    return centre, (max(map(_line_width, lines)), bottom - LINE_GAP)


def _line_width(line: list[_Part]) -> float:
    return sum(part.size[0] for part in line) + COMPONENT_GAP * max(len(line) - 1, 0)
