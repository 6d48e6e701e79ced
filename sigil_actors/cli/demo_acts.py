"""What happens in the demo, act by act; each returns its facts and fails if they aren't so."""

import os
from collections.abc import Sequence
from pathlib import Path

import trio

from sigil_actors import SqliteAuditStore, open_runtime, verify_log
from sigil_actors.cli.demo_process import NAME as HOSTILE
from sigil_actors.cli.demo_story import Story
from sigil_actors.cli.demo_tamper import flip_one_byte
from sigil_actors.cli.demo_text import SourceText, large_text, piped_text
from sigil_actors.cli.errors import DemoFailedError
from sigil_actors.cli.folders import audit_folder
from sigil_actors.cli.tables import audit_table, new_table
from sigil_actors.control.error_report import report_of
from sigil_actors.control.operations import check_request, operator_name
from sigil_actors.control.protocol import ExplainRequest
from sigil_actors.control.runtime_json import (
    discovery_problem_json,
    explanation_json,
    status_json,
)
from sigil_actors.core.audit_entry import AuditEntry, AuditFilter
from sigil_actors.core.capability import CapabilitySet
from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.manifest import Manifest
from sigil_actors.errors import (
    GuestTrapError,
    LimitExceededError,
    PluginCrashedError,
    PluginUnavailableError,
    SigilError,
)
from sigil_actors.runtime.runtime import Runtime
from sigil_actors.runtime.session import Session

NEEDED = ("text-tool", "greedy", "endless", "crasher")
"""The plugins that have a part."""

TOP_WORDS = 10
LOOK_S = 0.005  # how often the state of the crashing plugin is looked at
ANSWER_S = 0.05  # pause between the answers that the text tool gives meanwhile
CRASH_ROUNDS_MAX = 50  # many times what its manifest allows before the quarantine
MEANWHILE = "demo-meanwhile"


async def play(
    plugins: Path, state: Path, hostile: tuple[Manifest, Path] | None, story: Story
) -> JsonObject:
    """Play all acts; return their facts. `hostile` is the plugin that is a program, if one can be.

    Raises:
        DemoFailedError: something didn't go as it should.
    """
    began = trio.current_time()
    log = audit_folder(state)
    store = SqliteAuditStore(log)
    facts: dict[str, JsonObject | None] = {}
    async with open_runtime(
        plugins,
        manifests=() if hostile is None else (hostile,),
        audit_store=store,
        state_dir=state,
    ) as runtime:
        # All of them, so that the table of the first act shows none that is still loading.
        for name in {*NEEDED, *(status.name for status in runtime.list())} - {HOSTILE}:
            await runtime.wait_until_running(name)
        held_back = await _try_to_run(runtime, hostile)
        session = _session(runtime, "demo")
        facts["discovered"] = _discovery(runtime, plugins, story)
        facts["text"] = await _text(session, large_text(), story)
        facts["piped"] = await _piped(session, story)
        facts["denied"] = await _denial(runtime, session, story)
        facts["hostile"] = await _hostile(runtime, store, held_back, story)
        facts["endless"] = await _endless(session, story)
        facts["crasher"] = await _crashes(runtime, session, story)
    entries = await store.query(AuditFilter())
    facts["audit"] = _trail(entries, story)
    facts["verified"] = await _verification(log, entries, story)
    facts["tampered"] = await _tampering(log, state / "copy", entries, story)
    took_s = trio.current_time() - began
    story.say("")
    story.good(f"That was all, in {took_s:.1f} s.")
    return {"ok": True, "took_s": round(took_s, 3), **facts}


def _session(runtime: Runtime, session_id: str) -> Session:
    operator = operator_name(os.getuid())
    return runtime.session(
        workspace_id="demo",
        workspace_allow=CapabilitySet("*"),
        user_id=operator,
        user_permissions=CapabilitySet("*"),
        session_id=session_id,
    )


def _discovery(runtime: Runtime, plugins: Path, story: Story) -> JsonObject:
    story.act(f"What was discovered in {plugins}")
    table = new_table("plugin", "version", "tier", "state")
    for status in runtime.list():
        table.add_row(status.name, status.version, status.tier, status.state)
    story.show(table)
    refused = runtime.problems
    _must(bool(refused), "no manifest was refused, and one is broken on purpose")
    story.say("Refused, and the rest goes on:")
    for problem in refused:
        story.bad(problem.render())
    return {
        "folder": str(plugins),
        "plugins": [status_json(status) for status in runtime.list()],
        "refused": [discovery_problem_json(problem) for problem in refused],
    }


async def _text(session: Session, text: SourceText, story: Story) -> JsonObject:
    story.act(f"The text tool works on {text.source}, {text.size_bytes / 1024:.0f} KiB of text")
    return await _stats(session, text, story)


