"""The Kubernetes manifests: that the API would take them, and that they fit together.

    manifests.py SECRETS    a file with what kubernetes/secrets.sh has printed, with and without `admin`

The schemas are those of kubernetes-validate, which ships them; unknown fields are refused. What no
schema sees is checked by hand: names that refer to each other, the confinement of each container,
and that certificates, node ids and addresses agree in all places where they stand.
"""

import base64
import copy
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml

HERE = Path(__file__).resolve().parent
MANIFESTS = HERE.parent / "kubernetes"
# The oldest release that has all that is used, and the newest that the package knows.
VERSIONS = ("1.31", "1.37")
OF_OPERATORS = "external-secrets.yaml"
NO_RESOURCES = ("kustomization.yaml",)
PODS = {"StatefulSet", "Job"}


def load(text):
    return [document for document in yaml.safe_load_all(text) if document]


def name(resource):
    return f"{resource['kind']}/{resource['metadata']['name']}"


class Checks:
    """What is wrong, all of it."""

    def __init__(self):
        self.problems = []

    def that(self, holds, problem):
        if not holds:
            self.problems.append(problem)


def schema_error(resource, version):
    try:
        kubernetes_validate.validate(resource, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(str(part) for part in error.path)}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError as error:
        return str(error.message)
    return None


def schemas(checks, resources):
    for resource in resources:
        for version in VERSIONS:
            error = schema_error(resource, version)
            checks.that(error is None, f"{name(resource)} in {version}: {error}")
    # That a slip would be seen.
    slip = copy.deepcopy(next(r for r in resources if r["kind"] == "StatefulSet"))
    slip["spec"]["replica"] = slip["spec"].pop("replicas")
    checks.that(schema_error(slip, VERSIONS[-1]), "the schemas take an unknown field")


def operators(checks):
    schema = json.loads((HERE / "external-secrets.schema.json").read_text())
    documents = load((MANIFESTS / OF_OPERATORS).read_text())
    validator = jsonschema.Draft202012Validator(schema)
    for document in documents:
        for error in validator.iter_errors(document):
            checks.that(False, f"{OF_OPERATORS}, {name(document)}: {error.message}")
    store, secret = documents
    reference = secret["spec"]["secretStoreRef"]
    checks.that(reference["name"] == store["metadata"]["name"], "the ExternalSecret names no store")
    slip = copy.deepcopy(store)
    slip["spec"]["provider"]["yandexlockbox"]["endpoint"] = "a:1"
    checks.that(not validator.is_valid(slip), "the schema of the operator takes an unknown field")
    return store["spec"]["provider"]["yandexlockbox"]["apiEndpoint"]


def pod(resource):
    return resource["spec"]["template"]["spec"]


def labels(resource):
    return resource["spec"]["template"]["metadata"]["labels"]


def containers(resource):
    spec = pod(resource)
    return spec.get("initContainers", []) + spec["containers"]


def confined(checks, resource):
    of_pod = pod(resource)["securityContext"]
    checks.that(of_pod.get("runAsNonRoot") is True and of_pod.get("runAsUser", 0) > 0,
                f"{name(resource)} may run as root")
    checks.that(of_pod.get("seccompProfile") == {"type": "RuntimeDefault"},
                f"{name(resource)} has no seccomp profile")
    for container in containers(resource):
        who = f"{name(resource)}, {container['name']}"
        context = container.get("securityContext", {})
        checks.that(context.get("allowPrivilegeEscalation") is False, f"{who} may get privileges")
        checks.that(context.get("readOnlyRootFilesystem") is True, f"{who} may write to its root")
        checks.that(context.get("capabilities") == {"drop": ["ALL"]}, f"{who} has capabilities")
        checks.that("memory" in container.get("resources", {}).get("limits", {}),
                    f"{who} has no limit of memory")


