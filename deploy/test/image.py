"""Starts the image as units, compose.yaml and manifests describe it, where no engine is.

    image.py ROOT WORK    ROOT is what image/assemble.sh has made; WORK is an empty directory

Call it as root in namespaces for networks, mounts and processes of its own, as run.sh does: each
container is a process with a read-only root, as the image's user, and has an address of its own. The
first start is done as the layouts say: servers wait, one command forms the cluster, and then they serve.
"""

import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import layouts

HERE = Path(__file__).resolve().parent
# Addresses of the containers of a layout, on the loopback device of this namespace.
NETWORK = "10.77.0."
PATIENCE_S = 120
# What the units and the manifests give a server to end in.
STOP_S = 30


def fail(sentence):
    sys.exit(f"image.py: {sentence}")


def until(what, look):
    deadline = time.monotonic() + PATIENCE_S
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            fail(f"{what}: not in {PATIENCE_S} s")
        time.sleep(0.1)


class Engine:
    """As much of a container engine as the layouts need."""

    def __init__(self, root, work, layout):
        self.root, self.work, self.layout = root, work, layout
        self.addresses, self.running, self.listens = {}, {}, {}
        for number, server in enumerate(layout.servers, start=1):
            address = f"{NETWORK}{number}"
            subprocess.run(["ip", "address", "replace", f"{address}/32", "dev", "lo"], check=True)
            self.addresses[server.name] = address
            # The only thing that is not as in the layout: there each has a network of its own and
            # listens on all of its addresses.
            self.listens[server.name] = self.listening(server, address)
        lines = [f"{self.addresses[name]} {' '.join(names)}\n"
                 for name, names in layout.hosts.items()]
        self.hosts = work / "hosts"
        self.hosts.write_text("127.0.0.1 localhost\n" + "".join(lines))

    @staticmethod
    def listening(server, address):
        if server.is_kms:
            return {"KMS_CONFIG_API__LISTEN": f"{address}:8460",
                    "KMS_CONFIG_METRICS__LISTEN": f"{address}:9465"}
        return {"LOCKBOX_CONFIG_API__LISTEN": f"{address}:8443",
                "LOCKBOX_CONFIG_PEER__LISTEN": f"{address}:8444",
                "LOCKBOX_CONFIG_METRICS__LISTEN": f"{address}:9464"}

    def command(self, container, command, extra=None):
        mounts = [*container.mounts, (self.hosts, "/etc/hosts", False)]
        line = [str(HERE / "container.sh"), str(self.root)]
        for source, target, writable in mounts:
            # An engine makes these in a layer of its own.
            place = self.root / target.lstrip("/")
            if Path(source).is_dir():
                place.mkdir(parents=True, exist_ok=True)
            elif not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                place.touch()
            line += ["--mount", f"{source}:{target}{':rw' if writable else ''}"]
        environment = {**container.environment, **self.listens.get(container.name, {}),
                       **(extra or {})}
        for name, value in environment.items():
            line += ["--env", f"{name}={value}"]
        return [*line, "--", *command]

    def run(self, container, command, extra=None):
        line = self.command(container, command, extra)
        return subprocess.run(line, capture_output=True, text=True, check=False)

    def start(self, container, extra=None):
        log = open(self.work / f"{container.name}.log", "wb")
        line = self.command(container, container.command, extra)
        process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.running[container.name] = process

    def must_run(self, container):
        code = self.running[container.name].poll()
        if code is not None:
            log = (self.work / f"{container.name}.log").read_text(errors="replace")
            fail(f"{container.name} has ended with {code}:\n{log[-2000:]}")

    def health(self, container, *flags):
        """What its own health command says, as the layout asks it where it does."""
        self.must_run(container)
        config = container.flag("--config")
        asked = container.health or [container.command[0], "health", "--config", config]
        return self.run(container, [*asked, *flags])

    def stop(self, *containers):
        for container in containers:
            self.running[container.name].send_signal(signal.SIGTERM)
        for container in containers:
            process = self.running.pop(container.name)
            try:
                code = process.wait(timeout=STOP_S)
            except subprocess.TimeoutExpired:
                fail(f"{container.name} does not end in {STOP_S} s")
            if code != 0:
                fail(f"{container.name} has ended with {code}")


def confined(engine, container):
    """That the process can do what its image allows and no more."""
    status = Path(f"/proc/{engine.running[container.name].pid}/status").read_text()
    fields = dict(re.findall(r"^(\w+):[ \t]*(.*)$", status, re.MULTILINE))
    user = str(layouts.USER_ID)
    if set(fields["Uid"].split()) != {user} or set(fields["Gid"].split()) != {user}:
        fail(f"{container.name} runs as {fields['Uid']}")
    if int(fields["CapEff"], 16) or fields["NoNewPrivs"] != "1":
        fail(f"{container.name} has capabilities {fields['CapEff']}")
    if fields["Groups"].split() not in ([], [user]):
        fail(f"{container.name} is in the groups {fields['Groups']}")
    # Everybody may write there, if anybody may.
    tried = engine.run(container, ["/usr/bin/kms-sim", "init-root", "--file", "/tmp/root.key"])
    if tried.returncode == 0 or "Read-only file system" not in tried.stderr:
        fail(f"the root of {container.name} is not read-only: {tried.stderr}")


