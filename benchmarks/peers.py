"""Mixture-of-experts layers of others, each under one interface; those that are not installed are
left out. ``pip install -e '.[bench]'`` brings those that PyPI has; ``MOE_PEER_DAVIDMRAU`` names a
checkout of github.com/davidmrau/mixture-of-experts, ``MOE_PEER_SCATTERMOE`` one of
github.com/shawntan/scattermoe, which is for GPUs alone. Of the others transformers' is known there.

Those that allow only two experts per token get experts so much wider that the operations are equal.
Those that limit how many tokens an expert takes drop the rest, at their own default capacity.
"""

import importlib.util
import os
import sys
from collections.abc import Callable
from types import SimpleNamespace

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

Expert = Callable[[Tensor], Tensor]


class Peer(nn.Module):
    """``[T, D]`` to ``[T, D]``, and what it takes to evaluate it once more."""

    gates_TE: Tensor | Callable[[], Tensor]
    """Of the last call, zero where an expert was not chosen; differentiable."""
    on_cpu, on_gpu = True, False
    """Where it is known to run."""
    memory = 7.0
    """Numbers in memory for each parameter of experts of the paper's width, roughly: parameters,
    gradients, and what says where each token goes, for each pair of token and expert."""

    def forward(self, x_TD: Tensor) -> Tensor:
        raise NotImplementedError

    def expert(self, number: int) -> Expert:
        """An expert in float64."""
        raise NotImplementedError

    def naive(self, x_TD: Tensor, gates_TE: Tensor) -> Tensor:
        """All experts on all tokens, weighed by the gates, in float64."""
        outputs = [self.expert(e)(x_TD) for e in range(gates_TE.shape[1])]
        return sum(
            gate_T.unsqueeze(1) * output
            for gate_T, output in zip(gates_TE.double().t(), outputs, strict=True)
        )

    def capture(self, gate: nn.Module, find: Callable[..., Tensor]) -> None:
        """Keep what the gate returns of each call."""

        def keep(module: nn.Module, inputs: object, output: object) -> None:
            self.gates_TE = lambda: find(output)

        gate.register_forward_hook(keep)

    def largest(self, gate: nn.Module, k: int, x_TD: Tensor) -> tuple[Tensor, Tensor]:
        """A softmax over the ``k`` largest logits of each token, ``[T, k]``, and where they are."""
        logits_TE = gate(x_TD)
        top_TK, expert_TK = logits_TE.topk(k, dim=1)
        gate_TK = top_TK.softmax(1)
        self.gates_TE = lambda: torch.zeros_like(logits_TE).scatter(1, expert_TK, gate_TK)
        return gate_TK, expert_TK


def feed_forward(dim: int, hidden_dim: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(dim, hidden_dim, bias=False), nn.ReLU(), nn.Linear(hidden_dim, dim, bias=False)
    )


def run_linear(expert: nn.Module) -> Expert:
    """That expert in float64; its gradients reach the expert's own parameters."""
    first, last = (m.weight.double() for m in expert.modules() if isinstance(m, nn.Linear))
    return lambda x: (x @ first.t()).relu() @ last.t()


class Transformers(Peer):
    """The grouped_mm experts of transformers 5 behind a softmax over the k largest logits."""

    on_gpu = True
    memory = 2.5

    def __init__(self, dim: int, hidden_dim: int, experts: int, k: int) -> None:
        from transformers.integrations.moe import use_experts_implementation

        @use_experts_implementation(has_gate=False)
        class Experts(nn.Module):
            def __init__(self, config: SimpleNamespace) -> None:
                super().__init__()
                self.num_experts, self.act_fn = experts, F.relu
                self.up_proj = nn.Parameter(torch.empty(experts, hidden_dim, dim))
                self.down_proj = nn.Parameter(torch.empty(experts, dim, hidden_dim))
                for weight in self.parameters():
                    nn.init.uniform_(weight, -(weight.shape[2] ** -0.5), weight.shape[2] ** -0.5)

            def forward(self) -> None:
                """Replaced by the decorator."""

        super().__init__()
        self.k, self.gate = k, nn.Linear(dim, experts, bias=False)
        self.experts = Experts(SimpleNamespace(_experts_implementation="grouped_mm"))

    def forward(self, x_TD: Tensor) -> Tensor:
        gate_TK, expert_TK = self.largest(self.gate, self.k, x_TD)
        return self.experts(x_TD, expert_TK, gate_TK)

    def expert(self, number: int) -> Expert:
        up, down = self.experts.up_proj[number].double(), self.experts.down_proj[number].double()
        return lambda x: (x @ up.t()).relu() @ down.t()