def references(checks, resource, config_maps, secrets):
    spec = pod(resource)
    claims = resource["spec"].get("volumeClaimTemplates", [])
    volumes = {volume["name"] for volume in spec["volumes"]}
    volumes |= {claim["metadata"]["name"] for claim in claims}
    mounted = set()
    for container in containers(resource):
        ports = {port["name"] for port in container.get("ports", [])}
        for mount in container.get("volumeMounts", []):
            mounted.add(mount["name"])
            checks.that(mount["name"] in volumes, f"{name(resource)} has no volume {mount['name']}")
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container.get(probe, {}).get("httpGet", {}).get("port", "metrics")
            checks.that(not ports or asked in ports, f"{name(resource)}: {probe} asks {asked}")
    checks.that(mounted == volumes, f"{name(resource)} mounts {mounted} of {volumes}")
    for volume in spec["volumes"]:
        wanted = volume.get("configMap", {}).get("name")
        checks.that(wanted is None or wanted in config_maps, f"there is no ConfigMap {wanted}")
        sources = [source["secret"] for source in volume.get("projected", {}).get("sources", [])]
        if "secret" in volume:
            sources.append({"name": volume["secret"]["secretName"]})
        for source in sources:
            keys = secrets.get(source["name"], {})
            checks.that(keys, f"secrets.sh makes no Secret {source['name']}")
            for item in source.get("items", []):
                checks.that(item["key"] in keys, f"{source['name']} has no {item['key']}")


def selected(selector, workloads):
    wanted = selector.get("matchLabels", selector)
    return [w for w in workloads if wanted.items() <= labels(w).items()]


def port_names(workloads):
    return {port["name"]: port["containerPort"]
            for w in workloads for c in containers(w) for port in c.get("ports", [])}


def selectors(checks, resources, workloads):
    for resource in resources:
        spec = resource.get("spec", {})
        if resource["kind"] in {"Service", "PodDisruptionBudget"}:
            found = selected(spec["selector"], workloads)
            checks.that(len(found) == 1, f"{name(resource)} selects {[name(w) for w in found]}")
        if resource["kind"] == "Service":
            known = port_names(found)
            for port in spec["ports"]:
                checks.that(known.get(port["targetPort"]) == port["port"],
                            f"{name(resource)}: there is no port {port['name']} {port['port']}")
        if resource["kind"] == "StatefulSet":
            checks.that(spec["selector"]["matchLabels"].items() <= labels(resource).items(),
                        f"{name(resource)} does not select its own pods")
        if resource["kind"] == "NetworkPolicy":
            network_policy(checks, resource, workloads)


def network_policy(checks, resource, workloads):
    found = selected(resource["spec"]["podSelector"], workloads)
    checks.that(found, f"{name(resource)} selects nothing")
    for rule in resource["spec"].get("ingress", []):
        for port in rule["ports"]:
            checks.that(port["port"] in port_names(found),
                        f"{name(resource)} lets in at {port['port']}, where nobody listens")
    for rule in resource["spec"].get("egress", []):
        for peer in rule.get("to", []):
            if "podSelector" not in peer:
                continue
            targets = selected(peer["podSelector"], workloads)
            checks.that(targets, f"{name(resource)} lets out to nobody")
            for port in rule["ports"]:
                checks.that(port["port"] in port_names(targets).values(),
                            f"{name(resource)} lets out to {port['port']}, where nobody listens")


def names_in(certificate):
    command = ["openssl", "x509", "-noout", "-ext", "subjectAltName"]
    text = subprocess.run(command, input=certificate, capture_output=True, check=True).stdout
    return {part.strip().removeprefix("DNS:") for part in text.decode().split("\n")[1].split(",")}


def host(address):
    return address.rsplit(":", 1)[0]


