"""Builds of the workers: which one a case goes to, and that the next one carries it on."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowHistory
from temporalio.common import WorkerDeploymentVersion
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, Worker
from typer.testing import CliRunner, Result

from activities import builds
from activities.builds import build_id, lock_hash, makers, sources_hash
from activities.database import open_pool
from activities.event_log import EventLog
from cli import app
from gateway import deployments
from gateway.deployments import NotDeployed, find, make_current, ramp
from gateway.policies import content_of
from settings import Settings, SettingsError
from stack import Endpoints
from tests.conftest import Database
from tests.workflows.desk import ORGANISATION, Desk, until
from worker import WORKFLOWS, build_worker
from workflows.repair import RepairWorkflow

ROOT = Path(__file__).parents[1]


@workflow.defn(name="RepairWorkflow")
class NextRepairWorkflow(RepairWorkflow):
    """A change as docs/deploying.md has it: the next build pauses before it decides."""

    @workflow.init
    def __init__(self, case: Any) -> None:
        super().__init__(case)

    @workflow.run
    async def run(self, case: Any) -> str:
        return await self.live()

    async def _turn(self) -> None:
        if workflow.patched("pause-before-deciding"):
            await workflow.sleep(timedelta(milliseconds=1))
        await super()._turn()


@workflow.defn(name="RepairWorkflow")
class CarelessRepairWorkflow(NextRepairWorkflow):
    """The same change without a patch."""

    @workflow.init
    def __init__(self, case: Any) -> None:
        super().__init__(case)

    @workflow.run
    async def run(self, case: Any) -> str:
        return await self.live()

    async def _turn(self) -> None:
        await workflow.sleep(timedelta(milliseconds=1))
        await RepairWorkflow._turn(self)  # pyright: ignore[reportPrivateUsage]


@pytest.fixture
async def desk(database: Database, temporal: Client, task_queue: str) -> AsyncIterator[Desk]:
    async with await open_pool(database.url()) as pool:
        policy = content_of("gas", ROOT / "policies")
        yield Desk(temporal, EventLog(pool), policy, task_queue)


@pytest.fixture
def deployment() -> str:
    return f"standpipe-{uuid4().hex}"


def worker(desk: Desk, version: WorkerDeploymentVersion, repairs: type = RepairWorkflow) -> Worker:
    others = [each for each in WORKFLOWS if each is not RepairWorkflow]
    return build_worker(
        desk.client,
        desk.log,
        organisation=ORGANISATION,
        task_queue=desk.task_queue,
        workflows=[repairs, *others],
        deployment=version,
    )


async def made_by(desk: Desk, case_id: str) -> tuple[str, ...]:
    """The builds that the case's history names."""
    return makers((await desk.handle(case_id).fetch_history()).events).builds


async def replayed(desk: Desk, case_id: str, repairs: type) -> Exception | None:
    """What keeps this build from replaying the case, if anything does."""
    history = await desk.handle(case_id).fetch_history()
    replayer = Replayer(
        workflows=[repairs],
        workflow_runner=UnsandboxedWorkflowRunner(),
        data_converter=pydantic_data_converter,
    )
    result = await replayer.replay_workflow(
        WorkflowHistory(case_id, list(history.events)), raise_on_replay_failure=False
    )
    return result.replay_failure


async def test_a_case_that_one_build_began_is_carried_on_by_the_next(
    desk: Desk, deployment: str
) -> None:
    first, second = (WorkerDeploymentVersion(deployment, f"0.1.0+{n}") for n in "ab")
    async with worker(desk, first):
        assert await make_current(desk.client, first, only_first=True) == "0.1.0+a"
        case_id = await desk.opened()
        await desk.send(case_id, "TriageRepair", category="no-gas", severity="common")
        async with worker(desk, second, NextRepairWorkflow):
            assert await make_current(desk.client, second) == "0.1.0+b"
            await desk.finish_after_triage(case_id)
            await desk.handle(case_id).result()
    assert await made_by(desk, case_id) == ("0.1.0+a", "0.1.0+b")
    assert await replayed(desk, case_id, NextRepairWorkflow) is None
    broken = await replayed(desk, case_id, CarelessRepairWorkflow)
    assert "ondetermini" in str(broken)


async def test_a_build_gets_nothing_until_it_is_current_and_the_one_before_it_is_the_way_back(
    desk: Desk, deployment: str
) -> None:
    first, second = (WorkerDeploymentVersion(deployment, build) for build in ("one", "two"))

    async def makers_of_three() -> set[tuple[str, ...]]:
        return {await made_by(desk, await desk.opened()) for _ in range(3)}

    async with worker(desk, first), worker(desk, second):
        await make_current(desk.client, first)
        # A worker that begins does not push itself in front …
        assert await make_current(desk.client, second, only_first=True) == "one"
        assert await makers_of_three() == {("one",)}
        # … but may be tried out on some cases,
        await ramp(desk.client, second, 100)
        assert (await find(desk.client, deployment)).ramping == "two"
        assert await makers_of_three() == {("two",)}
        # be made current, and be taken back.
        await make_current(desk.client, second)
        assert await makers_of_three() == {("two",)}
        await make_current(desk.client, first)
        assert await makers_of_three() == {("one",)}
        found = await find(desk.client, deployment)
        assert (found.current, found.ramping) == ("one", None)
        assert {build.build_id for build in found.builds} == {"one", "two"}


