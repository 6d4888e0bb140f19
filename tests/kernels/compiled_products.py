"""Compile the experts' kernels for a GPU that need not be here, as their callers would.

    python -m tests.kernels.compiled_products CAPABILITY SHARED

prints a line for each: its name, what it multiplies, the bytes of shared memory that it takes, and
those that ``choices`` computes. That of the tiles multiplies nothing.
Not within a process of the tests, where Triton interprets.
"""

import sys

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import JITFunction, driver

from nmt_moe.kernels.gpu import choices, products, tiles
from nmt_moe.kernels.gpu.weight_gradients import weight_gradients


class NoGPU:
    """A driver that knows which card is meant, and has none."""

    def __init__(self, capability: int) -> None:
        self.target = GPUTarget("cuda", capability, 32)

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def compile_all(capability: int, shared: int) -> None:
    driver.set_active(NoGPU(capability))
    launch = JITFunction.run
    what = ""
    computed = 0

    def compile_only(self, *args, warmup, **options):
        kernel = launch(self, *args, warmup=True, **options)
        print(self.__name__, what, kernel.metadata.shared, computed, flush=True)

    JITFunction.run = compile_only
    for name, dtype, processors in (
        ("large", torch.bfloat16, 1),
        ("small", torch.float16, 1000),
        ("float32", torch.float32, 1),
    ):
        card = choices.Card((capability // 10, capability % 10), shared, processors)
        choices.card_of = products.card_of = lambda device, card=card: card
        for k, n in ((128, 512), (80, 272)):
            what = f"{name} {k}x{n}"
            ends_E = torch.tensor([300, 300, 512], dtype=torch.int32)
            x_AK, dy_AN = torch.zeros(512, k, dtype=dtype), torch.zeros(512, n, dtype=dtype)
            w_EKN, mask_AN = torch.zeros(3, k, n, dtype=dtype), torch.zeros_like(dy_AN)
            found = tiles.Tiles(ends_E, 512)
            computed = choices.blocks(4, n, x_AK).shared(x_AK.element_size())
            products.product(x_AK, w_EKN, found, True, mask_AN.byte(), 1.5)
            products.product(dy_AN, w_EKN.transpose(1, 2), found, False, x_AK, 1.5)
            weight_gradients(x_AK, dy_AN, ends_E)


if __name__ == "__main__":
    compile_all(int(sys.argv[1]), int(sys.argv[2]))
