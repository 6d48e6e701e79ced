"""How a measure and a host talk: a line of JSON for each question, and one for its answer."""

import json
import resource
import subprocess
import sys
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

import attrs
import trio

from benchmarks.go_programs import ROOT
from benchmarks.harness import BenchmarkError

END_S: Final = 20.0
"""How long a host may take to end once its input has; it ends its plugin before."""


@attrs.frozen(kw_only=True)
class Answer:
    """What a host says to a question."""

    value: float = 0
    cpu_us: float = 0
    """What a call took of the host's processor time, in µs; 0 where it isn't measured."""
    address: str = ""
    """Where the plugin listens that it has launched, and its process."""
    pid: int = 0


Answers: TypeAlias = Mapping[str, Callable[..., Awaitable[Answer]]]
"""By what a question may ask for; its further fields are the arguments."""


@attrs.frozen
class HostProgram:
    """A host that runs."""

    process: "subprocess.Popen[str]"

    def ask(self, what: str, **details: object) -> Answer:
        """Have it do something; return what came of it.

        Raises:
            BenchmarkError: it couldn't.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": what, **details}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise BenchmarkError(f"a host ended when asked for {what}: {self.process.args!r}")
        answer = json.loads(line)
        if "error" in answer:
            raise BenchmarkError(f"{what}: {answer['error']}")
        return Answer(**answer)


@contextmanager
def open_host(*command: str) -> Generator[HostProgram]:
    """Run a host for as long as the block lasts, at the root of the checkout."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        try:
            yield HostProgram(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()


def python_program(module: str) -> Sequence[str]:
    """Return the command of a program that is a module of the benchmarks, run at their root."""
    return sys.executable, "-m", f"benchmarks.{module}"


async def answer_lines(answers: Answers, ask_next: Callable[[], Awaitable[str]]) -> None:
    """Be a host: answer each question until there are no more.

    `ask_next` gives the next line of the input; what waits differs between event loops.
    """
    while line := await ask_next():
        question = json.loads(line)
        try:
            answer = await answers[question.pop("do")](**question)
        except Exception as error:  # noqa: BLE001 - told, and the measure ends with it
            told: Mapping[str, Any] = {"error": f"{type(error).__name__}: {error}"}
        else:
            told = attrs.asdict(answer)
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


async def next_line() -> str:
    """Wait for the next question, under trio."""
    return await trio.to_thread.run_sync(sys.stdin.readline)


def processor_s() -> float:
    """Return what this program has used, all of its threads, its own and the system's for it."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
