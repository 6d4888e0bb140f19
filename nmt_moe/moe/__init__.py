"""The sparsely-gated mixture-of-experts layer in plain PyTorch.

The way of a token: ``gating`` (or ``hierarchy``, with gates at two levels) decides which experts
see it, ``dispatch`` lays the tokens out by expert, ``experts`` computes them group by group,
``layer`` puts it together, and ``balance`` measures what a batch did to the experts.

Shape letters, carried by tensor names (``x_TD``): ``T`` tokens, ``D`` model width,
``H`` hidden width of an expert, ``E`` experts, ``K`` experts per token,
``A`` assignments of a token to an expert; ``G`` groups of experts, ``R`` rows that a gate sees.
"""

from nmt_moe.moe.balance import cv_squared
from nmt_moe.moe.layer import MixtureOfExperts
from nmt_moe.moe.routing import Routing

__all__ = ["MixtureOfExperts", "Routing", "cv_squared"]
