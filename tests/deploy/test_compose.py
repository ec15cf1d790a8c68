"""compose.yaml, its .env.example and the Dockerfiles, as far as no image need be built."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.demo import stack
from worker.settings import PREFIX, Settings

DEPLOY = stack.ROOT / "deploy"
COMPOSE = DEPLOY / "compose.yaml"
EXAMPLE = DEPLOY / ".env.example"
IMAGES = DEPLOY / "images"
DOCKERFILES = sorted(IMAGES.glob("*/Dockerfile"))
TEMPLATE = DEPLOY / "nginx" / "lumbar.conf.template"
PASSWORDS = {"LUMBAR_PASSWORD": "for-people", "LUMBAR_ORTHANC_PASSWORD": "for-the-worker"}

Composed = Callable[[Mapping[str, str]], subprocess.CompletedProcess[str]]


@pytest.fixture
def composed(program, tmp_path: Path) -> Composed:
    """What docker-compose makes of the file with these variables and no others."""
    tool = program("docker-compose", "docker-compose")

    def run(variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        given = tmp_path / "given.env"
        given.write_text("".join(f"{name}='{value}'\n" for name, value in variables.items()))
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith((PREFIX, "COMPOSE_", "PIP_"))
        }
        command = [tool, "--file", COMPOSE, "--env-file", given, "config"]
        return subprocess.run(command, env=clean, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def services(composed: Composed) -> dict[str, Any]:
    """The services with nothing but the passwords given."""
    run = composed(PASSWORDS)
    assert run.returncode == 0, run.stderr
    content: dict[str, Any] = yaml.safe_load(run.stdout)
    return content["services"]


def example() -> dict[str, str]:
    """The variables of .env.example, those behind a # too, with their values."""
    lines = re.findall(r"^(?:# )?([A-Z_]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE)
    assert len(dict(lines)) == len(lines)
    return dict(lines)


def copies(dockerfile: Path) -> list[tuple[list[str], str]]:
    """The sources, within the repository, and the destination of every COPY."""
    text = dockerfile.read_text().replace("\\\n", " ")
    found = [shlex.split(line)[1:] for line in text.splitlines() if line.startswith("COPY ")]
    return [(words[:-1], words[-1]) for words in found if not words[0].startswith("--from")]


def test_the_four_services_restart_and_tell_their_health(services):
    """Each of the four comes back by itself and has a health check; the others wait for it."""
    assert set(services) == {"orthanc", "redis", "worker", "viewer"}
    for service in services.values():
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"]
        for needed in service.get("depends_on", {}).values():
            assert needed["condition"] == "service_healthy"


def test_only_the_viewer_and_dicom_are_published_and_to_this_machine(services):
    """Without a word in .env nothing can be reached from another machine."""
    published = {name: service.get("ports", []) for name, service in services.items()}
    assert published == {
        "orthanc": ["127.0.0.1:4242:4242/tcp"],
        "redis": [],
        "worker": [],
        "viewer": ["127.0.0.1:8080:8080/tcp"],
    }


def test_the_worker_and_redis_have_no_way_out(services, composed):
    """What holds pixels and study ids is on a network that leads nowhere else."""
    networks = yaml.safe_load(composed(PASSWORDS).stdout)["networks"]
    assert networks["inside"]["internal"] is True
    assert {name for name in services if set(services[name]["networks"]) == {"inside"}} == {
        "worker",
        "redis",
    }


def test_redis_keeps_every_waiting_study(services):
    """The queue survives a restart, and nothing is evicted from it."""
    command = services["redis"]["command"]
    assert command[1:] == ["--appendonly", "yes", "--maxmemory-policy", "noeviction"]
    assert services["redis"]["volumes"] == ["redis:/data:rw"]


@pytest.mark.parametrize("missing", PASSWORDS)
@pytest.mark.parametrize("how", ["absent", "empty"])
def test_without_a_password_compose_refuses_and_says_which(composed, missing, how):
    """There is no default password: the message names the variable and where it is set."""
    given = {name: value for name, value in PASSWORDS.items() if name != missing}
    run = composed(given | ({missing: ""} if how == "empty" else {}))
    assert run.returncode != 0
    # Before it stand the names of all variables of the service.
    assert run.stderr.rpartition('": ')[2].startswith(f"set {missing} in .env")


def test_a_nasty_password_comes_through_compose(composed):
    """Double quotes, backslashes and dollars reach the containers as they were typed."""
    nasty = 'a"b\\c$(id) $x #'
    run = composed(PASSWORDS | {"LUMBAR_PASSWORD": nasty})
    given = yaml.safe_load(run.stdout)["services"]["orthanc"]["environment"]["LUMBAR_PASSWORD"]
    # `config` prints a file to be read again, in which $$ stands for $.
    assert given.replace("$$", "$") == nasty


def test_the_example_explains_exactly_what_compose_reads(composed):
    """No variable of compose.yaml is missing in .env.example, and none there is without use."""
    text = COMPOSE.read_text()
    read = set(re.findall(r"\$\{([A-Z_]+)", text)) | {"COMPOSE_PROJECT_NAME"}
    read |= set(yaml.safe_load(text)["services"]["worker"]["build"]["args"])
    assert set(example()) == read


def test_the_example_holds_no_password_and_changes_no_default(composed, services):
    """Copied unchanged it is refused; with passwords it gives what compose.yaml gives alone."""
    assert composed(example()).returncode != 0
    given = yaml.safe_load(composed(example() | PASSWORDS).stdout)["services"]
    assert given == services


def test_the_example_tells_the_workers_defaults():
    """The comment of each variable holds its default in brackets; empty is that default."""
    text = EXAMPLE.read_text().partition("--- The worker.")[2].partition("--- Building.")[0]
    blocks = re.findall(r"((?:^#.*\n)+)((?:^LUMBAR_\w+=\n)+)", text, re.MULTILINE)
    told = {
        name: " ".join(comment.split())
        for comment, names in blocks
        for name in re.findall(r"(LUMBAR_\w+)=", names)
    }
    defaults = {f"{PREFIX}{name.upper()}": f.default for name, f in Settings.model_fields.items()}
    assert len(told) > 12
    for name, comment in told.items():
        default = defaults[name]
        shown = f"{default:g}" if isinstance(default, float) else default
        assert ("(" if default is None else f"({shown})") in comment, name


def test_what_compose_gives_empty_is_the_default(services, monkeypatch):
    """With nothing but the passwords the worker starts with the defaults of its settings."""
    given = services["worker"]["environment"]
    assert [name for name, value in given.items() if not value]
    for name, value in given.items():
        monkeypatch.setenv(name, value or "")
    settings = Settings.load()
    for name in (name for name, value in given.items() if not value):
        field = name.removeprefix(PREFIX).lower()
        assert getattr(settings, field) == Settings.model_fields[field].default, name


def test_the_sites_own_files_are_mounted_where_the_example_says(services):
    """What .env.example calls /bundles and /etc/lumbar are the folders beside it, read-only."""
    mounted = {
        Path(source).name: (target, mode)
        for source, target, mode in (v.split(":") for v in services["worker"]["volumes"])
    }
    assert mounted == {"rules": ("/etc/lumbar", "ro"), "bundles": ("/bundles", "ro")}
    for folder, (target, _) in mounted.items():
        assert re.search(rf"{target}/\S+ for {folder}/", EXAMPLE.read_text())


def read_by(*files: Path) -> set[str]:
    """The LUMBAR_* variables that these files name."""
    return {name for file in files for name in re.findall(r"LUMBAR_[A-Z_]+", file.read_text())}


def test_every_variable_that_a_service_is_given_is_read_there(services):
    """A name that nobody reads is a spelling mistake, and a needed one is not left out."""
    orthanc = IMAGES / "orthanc"
    known = {
        "worker": {f"{PREFIX}{field.upper()}" for field in Settings.model_fields},
        "orthanc": read_by(stack.PLUGIN, orthanc / "configure.py", orthanc / "healthcheck.py"),
        "viewer": set(re.findall(r"\$\{(LUMBAR_[A-Z_]+)\}", TEMPLATE.read_text())),
    }
    given = {name: set(services[name].get("environment", {})) for name in known}
    for name, variables in known.items():
        assert given[name] <= variables, name
    assert given["orthanc"] >= read_by(orthanc / "configure.py")
    assert given["viewer"] == known["viewer"]


def test_plugin_and_worker_are_given_the_same_queue_and_user(services):
    """The plugin announces where the worker listens, and Orthanc knows the worker's user."""
    orthanc, worker = services["orthanc"]["environment"], services["worker"]["environment"]
    shared = {"LUMBAR_REDIS_URL", "LUMBAR_ORTHANC_USERNAME", "LUMBAR_ORTHANC_PASSWORD"}
    assert {name: orthanc[name] for name in shared} == {name: worker[name] for name in shared}
    assert orthanc.get("LUMBAR_QUEUE") == worker.get("LUMBAR_QUEUE")


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_everything_copied_into_an_image_is_there_and_not_ignored(dockerfile):
    """Each COPY source exists in the repository and passes .dockerignore."""
    lines = (stack.ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    allowed = [Path(line[1:]) for line in lines if line.startswith("!")]
    assert all((stack.ROOT / path).exists() for path in allowed)
    found = [Path(source) for sources, _ in copies(dockerfile) for source in sources]
    assert found
    for source in found:
        assert (stack.ROOT / source).exists(), source
        assert any(source.is_relative_to(path) for path in allowed), source


def test_compose_builds_every_dockerfile_from_the_root(services):
    """No image without a Dockerfile, no Dockerfile without a service."""
    built = [service["build"] for service in services.values() if "build" in service]
    assert {Path(build["context"]).resolve() for build in built} == {stack.ROOT}
    assert sorted(stack.ROOT / build["dockerfile"] for build in built) == DOCKERFILES


def test_the_containers_paths_and_ports_are_those_of_orthancs_configuration(services):
    """The plugin lies where orthanc.json looks, the volume where it stores, the ports agree."""
    configuration = stack.read_json_with_comments(stack.CONFIGURATION)
    copied = copies(IMAGES / "orthanc" / "Dockerfile")
    targets = {source: Path(target) for sources, target in copied for source in sources}
    for script in stack.PLUGIN.parent.glob("*.py"):
        beside = Path(configuration["PythonScript"]).with_name(script.name)
        assert targets[f"orthanc/{script.name}"] / script.name == beside
    storage = configuration["StorageDirectory"]
    assert storage == configuration["IndexDirectory"]
    assert services["orthanc"]["volumes"] == [f"orthanc:{storage}:rw"]
    assert services["orthanc"]["ports"][0].endswith(f":{configuration['DicomPort']}/tcp")
    address = f"orthanc:{configuration['HttpPort']}"
    assert services["viewer"]["environment"]["LUMBAR_ORTHANC"] == address
    assert services["worker"]["environment"]["LUMBAR_ORTHANC_URL"] == f"http://{address}"
    assert services["orthanc"]["healthcheck"]["test"][-1].endswith(f":{configuration['HttpPort']}")


def test_the_viewer_listens_where_it_is_published_and_serves_what_was_copied(services):
    """nginx's port and folder, the published port and the health check are the same ones."""
    viewer = services["viewer"]
    port = viewer["environment"]["LUMBAR_LISTEN"]
    assert viewer["ports"][0].endswith(f":{port}/tcp")
    assert f":{port}/ohif/" in viewer["healthcheck"]["test"][-1]
    folder = viewer["environment"]["LUMBAR_OHIF"]
    assert f"COPY --from=ohif /build/ohif {folder}\n" in (IMAGES / "viewer/Dockerfile").read_text()
