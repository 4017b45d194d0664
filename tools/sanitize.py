"""Runs the tests over a compiled kernel that watches itself: AddressSanitizer and UndefinedBehaviorSanitizer.

    python tools/sanitize.py [PYTEST-ARGUMENT ...]

A copy of the package, with the kernel built for it, lies in .sanitize; the usual build is left alone. Python takes its
memory from malloc, so that AddressSanitizer sees each object's borders. Before the tests, the watch itself is tested: a
kernel that is given memory it must not touch has to be stopped. Leaks are not looked for here, as Python itself leaves
much behind when it ends: tools/leaks.py finds them. Needs a C compiler, GCC or Clang, and its sanitizers.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".sanitize"
PACKAGE = FOLDER / "trio_websocket"
KERNEL = PACKAGE / "_kernel" / f"_cy{sysconfig.get_config_var('EXT_SUFFIX')}"
FLAGS = ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
# The kernel's own tests, and those of what stands on it: to talk with other implementations, or to cancel at every
# checkpoint, takes it down no other path. Malloc keeps no books for test_leaks.py here.
TESTS = [
    "tests/kernel",
    "tests/protocol",
    "tests/transports",
    "tests/connection",
    "tests/fuzz",
    "--ignore=tests/kernel/test_leaks.py",
    # What no byte of a frame comes near.
    *(
        f"--ignore=tests/protocol/test_{name}.py"
        for name in ("handshake", "headers", "http1", "http1_messages", "url")
    ),
    "-m",
    "not slow",
]

# The kernel reads bytes that AddressSanitizer was told to guard.
CHECK_WATCH = """
import ctypes, sys
from trio_websocket import _kernel
assert _kernel.KERNEL == "compiled" and _kernel._twin.__file__ == sys.argv[1], _kernel._twin.__file__
data = bytearray(4096)
address = ctypes.addressof(ctypes.c_char.from_buffer(data))
ctypes.CDLL(None).__asan_poison_memory_region(ctypes.c_void_p(address + 1024), ctypes.c_size_t(64))
_kernel.apply_mask(memoryview(data)[:1024], b"abcd")
print("it may read what it is given", flush=True)
_kernel.apply_mask(data, b"abcd")
print("it has read what it must not")
"""


def fail(text: str) -> NoReturn:
    raise SystemExit(f"sanitize: {text}")


def find_compiler() -> str:
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        if name and (path := shutil.which(name)):
            return path
    fail("a C compiler is needed (Debian: gcc and libc6-dev)")


def find_runtime(compiler: str) -> str:
    """The library that has to be loaded before everything else."""
    for name in ("libasan.so", "libclang_rt.asan.so", "libclang_rt.asan-x86_64.so"):
        command = [compiler, f"-print-file-name={name}"]
        path = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        # A name alone comes back for what is not there.
        if Path(path).is_absolute() and Path(path).exists():
            return path
    fail(f"{compiler} has no AddressSanitizer library (Debian: it comes with gcc)")


def build(compiler: str, runtime: str) -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    built = shutil.ignore_patterns("*.so", "*.c", "__pycache__")
    shutil.copytree(ROOT / "src" / "trio_websocket", PACKAGE, ignore=built)
    source = PACKAGE / "_kernel" / "_cy.pyx"
    subprocess.run([sys.executable, "-m", "cython", str(source)], check=True)
    shared = ["-shared-libasan"] if "clang" in Path(runtime).name else []
    include = f"-I{sysconfig.get_path('include')}"
    command = [compiler, "-shared", "-fPIC", *FLAGS, *shared, include]
    subprocess.run([*command, str(source.with_suffix(".c")), "-o", str(KERNEL)], check=True)


def environment(runtime: str) -> dict[str, str]:
    return {
        **os.environ,
        "LD_PRELOAD": runtime,
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": str(FOLDER),
        "TRIO_WEBSOCKET_KERNEL": "compiled",
    }


def check_watch(env: dict[str, str]) -> None:
    """Prove that the tests will run over the watched kernel, and that the watch bites."""
    command = [sys.executable, "-c", CHECK_WATCH, str(KERNEL)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    is_stopped = done.returncode != 0 and "AddressSanitizer: use-after-poison" in done.stderr
    if done.stdout != "it may read what it is given\n" or not is_stopped:
        fail(f"the watch does not bite:\n{done.stdout}{done.stderr}")
    if b"__ubsan_handle_" not in KERNEL.read_bytes():
        fail("UndefinedBehaviorSanitizer is not in the kernel")
    print("The watch bites: a read of guarded memory was stopped.", flush=True)


def main() -> int:
    if sys.platform != "linux":
        fail("this needs Linux")
    compiler = find_compiler()
    runtime = find_runtime(compiler)
    build(compiler, runtime)
    env = environment(runtime)
    check_watch(env)
    arguments = sys.argv[1:] or [*TESTS, *map(str, sorted(ROOT.glob("tests/test_*.py")))]
    # A report is the last thing that a process writes: pytest must not have caught it.
    options = ["-p", "no:cacheprovider", "--capture=sys", "--numprocesses=auto"]
    command = [sys.executable, "-m", "pytest", *options, *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
