"""The tests on every Python that is here, with oldest and newest versions, and with other kernels.

`nox` runs all of it, `nox -s oldest` one part; what stands after `--` goes to pytest.
"""

import nox

PYTHONS = ["3.11", "3.12", "3.13"]
#: What MKL and torch compute with on a processor that has no vector instructions beyond the oldest.
OTHER_KERNELS = {"MKL_CBWR": "COMPATIBLE", "ATEN_CPU_CAPABILITY": "default"}

nox.options.error_on_missing_interpreters = False


def _run_tests(session: nox.Session, *arguments: str, **env: str) -> None:
    session.run("sh", "scripts/test", "-m", "slow or not slow", *arguments, *session.posargs, env=env, external=True)


@nox.session(python=PYTHONS)
def pinned(session: nox.Session) -> None:
    """Run the tests with the versions of constraints.txt."""
    session.install("-c", "constraints.txt", "-e", ".[tests]")
    _run_tests(session)


@nox.session(python=PYTHONS)
def newest(session: nox.Session) -> None:
    """Run the tests with the newest versions of everything, torch included."""
    session.install("--upgrade", "-e", ".[tests]")
    _run_tests(session)


@nox.session(python=PYTHONS[0])
def oldest(session: nox.Session) -> None:
    """Run the tests with the lower bounds of pyproject.toml; the examples show figures of newer versions."""
    session.install("-c", "constraints-oldest.txt", "-e", ".[tests]")
    _run_tests(session, "--ignore=tests/test_examples.py")


@nox.session(python=PYTHONS[0])
def other_kernels(session: nox.Session) -> None:
    """Run what compares numbers with other kernels, which round otherwise."""
    session.install("-c", "constraints.txt", "-e", ".[tests]")
    _run_tests(session, "-m", "numerical", **OTHER_KERNELS)


@nox.session(python="3.12")  # where Python itself notes which lines run, which takes less time
def coverage(session: nox.Session) -> None:
    """Run the tests and say which lines and branches they miss; fail below 92 %."""
    session.install("-c", "constraints.txt", "-e", ".[tests]")
    _run_tests(session, "--cov", "--cov-report=term-missing:skip-covered", "--cov-fail-under=92")
