"""The load of the experts over time as a heat map."""

from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor


def load_map(layer: str, step_C: Tensor, load_CR: Tensor, edge_R: list[int]) -> Figure:
    """A picture of 800 x 500 pixels; white is the mean load, blue is less, red is more.

    All pictures have the same colours for the same load.

    Args:
        layer: for the title.
        step_C: the last update of each column, ascending.
        load_CR: what each row of experts gets, over the mean.
        edge_R: the first expert of each row, and at the end the number of experts.
    """
    figure = Figure(figsize=(8, 5), dpi=100)
    # Of a layout that fits itself, half of the drawing is the search for it.
    figure.subplots_adjust(left=0.12, right=1.05, bottom=0.11, top=0.93)
    axes = figure.add_subplot(
        title=f"load of the experts, {layer}", xlabel="update", ylabel="expert"
    )
    mesh = axes.pcolormesh(
        [0, *step_C.tolist()],
        [edge - 0.5 for edge in edge_R],
        load_CR.t().numpy(),
        norm=TwoSlopeNorm(vmin=0, vcenter=1, vmax=4),
        cmap="RdBu_r",
    )
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.colorbar(mesh, label="load / mean load", extend="max", ticks=[0, 0.5, 1, 2, 3, 4])
    return figure
