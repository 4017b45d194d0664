"""Builds the sdist and the wheels, and runs the tests over the wheels as users have them.

Each Python of 3.10-3.13 that is on this machine gets a clean environment with its wheel, the pinned dependencies and
what the tests need; the oldest Python gets a second one with the oldest dependencies that pyproject.toml allows, and
the wheel for all Pythons, which has only the plain kernel. The tests are those of this checkout, the package is the one
in the wheel. Those marked `slow` or `interop` have run over the same code in `make tests`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pythons

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
ENVIRONMENTS = ROOT / ".wheel-tests"
UV = Path(sys.executable).with_name("uv")
SELECTION = "not interop and not slow"
AT_ONCE = 3

IN_WHEEL = ["trio_websocket/__init__.py", "trio_websocket/py.typed"]
COMPILED = "trio_websocket/_kernel/_cy."
IN_SDIST = [
    "LICENSE",
    "README.md",
    "pyproject.toml",
    "Makefile",
    "setup.py",
    "src/trio_websocket/__init__.py",
    "src/trio_websocket/_kernel/_cy.pyx",
    "src/trio_websocket/_kernel/_cy_heads.pxi",
    "src/trio_websocket/_kernel/_cy_inlet.pxi",
    "src/trio_websocket/_kernel/_cy_outlet.pxi",
    "tests/conftest.py",
]
# What the package is, and with which dependencies, according to the environment itself.
WHO = """
import trio, trio_websocket, trio_websocket._kernel
kernel = trio_websocket._kernel.KERNEL
print(trio_websocket.__file__)
print(f"{kernel} kernel, trio {trio.__version__}, trio-websocket {trio_websocket.__version__}")
"""


class StepError(Exception):
    """A command failed; the text is its output."""


class Environment(NamedTuple):
    """A clean environment: its name, the Python to make it with, the pins to lay on one another.

    `is_compiled` says which kernel its wheel has to have.
    """

    name: str
    python: Path
    pins: tuple[str, ...]
    is_compiled: bool


class Result(NamedTuple):
    """What one environment's run came to: a line for people and, where it failed, the whole output."""

    name: str
    has_passed: bool
    summary: str
    output: str


def run(*command: str | Path, **env: str) -> str:
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "COVERAGE_", "TRIO_WEBSOCKET_"))
    }
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env={**clean, **env},
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode != 0:
        raise StepError(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stdout}")
    return done.stdout


def build_sdist() -> Path:
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", DIST, ROOT)
    (sdist,) = DIST.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    check_names(sdist, names, IN_SDIST)
    check_strangers(
        sdist, [name for name in names if name.startswith("src/trio_websocket/") and is_built(name)]
    )
    print(f"built {sdist.name}", flush=True)
    return sdist


def build_wheel(environment: Environment, sdist: Path) -> Path:
    """Build the wheel for an environment's Python, or the one for all Pythons, with nothing compiled."""
    options = ["--quiet", "--wheel", "--build-constraints", "requirements/dev.txt"]
    skip = "" if environment.is_compiled else "1"
    python, env = environment.python, {"TRIO_WEBSOCKET_SKIP_EXTENSION": skip}
    run(UV, "build", *options, "--python", python, "--out-dir", DIST, sdist, **env)
    version = environment.name.removeprefix("python").replace(".", "")
    (wheel,) = DIST.glob(f"*-cp{version}-*.whl" if environment.is_compiled else "*-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    check_names(wheel, names, IN_WHEEL)
    compiled = [name for name in names if name.startswith(COMPILED) and is_built(name)]
    if len(compiled) != environment.is_compiled:
        raise StepError(f"{wheel.name} has {compiled or 'no compiled kernel'}: is there a C compiler?")
    check_strangers(
        wheel,
        [
            name
            for name in names
            if not name.startswith("trio_websocket") or name.endswith((".c", ".pyx", ".pxi"))
        ],
    )
    return wheel


def is_built(name: str) -> bool:
    return name.endswith((".c", ".so", ".pyd"))


def check_strangers(archive: Path, names: list[str]) -> None:
    if names:
        raise StepError(f"{archive.name} also holds {', '.join(names)}")


def check_names(archive: Path, names: list[str], wanted: list[str]) -> None:
    if missing := [name for name in wanted if name not in names]:
        raise StepError(f"{archive.name} lacks {', '.join(missing)}")


def environments() -> list[Environment]:
    test, oldest = "requirements/test.txt", "requirements/oldest.txt"
    found = [(f"python{version}", python) for version, python in pythons.find().items()]
    first, first_python = found[0]
    return [
        Environment(f"{first}-oldest", first_python, (test, oldest), is_compiled=False),
        *(Environment(name, python, (test,), is_compiled=True) for name, python in found),
    ]


def install(environment: Environment, wheel: Path) -> Path:
    folder = ENVIRONMENTS / environment.name
    run(UV, "venv", "--quiet", "--clear", "--python", environment.python, folder)
    python = folder / "bin" / "python"
    for pins in environment.pins:
        run(UV, "pip", "install", "--quiet", "--python", python, "--requirement", pins)
    run(UV, "pip", "install", "--quiet", "--python", python, "--no-deps", wheel)
    run(UV, "pip", "check", "--python", python)
    return python


def test(environment: Environment, sdist: Path) -> Result:
    """Run the tests in a clean environment that holds the wheel."""
    start = time.monotonic()
    try:
        python = install(environment, build_wheel(environment, sdist))
        package, versions = run(python, "-I", "-c", WHO).splitlines()
        if not Path(package).is_relative_to(ENVIRONMENTS):
            raise StepError(f"{environment.name} imports {package}, not the wheel")
        pytest = [str(python), "-m", "pytest", "-p", "no:cacheprovider", "-m", SELECTION]
        # The benchmarks are no part of the package, and would measure each other.
        pytest.append("--ignore=tests/benchmarks")
        output = run(
            *pytest,
            HYPOTHESIS_STORAGE_DIRECTORY=str(ENVIRONMENTS / f"{environment.name}-hypothesis"),
            TRIO_WEBSOCKET_KERNEL="compiled" if environment.is_compiled else "plain",
        )
    except StepError as error:
        return Result(environment.name, False, "FAILED", str(error))
    closing = output.rstrip().rpartition("\n")[2].strip("= ")
    seed = "".join(re.findall(r"--randomly-seed=\d+", output)[:1])
    spent = time.monotonic() - start
    summary = f"{closing} ({versions}, {seed}, {spent:.0f} s with installing)"
    return Result(environment.name, True, summary, output)


def main() -> int:
    try:
        sdist = build_sdist()
    except StepError as error:
        print(error)
        return 1
    shutil.rmtree(ENVIRONMENTS, ignore_errors=True)
    chosen = environments()
    print("testing the wheels on " + ", ".join(environment.name for environment in chosen), flush=True)
    failed = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for result in pool.map(lambda environment: test(environment, sdist), chosen):
            failed += not result.has_passed
            print(f"{result.name}: {result.summary}", flush=True)
            if not result.has_passed:
                print(result.output, flush=True)
    print(f"wheels: {len(chosen) - failed} of {len(chosen)} environments passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