async def _piped(session: Session, story: Story) -> JsonObject | None:
    text = await trio.to_thread.run_sync(piped_text, abandon_on_cancel=True)
    if text is None:
        story.act("Nothing is piped in; try: sigil-actors demo < README.md")
        return None
    story.act(f"The text tool works on what is piped in, {text.size_bytes / 1024:.1f} KiB")
    if text.is_cut:
        story.say("It is longer than the demo takes, or still going on: this is its beginning.")
    return await _stats(session, text, story)


async def _stats(session: Session, text: SourceText, story: Story) -> JsonObject:
    began = trio.current_time()
    pieces: list[str] = []
    arguments: JsonObject = {"text": text.text, "top": TOP_WORDS}
    async with session.execute("text-tool", "stats", arguments) as chunks:
        async for piece in chunks:
            pieces.append(piece)
            story.say(piece.rstrip("\n"))
    took_ms = (trio.current_time() - began) * 1000
    story.good(f"{len(pieces)} pieces in {took_ms:.0f} ms, each shown as it came")
    return {
        "source": text.source,
        "bytes": text.size_bytes,
        "is_cut": text.is_cut,
        "chunks": len(pieces),
        "took_ms": round(took_ms, 3),
        "answer": "".join(pieces),
    }


async def _denial(runtime: Runtime, session: Session, story: Story) -> JsonObject:
    story.act("The greedy plugin asks its host for what nobody granted")
    answer = await session.execute_text("greedy", "grab")
    story.bad(answer.rstrip("\n"))
    story.say("Why, and what would change it:")
    request = ExplainRequest(plugin="greedy", capability="exec.run")
    explanation = runtime.explain(check_request(request, operator_name(os.getuid())))
    _must(not explanation.verdict.allowed, "the greedy plugin was allowed something")
    story.say(explanation.text())
    return {"answer": answer, "explanation": explanation_json(explanation)}


async def _try_to_run(runtime: Runtime, hostile: tuple[Manifest, Path] | None) -> str:
    """Wait for the hostile plugin; return why it can't run here, empty where it runs."""
    if hostile is None:
        return (
            "no Python of this version that a plugin's own user may start (this host is root, and"
            " its Python lies in a private home)"
        )
    try:
        await runtime.wait_until_running(HOSTILE)
    except SigilError as error:
        return str(error)
    return ""


async def _hostile(
    runtime: Runtime, store: SqliteAuditStore, held_back: str, story: Story
) -> JsonObject:
    if held_back:
        story.act("No program as a plugin: this machine can't run one in a sandbox")
        story.say(held_back)
        story.say("What to do about it: sigil-actors doctor")
        return {"skipped": held_back}
    story.act("A hostile program is a plugin: it tries to break out of its sandbox")
    answer = await _session(runtime, "demo").execute_text(HOSTILE, "try-everything")
    lines = answer.splitlines()
    for line in lines:
        (story.good if line.startswith("held: ") else story.bad)(line)
    usage = runtime.get(HOSTILE).usage
    if usage is not None:
        story.say(
            f"It uses {usage.memory_bytes / 1024**2:.0f} MiB, {usage.cpu_s:.2f} s of processor,"
            f" {usage.pids} processes and threads"
        )
    proofs = await store.query(AuditFilter(action="sandbox_proof"))
    held = proofs[-1].details["held"]
    story.good(f"Before it was started, {held} attacks were tried in its sandbox, and all held.")
    _must(all(line.startswith("held: ") for line in lines), "the hostile plugin got something")
    return {"answers": lines, "attacks_held_before": held}


async def _endless(session: Session, story: Story) -> JsonObject:
    story.act("The endless plugin is stopped by its bound")
    began = trio.current_time()
    error = await _failure(session, "endless", "spin")
    took_s = trio.current_time() - began
    story.bad(str(error))
    story.say(f"after {took_s:.1f} s")
    _must(isinstance(error, LimitExceededError), "the endless plugin wasn't stopped by its bound")
    return {"took_s": round(took_s, 3), "error": report_of(error).to_json()}


async def _crashes(runtime: Runtime, session: Session, story: Story) -> JsonObject:
    story.act("The crashing plugin is restarted with backoff, then quarantined")
    answers = _Answers(_session(runtime, MEANWHILE))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answers.keep_answering)
        crashes = await _crash_until_quarantined(runtime, session, story)
        nursery.cancel_scope.cancel()
    status = runtime.get("crasher")
    story.bad(f"quarantined: {status.reason}")
    refusal = await _failure(session, "crasher", "crash")
    story.say(str(refusal))
    story.good(f"Meanwhile the text tool answered {answers.count} calls, {answers.failed} failed.")
    _must(answers.count > 0 and answers.failed == 0, "the text tool didn't go on answering")
    _must(isinstance(refusal, PluginUnavailableError), "a quarantined plugin took a call")
    return {
        "crashes": crashes,
        "status": status_json(status),
        "refusal": report_of(refusal).to_json(),
        "answered_meanwhile": answers.count,
        "failed_meanwhile": answers.failed,
    }