async def test_what_waits_on_a_fresh_server_is_taken_up_by_the_first_worker(
    desk: Desk, deployment: str
) -> None:
    case_id = desk.name()
    await desk.start(case_id, desk.opening(case_id, [desk.report()]))
    versions = [WorkerDeploymentVersion(deployment, build) for build in ("one", "two")]
    async with worker(desk, versions[0]), worker(desk, versions[1]):
        both = [make_current(desk.client, version, only_first=True) for version in versions]
        current = set(await asyncio.gather(*both))

        async def reported() -> bool:
            return await desk.log.case(ORGANISATION, case_id) is not None

        await until(reported)
    assert len(current) == 1
    assert await made_by(desk, case_id) == tuple(current)


async def test_a_build_that_no_worker_runs_is_not_made_current(desk: Desk, deployment: str) -> None:
    version = WorkerDeploymentVersion(deployment, "one")
    with pytest.raises(NotDeployed, match="start one first"):
        await make_current(desk.client, version, patience=0.2)
    async with worker(desk, version):
        await make_current(desk.client, version)
        for act in (
            make_current(desk.client, WorkerDeploymentVersion(deployment, "two"), patience=0.2),
            ramp(desk.client, WorkerDeploymentVersion(deployment, "two"), 5),
        ):
            with pytest.raises(NotDeployed, match="deployment show"):
                await act
    assert (await find(desk.client, deployment)).current == "one"


async def test_people_see_builds_and_choose_the_current_one(
    desk: Desk,
    deployment: str,
    servers: Endpoints,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {
        "STANDPIPE_DATABASE_URL": database.url(),
        "STANDPIPE_DEPLOYMENT": deployment,
        "TEMPORAL_ADDRESS": servers.temporal_address,
    }.items():
        monkeypatch.setenv(name, value)

    async def standpipe(*words: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, ["deployment", *words])

    async def shown(*words: str) -> dict[str, Any]:
        result = await standpipe(*words, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    nothing = await shown("show")
    assert (nothing["current"], nothing["builds"], nothing["here"]) == (None, [], build_id())
    other = WorkerDeploymentVersion(deployment, "other")
    async with (
        worker(desk, deployments.version_of(Settings())),
        worker(desk, other),
    ):
        assert await shown("set-current") == {"name": deployment, "current": build_id()}
        assert (await shown("ramp", "other", "5"))["percentage"] == 5
        monkeypatch.setenv("STANDPIPE_BUILD_ID", "other")
        said = " ".join((await standpipe("show")).stdout.split())
        assert "5 % of the cases go to other already" in said
        assert "This program is other: standpipe deployment set-current" in said
    refused = await standpipe("set-current", "third")
    assert (refused.exit_code, "no worker" in refused.output) == (1, False)
    assert (await standpipe("ramp", "other", "101")).exit_code == 2


def test_a_build_is_named_by_its_version_and_the_sources_that_run_cases(tmp_path: Path) -> None:
    version, _, digest = build_id().partition("+")
    assert (version, len(digest)) == ("0.1.0", 12)
    for source in builds.SOURCES:
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tmp_path / source)
        else:
            shutil.copy(ROOT / source, tmp_path / source)
    here = sources_hash(ROOT)
    assert here.startswith(digest)
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway/other.py").write_text("x = 1\n")
    (tmp_path / "schemas/base.txt").write_text("no source")
    rules = tmp_path / "lifecycles/premises.py"
    source = rules.read_bytes()
    rules.write_bytes(source.replace(b"\n", b"\r\n"))
    assert sources_hash(tmp_path) == here, "line ends, other folders and other files do not count"
    rules.write_bytes(source + b"\n")
    assert sources_hash(tmp_path) != here
    rules.write_bytes(source)
    rules.rename(rules.with_name("premises2.py"))
    assert sources_hash(tmp_path) != here


def test_whoever_packages_may_name_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    assert deployments.version_of(Settings()) == WorkerDeploymentVersion("standpipe", build_id())
    monkeypatch.setenv("STANDPIPE_BUILD_ID", "2026-11.3")
    monkeypatch.setenv("STANDPIPE_DEPLOYMENT", "town")
    assert deployments.version_of(Settings()) == WorkerDeploymentVersion("town", "2026-11.3")
    monkeypatch.setenv("STANDPIPE_BUILD_ID", "with blanks in it")
    monkeypatch.setenv("STANDPIPE_DEPLOYMENT", "dots.are.separators")
    with pytest.raises(SettingsError, match=r"(?s)DEPLOYMENT: .*BUILD_ID: "):
        Settings()


def test_the_lock_file_is_known_by_its_hash() -> None:
    found = lock_hash()
    assert found is not None
    assert len(bytes.fromhex(found)) == 32