class ScatterMoE(Peer):
    """scattermoe, in Triton, behind a softmax over the k largest logits."""

    on_cpu, on_gpu = False, True

    def __init__(self, dim: int, hidden_dim: int, experts: int, k: int) -> None:
        sys.path.append(os.environ["MOE_PEER_SCATTERMOE"])
        from scattermoe.mlp import MLP

        super().__init__()
        self.k, self.gate = k, nn.Linear(dim, experts, bias=False)
        self.mlp = MLP(
            input_size=dim,
            hidden_size=hidden_dim,
            num_experts=experts,
            top_k=k,
            activation=nn.ReLU(),
        )

    def forward(self, x_TD: Tensor) -> Tensor:
        gate_TK, expert_TK = self.largest(self.gate, self.k, x_TD)
        return self.mlp(x_TD, gate_TK, expert_TK)

    def expert(self, number: int) -> Expert:
        up = self.mlp.experts.weight[number].double()
        down = self.mlp.output_experts.weight[number].double()
        return lambda x: (x @ up.t()).relu() @ down.t()


class StMoE(Peer):
    """st-moe-pytorch, GShard's gates for k experts: drops tokens, some at random."""

    def __init__(self, dim: int, hidden_dim: int, experts: int, k: int) -> None:
        from st_moe_pytorch import MoE

        super().__init__()
        made = nn.ModuleList(feed_forward(dim, hidden_dim) for _ in range(experts))
        # Straight-through gradients are no gradients of the output, which are compared.
        self.moe = MoE(
            dim, experts, gating_top_n=k, experts=made, straight_through_dispatch_tensor=False
        )
        self.capture(self.moe.gate, lambda output: output[1].sum(3).squeeze(0))

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.moe(x_TD[None]).outputs[0]

    def expert(self, number: int) -> Expert:
        return run_linear(self.moe.experts.experts[number])


class Lucidrains(Peer):
    """mixture-of-experts of lucidrains, GShard's gates: two experts, drops tokens."""

    memory = 10.0  # as many experts, each wider

    def __init__(self, dim: int, hidden_dim: int, experts: int, k: int) -> None:
        from mixture_of_experts import MoE

        super().__init__()
        self.moe = MoE(dim, experts, hidden_dim=hidden_dim * k // 2)
        self.capture(self.moe.gate, lambda output: output[1].sum(3).squeeze(0))

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.moe(x_TD[None])[0][0]

    def expert(self, number: int) -> Expert:
        w1, w2 = (w[number].double() for w in (self.moe.experts.w1, self.moe.experts.w2))
        return lambda x: (x @ w1).relu() @ w2


def one_process() -> None:
    """What fairscale and deepspeed want even alone."""
    if not dist.is_initialized():
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)


