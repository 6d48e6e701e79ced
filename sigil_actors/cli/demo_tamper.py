"""Flips one byte of an entry in a copy of the audit log."""

import shutil
from pathlib import Path

import attrs

from sigil_actors import VerifyReport, verify_log
from sigil_actors.cli.errors import DemoFailedError
from sigil_actors.core.audit_entry import AuditEntry, canonical_bytes


@attrs.frozen(kw_only=True)
class Tampering:
    """What was done to the copy, and what its verification found."""

    file: str
    offset: int
    before: int
    after: int
    report: VerifyReport


def flip_one_byte(log: Path, copy: Path, entry: AuditEntry) -> Tampering:
    """Copy a log that nobody writes, change one byte of an entry's reason, and verify the copy.

    Raises:
        DemoFailedError: the entry can't be found in the file.
    """
    shutil.copytree(log, copy)
    stored = canonical_bytes(entry)
    for file in sorted(copy.iterdir()):
        content = bytearray(file.read_bytes())
        at = content.find(stored)
        while at >= 0:
            offset = at + stored.index(entry.reason.encode())
            before = content[offset]
            content[offset] ^= 0x01
            file.write_bytes(content)
            report = verify_log(copy)
            if not report.is_good:
                return Tampering(
                    file=file.name,
                    offset=offset,
                    before=before,
                    after=content[offset],
                    report=report,
                )
            # A page that is no longer in use may hold an older copy of the entry.
            content[offset] = before
            file.write_bytes(content)
            at = content.find(stored, at + 1)
    raise DemoFailedError(
        f"entry {entry.seq} can't be found in the copy of the log, or its change went unnoticed",
        remedy="Please report this",
    )
