"""The machine that a model is trained on, as far as the choices depend on it."""

import os
from dataclasses import dataclass

import torch

from nmt_moe.corpus.workers import cores
from nmt_moe.kernels.cpu import bfloat16


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a training has."""

    cores: int
    """Those that compute, which ``OMP_NUM_THREADS`` can lower."""
    memory: int
    """Bytes, of a GPU where there is one."""
    multiply_adds: float | None = None
    """Of a training, in a second, on all cores; None: not measured."""
    gpus: int = 0
    gpu: str = ""
    """Its name."""
    bf16: bool = False
    """Whether the GPU, or without one the processor, computes with bfloat16."""

    @classmethod
    def here(cls) -> "Machine":
        """This machine."""
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        threads = min(cores(), torch.get_num_threads())
        if not count:
            return cls(cores=threads, memory=_memory(), bf16=bfloat16.pays())
        found = torch.cuda.get_device_properties(0)
        return cls(
            cores=threads,
            memory=found.total_memory,
            gpus=count,
            gpu=found.name,
            bf16=torch.cuda.is_bf16_supported(including_emulation=False),
        )

    def __str__(self) -> str:
        memory = f"{self.memory / 2**30:.0f} GiB of memory"
        if self.gpus:
            return f"{self.gpus} GPU{'s' * (self.gpus > 1)}, {self.gpu}, with {memory} each"
        return f"{self.cores} core{'s' * (self.cores > 1)}, no GPU, {memory}"


def _memory() -> int:
    """Bytes, or the limit of this process' control group."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(name) as file:
                found = min(found, int(file.read()))
        except (OSError, ValueError):  # no such group, or no limit
            continue
    return found
