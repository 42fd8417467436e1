"""The processes of a cluster: killing a node, starting it again.

Knows processes, scripts/cluster.sh and the `env` file only; what a node answers is its callers'
business.
"""

import os
import subprocess
import time
from pathlib import Path

from connection import Environment, Wrong

# SIGKILL is not negotiable; longer than this something else is wrong.
DEATH_SECONDS = 30
RESTART_SECONDS = 120
SCRIPT = Path(__file__).resolve().parent.parent / "cluster.sh"


def kill(environment, index):
    """Kills the node with SIGKILL and returns its process id when it is dead."""
    pid = int(environment.words("LOCKBOX_PIDS")[index])
    if _program(pid) != "lockbox":
        raise Wrong(f"process {pid} is no lockbox: is {environment.path} out of date?")
    _run(environment, "kill-node", index)
    deadline = time.monotonic() + DEATH_SECONDS
    while _lives(pid):
        if time.monotonic() > deadline:
            raise Wrong(f"process {pid} of node {index + 1} outlived SIGKILL")
        time.sleep(0.005)
    return pid


def restart(environment, index):
    """Starts the node again with the data that it had; returns the environment as it is then."""
    _run(environment, "start-node", index)
    renewed = Environment.read(environment.path)
    pid = int(renewed.words("LOCKBOX_PIDS")[index])
    if not _lives(pid) or pid == int(environment.words("LOCKBOX_PIDS")[index]):
        raise Wrong(f"node {index + 1} was started again, but {environment.path} does not show it")
    return renewed


def _run(environment, command, index):
    """The script on this cluster: it keeps everything beside the `env` file."""
    place = {
        "LOCKBOX_DIR": str(environment.path.resolve().parent),
        "LOCKBOX_NODES": str(len(environment.endpoints())),
    }
    # The programs and ports of this cluster are in its directory; the caller's may be another's.
    others = {"LOCKBOX_BIN", "LOCKBOX_PORT_BASE"}
    kept = {name: value for name, value in os.environ.items() if name not in others}
    try:
        done = subprocess.run(
            [str(SCRIPT), command, str(index + 1)],
            capture_output=True,
            text=True,
            timeout=RESTART_SECONDS,
            check=False,
            env=kept | place,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Wrong(f"{command} {index + 1} cannot be done: {error}") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Wrong(f"{command} {index + 1} failed: {said[-1] if said else 'no reason given'}")


def _program(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _lives(pid):
    """Whether it runs; one that only waits for its parent to take note of its end does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
