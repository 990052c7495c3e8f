"""Images, compose file and manifests are what they promise: small rights, no secrets in them, and commands that exist."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_lines import parse

from pinchpoint import config

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed: make setup")

DOCKER = Path(__file__).parent.parent / "docker"
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
BASE = DOCKER / "kubernetes" / "base"
MANIFESTS = sorted(BASE.glob("*.yaml"))
COMPOSE = yaml.safe_load((DOCKER / "compose.yml").read_text(encoding="utf-8"))
OURS = ("pinchpoint-agent", "pinchpoint-analysis", "pinchpoint-worker")


def documents() -> list[dict[str, Any]]:
    return [document for path in MANIFESTS for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]


def pod_specs() -> Iterator[tuple[str, dict[str, Any]]]:
    for document in documents():
        spec = document.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            yield document["metadata"]["name"], spec["template"]["spec"]


def containers() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for name, spec in pod_specs():
        for container in spec["containers"]:
            yield name, spec, container


def ours() -> list[tuple[str, dict[str, Any]]]:
    return [(name, service) for name, service in COMPOSE["services"].items() if service["image"].startswith(OURS)]


def stages(path: Path) -> list[list[list[str]]]:
    """The instructions of each stage of a Dockerfile, as words."""
    text = re.sub(r"\\\n", " ", "\n".join(line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")))
    found: list[list[list[str]]] = []
    for line in text.splitlines():
        words = line.split(maxsplit=1)
        if words and words[0] == "FROM":
            found.append([])
        if words and found:
            found[-1].append(words)
    return found


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_is_built_in_stages_and_runs_as_nobody(path: Path) -> None:
    """What builds is not in the image, the user is a number that is not root's, and what is inside is listed."""
    of_file = stages(path)
    users = [words[1] for stage in of_file[1:] for words in stage if words[0] == "USER"]

    assert len(of_file) >= 2
    assert users == ["10001:10001"]
    assert "sbom.json" in path.read_text(encoding="utf-8")
    assert any(words[0] == "HEALTHCHECK" for stage in of_file[1:] for words in stage)
    assert not any(words[0] == "ADD" for stage in of_file for words in stage)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_what_an_image_copies_is_there(path: Path) -> None:
    """Each file that is copied exists, and the build may see it."""
    seen = (DOCKER.parent / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for stage in stages(path):
        for words in stage:
            if words[0] == "COPY" and not words[1].startswith("--from"):
                for source in words[1].split()[:-1]:
                    assert (DOCKER.parent / source).exists(), source
                    assert f"!{source}" in seen


def test_the_agent_has_nothing_of_the_analysis() -> None:
    """The image of the agent installs the shipping extra, that of the analysis the other one."""
    agent, worker = ((DOCKER / f"{name}.Dockerfile").read_text(encoding="utf-8") for name in ("agent", "worker"))

    assert "'.[ship,kubernetes]'" in agent
    assert "analyze]" not in agent
    assert "'.[analyze]'" in worker
    assert "/opt/apache/beam/boot" in worker


def test_no_image_is_the_latest() -> None:
    """Every image has a version: in Dockerfiles, in the compose file and in the manifests."""
    named = [words.group(1) for path in DOCKERFILES for words in re.finditer(r"^ARG \w+=(\S+/\S+)$", path.read_text("utf-8"), re.MULTILINE)]
    named += [service["image"] for service in COMPOSE["services"].values()]
    kustomization = yaml.safe_load((BASE / "kustomization.yaml").read_text(encoding="utf-8"))
    versions = {image["name"]: image["newTag"] for image in kustomization["images"]}

    assert [name for name in named if ":" not in name or name.endswith(":latest")] == []
    assert [container["image"] for _, _, container in containers() if container["image"] not in versions] == []
    assert "latest" not in versions.values()


def test_no_secret_is_written_down() -> None:
    """Passwords and keys come from files that are made, never from these files."""
    for path in [*DOCKERFILES, DOCKER / "compose.yml", *MANIFESTS, *DOCKER.glob("*.toml"), *BASE.glob("*.toml")]:
        for line in path.read_text(encoding="utf-8").splitlines():
            found = re.search(r"(?i)(password|api_key|token|secret)\w*\s*[:=]\s*[\"']?([^\s\"'{\[]+)", line)
            harmless = found is None or found[2].startswith(("/", "$", "secrets/", "false")) or found[1].lower() == "secret"
            assert harmless, f"{path.name}: {line}"


def test_compose_keeps_to_itself() -> None:
    """Ports are open on loopback alone, our services have a read-only root, no capability and a user that is not root."""
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", ())]

    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []
    assert [name for name, service in COMPOSE["services"].items() if service["cap_drop"] != ["ALL"]] == []
    for name, service in ours():
        assert (service["read_only"], service["user"]) == (True, "10001:10001"), name
        assert "no-new-privileges:true" in service["security_opt"]
    # the one that gives the volume of the keys away: without network, and with that right alone
    assert [name for name, service in COMPOSE["services"].items() if service["user"].startswith("0")] == ["keys-folder"]
    assert COMPOSE["services"]["keys-folder"]["network_mode"] == "none"


def test_pods_have_small_rights() -> None:
    """No root, a read-only root, no capability, no token, bounded memory; folders of the host only to read, but for the agent's own."""
    for name, spec, container in containers():
        security = container["securityContext"]
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] == 10001
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert (security["readOnlyRootFilesystem"], security["allowPrivilegeEscalation"]) == (True, False)
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
        assert "memory" in container["resources"]["limits"]
        of_host = {volume["name"]: volume["hostPath"]["path"] for volume in spec["volumes"] if "hostPath" in volume}
        for mount in container["volumeMounts"]:
            if mount["name"] in of_host:
                assert mount.get("readOnly") or of_host[mount["name"]] == "/var/lib/pinchpoint"
    assert not [document for document in documents() if document["kind"] in ("ClusterRole", "ClusterRoleBinding", "Role")]