async def _crash_until_quarantined(
    runtime: Runtime, session: Session, story: Story
) -> Sequence[JsonObject]:
    crashes: list[JsonObject] = []
    for _ in range(CRASH_ROUNDS_MAX):
        await runtime.wait_until_running("crasher")
        generation = runtime.get("crasher").generation
        error = await _failure(session, "crasher", "crash")
        _must(isinstance(error, GuestTrapError | PluginCrashedError), f"no crash, but: {error}")
        while True:
            status = runtime.get("crasher")
            if status.quarantined or status.restart_in_s is not None:
                break
            await trio.sleep(LOOK_S)
        crashes.append(
            {
                "generation": generation,
                "error": report_of(error).to_json(),
                "restart_in_s": status.restart_in_s,
            }
        )
        if status.quarantined:
            story.bad(f"generation {generation} crashed: {error.what}")
            return crashes
        story.say(
            f"generation {generation} crashed: {error.what}; it is started again in"
            f" {(status.restart_in_s or 0) * 1000:.0f} ms"
        )
    raise DemoFailedError(
        f"the crashing plugin crashed {CRASH_ROUNDS_MAX} times and wasn't quarantined",
        remedy="Look at lifecycle.restart in its manifest",
    )


class _Answers:
    """Has the text tool answer small questions, and counts."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.count = 0
        self.failed = 0

    async def keep_answering(self) -> None:
        while True:
            try:
                answer = await self._session.execute_text("text-tool", "stats", {"text": "a b\n"})
                self.count += answer.startswith("lines: 1\n")
            except SigilError:
                self.failed += 1
            await trio.sleep(ANSWER_S)


async def _failure(session: Session, plugin: str, tool: str) -> SigilError:
    try:
        await session.execute_text(plugin, tool)
    except SigilError as error:
        return error
    raise DemoFailedError(
        f"{plugin} answered, and shouldn't have", remedy="Look at the example plugins"
    )


def _trail(entries: Sequence[AuditEntry], story: Story) -> JsonObject:
    story.act(f"The audit log has {len(entries)} entries")
    shown = [entry for entry in entries if entry.session_id != MEANWHILE]
    story.show(audit_table(shown, width=story.width))
    if len(shown) < len(entries):
        story.say(f"and {len(entries) - len(shown)} of the text tool's answers meanwhile")
    results: dict[str, int] = {}
    for entry in entries:
        key = f"{entry.action} {entry.result}"
        results[key] = results.get(key, 0) + 1
    _must(results.get("capability_check denied", 0) > 0, "no denial is in the log")
    given_up = [entry.plugin for entry in entries if entry.result == "quarantined"]
    _must("crasher" in given_up, "no quarantine of the crashing plugin is in the log")
    return {"entries": len(entries), "results": results}


async def _verification(log: Path, entries: Sequence[AuditEntry], story: Story) -> JsonObject:
    story.act("Every entry is verified")
    report = await trio.to_thread.run_sync(verify_log, log)
    _must(report.is_good and report.entries == len(entries), f"the log isn't good: {report}")
    story.good(f"OK: {report.entries} entries, head {report.head.hex()}")
    return {"ok": report.is_good, "entries": report.entries, "head": report.head.hex()}


async def _tampering(
    log: Path, copy: Path, entries: Sequence[AuditEntry], story: Story
) -> JsonObject:
    entry = next(entry for entry in entries if entry.result == "denied")
    story.act(f"One byte of entry {entry.seq}, a denial, is flipped in a copy of the log")
    done = await trio.to_thread.run_sync(flip_one_byte, log, copy, entry)
    bad = done.report.first_bad
    story.say(f"{done.file}, byte {done.offset}: {chr(done.before)!r} becomes {chr(done.after)!r}")
    if bad is None or bad.seq != entry.seq:
        raise DemoFailedError(f"entry {entry.seq} was changed, and verification says {bad}")
    story.bad(f"BAD: entry {bad.seq}: {bad.kind}: {bad.what}")
    story.good(f"The verification names the very entry; the {done.report.entries} before are good.")
    return {
        "file": done.file,
        "offset": done.offset,
        "flipped_seq": entry.seq,
        "ok": done.report.is_good,
        "first_bad": {"seq": bad.seq, "kind": str(bad.kind), "what": bad.what},
    }


def _must(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as a sentence where it is used
    if not holds:
        raise DemoFailedError(otherwise, remedy="Look at the example plugins, or report this")
