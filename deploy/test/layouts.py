"""What compose.yaml and the manifests describe, as containers to start. Starts nothing itself."""

import base64
import json
import os
import re
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

    @property
    def config(self):
        """The file that the server is started with."""
        flags = " ".join(self.command)
        return re.search(r"--config[= ](\S+)", flags)[1]


@dataclass
class Layout:
    """Servers, the command that forms the cluster, and the names by which all know each other."""

    name: str
    kms: Container
    nodes: list
    init: Container
    # Names of a container, by the container's name.
    hosts: dict
    # Where a client finds each node, and what it trusts.
    endpoints: list


def directory(path):
    """One that a container may write to."""
    path.mkdir(parents=True, exist_ok=True)
    os.chown(path, USER_ID, USER_ID)
    return path


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
        os.chown(path, 0, USER_ID)
        path.chmod(mode)

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
