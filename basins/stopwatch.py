"""The progress of a run and the time of each stage, from DVC's messages: rows of seconds.csv."""

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
    """Detects from DVC's messages when a stage starts; it ends when DVC reaches the next."""

    def __init__(self, file: Path, stages: Iterable[str] = ()) -> None:
        super().__init__()
        rows = [*csv.reader(file.read_text().splitlines())][1:] if file.exists() else []
        self.file, self.rows = file, {row[0]: row for row in rows if len(row) == len(COLUMNS)}
        times = {stage: _seconds(row) for stage, *row in self.rows.values()}
        self.earlier = {stage: s for stage, s in times.items() if s is not None}
        self.stages = list(stages)  # of the whole run, where they are known
        self.named: dict[str, float] = {}  # the stages of this run, and when DVC came to each
        self.ran: dict[str, float] = {}  # those that ended, and their seconds
        self.running: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write the row of a stage that has run, in place of that of an earlier run."""
        said = record.getMessage()
        if match := re.match(r"(?:Running stage|Stage) '(.+?)'", said):
            self.end(record.created)
            self.named[match[1]] = record.created
            self.running = match[1] if said.startswith("Running") else None
            if self.running and self.stages:
                print(self.progress(record.created), flush=True)

    def progress(self, now: float) -> str:
        """Return a line of the stage that begins: which of how many, minutes gone, minutes left.

        What is left are the earlier runs' times of this stage and of those to come, at the pace of
        this run; it is said where all of them have run before. Stages that have not changed will
        take less.
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
        """Write the row of the stage that runs, if there is one."""
        if self.running:
            seconds = now - self.named[self.running]
            date = datetime.fromtimestamp(now, UTC).date().isoformat()
            self.rows[self.running] = [self.running, f"{seconds:.1f}", date]
            self.ran[self.running] = seconds
            self.running = None
            self.write()

    def finish(self, now: float) -> None:
        """Keep the rows of the stages that there are, all of which DVC has named, in its order."""
        self.end(now)
        self.rows = {stage: self.rows[stage] for stage in self.named if stage in self.rows}
        self.write()

    def write(self) -> None:
        """Write all rows, as far as the disk takes them: no run ends for want of its times."""
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
