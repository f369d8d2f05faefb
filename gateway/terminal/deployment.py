"""`standpipe deployment`: which build of the workers the cases go to."""

from typing import Annotated

import typer
from rich.text import Text
from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion

from gateway import deployments
from gateway.commands import Invalid
from gateway.deployments import Deployment, NotDeployed
from gateway.drawing import table
from gateway.terminal.output import AsJson, Exit, Failure, OneLine, run, show
from settings import Settings
from stack import connect_temporal, endpoints

app = typer.Typer(
    no_args_is_help=True, help="Which build of the workers the cases go to (docs/deploying.md)."
)

BuildArgument = Annotated[
    str | None, typer.Argument(metavar="BUILD", help="The build; this program's if left out.")
]


@app.command("show")
def show_deployment(as_json: AsJson = False) -> None:
    """Every build that workers ran, and which of them gets the work.

    JSON: {"name", "current", "ramping", "percentage", "builds": [build, …], "here"}.
    """

    async def work() -> tuple[Deployment, str]:
        client, version = await _connected(None)
        return await deployments.find(client, version.deployment_name), version.build_id

    found, here = run(work(), as_json=as_json)
    drawn = table("Build", "Status", "Current since (UTC)")
    for build in found.builds:
        since = f"{build.current_since:%Y-%m-%d %H:%M}" if build.current_since else ""
        drawn.add_row(build.build_id, build.status, since)
    lines: list[OneLine | Text] = []
    if found.ramping:
        lines.append(Text(f"{found.percentage:g} % of the cases go to {found.ramping} already."))
    if found.current is None:
        lines.append(Text("No build is current: start `standpipe worker`.", style="bold"))
    elif found.current != here:
        lines.append(OneLine(f"This program is {here}: standpipe deployment set-current"))
    show({**found.model_dump(mode="json"), "here": here}, drawn, *lines, as_json=as_json)


@app.command("set-current")
def set_current(build: BuildArgument = None, as_json: AsJson = False) -> None:
    """Send all new and running cases to a build, of which a worker must run; also the way back.

    JSON: {"name", "current"}.
    """

    async def work() -> Deployment:
        client, version = await _connected(build)
        try:
            # One that has not reported yet will in a moment; one that is not there will not.
            await deployments.make_current(client, version, patience=0.5)
        except NotDeployed as error:
            raise Failure(Exit.FAILED, str(error)) from None
        return await deployments.find(client, version.deployment_name)

    found = run(work(), as_json=as_json)
    said = f"Every case goes to {found.current} from now on."
    show(
        {"name": found.name, "current": found.current},
        Text(said, style="bold"),
        Text(
            "Keep workers of the build before it until nothing has gone wrong: it is the way back."
        ),
        as_json=as_json,
    )


@app.command("ramp")
def ramp(
    build: Annotated[str, typer.Argument(metavar="BUILD", help="The build to try out.")],
    percentage: Annotated[float, typer.Argument(metavar="PERCENT", help="0 takes it back.")],
    as_json: AsJson = False,
) -> None:
    """Send some of the cases, by chance, to a build that is to be current.

    JSON: {"name", "current", "ramping", "percentage"}.
    """

    async def work() -> Deployment:
        if not 0 <= percentage <= 100:
            raise Invalid(["PERCENT: from 0 to 100"])
        client, version = await _connected(build)
        try:
            await deployments.ramp(client, version, percentage)
        except NotDeployed as error:
            raise Failure(Exit.FAILED, str(error)) from None
        return await deployments.find(client, version.deployment_name)

    found = run(work(), as_json=as_json)
    text = f"{found.percentage:g} % of the cases go to {found.ramping}."
    if not found.ramping:
        text = f"Nothing ramps; every case goes to {found.current}."
    names = ("name", "current", "ramping", "percentage")
    show({name: getattr(found, name) for name in names}, Text(text), as_json=as_json)


async def _connected(build: str | None) -> tuple[Client, WorkerDeploymentVersion]:
    settings = Settings()
    version = deployments.version_of(settings)
    if build is not None:
        version = WorkerDeploymentVersion(version.deployment_name, build)
    return await connect_temporal(endpoints(settings)), version
