"""A run's progress and the time of each stage, from DVC's messages; written to seconds.csv."""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path

from basins.store import whole_file

COLUMNS = ("stage", "seconds", "date")


class Stopwatch(logging.Handler):
    """Detects from DVC's messages when a stage starts, which is when the previous one ends."""

    def __init__(self, file: Path, stages: Iterable[str] = ()) -> None:
        super().__init__()
        rows = [*csv.reader(file.read_text().splitlines())][1:] if file.exists() else []
        self.file, self.rows = file, {row[0]: row for row in rows if len(row) == len(COLUMNS)}
        times = {stage: _seconds(row) for stage, *row in self.rows.values()}
        self.earlier = {stage: s for stage, s in times.items() if s is not None}
        self.stages = list(stages)  # of the whole run, if known
        self.named: dict[str, float] = {}  # when DVC reached each stage of this run
        self.ran: dict[str, float] = {}  # seconds of stages that ended
        self.running: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write the row of a stage that has ended, which replaces that of an earlier run."""
        said = record.getMessage()
        if match := re.match(r"(?:Running stage|Stage) '(.+?)'", said):
            self.end(record.created)
            self.named[match[1]] = record.created
            self.running = match[1] if said.startswith("Running") else None
            if self.running and self.stages:
                print(self.progress(record.created), flush=True)

    def progress(self, now: float) -> str:
        """Return a line on the stage that begins: its number, minutes elapsed and minutes left.

        The time left is that of this and the later stages in earlier runs, at the pace of this
        run; it is omitted unless all of them have run before. Unchanged stages will take less.
        """
        gone = now - min(self.named.values())
        line = f"stage {len(self.named)} of {len(self.stages)}: {self.running}, "
        line += f"{gone / 60:.1f} min gone"
        ahead = [stage for stage in self.stages if stage not in self.named]
        times = [self.earlier.get(stage) for stage in [*ahead, str(self.running)]]
        known = [seconds for seconds in times if seconds is not None]
        if len(known) < len(times):
            return line
        both = self.ran.keys() & self.earlier.keys()
        before = sum(self.earlier[stage] for stage in both)
        pace = sum(self.ran[stage] for stage in both) / before if before else 1.0
        return f"{line}, at most about {sum(known) * pace / 60:.0f} left"

    def end(self, now: float) -> None:
        """Write the row of the running stage, if there is one."""
        if self.running:
            seconds = now - self.named[self.running]
            date = datetime.fromtimestamp(now, UTC).date().isoformat()
            self.rows[self.running] = [self.running, f"{seconds:.1f}", date]
            self.ran[self.running] = seconds
            self.running = None
            self.write()

    def finish(self, now: float) -> None:
        """End the last stage; keep the rows of the stages that DVC has named, in its order."""
        self.end(now)
        self.rows = {stage: self.rows[stage] for stage in self.named if stage in self.rows}
        self.write()

    def write(self) -> None:
        """Write all rows; disk errors are ignored, as times are not worth ending a run."""
        with (
            suppress(OSError),
            whole_file(self.file) as partial,
            partial.open("w", newline="") as file,
        ):
            csv.writer(file, lineterminator="\n").writerows([COLUMNS, *self.rows.values()])


def _seconds(row: list[str]) -> float | None:
    """Return the seconds of a row, or None if the row is malformed."""
    with suppress(ValueError, IndexError):
        seconds = float(row[0])
        return seconds if isfinite(seconds) else None
    return None
