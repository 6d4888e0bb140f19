"""The picture of the load over time."""

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from nmt_moe.fairseq_fixes.load_map import load_map


def test_each_field_has_its_load_and_colour():
    """A busy expert is red, one with the mean load white, a dead one blue."""
    load_CR = torch.tensor([[1.0, 1.0, 1.0], [3.0, 0.0, 0.0]])
    figure = load_map("encoder.2", torch.tensor([100, 300]), load_CR, [0, 4, 8, 12])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[:, :, :3].astype(int)
    assert pixels.shape == (500, 800, 3)

    def colour(update: float, expert: float) -> np.ndarray:
        x, y = figure.axes[0].transData.transform((update, expert))
        return pixels[len(pixels) - 1 - int(y), int(x)]

    for expert in (1, 5, 9):
        assert colour(50, expert).min() > 240
    red, blue, other = colour(200, 1), colour(200, 5), colour(200, 9)
    assert red[0] > red[2] + 50 and blue[2] > blue[0] + 50
    assert (blue == other).all()

    axes, scale = figure.axes
    assert axes.get_title() == "load of the experts, encoder.2"
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, 300), (-0.5, 11.5))
    assert scale.get_ylabel() == "load / mean load" and scale.get_ylim() == (0, 4)
