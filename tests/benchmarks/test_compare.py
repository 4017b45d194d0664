"""`benchmarks/` measures, with our library alone: no rival is installed. How fast anything is, no test can say."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from certificates import CertificateFiles

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
linux = pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks need Linux")
SVG = "{http://www.w3.org/2000/svg}"


def run(program: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", str(BENCHMARKS / program), *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


@linux
@pytest.mark.slow
@pytest.mark.external("cc")
@pytest.mark.parametrize(
    ("kinds", "rows"),
    [
        (
            ["ours"],
            [
                "pipelined",
                "1-MB",
                "broadcast",
                "handshakes",
                "memory",
                "json-1-KiB",
                "client-1",
                "client-handshakes",
            ],
        ),
        (["ours-streams", "floor"], ["echo-1", "client-64"]),
    ],
)
def test_every_task_gives_a_figure(kinds: list[str], rows: list[str], tmp_path: Path) -> None:
    short = ["--rounds", 1, "--seconds", 0.02, "--output", tmp_path]
    done = run("compare.py", "--kinds", *kinds, "--rows", *rows, *short)
    assert [line for line in done.stdout.splitlines() if "failed: " in line] == []
    assert (done.returncode, done.stderr) == (0, "")
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert list(results["rows"]) == rows
    for name, row in results["rows"].items():
        assert row["problems"] == {}
        assert list(row["kinds"]) == kinds
        assert all(figure > 0 for measured in row["kinds"].values() for figure in measured["figures"])
        assert f"{name}: {row['text']}; {row['unit']}" in done.stdout


@linux
def test_missing_compiler_is_named(tmp_path: Path) -> None:
    done = run("compare.py", "--kinds", "ours", "--output", tmp_path, PATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "a C compiler is needed" in done.stderr


@linux
@pytest.mark.slow
@pytest.mark.external("cc")
def test_what_fails_is_told_and_the_rest_is_measured(tmp_path: Path) -> None:
    broken = tmp_path / "benchmarks"
    shutil.copytree(BENCHMARKS, broken)
    (broken / "clients.py").write_text("raise SystemExit('no such luck')", encoding="utf-8")
    rows = ["--rows", "client-1", "--rounds", 1, "--seconds", 0.02, "--output", tmp_path]
    done = run(str(broken / "compare.py"), "--kinds", "ours", "floor", *rows)
    assert done.returncode == 1
    assert "this library                failed: no such luck" in done.stdout
    assert "C with epoll" in done.stdout


def results(ratios: dict[str, float | None]) -> dict[str, Any]:
    about = ["cpu", "system", "python", "date", "command", "versions", "baseline"]
    kinds = {kind: {"median": 1.0, "ratio": ratio, "figures": [1.0]} for kind, ratio in ratios.items()}
    row = {"text": "the <only> row", "unit": "µs", "problems": {}, "kinds": kinds}
    return {"about": {name: f"the {name}" for name in about}, "rows": {"row": row}}


@pytest.mark.parametrize(("ratio", "shown"), [(0.5, "0.50x"), (2.345, "2.35x"), (300.0, "300.00x")])
def test_plot_shows_where_we_win_and_where_we_lose(ratio: float, shown: str, tmp_path: Path) -> None:
    source, target = tmp_path / "results.json", tmp_path / "plot.svg"
    source.write_text(json.dumps(results({"picows+uvloop": 1.0, "ours": ratio, "floor": None})))
    done = run("plot.py", source, target)
    assert (done.returncode, done.stderr) == (0, "")
    texts = [text.text or "" for text in ET.parse(target).getroot().iter(f"{SVG}text")]
    assert {"the <only> row", "the versions", shown} <= set(texts)
    assert any("the cpu" in text and "the command" in text for text in texts)


@linux
@pytest.mark.slow
def test_load_over_tls_counts_what_comes_back(certificate_files: CertificateFiles) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free_port = probe.getsockname()[1]
    files = [str(certificate_files.certificate), str(certificate_files.key)]
    command = [sys.executable, str(BENCHMARKS / "servers.py"), "ours", "echo", str(free_port), *files]
    with subprocess.Popen(command) as server:
        try:
            load = ["tls_load.py", free_port, server.pid, 2, 70_000, 0.05, certificate_files.ca]
            deadline = time.monotonic() + 30
            while "ConnectionRefusedError" in (done := run(*map(str, load))).stderr:
                assert time.monotonic() < deadline
        finally:
            server.kill()
    assert (done.returncode, done.stderr) == (0, "")
    count, seconds, cpu = map(float, done.stdout.split())
    assert count >= 2
    assert seconds > 0
    assert cpu > 0
