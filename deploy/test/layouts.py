"""What units, compose.yaml and manifests describe, as containers to start. Starts nothing itself."""

import base64
import json
import os
import re
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import yaml

DEPLOY = Path(__file__).resolve().parent.parent
# What the image runs when nobody says anything else.
DOCKERFILE = (DEPLOY / "image/Dockerfile").read_text()
[PROGRAM] = json.loads(re.search(r"^ENTRYPOINT (.*)$", DOCKERFILE, re.MULTILINE)[1])
COMMAND = json.loads(re.search(r"^CMD (.*)$", DOCKERFILE, re.MULTILINE)[1])
USER_ID = 65532


@dataclass
class Container:
    """One container: what runs in it, and what is mounted where."""

    name: str
    command: list
    environment: dict = field(default_factory=dict)
    # Sources outside, targets inside, and whether the container may write there.
    mounts: list = field(default_factory=list)
    # What the layout itself asks for its health by, if it does.
    health: list = field(default_factory=list)

    @property
    def is_kms(self):
        return self.command[0].endswith("kms-sim")

    def flag(self, name):
        """What the command is told by a flag."""
        line = [part for argument in self.command for part in argument.split("=", 1)]
        return line[line.index(name) + 1]


@dataclass
class Layout:
    """Servers, the command that forms the cluster, and the names by which all know each other."""

    name: str
    kms: Container
    nodes: list
    init: Container
    # Names of a container, by the container's name.
    hosts: dict
    # Where a client finds each node.
    endpoints: list

    @property
    def servers(self):
        return [self.kms, *self.nodes]


def directory(path):
    """One that a container may write to."""
    path.mkdir(parents=True, exist_ok=True)
    os.chown(path, USER_ID, USER_ID)
    return path


def owned(path, mode):
    """A file of root's, for the group of the servers."""
    os.chown(path, 0, USER_ID)
    path.chmod(mode)


# === By hand ===

def shown(page, begins):
    """The command of a page that begins so, with its continuation lines."""
    text = (DEPLOY.parent / "docs" / page).read_text().replace("\\\n", " ")
    line = next(line for line in text.split("\n") if line.startswith(begins))
    return shlex.split(line, comments=True)


def by_hand(work, programs):
    """What docs/deployment.md says, with a server's user of another number."""
    secrets = work / "secrets"
    line = shown("deployment.md", "deploy/certificates.sh secrets ")
    subprocess.run([str(DEPLOY / "certificates.sh"), str(secrets), *line[2:]], check=True)

    def server(unit, config, sources):
        """A unit's command, with its configuration, its certificates and its data."""
        start = (DEPLOY / "systemd" / unit).read_text()
        command = re.search(r"^ExecStart=(.*)$", start, re.MULTILINE)[1].split()
        state = re.search(r"^StateDirectory=(.*)$", start, re.MULTILINE)[1]
        name, text = config
        at = work / name
        at.mkdir(parents=True)
        place = Path(command[-1])
        (at / place.name).write_text(text)
        for file in secrets.joinpath(name).iterdir():
            owned(file, 0o640)
        secrets.joinpath(name).chmod(0o755)
        data = directory(at / "data")
        mounts = [(at / place.name, str(place), False), (data, f"/var/lib/{state}", True),
                  (secrets / name, str(place.parent / "tls"), False), *sources]
        return Container(name, command, {}, mounts)

    template = (DEPLOY / "systemd/node.toml").read_text()
    nodes = []
    for number in (1, 2, 3):
        text = template.replace("node_id = 1", f"node_id = {number}")
        text = text.replace("node-1.", f"node-{number}.")
        nodes.append(server("lockbox-node.service", (f"node-{number}", text), []))

    # systemd hands a credential over as root's, with an access list that shows as the group's bits.
    credentials = work / "credentials"
    credentials.mkdir()
    root_key = credentials / "root.key"
    made = [str(programs / "kms-sim"), "init-root", "--file", str(root_key)]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
    owned(root_key, 0o440)
    of_kms = [(credentials, "/run/credentials/lockbox-kms.service", False)]
    kms_text = (DEPLOY / "systemd/kms.toml").read_text()
    kms = server("lockbox-kms.service", ("kms", kms_text), of_kms)

    command = shown("deployment.md", "lockbox cluster init --endpoint node-1.example.org")
    admin = secrets / "admin"
    for path in (admin, *admin.iterdir()):
        owned(path, 0o750)
    mounts = [(secrets / "ca.pem", "/ca.pem", False), (admin, "/admin", False),
              (directory(work / "administrator"), "/administrator", True)]
    init = Container("init", [PROGRAM, *command[1:]], {}, mounts)
    names = {server.name: [f"{server.name}.example.org"] for server in (kms, *nodes)}
    return Layout("by hand", kms, nodes, init, names,
                  [f"node-{number}.example.org:8443" for number in (1, 2, 3)])


# === compose.yaml ===

