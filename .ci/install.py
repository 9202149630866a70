"""Create `.venv` from the pinned requirements, unless it exists: `python .ci/install.py [cpu]`.

`cpu` installs torch's build for machines without a GPU. A `.venv` that is incomplete, or whose
Python is gone, is replaced; every failure is one line, and the next run starts afresh. This file
needs no packages and no recent syntax, so that an old Python gets a clear message. pip's settings
determine where packages come from.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys

MARKER, LOG, CHOSEN = ".venv/installed", ".venv/pip.log", ".venv/requirements.txt"
INPUTS = ("requirements.lock", "pyproject.toml")
PYTHON, NEEDED = ".venv/bin/python", ("basins", "dvc", "pytest", "torch")
GPU_ONLY = re.compile(r"(nvidia|cuda)-|triton=")
CAUSES = (
    ("no space", r"No space left|Disk quota|Errno 28|Errno 122"),
    (
        "no network",
        r"name resolution|getaddrinfo|NewConnection|Connection(Error| refused| reset| aborted)",
    ),
    ("no network", r"Network is unreachable|timed out|Max retries|from versions: none"),
    ("no cpu", r"No matching distribution found for torch"),
)
ADVICE = {
    "no space": "no space left on the disk: free about 7 GB (less with TORCH=cpu)",
    "no network": "no package index is reached: look at the network and at pip's settings",
    "no cpu": "the package index has no such build of torch: name another in PIP_EXTRA_INDEX_URL, "
    "or do without TORCH=cpu",
}


def main():
    """Create `.venv`; do nothing if it is complete and up to date."""
    choice = sys.argv[1] if len(sys.argv) > 1 else ""
    if choice not in ("", "cpu"):
        sys.exit(f"error: TORCH={choice!r}: it may be cpu, or left out")
    wanted = fingerprint()
    if os.path.exists(MARKER) and works():
        with open(MARKER) as file:
            made, _, of = file.read().strip().partition(" ")
        if made == wanted and choice in ("", of):
            return
    if os.path.islink(".venv"):
        sys.exit(
            f"error: .venv is a link to {os.path.realpath('.venv')}, whose packages are not those "
            "of this checkout: mend it there, or remove the link"
        )
    if sys.version_info[:2] < (3, 11):  # noqa: UP036 - whoever has an older one runs this
        sys.exit(
            f"error: Python 3.11 or newer is needed, and this is {sys.version.split()[0]}: name "
            "one, as in `make PYTHON=python3.12`"
        )
    size = "less than " if choice else "about "
    print(f"making .venv of the pinned requirements ({size}7 GB, a few minutes)", flush=True)
    try:
        shutil.rmtree(".venv", ignore_errors=True)
        if os.path.exists(".venv"):
            os.remove(".venv")
        install(choice)
        with open(MARKER + ".part", "w") as file:
            file.write(f"{wanted} {choice}\n")
        os.replace(MARKER + ".part", MARKER)
    except KeyboardInterrupt:
        sys.exit("error: the installation was interrupted; the same command begins it anew")
    except OSError as error:
        stop(str(error))


def fingerprint():
    """Return a hash of the files that determine the installed packages."""
    digest = hashlib.sha256()
    for name in INPUTS:
        with open(name) as file:  # tool settings, at the end, do not affect packages
            digest.update(file.read().partition("[tool.ruff")[0].encode())
    return digest.hexdigest()[:32]


def works():
    """Return whether the Python of .venv runs and finds the packages in `NEEDED`."""
    code = f"import sys, importlib.util as u; sys.exit(not all(map(u.find_spec, {NEEDED})))"
    try:
        return subprocess.call([PYTHON, "-c", code]) == 0
    except OSError:
        return False


def install(choice):
    """Create .venv and install the packages."""
    run(sys.executable, "-m", "venv", ".venv", advice="on Debian: apt install python3-venv")
    with open("requirements.lock") as file:
        lines = file.readlines()
    if choice:
        lines = [re.sub(r"^(torch|torchvision)==(\S+)", r"\1==\2+cpu", line) for line in lines]
        lines = [line for line in lines if not GPU_ONLY.match(line)]
    with open(CHOSEN, "w") as file:
        file.writelines(lines)
    pip = (PYTHON, "-m", "pip", "install", "--quiet", "--no-compile")
    pip = (*pip, "--disable-pip-version-check")
    run(*pip, "-r", CHOSEN)
    run(*pip, "--no-deps", "-e", ".")
    # pip compiles on one core. What fails here are packages' templates, which nobody imports.
    with open(LOG, "a") as log:
        every = (PYTHON, "-m", "compileall", "-q", "-j", "0", ".venv/lib")
        subprocess.call(every, stdout=log, stderr=log)


def run(*command, advice=""):
    """Run one step, with its output in a log; a failure ends the process with one line."""
    os.makedirs(".venv", exist_ok=True)
    with open(LOG, "a") as log:
        code = subprocess.call(command, stdout=log, stderr=log)
    if code:
        with open(LOG) as log:
            stop(log.read(), advice)


def stop(said, advice=""):
    """Exit with one line for the cause found in `said`, else for its last error."""
    for name, pattern in CAUSES:
        if re.search(pattern, said):
            advice = ADVICE[name]
            break
    else:
        lines = [line for line in said.splitlines() if line.strip()]
        last = [line for line in lines if re.match("error", line, re.IGNORECASE)] or lines
        advice = "; ".join(filter(None, [last[-1].strip()[:300] if last else "", advice]))
    sys.exit(
        f"error: the installation failed: {advice}; then run the same command again (all that was "
        f"said: {LOG})"
    )


if __name__ == "__main__":
    main()
