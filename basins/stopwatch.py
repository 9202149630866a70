"""How long each stage of a run took, from what DVC says: rows of seconds.csv."""

from __future__ import annotations

import csv
import logging
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from basins.store import whole_file

COLUMNS = ("stage", "seconds", "date")


class Stopwatch(logging.Handler):
    """Hears from DVC's own messages when a stage begins; it ends when DVC has come to the next."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        rows = [*csv.reader(file.read_text().splitlines())][1:] if file.exists() else []
        self.file, self.rows = file, {row[0]: row for row in rows}
        self.named: dict[str, float] = {}  # the stages of this run, and when DVC came to each
        self.running: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write the row of a stage that has run, in place of that of an earlier run."""
        said = record.getMessage()
        if found := re.match(r"(?:Running stage|Stage) '(.+?)'", said):
            self.end(record.created)
            self.named[found[1]] = record.created
            self.running = found[1] if said.startswith("Running") else None

    def end(self, now: float) -> None:
        """Write the row of the stage that runs, if there is one."""
        if self.running:
            seconds = f"{now - self.named[self.running]:.1f}"
            date = datetime.fromtimestamp(now, UTC).date().isoformat()
            self.rows[self.running] = [self.running, seconds, date]
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
