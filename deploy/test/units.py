"""The systemd units: that systemd takes them as they are, and how exposed they leave a service.

    units.py PROGRAMS    the directory of lockbox and kms-sim

Nothing is installed or started: the units are looked at in a root of their own.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DEPLOY = Path(__file__).resolve().parent.parent
UNITS = {"lockbox-node.service": "lockbox", "lockbox-kms.service": "kms-sim"}
# The exposure that is accepted, in tenths: `systemd-analyze security` goes from 0 to 10.
EXPOSURE_MAX = 20


def fail(sentence):
    sys.exit(f"units.py: {sentence}")


def verify(programs):
    """What systemd says of the units, which is to be nothing."""
    with tempfile.TemporaryDirectory(prefix="lockbox-units.") as name:
        root = Path(name)
        for directory in ("usr/bin", "etc/systemd/system", "usr/lib/systemd/system"):
            (root / directory).mkdir(parents=True)
        # What every unit depends on.
        for pattern in ("*.target", "*.slice"):
            for unit in Path("/usr/lib/systemd/system").glob(pattern):
                shutil.copy(unit, root / "usr/lib/systemd/system")
        for unit, program in UNITS.items():
            shutil.copy(DEPLOY / "systemd" / unit, root / "etc/systemd/system")
            shutil.copy(programs / program, root / "usr/bin")
        command = ["systemd-analyze", "verify", "--man=no", f"--root={root}", *UNITS]
        seen = subprocess.run(command, capture_output=True, text=True, check=False)
        said = (seen.stdout + seen.stderr).strip()
        if seen.returncode != 0 or said:
            fail(f"systemd-analyze verify: {said or seen.returncode}")
        # That it would say something, if there was something.
        broken = root / "etc/systemd/system/lockbox-node.service"
        broken.write_text(broken.read_text().replace("\nUser=", "\nUsr="))
        seen = subprocess.run(command, capture_output=True, text=True, check=False)
        if "Usr" not in seen.stderr:
            fail("systemd-analyze verify does not see an unknown key")
    print("systemd-analyze verify: clean")


def security():
    for unit in UNITS:
        command = ["systemd-analyze", "security", "--offline=yes", "--no-pager",
                   f"--threshold={EXPOSURE_MAX}", str(DEPLOY / "systemd" / unit)]
        seen = subprocess.run(command, capture_output=True, text=True, check=False)
        level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", seen.stdout)
        if not level:
            fail(f"systemd-analyze security {unit}: {seen.stderr.strip() or 'no level'}")
        if seen.returncode != 0 or float(level[1]) * 10 > EXPOSURE_MAX:
            fail(f"{unit} has the exposure {level[1]}, more than {EXPOSURE_MAX / 10}")
        print(f"systemd-analyze security {unit}: {level[1]}")


def exit_codes():
    """Each exit code of a server is either restarted or not, and the unit says which."""
    table = (DEPLOY.parent / "docs/command-line.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (.*?) \|$", table, re.MULTILINE)
    of_servers = {int(code) for code, meaning in rows
                  if meaning.startswith(("A server", "Any command"))}
    # A wrong configuration, which a client command may have, too.
    of_servers.add(2)
    if not {10, 16, 70} <= of_servers:
        fail("the table of exit codes in docs/command-line.md is not found")
    for unit in UNITS:
        text = (DEPLOY / "systemd" / unit).read_text()
        prevented = re.search(r"^RestartPreventExitStatus=(.*)$", text, re.MULTILINE)
        comment = re.search(r"Restarted are (.*?); docs", text, re.DOTALL)
        if not prevented or not comment:
            fail(f"{unit} does not say which exit codes are restarted")
        prevented = {int(code) for code in prevented[1].split()}
        restarted = {int(code) for code in re.findall(r"\d+", comment[1])}
        if prevented & restarted or not of_servers <= prevented | restarted:
            fail(f"{unit}: restarted {sorted(restarted)}, not restarted {sorted(prevented)}, "
                 f"but servers end with {sorted(of_servers)}")
    print("every exit code of a server is restarted or not, by decision")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    verify(Path(sys.argv[1]))
    security()
    exit_codes()
