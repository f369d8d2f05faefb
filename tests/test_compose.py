"""docker-compose.yml without a Docker engine: what it sets is understood, what it runs exists.

Its set-up scripts and health checks that need no database image run here for real.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import subprocess
import sys
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from ruamel.yaml import YAML
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from typer.testing import CliRunner

from activities.auditors import ROLE as AUDITOR
from activities.role_passwords import ROLES
from cli import app
from settings import PREFIX, Settings
from stack import Endpoints
from stack.temporal import SEARCH_ATTRIBUTES, TUNING
from tests.conftest import Database

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = YAML(typ="safe", pure=True).load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
OURS = [name for name, service in SERVICES.items() if "build" in service]
ONE_SHOTS = [name for name, service in SERVICES.items() if "on-failure" in service["restart"]]
BINARIES = Path(sys.executable).parent

VERSION = r"\d+\.\d+(\.\d+)?"
IMAGE = re.compile(rf"(?P<name>[a-z/-]+):(?P<version>{VERSION})(-[a-z]+)*")
SECRET_PATH = re.compile(r"/run/secrets/(\w+)")


def said(text: str) -> str:
    """What compose makes of a text: `$$` is a dollar; only what has no default may be asked for."""
    asked = re.sub(r"\$\{STANDPIPE_ORGANISATION:\?[^}]+\}", "anyang-water", text)
    asked = re.sub(r"\$\{STANDPIPE_POLICY:\?[^}]+\}", "water", asked)
    asked = re.sub(r"\$\{STANDPIPE_OIDC_ISSUER:\?[^}]+\}", "https://login.example", asked)
    assert not re.search(r"(?<!\$)(\$\$)*\$(?!\$)", asked), f"a stray dollar in {text}"
    return asked.replace("$$", "$")


def environment(service: str) -> dict[str, str]:
    return {name: said(value) for name, value in SERVICES[service].get("environment", {}).items()}


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for key in value for text in texts(value[key])]
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    return [value] if isinstance(value, str) else []


def command(service: str) -> list[str]:
    return [said(word) for word in SERVICES[service].get("command", [])]


def health_check(service: str) -> list[str]:
    kind, *words = SERVICES[service]["healthcheck"]["test"]
    words = [said(word) for word in words]
    return words if kind == "CMD" else ["sh", "-c", *words]


def run(*words: str | Path) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_file_follows_the_compose_specification() -> None:
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    run(*checker, ROOT / "docker-compose.yml")


def test_every_image_is_pinned_to_an_exact_version() -> None:
    images = [service["image"] for service in SERVICES.values()]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert not [image for image in images if not IMAGE.fullmatch(image)]


def test_production_runs_the_temporal_and_the_standpipe_that_were_tested() -> None:
    tested = re.search(
        rf"Server (?P<server>{VERSION}), UI (?P<ui>{VERSION})",
        run(BINARIES / "temporal", "--version"),
    )
    assert tested is not None
    wanted = {
        "temporalio/server": tested["server"],
        "temporalio/admin-tools": tested["server"],
        "temporalio/ui": tested["ui"],
        "standpipe": PROJECT["project"]["version"],
    }
    for service in SERVICES.values():
        image = IMAGE.fullmatch(service["image"])
        assert image is not None
        assert image["version"] == wanted.get(image["name"], image["version"])
        assert image["name"] != "postgres" or image["version"].startswith("18.")


def test_no_password_or_key_stands_in_the_file_or_has_a_default() -> None:
    for service in SERVICES:
        for name, value in environment(service).items():
            if re.search(r"PASS|PWD|SECRET|KEY|TOKEN|AUTH", name):
                assert name.endswith("_FILE"), f"{service}: {name}"
                assert SECRET_PATH.fullmatch(value), f"{service}: {name}"
            assert urlsplit(value).password is None, f"{service}: {name}"
    assert not re.findall(r"(?i)(?:password|pwd)\s*[=:]\s*[^\s/{\"$]+", TEXT)
    assert not re.findall(r"\$\{[^}]*:?[-+][^}]*\}", TEXT)
    for name, secret in COMPOSE["secrets"].items():
        assert secret == {"file": f"./secrets/{name}"}


def test_each_service_is_given_exactly_the_secrets_that_it_reads() -> None:
    used: set[str] = set()
    for name, service in SERVICES.items():
        reads = set(SECRET_PATH.findall("\n".join(texts(service))))
        assert reads == set(service.get("secrets", [])), name
        used |= reads
    assert used == set(COMPOSE["secrets"])


def test_every_service_is_watched_or_waited_for() -> None:
    waited_for = {
        name: wait["condition"]
        for service in SERVICES.values()
        for name, wait in service.get("depends_on", {}).items()
    }
    for name, service in SERVICES.items():
        if name in ONE_SHOTS:
            assert "healthcheck" not in service, name
            assert waited_for[name] == "service_completed_successfully", name
        else:
            assert service["restart"] == "unless-stopped", name
            assert service["healthcheck"]["test"], name
            assert waited_for.get(name, "service_healthy") == "service_healthy", name
    assert set(SERVICES["worker"]["depends_on"]) >= {"migrate", "temporal-namespace"}


def test_workers_can_be_multiplied() -> None:
    worker = SERVICES["worker"]
    assert worker["deploy"]["replicas"] >= 2
    assert not worker.keys() & {"container_name", "hostname", "ports"}


@pytest.mark.parametrize("service", OURS)
def test_the_settings_take_everything_that_is_set_for_our_services(
    service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_secrets(tmp_path)
    values = environment(service)
    for name, value in values.items():
        if name.startswith(PREFIX):
            assert name.removeprefix(PREFIX).lower() in Settings.model_fields
            monkeypatch.setenv(name, value.replace("/run/secrets", str(tmp_path)))
    settings = Settings()
    urls = {
        "DATABASE": settings.worker_database_url(),
        "ADMIN_DATABASE": settings.migration_database_url(),
    }
    for kind, url in urls.items():
        if url is None:
            continue
        parts = urlsplit(url)
        assert parts.hostname in SERVICES
        assert parts.path == "/" + environment(parts.hostname)["POSTGRES_DB"]
        file = values.get(f"STANDPIPE_{kind}_PASSWORD_FILE")
        assert (parts.password is None) == (file is None)
        assert file in (None, f"/run/secrets/{parts.username}_password")
    if settings.key_file is not None:
        assert len(settings.key_encryption_key()) == 32


def test_the_gateway_logs_in_with_its_own_role_and_is_offered_to_this_machine_alone() -> None:
    gateway = environment("gateway")
    assert "//standpipe_gateway@" in gateway["STANDPIPE_DATABASE_URL"]
    assert not [name for name in gateway if name.startswith("STANDPIPE_ADMIN")]
    port = gateway["STANDPIPE_HTTP_PORT"]
    assert SERVICES["gateway"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    worker = environment("worker")
    for name in ("ORGANISATION", "KEY_FILE", "TASK_QUEUE", "POLICY_DIR", "POLICY"):
        assert gateway[PREFIX + name] == worker[PREFIX + name]


def test_a_worker_has_all_that_it_needs_and_nothing_that_migrations_need() -> None:
    worker = environment("worker")
    needed = {"DATABASE_URL", "DATABASE_PASSWORD_FILE", "ORGANISATION", "KEY_FILE", "POLICY_DIR"}
    needed.add("POLICY")
    assert worker.keys() >= {PREFIX + name for name in needed}
    assert not [name for name in worker if name.startswith("STANDPIPE_ADMIN")]
    assert f"./policies:{worker['STANDPIPE_POLICY_DIR']}:ro" in SERVICES["worker"]["volumes"]
    # Outside of the database, where every worker finds it, and they alone may write.
    assert f"checkpoints:{worker['STANDPIPE_CHECKPOINT_DIR']}" in SERVICES["worker"]["volumes"]
    assert [name for name in SERVICES if "checkpoints:" in str(SERVICES[name].get("volumes"))] == [
        "worker"
    ]
    assert f"--owner=standpipe {worker['STANDPIPE_CHECKPOINT_DIR']}" in DOCKERFILE
    admin = environment("standpipe-db")["POSTGRES_USER"]
    assert f"//{admin}@" in environment("migrate")["STANDPIPE_ADMIN_DATABASE_URL"]


def test_temporals_own_configuration_understands_what_our_services_set() -> None:
    def loaded(values: dict[str, str]) -> dict[str, Any]:
        return dict(
            ClientConfig.load_client_connect_config(disable_file=True, override_env_vars=values)
        )

    values = {k: v for k, v in environment("worker").items() if k.startswith("TEMPORAL_")}
    assert loaded(values) == {
        "target_host": "temporal:7233",
        "namespace": environment("temporal-namespace")["TEMPORAL_NAMESPACE"],
    }
    for name in values:
        assert loaded(values) != loaded({k: v for k, v in values.items() if k != name}), name


@pytest.mark.parametrize("service", OURS)
def test_the_commands_of_our_services_exist(service: str) -> None:
    program, *words = command(service)
    assert PROJECT["project"]["scripts"][program] == "cli:main"
    assert_understood(words)


def test_migrations_give_every_role_that_logs_in_its_password() -> None:
    words = command("migrate")
    given = [words[i + 1] for i, word in enumerate(words) if word == "--role-password"]
    assert given == [f"{role}=/run/secrets/{role}_password" for role in ROLES]


def test_the_auditor_is_given_this_organisation_and_no_other() -> None:
    words = command("migrate")
    given = [words[i + 1] for i, word in enumerate(words) if word == "--auditor"]
    assert given == [f"{AUDITOR}={environment('migrate')['STANDPIPE_ORGANISATION']}"]


def test_scripts_are_well_formed() -> None:
    scripts = [words for name in SERVICES if (words := command(name))[:1] == ["sh"]]
    scripts += [
        words
        for name in SERVICES
        if name not in ONE_SHOTS and (words := health_check(name))[0] == "sh"
    ]
    assert len(scripts) == 4
    for words in scripts:
        run("sh", "-n", "-c", words[-1])


def test_the_schema_is_set_up_for_both_databases_before_the_server_starts(tmp_path: Path) -> None:
    record = tmp_path / "record"
    tool = tmp_path / "temporal-sql-tool"
    tool.write_text(f'#!/bin/sh\necho "$SQL_PASSWORD $*" >> {record}\n')
    tool.chmod(0o700)
    (tmp_path / "temporal_db_password").write_text("hidden\n")
    *shell, script = command("temporal-schema")
    subprocess.run(
        [*shell, script.replace("/run/secrets", str(tmp_path))],
        env={"PATH": f"{tmp_path}:{os.defpath}"},
        check=True,
    )
    server = environment("temporal")
    versioned = "/etc/temporal/schema/postgresql/v12/{}/versioned"
    assert record.read_text().splitlines() == [
        f"hidden --db {server[variable]} {step}"
        for variable, kind in (("DBNAME", "temporal"), ("VISIBILITY_DBNAME", "visibility"))
        for step in (
            "create",
            "setup-schema -v 0.0",
            f"update-schema -d {versioned.format(kind)}",
        )
    ]
    assert environment("temporal-schema")["SQL_PLUGIN"] == server["DB"]


def test_fairness_is_on_and_time_is_never_skipped() -> None:
    content = YAML(typ="safe", pure=True).load(
        COMPOSE["configs"]["temporal-dynamic-config"]["content"]
    )
    values = {name: json.dumps(value["value"]) for name, [value] in content.items()}
    assert values["matching.enableFairness"] == "true"
    assert values.items() <= TUNING.items(), "every key runs on the tested server too"
    assert not [name for name in values if "skipping" in name.lower()]


async def test_the_namespace_is_set_up_and_brought_up_to_date(
    servers: Endpoints, temporal: Client
) -> None:
    namespace = f"test-{uuid4().hex}"
    values = environment("temporal-namespace")
    values |= {"TEMPORAL_ADDRESS": servers.temporal_address, "TEMPORAL_NAMESPACE": namespace}

    async def set_up() -> timedelta:
        assert await soon(command("temporal-namespace"), values)
        described = await temporal.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=namespace)
        )
        return described.config.workflow_execution_retention_ttl.ToTimedelta()

    assert await set_up() == timedelta(days=30)
    known = await temporal.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=namespace)
    )
    assert set(SEARCH_ATTRIBUTES) <= set(known.custom_attributes)
    values["RETENTION"] = "40d"
    assert await set_up() == timedelta(days=40)


async def test_a_worker_is_healthy_while_it_polls(
    servers: Endpoints, database: Database, task_queue: str, tmp_path: Path
) -> None:
    make_secrets(tmp_path)
    values = environment("worker") | {
        "TEMPORAL_ADDRESS": servers.temporal_address,
        "TEMPORAL_NAMESPACE": servers.temporal_namespace,
        "STANDPIPE_DATABASE_URL": database.url(),
        "STANDPIPE_TASK_QUEUE": task_queue,
        "STANDPIPE_POLICY_DIR": str(ROOT / "policies"),
    }
    values = {name: value.replace("/run/secrets", str(tmp_path)) for name, value in values.items()}
    values["STANDPIPE_CHECKPOINT_DIR"] = str(tmp_path / "checkpoints")
    assert not await succeeds(health_check("worker"), values)
    _, *words = command("worker")
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli", *words, cwd=ROOT, env=values
    )
    try:
        assert await soon(health_check("worker"), values)
    finally:
        worker.terminate()
        assert await worker.wait() == 0


def test_the_image_holds_the_whole_package_and_no_secret() -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line[1:] for line in ignore if line.startswith("!")}
    tools = PROJECT["tool"]["setuptools"]
    assert "*" in ignore
    assert kept == (
        {f"{module}.py" for module in tools["py-modules"]}
        | {package.rstrip("*") for package in tools["packages"]["find"]["include"]}
        | {"pyproject.toml", "requirements.lock", "LICENSE", PROJECT["project"]["readme"]}
    )


def test_the_image_is_built_from_checked_hashes_and_runs_without_privileges() -> None:
    last = DOCKERFILE.rpartition("FROM ")[2]
    assert "--require-hashes" in DOCKERFILE
    assert re.search(r"^USER standpipe$", last, re.MULTILINE)
    assert f"CMD {json.dumps(command('worker')[:2])}" in last
    for service in (SERVICES[name] for name in OURS):
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]


def shell_blocks(page: Path) -> str:
    return "\n".join(re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)).replace(
        "\\\n", " "
    )


def test_the_page_on_production_names_services_and_secrets_that_exist() -> None:
    page = shell_blocks(ROOT / "docs/production.md")
    for name in re.findall(r"secrets/(\w+)", page):
        assert name.removesuffix("_old") in {*COMPOSE["secrets"], "inspector_password"}
    for name in COMPOSE["secrets"]:
        assert name.removesuffix("_password") in page
    called = re.findall(r"docker compose (?:exec|run|restart)(?: -[-\w]+)* ([a-z]\S*)", page)
    assert len(called) >= 10
    assert set(called) <= SERVICES.keys()


def test_the_page_on_production_names_commands_that_exist() -> None:
    calls = re.findall(
        r" standpipe ([a-z]+(?: [^|;\n]+)?)$", shell_blocks(ROOT / "docs/production.md"), re.M
    )
    assert len(calls) >= 3
    for call in calls:
        assert_understood(call.split())


def test_secrets_stay_out_of_the_repository() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"secrets/", ".env"} <= set(ignored)


def make_secrets(folder: Path) -> None:
    for name in COMPOSE["secrets"]:
        (folder / name).write_text(base64.b64encode(os.urandom(32)).decode() + "\n")
    key = Ed25519PrivateKey.generate()
    (folder / "standpipe_checkpoint_key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )


def assert_understood(words: list[str]) -> None:
    understood = CliRunner().invoke(app, [*words, "--help"])
    assert understood.exit_code == 0, understood.output


async def soon(words: list[str], values: dict[str, str]) -> bool:
    """Whether it succeeds within half a minute, tried again as its restart policy does."""
    for _ in range(60):
        if await succeeds(words, values):
            return True
        await asyncio.sleep(0.5)
    return False


async def succeeds(words: list[str], values: dict[str, str]) -> bool:
    path = f"{BINARIES}:{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *words,
        env=values | {"PATH": path, "TEMPORAL_VERSION_CHECK_DISABLED": "1"},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    return await process.wait() == 0
