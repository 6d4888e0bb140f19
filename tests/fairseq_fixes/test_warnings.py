"""What a user sees in a terminal: no line that is meant for fairseq's authors."""

from pathlib import Path

from tests.commands import PLUGIN, run, train


def test_commands_print_no_warning_that_a_user_cannot_act_on(
    data: Path, trained: Path, tmp_path: Path
) -> None:
    options = ["--user-dir", PLUGIN, "--path", trained, "--cpu", "--batch-size", 20]
    commands = [
        train(data, tmp_path, "--max-update", 1),
        run("fairseq-generate", data, *options, "--num-workers", 0),
        run("fairseq-validate", data, *options, "--task", "translation", "--num-workers", 0),
    ]
    for ended in commands:
        printed = ended.stdout + ended.stderr
        assert "loaded 20 examples" in printed
        for noise in ("Warning", "deprecat", "DEBUG:"):
            assert noise not in printed