def cluster(checks, by_name, config_maps, secrets, endpoint):
    """Who is which node, in all the places that say it."""
    nodes = by_name["StatefulSet/lockbox"]
    spec = nodes["spec"]
    checks.that(spec["podManagementPolicy"] == "Parallel", "at the first start pods wait for others")
    service = by_name["Service/lockbox-nodes"]["spec"]
    checks.that(service["clusterIP"] == "None" and service["publishNotReadyAddresses"] is True,
                "nodes do not find each other before they are ready")
    checks.that(by_name["PodDisruptionBudget/lockbox"]["spec"]["maxUnavailable"] == 1,
                "a drain may take the quorum")
    apart = pod(nodes)["affinity"]["podAntiAffinity"]
    rules = apart["requiredDuringSchedulingIgnoredDuringExecution"]
    checks.that(any(rule["topologyKey"] == "kubernetes.io/hostname"
                    and selected(rule["labelSelector"], [nodes]) for rule in rules),
                "two nodes may be on one machine")

    configs = {key: tomllib.loads(text) for key, text in config_maps["lockbox-nodes"].items()}
    pods = [f"lockbox-{ordinal}" for ordinal in range(spec["replicas"])]
    checks.that(sorted(configs) == [f"{pod}.toml" for pod in pods],
                f"there are configurations {sorted(configs)} for the pods {pods}")
    ids = [config["node_id"] for config in configs.values()]
    checks.that(len(set(ids)) == len(ids), f"node ids {ids} are not different")
    members, introspected = [], []
    for name_of_pod in pods:
        config = configs[f"{name_of_pod}.toml"]
        certificate = names_in(secrets[f"{name_of_pod}-tls"]["tls.pem"])
        peer, api = config["peer"]["advertise"], config["api"]["advertise"]
        own = f"node-{config['node_id']}.lockbox.internal"
        for needed in (own, host(peer), host(api)):
            checks.that(needed in certificate, f"the certificate of {name_of_pod} lacks {needed}")
        checks.that(host(peer) == f"{name_of_pod}.lockbox-nodes.lockbox.svc",
                    f"{name_of_pod} says of itself that it is {peer}")
        checks.that(api == endpoint, f"clients are told {api}, the operator {endpoint}")
        members.append(f"--member={config['node_id']}={peer},{host(peer)}:8443")
        introspected.append({"address": peer, "server_name": own})
    init = pod(by_name["Job/lockbox-init"])["initContainers"][0]["args"]
    checks.that([a for a in init if a.startswith("--member=")] == members,
                f"the cluster is formed of other members than {members}")

    kms = tomllib.loads(config_maps["lockbox-kms"]["kms.toml"])
    checks.that(kms["cluster"]["nodes"] == introspected, "the KMS asks other nodes")
    certificate = names_in(secrets["lockbox-kms-tls"]["tls.pem"])
    for config in configs.values():
        for needed in ("kms.lockbox.internal", host(config["kms"]["address"])):
            checks.that(needed in certificate, f"the certificate of the KMS lacks {needed}")


def main(secrets_file):
    checks = Checks()
    files = [path for path in sorted(MANIFESTS.glob("*.yaml")) if path.name not in NO_RESOURCES]
    core = [path for path in files if path.name != OF_OPERATORS]
    made = load(Path(secrets_file).read_text())
    resources = [document for path in core for document in load(path.read_text())]
    schemas(checks, resources + made)
    endpoint = operators(checks)

    listed = load((MANIFESTS / "kustomization.yaml").read_text())[0]["resources"]
    apart = {"init.yaml", OF_OPERATORS, *NO_RESOURCES}
    checks.that({path.name for path in files} - apart == set(listed),
                f"kustomization.yaml lists {listed}")
    by_name = {name(resource): resource for resource in resources}
    checks.that(len(by_name) == len(resources), "two resources have one name")
    workloads = [resource for resource in resources if resource["kind"] in PODS]
    config_maps = {r["metadata"]["name"]: r["data"] for r in resources if r["kind"] == "ConfigMap"}
    secrets = {r["metadata"]["name"]: {key: base64.b64decode(value)
                                       for key, value in r["data"].items()} for r in made}
    for workload in workloads:
        confined(checks, workload)
        references(checks, workload, config_maps, secrets)
    selectors(checks, resources, workloads)
    cluster(checks, by_name, config_maps, secrets, endpoint)
    for problem in checks.problems:
        print(f"manifests.py: {problem}", file=sys.stderr)
    if checks.problems:
        sys.exit(1)
    print(f"{len(resources) + len(made)} resources are what Kubernetes {' and '.join(VERSIONS)} "
          "take, and fit together")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