def test_a_network_policy_covers_every_pod() -> None:
    """Nothing may come in, and only names and the store are asked."""
    [policy] = [document for document in documents() if document["kind"] == "NetworkPolicy"]

    assert (policy["spec"]["podSelector"], policy["spec"]["ingress"]) == ({}, [])
    assert {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]} == {53, 443, 9200}


def commands() -> list[list[str]]:
    found = [service["command"] for _, service in ours()] + [container["args"] for _, _, container in containers()]
    for path in DOCKERFILES:
        for stage in stages(path):
            found += [yaml.safe_load(words[1]) for words in stage if words[0] == "CMD" and words[1] != "[]"]
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_exists(words: list[str]) -> None:
    """What containers run is a command of ours with options of its own."""
    parse(words)


@pytest.mark.parametrize("path", [DOCKER / "agent.toml", BASE / "agent.toml"], ids=lambda path: str(path.relative_to(DOCKER)))
def test_the_settings_are_known(path: Path) -> None:
    """No setting of the agent's files is misspelt, and each has the page that its health check asks."""
    loaded = config.load(path)

    assert loaded.ship.self.listen == "127.0.0.1:9464"
    assert loaded.ship.files


def test_variables_are_known() -> None:
    """Each variable of ours in these files is one that the code reads."""
    code = "".join(path.read_text(encoding="utf-8") for package in ("pinchpoint", "shippers", "pipelines")
                   for path in (DOCKER.parent / package).rglob("*.py"))
    known = set(re.findall(r"PINCHPOINT_[A-Z_]+", code))
    for prefix in ("PINCHPOINT_ES_", "PINCHPOINT_KIBANA_"):
        known |= {f"{prefix}{name}{end}" for name in ("API_KEY", "USERNAME", "PASSWORD") for end in ("", "_FILE")} | {f"{prefix}CA_FILE"}
    files = [*DOCKERFILES, DOCKER / "compose.yml", *MANIFESTS]
    used = {name for path in files for name in re.findall(r"PINCHPOINT_[A-Z_]+", path.read_text("utf-8"))}

    assert used - known == set()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_secrets_are_made_once(tmp_path: Path) -> None:
    """Each host makes secrets of its own; a second call changes none, and the folder is for its owner alone."""
    script = shutil.copy(DOCKER / "secrets.sh", tmp_path)
    made = []
    for _ in range(2):
        subprocess.run(["sh", str(script)], check=True, capture_output=True)
        made.append({path.name: path.read_bytes() for path in (tmp_path / "secrets").iterdir()})

    assert made[0] == made[1]
    assert len(made[0]["elastic_password"].strip()) == 48
    assert made[0]["elastic_password"] != made[0]["kibana_password"]
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    needed = {Path(source["file"]).name for source in COMPOSE["secrets"].values()}
    needed |= {Path(file).name for service in COMPOSE["services"].values() for file in service.get("env_file", ())}
    assert needed <= made[0].keys()


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize("overlay", ["base", "nvidia"])
def test_kustomize_builds(overlay: str) -> None:
    """The manifests come out whole; hosts of NVIDIA get its runtime."""
    words = ["kubectl", "kustomize", str(DOCKER / "kubernetes" / overlay)]
    built = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    kinds = sorted(document["kind"] for document in yaml.safe_load_all(built))

    assert kinds == ["ConfigMap", "ConfigMap", "CronJob", "DaemonSet", "Job", "Namespace", "NetworkPolicy", "ServiceAccount"]
    assert ("runtimeClassName: nvidia" in built) == (overlay == "nvidia")
