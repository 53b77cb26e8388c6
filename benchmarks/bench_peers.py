"""The comparison with other libraries, without any other library: equal steps, the table, and the file of rounds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import peers
import pytest
from paired import OURS
from peer_steps import BUILDERS, lines_of_a_step


@pytest.mark.parametrize("name", peers.CASES)
def test_our_step_is_the_step_of_the_other_benchmarks(name):
    """The noise of both steps comes from one generator, which every build of a step sets back."""
    step = peers.build(name, OURS)
    found = [step(i) for i in range(2)]
    step = peers.CASES[name].build(OURS)
    assert found == pytest.approx([step(i) for i in range(2)], rel=1e-6)


def test_lines_of_a_step():
    """The builder has 3 lines without its line of the comparison, and the function that the builder uses has 9."""
    assert lines_of_a_step("with_scratchae")["dense"] == 3 + 9
    for contestant in peers.CONTESTANTS.values():
        assert set(lines_of_a_step(contestant.file)) <= set(BUILDERS)


def test_the_fastest_mode_has_the_row():
    rounds = [
        {who: {"ms": ms * (i + 1), "peak": 0} for who, ms in ((OURS, 2.0), ("torch eager", 8.0), ("torch fused", 6.0))}
        for i in range(3)
    ]
    rows = peers.rows_of([*rounds, {OURS: {"ms": 9.0, "peak": 0}}])
    assert list(rows) == ["scratchae [fast]", "PyTorch"]
    assert (rows["PyTorch"]["mode"], rows["PyTorch"]["ratio"], rows["PyTorch"]["rounds"]) == ("fused", [3, 3, 3], 3)
    table = peers.format_table(rows, {label: 7 for label in rows})
    assert "PyTorch (fused)" in table and "3.00 (3.00 to 3.00)" in table


def test_rounds_are_added_on_the_same_machine_alone(tmp_path, capsys):
    path = tmp_path / "peers.json"
    assert peers.earlier(path, {"numpy": "2"}) == {}
    path.write_text(json.dumps({"machine": {"numpy": "2"}, "cases": {"linear": []}}))
    assert peers.earlier(path, {"numpy": "2"}) == {"linear": []}
    assert peers.earlier(path, {"numpy": "3"}) == {}
    assert "numpy" in capsys.readouterr().out


def test_the_script(tmp_path):
    """Two processes of scratchae. The second call adds a round to the first."""
    script = Path(peers.__file__)
    options = ["--quick", "--rounds", "1", "--cases", "linear", "--contestants", "plain", "--out", tmp_path, "--add"]
    for n in (1, 2):
        done = subprocess.run([sys.executable, script, *options], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "scratchae, plain NumPy" in done.stdout
        assert len(json.loads((tmp_path / "peers.json").read_text())["cases"]["linear 784-64-784, batch 64"]) == n
    assert (tmp_path / "peers.png").stat().st_size > 10_000
