"""The operators keep torch's rules, and the layer compiles and exports in one piece with them."""

import io
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, library

from nmt_moe.moe import MixtureOfExperts, cv_squared

SLOW = pytest.mark.slow
COUNTS_E = torch.tensor([3, 0, 4])
TOKEN_A = torch.tensor([0, 2, 4, 1, 2, 3, 4])


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def of_experts() -> list[Tensor]:
    return [normal(7, 16), normal(3, 16, 32), normal(3, 32, 16), COUNTS_E]


DIFFERENTIABLE = {
    "experts_forward": lambda: (*of_experts(), True),
    "grouped_product": lambda: (normal(5, 8), TOKEN_A, normal(3, 8, 4), COUNTS_E),
    "weighted_sum": lambda: (normal(7, 8), normal(7), TOKEN_A, 5),
}
OTHERS = {
    "experts_forward": lambda: (*of_experts(), False),
    "experts_backward": lambda: (normal(7, 16), *of_experts(), normal(7, 32), True),
    "grouped_product_backward": lambda: (
        normal(7, 4), normal(5, 8), TOKEN_A, normal(3, 8, 4), COUNTS_E
    ),
    "weighted_sum_backward": lambda: (normal(5, 8), normal(7, 8), normal(7), TOKEN_A),
    "strictly_balanced_mask": lambda: (normal(6, 4).softmax(1), 2, 2),
}  # fmt: skip


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_an_operator_with_a_gradient(name: str) -> None:
    inputs = DIFFERENTIABLE[name]()
    for x in inputs:
        if isinstance(x, Tensor) and x.is_floating_point():
            x.requires_grad_()
    library.opcheck(getattr(torch.ops.nmt_moe, name).default, inputs)


@pytest.mark.parametrize("name", OTHERS)
def test_an_operator_without_one(name: str) -> None:
    checks = ("test_schema", "test_faketensor")
    operator = getattr(torch.ops.nmt_moe, name).default
    library.opcheck(operator, OTHERS[name](), test_utils=checks)


def layer_of(**options) -> MixtureOfExperts:
    torch.manual_seed(1)
    layer = MixtureOfExperts(16, 32, 8, 2, **options)
    for weight in layer.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.3)
    return layer


def numbers(layer: MixtureOfExperts, run, x_TD: Tensor) -> list[Tensor]:
    """All that a call of the layer gives, and the gradients of a loss of all of it."""
    torch.manual_seed(2)
    x_TD = x_TD.clone().requires_grad_()
    y_TD, routing = run(x_TD)
    loss = y_TD.square().sum() + cv_squared(routing.importance_E) + cv_squared(routing.load_E)
    if routing.threshold_loss is not None:
        loss = loss + routing.threshold_loss
    inputs = [x_TD, *layer.parameters()]
    gradients = torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)
    members = [x for x in vars(routing).values() if x is not None]
    return [y_TD, *members, *gradients]


GATINGS = [
    {},
    dict(gating="top_k"),
    dict(groups=4, recompute=True),
    dict(gating="strictly_balanced", groups=4),
]


@pytest.fixture
def compiler() -> Iterator[None]:
    # How many experts a strictly balanced gate chooses depends on its logits.
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        yield
    torch._dynamo.reset()


@pytest.mark.parametrize(
    "options",
    [pytest.param(options, marks=() if "groups" in options else SLOW) for options in GATINGS],
    ids=str,
)
def test_the_layer_compiles_without_a_break(options, compiler) -> None:
    layer = layer_of(**options)
    for training in (True, False):
        layer.train(training)
        compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
        x_TD = normal(50, 16)
        torch.testing.assert_close(numbers(layer, compiled, x_TD), numbers(layer, layer, x_TD))


@SLOW
def test_the_layer_compiles_to_code(compiler) -> None:
    layer, x_TD = layer_of(groups=4).eval(), normal(50, 16)
    compiled = torch.compile(layer, fullgraph=True)
    torch.testing.assert_close(numbers(layer, compiled, x_TD), numbers(layer, layer, x_TD))


@pytest.mark.parametrize("options", [{}, GATINGS[-1]], ids=str)
def test_an_exported_layer_takes_any_number_of_tokens(options) -> None:
    layer, tokens = layer_of(**options).eval(), torch.export.Dim("tokens", min=2)
    program = torch.export.export(layer, (normal(50, 16),), dynamic_shapes=({0: tokens},))
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    for number in (50, 7, 2):
        x_TD = normal(number, 16)
        (y_TD, routing), (right_TD, right) = loaded(x_TD), layer(x_TD)
        torch.testing.assert_close(y_TD, right_TD)
        assert torch.equal(routing.counts_E, right.counts_E)
