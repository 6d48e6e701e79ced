"""One stay of a worker thread inside a guest, driven step by step by the task that called it.

The guest has a thread, so that it never holds up the loop. It runs only while its caller waits for
it: when it asks its host for something, or has a chunk for its caller, the thread parks and the
task goes on. So host calls happen in the caller's own task, and back-pressure needs no channel.
Knows nothing of Wasm.
"""

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

import outcome
import trio

from sigil_actors.errors import SigilError
from sigil_actors.tiers.wasm.limits import STOP_S

Question = TypeVar("Question")
Answer = TypeVar("Answer")
Result = TypeVar("Result")


class GuestRun(Generic[Question, Answer, Result]):
    """Runs `job` in a thread. All methods but `ask` belong to the trio thread.

    `interrupt` must make the job return soon; it is called from the trio thread while the job runs.
    """

    def __init__(
        self,
        job: "Callable[[GuestRun[Question, Answer, Result]], Result]",
        *,
        interrupt: Callable[[], None],
        time_s: float,
        time_error: SigilError,
    ) -> None:
        self._job = job
        self._interrupt = interrupt
        self._time_s = time_s
        self._time_error = time_error
        self._token = trio.lowlevel.current_trio_token()
        self._started = False
        self._turn = trio.Event()
        """Set when the thread has asked or has ended: it is the task's turn."""
        self._out = trio.Event()
        """Set when the thread is out of the job."""
        self._question: Question | None = None
        self._outcome: outcome.Outcome[Result] | None = None
        self._killed: SigilError | None = None
        self.failure: BaseException | None = None
        """What the run ended with, where it wasn't a result: the guest's doing, or the clock's."""
        self.interrupted = False
        """Whether it was stopped half-way, so that what it worked on may be half-written."""
        self._is_given_up = False

        # Shared with the thread. The flag is only ever set; the queue carries an answer or, as
        # None, the word to stop. The thread looks at the flag before it parks, and finds the word
        # if the flag was set in between.
        self._stopping = False
        self._answers: SimpleQueue[Answer | None] = SimpleQueue()
        self._ran_s = 0.0
        self._since = 0.0
        self._lock = threading.Lock()
        self._thread_is_out = False
        self._when_out: list[Callable[[], None]] = []

    # -- the task's side

    async def advance(self, answer: Answer | None = None) -> Question | None:
        """Let the guest run on, with the answer to what it asked; return its next question.

        Returns None when the job is done; `result` has what it returned.

        Raises:
            SigilError: what the job raised, or `time_error` when its time is up.
            trio.ClosedResourceError: it was stopped before.
        """
        if self._killed is not None:
            await self.stop()
            raise self._fail(self._killed)
        if self.failure is not None:
            raise self.failure
        if self._stopping:
            raise trio.ClosedResourceError("this run was stopped")
        self._turn = trio.Event()
        if self._started:
            self._answers.put(answer)
        else:
            self._started = True
            trio.lowlevel.start_thread_soon(self._work, self._deliver, "sigil guest")
        try:
            with trio.move_on_after(max(0.0, self._time_s - self._ran_s)) as clock:
                await self._turn.wait()
        except BaseException:
            await self.stop()
            raise
        if clock.cancelled_caught:
            await self.stop()
        if (over := self._why_over(is_late=clock.cancelled_caught)) is not None:
            raise self._fail(over)
        if self._outcome is None:
            return self._question
        if isinstance(self._outcome, outcome.Error):
            raise self._fail(self._outcome.error)
        return None

    def _why_over(self, *, is_late: bool) -> SigilError | None:
        return self._time_error if is_late and self._killed is None else self._killed

    def _fail(self, error: BaseException) -> BaseException:
        self.failure = error
        return error

    @property
    def result(self) -> Result:
        """What the job returned; only after `advance` returned None."""
        assert self._outcome is not None  # noqa: S101 - our own bug otherwise
        return self._outcome.unwrap()

    async def stop(self) -> bool:
        """Interrupt the guest if it still runs; return whether its thread is out of it."""
        if not self._started or self._out.is_set():
            self._stopping = True
            return True
        if self._is_given_up:
            return False
        self._tell_to_stop()
        # Shielded, since this runs while the task is being cancelled, and a store that is closed
        # or used again with a thread inside ends the process. Bounded, since that thread may be in
        # an operation that can't be interrupted; `when_out` cleans up after it then.
        with trio.move_on_after(STOP_S, shield=True):
            await self._out.wait()
        self._is_given_up = not self._out.is_set()
        return not self._is_given_up

    def kill(self, error: SigilError) -> None:
        """Interrupt the guest from outside of the task that drives it; that task gets `error`."""
        if self._out.is_set():
            return
        self._killed = error
        if self._started:
            self._tell_to_stop()

    async def wait_out(self) -> None:
        """Wait until the thread is out of the job."""
        if self._started:
            await self._out.wait()

    def when_out(self, clean_up: Callable[[], None]) -> None:
        """Run `clean_up` when no thread is in the job: at once, or in that thread as it leaves."""
        with self._lock:
            if self._started and not self._thread_is_out:
                self._when_out.append(clean_up)
                return
        clean_up()

    def _tell_to_stop(self) -> None:
        self.interrupted = True
        self._stopping = True
        self._interrupt()
        self._answers.put(None)

    # -- the thread's side

    @property
    def is_stopping(self) -> bool:
        """Whether `interrupt` was called. A job looks at it after it became interruptible."""
        return self._stopping

    def ask(self, question: Question) -> Answer | None:
        """Hand `question` to the task and wait for its answer; None means: the run is stopped."""
        if self._stopping:
            return None
        self._ran_s += time.monotonic() - self._since
        try:
            self._token.run_sync_soon(self._on_question, question)
        except trio.RunFinishedError:
            return None
        answer = self._answers.get()
        self._since = time.monotonic()
        return answer

    def _work(self) -> Result:
        self._since = time.monotonic()
        return self._job(self)

    def _deliver(self, result: "outcome.Outcome[Result]") -> None:
        with self._lock:
            self._thread_is_out = True
        for clean_up in self._when_out:
            clean_up()
        try:
            self._token.run_sync_soon(self._on_out, result)
        except trio.RunFinishedError:
            return  # the loop is gone, and with it everyone who could want to know

    # -- in the trio thread, on behalf of the thread

    def _on_question(self, question: Question) -> None:
        self._question = question
        self._turn.set()

    def _on_out(self, result: "outcome.Outcome[Result]") -> None:
        self._outcome = result
        self._out.set()
        self._turn.set()