def ready(engine, server):
    until(f"{server.name} serves", lambda: engine.health(server).returncode == 0)


def first_start(engine, layout, manager):
    for server in layout.servers:
        engine.start(server, manager.of(server))
    for server in layout.servers:
        until(f"{server.name} lives", lambda s=server: engine.health(s, "--live").returncode == 0)
        confined(engine, server)
    first = layout.nodes[0]
    manager.hears("READY=1")
    # They wait, and say so.
    waiting = engine.health(first)
    if waiting.returncode != 1 or "replica: " not in waiting.stderr:
        fail(f"a node before the first start: {waiting.returncode} {waiting.stderr}")

    formed = engine.run(layout.init, layout.init.command)
    if formed.returncode != 0:
        fail(f"the cluster is not formed: {formed.stderr}")
    for server in layout.servers:
        ready(engine, server)
    manager.hears("STATUS=ready")
    # Once more, by mistake: a clear sentence, and nothing broken.
    again = engine.run(layout.init, layout.init.command)
    if again.returncode == 0 or "exists" not in again.stderr:
        fail(f"a second start: {again.returncode} {again.stderr}")
    return re.search(r"^folder_id: (\S+)$", formed.stdout, re.MULTILINE)[1]


class Client:
    """The command line, as the administrator."""

    def __init__(self, engine, layout, folder):
        self.engine, self.layout = engine, layout
        key, ca = layout.init.flag("--admin-key"), layout.init.flag("--ca")
        self.who = [f"--ca={ca}", f"--sa-key={key}", f"--folder-id={folder}"]

    def run(self, endpoint, *command):
        line = [layouts.PROGRAM, *command, f"--endpoint={endpoint}", *self.who]
        done = self.engine.run(self.layout.init, line)
        if done.returncode != 0:
            fail(f"{' '.join(command[:2])} at {endpoint}: {done.stderr}")
        return done.stdout

    def writes(self):
        payload = json.dumps([{"key": "password", "text_value": "of-the-image"}])
        command = ["secret", "create", "--name", "first", "--payload", payload]
        self.run(self.layout.endpoints[0], *command)

    def reads(self):
        """What one node has taken is at each of them."""
        for endpoint in self.layout.endpoints:
            value = self.run(endpoint, "payload", "get", "--name", "first", "--key", "password")
            if value.strip() != "of-the-image":
                fail(f"{endpoint} answers {value!r}")


class Manager:
    """Hears what the first node tells a service manager, as systemd would."""

    def __init__(self, node):
        self.node = node
        data, inside, _ = next(mount for mount in node.mounts if mount[1] == "/var/lib/lockbox")
        self.inside = f"{inside}/notify"
        path = Path(data) / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        # The path may be longer than the address of a socket.
        here = os.getcwd()
        os.chdir(data)
        self.socket.bind("notify")
        os.chdir(here)
        path.chmod(0o777)
        self.said = queue.Queue()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        # All the time: the socket's own queue is short, and who finds it full is held up.
        while True:
            for line in self.socket.recv(4096).decode().split("\n"):
                self.said.put(line)

    def of(self, server):
        """What a server finds of it in its environment."""
        return {"NOTIFY_SOCKET": self.inside} if server is self.node else {}

    def hears(self, wanted):
        while True:
            try:
                line = self.said.get(timeout=PATIENCE_S)
            except queue.Empty:
                fail(f"the service manager is not told {wanted}")
            if line == wanted:
                return


def try_layout(root, work, layout):
    work.mkdir(exist_ok=True)
    engine, manager = Engine(root, work, layout), Manager(layout.nodes[0])
    client = Client(engine, layout, first_start(engine, layout, manager))
    client.writes()
    client.reads()
    # One by one, as an update goes: each on the data that it has made.
    for server in layout.servers:
        engine.stop(server)
        engine.start(server, manager.of(server))
        ready(engine, server)
    manager.hears("STOPPING=1")
    manager.hears("READY=1")
    client.reads()
    engine.stop(*layout.servers)
    manager.hears("STOPPING=1")
    print(f"{layout.name}: formed, served, restarted and ended, with a read-only root and no rights")


def main(root, work):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    by_hand = layouts.by_hand(work / "by-hand", root / "usr/bin")
    try_layout(root, work / "by-hand", by_hand)
    secrets = work / "compose-secrets"
    subprocess.run([str(layouts.DEPLOY / "compose/prepare.sh")], check=True,
                   env={**os.environ, "LOCKBOX_SECRETS": str(secrets)})
    try_layout(root, work / "compose", layouts.compose(work / "compose", secrets))
    make = [str(layouts.DEPLOY / "kubernetes/secrets.sh"), str(work / "secrets")]
    made = "".join(subprocess.run([*make, *of], check=True, capture_output=True, text=True).stdout
                   for of in ([], ["admin"]))
    try_layout(root, work / "kubernetes", layouts.kubernetes(work / "kubernetes", made))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