def compose(work, secrets):
    text = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text())

    def container(name):
        service = text["services"][name]
        mounts = []
        for volume in service["volumes"]:
            source, target, *mode = volume.split(":")
            if source.startswith("./secrets/"):
                source = secrets / source.removeprefix("./secrets/")
            elif source.startswith("./"):
                source = DEPLOY / "compose" / source
            else:
                assert source in text["volumes"], f"there is no volume {source}"
                source = directory(work / "volumes" / source)
            mounts.append((source, target, mode != ["ro"]))
        for rule, wanted in (("read_only", True), ("cap_drop", ["ALL"]),
                             ("security_opt", ["no-new-privileges:true"]),
                             ("user", f"{USER_ID}:{USER_ID}")):
            assert service[rule] == wanted, f"{name}: {rule} is {service[rule]}"
        test = service["healthcheck"].get("test", ["CMD"])
        assert test[0] == "CMD", f"{name}: the image has no shell for its health check"
        command = service.get("entrypoint", [PROGRAM]) + service.get("command", COMMAND)
        return Container(name, command, service.get("environment", {}), mounts, test[1:])

    nodes = [container(f"node-{n}") for n in (1, 2, 3)]
    return Layout(
        "compose.yaml", container("kms"), nodes, container("init"),
        {name: [name] for name in ("kms", "node-1", "node-2", "node-3")},
        [f"node-{n}:8443" for n in (1, 2, 3)],
    )


# === Kubernetes ===

class Kubelet:
    """Lays out volumes as a kubelet does, with the files of secrets as root's with the pod's group."""

    def __init__(self, work, made):
        self.work = work
        files = [p for p in (DEPLOY / "kubernetes").glob("*.yaml")
                 if p.name not in {"kustomization.yaml", "external-secrets.yaml"}]
        documents = [d for p in files for d in yaml.safe_load_all(p.read_text()) if d]
        documents += [d for d in yaml.safe_load_all(made) if d]
        self.resources = {(d["kind"], d["metadata"]["name"]): d for d in documents}

    def write(self, path, content, mode):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        owned(path, mode)

    def secret(self, name, at, items=None):
        data = self.resources[("Secret", name)]["data"]
        for item in items or [{"key": key, "path": key} for key in data]:
            # With an fsGroup, a defaultMode of 0400 comes out as this.
            self.write(at / item["path"], base64.b64decode(data[item["key"]]), 0o440)

    def volume(self, pod, volume):
        at = self.work / pod / volume["name"]
        at.mkdir(parents=True, exist_ok=True)
        if "configMap" in volume:
            config_map = self.resources[("ConfigMap", volume["configMap"]["name"])]
            for key, text in config_map["data"].items():
                self.write(at / key, text.encode(), 0o644)
        for source in volume.get("projected", {}).get("sources", []):
            self.secret(source["secret"]["name"], at, source["secret"]["items"])
        if "secret" in volume:
            self.secret(volume["secret"]["secretName"], at)
        if "emptyDir" in volume:
            directory(at)
        return at

    def container(self, resource, pod, which):
        spec = resource["spec"]["template"]["spec"]
        volumes = {v["name"]: self.volume(pod, v) for v in spec["volumes"]}
        for claim in resource["spec"].get("volumeClaimTemplates", []):
            claim = claim["metadata"]["name"]
            volumes[claim] = directory(self.work / pod / claim)

        def expanded(text):
            return text.replace("$(POD_NAME)", pod)

        mounts = []
        for mount in which["volumeMounts"]:
            source = volumes[mount["name"]] / expanded(mount.get("subPathExpr", ""))
            mounts.append((source, mount["mountPath"], not mount.get("readOnly", False)))
        command = which.get("command", [PROGRAM]) + [expanded(a) for a in which["args"]]
        return Container(pod, command, {}, mounts)


def kubernetes(work, made):
    kubelet = Kubelet(work, made)
    nodes, kms = (kubelet.resources[("StatefulSet", name)] for name in ("lockbox", "lockbox-kms"))
    job = kubelet.resources[("Job", "lockbox-init")]

    def first(resource):
        return resource["spec"]["template"]["spec"]["containers"][0]

    pods = [f"lockbox-{ordinal}" for ordinal in range(nodes["spec"]["replicas"])]
    hosts = {pod: [f"{pod}.lockbox-nodes.lockbox.svc"] for pod in pods}
    # The service leads to some node.
    hosts[pods[0]].append("lockbox.lockbox.svc")
    hosts["lockbox-kms-0"] = ["lockbox-kms.lockbox.svc"]
    init = job["spec"]["template"]["spec"]["initContainers"][0]
    return Layout(
        "Kubernetes", kubelet.container(kms, "lockbox-kms-0", first(kms)),
        [kubelet.container(nodes, pod, first(nodes)) for pod in pods],
        kubelet.container(job, "lockbox-init", init), hosts,
        ["lockbox.lockbox.svc:8443"] + [f"{pod}.lockbox-nodes.lockbox.svc:8443" for pod in pods[1:]],
    )
