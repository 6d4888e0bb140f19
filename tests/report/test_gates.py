"""What the gates' noise does to the load, on gates whose answer is known."""

import json
import math
from pathlib import Path

import pytest
import torch

from nmt_moe.cli.main import main
from nmt_moe.moe.gating import NoisyTopKGate
from nmt_moe.report.gates import FIGURES, of_gate
from tests.report.experts import write_checkpoint

T, E, K = 3000, 10, 2


def gate(w_gate: torch.Tensor) -> NoisyTopKGate:
    made = NoisyTopKGate(w_gate.shape[0], E, K).double()
    with torch.no_grad():
        made.w_gate.copy_(w_gate)
    return made


def test_equal_logits_have_no_spread_and_the_load_of_chance() -> None:
    x_TD = torch.randn(T, E, dtype=torch.double)
    found = of_gate(gate(torch.zeros(E, E)), x_TD, torch.zeros(T, dtype=torch.long))
    assert found["clean"] == found["experts"] == 0
    assert found["noise"] == pytest.approx(math.log(2))
    assert found["cv_1"] == pytest.approx((1 - K / E) ** 0.5 * (E / (K * T)) ** 0.5, rel=0.8)
    assert found["cv_0"] == pytest.approx((E / K - 1) ** 0.5)  # the same two of ten
    assert found["kept"] == pytest.approx(K / E, abs=0.02)


def test_what_all_tokens_have_in_common_is_the_experts_means() -> None:
    torch.manual_seed(0)
    x_TD = torch.randn(T, E + 1, dtype=torch.double)
    x_TD[:, -1] = 1
    w_gate = torch.cat([torch.eye(E), 5 * torch.eye(E)[:1]])  # the first expert for every token
    found = of_gate(gate(w_gate), x_TD, torch.arange(T))
    assert found["experts"] == pytest.approx(5 * 0.3, abs=0.05)
    assert found["cv_0"] > 1 > 0.1 > found["cv_without_means"]
    assert found["cv_each_once"] == pytest.approx(found["cv_0"])


def test_unequal_spreads_and_repeated_wordpieces() -> None:
    torch.manual_seed(0)
    x_TD = torch.randn(T, E, dtype=torch.double)
    wide = of_gate(gate(torch.diag(torch.arange(1.0, E + 1))), x_TD, torch.arange(T))
    assert wide["cv_0"] > 0.3 > wide["cv_equal_spreads"]
    x_TD[: T // 2] = x_TD[0]  # half of the text is one wordpiece
    wordpiece_T = torch.arange(T).clamp_min(T // 2)
    found = of_gate(gate(torch.eye(E)), x_TD, wordpiece_T)
    assert found["cv_0"] > 0.9 > 0.1 > found["cv_each_once"]
    assert found["cv_1"] < found["cv_0.5"] < found["cv_0"]


def test_the_command_says_what_the_report_says_of_the_same_text(
    trained: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "made/gates"
    main(["claims", "gates", str(trained), "--data", str(data), "--out", str(out)])
    content = json.loads((out / "gates.json").read_text())
    assert content["split"] == "valid"
    [checkpoint] = content["checkpoints"]
    capsys.readouterr()
    main(["report", str(trained), str(data), "--split", "valid", "--json", "--device", "cpu"])
    report = json.loads(capsys.readouterr().out)
    assert checkpoint["updates"] == report["updates"]
    assert [*checkpoint["layers"]] == [layer["name"] for layer in report["layers"]]
    for layer in report["layers"]:
        found = checkpoint["layers"][layer["name"]]
        assert [*found] == [*FIGURES]
        assert found["cv_0"] == pytest.approx(layer["load_cv"], abs=0.02)
    [_, _, *rows] = (out / "gates.md").read_text().splitlines()
    assert len(rows) == len(report["layers"])
    picture = (out / "gates.svg").read_text()
    assert all(label in picture for label in ("noise", "CV(load) with 50% of the noise"))


def test_gates_without_noise_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = write_checkpoint(tmp_path, moe_gating="strictly_balanced")
    out = tmp_path / "out"
    code = main(["claims", "gates", str(checkpoint), "--data", str(tmp_path), "--out", str(out)])
    assert code == 1 and not out.exists()
    message = f"error: {checkpoint} has no noisy top-k gates without groups\n"
    assert capsys.readouterr().err == message
