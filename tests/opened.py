"""Run a script and write down which files it opened: `python tests/opened.py LIST SCRIPT ...`."""

import os
import runpy
import sys
from pathlib import Path

listed, script = sys.argv[1:3]
sys.argv = sys.argv[2:]
sys.path.insert(0, str(Path(script).resolve().parent))
opened: dict[str, None] = {}


def note(event: str, arguments: tuple) -> None:
    """Note the files of this folder that are opened to be read."""
    if event == "open" and isinstance(arguments[0], str) and not arguments[2] & os.O_WRONLY:
        opened[os.path.relpath(arguments[0])] = None


sys.addaudithook(note)
runpy.run_path(script, run_name="__main__")
Path(listed).write_text("\n".join(opened))
