"""Run a stage and write down which modules' functions were called: OUT stages/x.py [key]."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    out, script, *sys.argv[1:] = sys.argv[1:]
    seen: set[str] = set()

    def look(frame, event, _):
        name = frame.f_globals.get("__name__", "")
        new = event == "call" and name.startswith("basins.") and name not in seen
        if new and frame.f_code.co_name != "<module>" and not checks(frame):
            seen.add(name)

    def checks(frame) -> bool:
        """Return whether a call is on behalf of what only refuses settings."""
        while frame and frame.f_globals.get("__name__") != "basins.params":
            frame = frame.f_back
        return frame is not None

    sys.path.insert(0, "stages")
    sys.setprofile(look)
    try:
        runpy.run_path(script, run_name="__main__")
    finally:
        sys.setprofile(None)
        Path(out).write_text("\n".join(sorted(seen)))
