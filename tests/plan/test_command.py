"""``python -m nmt_moe.plan`` as a user types it."""

import json
import sys

import pytest

from nmt_moe.models.architectures import LANGUAGE, TRANSLATION
from nmt_moe.plan.__main__ import main
from tests.commands import run

_WITH_COSTS = """
import resource, sys
from nmt_moe.plan.__main__ import main
code = main(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_maxrss, used.ru_utime + used.ru_stime, file=sys.stderr)
sys.exit(code)
"""


def test_json_is_all_that_stdout_has():
    done = run("python", "-m", "nmt_moe.plan", "--arch", "lstm_moe_lm_1024h", "--json")
    figures = json.loads(done.stdout)
    assert figures["arch"] == "lstm_moe_lm_1024h"
    assert figures["ops_per_timestep"] == 8_536_064
    assert figures["parameters"] == 1_111_777_280
    assert figures["parameters_without_embedding_and_softmax"] == 1_079_009_280
    assert done.stderr == ""


@pytest.mark.slow
def test_the_largest_model_needs_little_memory_and_time():
    """Its weights alone would be 550 GB."""
    done = run("python", "-c", _WITH_COSTS, "--arch", "lstm_moe_lm_131072h", fresh=True)
    assert "137,610,403,840" in done.stdout
    peak, seconds = map(float, done.stderr.split())
    assert peak * (1 if sys.platform == "darwin" else 1024) < 1.5e9
    assert seconds < 30  # of a processor, most of them for imports


def test_the_table_has_the_figures_of_the_json(capsys):
    arguments = "--arch lstm_moe_wmt14_2048h --devices 16 --override moe_hidden_dim=1024".split()
    assert main(arguments) == 0
    table = capsys.readouterr().out
    assert main([*arguments, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    for name in ("ops_per_timestep", "parameters", "parameters_active_per_token"):
        assert f"{figures[name]:,}" in table
    memory = figures["bytes_per_device"]
    for optimizer, state in memory["optimizer_state"].items():
        assert f"{(memory['weights'] + memory['gradients'] + state) / 1e9:,.2f} GB" in table
        assert optimizer in table
    memory = figures["bytes_per_device_in_bfloat16"]
    together = memory["weights"] + memory["gradients"] + memory["optimizer_state"]["moe_adam"]
    assert f"{together / 1e9:,.2f} GB" in table
    layer = figures["layers"]["encoder.2"]
    assert f"{layer['bytes_sent'] / 1e6:,.2f} MB" in table
    assert layer["tokens_per_expert"] == 500
    assert layer["ops_per_number"] == 1024
    assert max(map(len, table.splitlines())) <= 100


@pytest.mark.parametrize(
    ("flops", "verdict"), [("12e12", "keep it busy"), ("14e12", "waits for the network")]
)
def test_the_verdict_on_a_device(flops, verdict, capsys):
    """3.125e9 numbers a second, 2048 multiply-adds for each: 12.8e12 operations a second."""
    arguments = f"--arch lstm_moe --devices 8 --flops {flops} --bandwidth 12.5e9".split()
    assert main(arguments) == 0
    assert verdict in capsys.readouterr().out


def test_the_list_has_every_architecture(capsys):
    assert main(["--list"]) == 0
    assert capsys.readouterr().out.split() == [*TRANSLATION, *LANGUAGE]


@pytest.mark.parametrize(
    "arguments",
    ["--devices 8", "", "--devices 8 --optimizer adam", "--override dropout=0.2 --vocabulary 9"],
)
@pytest.mark.parametrize("arch", ["lstm_moe_tiny", "lstm_moe_lm_256h", "lstm_lm_4x512"])
def test_every_table_can_be_printed(arch, arguments, capsys):
    assert main(["--arch", arch, *arguments.split()]) == 0
    assert "ops/timestep" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--arch lstm_moe_lm_255", "did you mean lstm_moe_lm_256"),
        ("--arch lstm_moe --override moe_expert=4", "did you mean moe_experts"),
        ("--arch lstm_moe --override moe_experts", "is not name=value"),
        ("--arch lstm_moe --override moe_experts=many", "'many'"),
        ("--arch lstm_moe --override moe_k=33", "--moe-k 33 is more than --moe-experts 32"),
        ("--arch lstm_moe_lm_256h --override moe_groups=7", "cannot be divided"),
        ("--arch lstm_moe --devices 0", "--devices must be at least 1, not 0"),
        ("--arch lstm_moe --batch-tokens 0", "--batch-tokens must be at least 1, not 0"),
        ("--arch lstm_moe --vocabulary 3", "--vocabulary must be at least 4, not 3"),
        ("--arch lstm_moe --devices 2 --flops 1e12", "give both"),
        ("--arch lstm_moe --flops 1e12 --bandwidth 1e9", "--devices of at least 2"),
        ("--arch lstm_moe --devices 2 --flops nan --bandwidth 1e9", "--flops must be above 0"),
        ("--arch lstm_moe --devices 2 --flops 1e12 --bandwidth 0", "--bandwidth must be above 0"),
    ],
)
def test_a_users_mistake_is_one_line(arguments, message, capsys):
    assert main(arguments.split()) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert shown.err.startswith("error: ")
    assert message in shown.err