class Fairscale(Peer):
    """fairscale, GShard's gates: two experts, drops tokens."""

    memory = 10.0  # as many experts, each wider

    def __init__(self, dim: int, hidden_dim: int, experts: int, k: int) -> None:
        from fairscale.nn import MOELayer, Top2Gate

        super().__init__()
        one_process()
        made = nn.ModuleList(feed_forward(dim, hidden_dim * k // 2) for _ in range(experts))
        self.moe = MOELayer(Top2Gate(dim, experts), made)
        self.capture(self.moe.gate, lambda output: output[1].sum(2))

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.moe(x_TD.view(len(self.moe.experts), -1, x_TD.shape[1])).view_as(x_TD)

    def expert(self, number: int) -> Expert:
        return run_linear(self.moe.experts[number])


class DeepSpeed(Peer):
    """deepspeed, as many places for tokens in each expert as the fullest needs."""

    def __init__(self, dim: int, hidden_dim: int, experts: int, k: int) -> None:
        import deepspeed
        from deepspeed.moe.layer import MoE

        super().__init__()
        one_process()
        deepspeed.init_distributed("gloo", auto_mpi_discovery=False, verbose=False)
        expert = feed_forward(dim, hidden_dim)
        self.moe = MoE(dim, expert, experts, k=k, drop_tokens=False)
        self.moe.set_deepspeed_parallelism()
        self.capture(self.moe.deepspeed_moe.gate, lambda output: _dense(experts, *output[3:6:2]))

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.moe(x_TD)[0]

    def expert(self, number: int) -> Expert:
        return run_linear(self.moe.deepspeed_moe.experts.deepspeed_experts[number])


def _dense(experts: int, expert_KT: Tensor, gate_KT: Tensor) -> Tensor:
    zeros_TE = gate_KT.new_zeros(gate_KT.shape[1], experts)
    return zeros_TE.scatter_add(1, expert_KT.t().long(), gate_KT.t())


class Davidmrau(Peer):
    """davidmrau/mixture-of-experts: experts end in a softmax, and are added as exponentials."""

    def __init__(self, dim: int, hidden_dim: int, experts: int, k: int) -> None:
        super().__init__()
        path = os.path.join(os.environ["MOE_PEER_DAVIDMRAU"], "moe.py")
        spec = importlib.util.spec_from_file_location("davidmrau_moe", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.moe = module.MoE(dim, dim, experts, hidden_dim, noisy_gating=True, k=k)
        nn.init.normal_(self.moe.w_gate, std=dim**-0.5)
        gating = self.moe.noisy_top_k_gating

        def keep(x: Tensor, train: bool) -> tuple[Tensor, Tensor]:
            gates, load = gating(x, train)
            self.gates_TE = lambda: gates
            return gates, load

        self.moe.noisy_top_k_gating = keep

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.moe(x_TD)[0]

    def expert(self, number: int) -> Expert:
        expert = self.moe.experts[number]
        w1, b1 = expert.fc1.weight.double(), expert.fc1.bias.double()
        w2, b2 = expert.fc2.weight.double(), expert.fc2.bias.double()
        return lambda x: F.linear(F.linear(x, w1, b1).relu(), w2, b2).softmax(1).exp()

    def naive(self, x_TD: Tensor, gates_TE: Tensor) -> Tensor:
        return super().naive(x_TD, gates_TE).log()


class Autocast(nn.Module):
    """A layer whose products torch casts; its weights have the type already."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x_TD: Tensor) -> Tensor:
        with torch.autocast(x_TD.device.type, x_TD.dtype):
            return self.layer(x_TD).to(x_TD.dtype)


def suited(layer: nn.Module, x_TD: Tensor) -> nn.Module:
    """The layer, or if it mixes types that torch does not multiply, as it is under autocast."""
    if x_TD.dtype == torch.float32:
        return layer
    try:
        layer(x_TD).backward(torch.ones_like(x_TD))
    except RuntimeError:
        return Autocast(layer)
    finally:
        layer.zero_grad()
        x_TD.grad = None
    return layer


_KINDS: dict[str, tuple[str, type[Peer]]] = {
    "transformers": ("transformers", Transformers),
    "st-moe-pytorch": ("st_moe_pytorch", StMoE),
    "mixture-of-experts": ("mixture_of_experts", Lucidrains),
    "fairscale": ("fairscale", Fairscale),
    "deepspeed": ("deepspeed", DeepSpeed),
}
PEERS = {name: kind for name, (module, kind) in _KINDS.items() if importlib.util.find_spec(module)}
if "MOE_PEER_DAVIDMRAU" in os.environ:
    PEERS["davidmrau"] = Davidmrau
if "MOE_PEER_SCATTERMOE" in os.environ:
    PEERS["scattermoe"] = ScatterMoE


def notes() -> list[str]:
    """What is left out, in one line."""
    missing = [name for name in [*_KINDS, "davidmrau"] if name not in PEERS]
    if not missing:
        return []
    how = "pip install -e '.[bench]', MOE_PEER_DAVIDMRAU=checkout"
    return [f"left out, not installed: {', '.join(missing)} ({how})"]


def check(
    kind: type[Peer],
    device: str,
    dtype: torch.dtype = torch.float32,
    sizes: tuple[int, int, int, int, int] = (16, 32, 8, 2, 40),
) -> None:
    """Compare outputs and gradients with a naive evaluation in float64, with the gates that the
    layer itself chose.

    Args:
        sizes: width, hidden width, experts, experts per token, tokens.

    Raises:
        SystemExit: they differ.
    """
    torch.manual_seed(1)
    *of_layer, tokens = sizes
    how = {"device": device, "dtype": dtype}
    peer = kind(*of_layer).to(**how)
    x_TD = torch.randn(tokens, sizes[0], **how, requires_grad=True)
    y_TD = peer(x_TD)
    right_TD = peer.naive(x_TD.double(), peer.gates_TE())
    dy_TD = torch.randn_like(y_TD)
    wanted = [x_TD, *peer.parameters()]

    def results(y: Tensor) -> list[Tensor]:
        loss = (y * dy_TD).sum()
        grads = torch.autograd.grad(loss, wanted, retain_graph=True, allow_unused=True)
        return [y, *(torch.zeros(()) if grad is None else grad for grad in grads)]

    for found, right in zip(results(y_TD), results(right_TD), strict=True):
        found, right = found.double(), right.double()
        error, size = (found - right).abs().max(), right.abs().max()
        if dtype != torch.float32:  # single numbers are rounded
            error, size = (found - right).norm(), 300 * right.norm()
        if not error <= 1e-4 * size + 1e-6:
            raise SystemExit(f"error: {kind.__name__} is wrong, by {error:.1e}: not timed")
