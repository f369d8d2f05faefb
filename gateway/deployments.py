"""Which build of the workers is current: Temporal's Worker Deployments, as people handle them."""

import asyncio
from datetime import UTC, datetime
from typing import NoReturn

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.enums.v1 import WorkerDeploymentVersionStatus as Status
from temporalio.api.workflowservice.v1 import (
    DescribeWorkerDeploymentRequest,
    DescribeWorkerDeploymentResponse,
    SetWorkerDeploymentCurrentVersionRequest,
    SetWorkerDeploymentRampingVersionRequest,
)
from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.service import RPCError, RPCStatusCode

from activities.builds import build_id
from schemas.base import Value
from settings import Settings

PATIENCE = 30.0
"""Seconds until a worker that has begun must be known to Temporal."""
LOOK = 0.1

Code = RPCStatusCode
NOT_YET = (Code.NOT_FOUND, Code.FAILED_PRECONDITION, Code.ABORTED, Code.RESOURCE_EXHAUSTED)


class NotDeployed(Exception):
    """Temporal will not send work to that build; the message says why."""


class Build(Value):
    """One build of the workers, as Temporal knows it."""

    build_id: str
    status: str
    """current, ramping, draining (it had cases), drained or inactive."""
    current_since: datetime | None = None


class Deployment(Value):
    """The builds of one deployment and which of them gets the work."""

    name: str
    current: str | None
    """The build that new and running cases go to; None: none yet."""
    ramping: str | None = None
    percentage: float = 0.0
    """Of the cases, by chance: those that go to the ramping build already."""
    builds: tuple[Build, ...] = ()


def version_of(settings: Settings) -> WorkerDeploymentVersion:
    """As what the workers of this process are deployed."""
    return WorkerDeploymentVersion(settings.deployment, settings.build_id or build_id())


async def find(client: Client, name: str) -> Deployment:
    """A deployment as it is; without builds where no worker of it has ever run."""
    known = await _described(client, name)
    if known is None:
        return Deployment(name=name, current=None)
    info, routing = known.worker_deployment_info, known.worker_deployment_info.routing_config
    return Deployment(
        name=name,
        current=routing.current_deployment_version.build_id or None,
        ramping=routing.ramping_deployment_version.build_id or None,
        percentage=routing.ramping_version_percentage,
        builds=tuple(
            Build(
                build_id=v.deployment_version.build_id,
                status=Status.Name(v.status).rpartition("STATUS_")[2].lower(),
                current_since=_time(v.current_since_time),
            )
            for v in info.version_summaries
        ),
    )


async def make_current(
    client: Client,
    version: WorkerDeploymentVersion,
    *,
    only_first: bool = False,
    alone: bool = False,
    patience: float = PATIENCE,
) -> str:
    """Send all work to a build from now on; returns the one that is current then.

    `only_first`: unless there is one already. `alone`: no other worker will come, so it need not
    serve every queue that the build before it served. Waits until Temporal knows the worker, which
    takes a moment. NotDeployed where it never does.
    """
    loop = asyncio.get_running_loop()
    ends = loop.time() + patience
    while True:
        try:
            known = await _described(client, version.deployment_name)
            now = known and known.worker_deployment_info.routing_config.current_deployment_version
            if now and now.build_id and (only_first or now.build_id == version.build_id):
                return now.build_id
            if known is not None:
                await client.workflow_service.set_worker_deployment_current_version(
                    SetWorkerDeploymentCurrentVersionRequest(
                        namespace=client.namespace,
                        deployment_name=version.deployment_name,
                        build_id=version.build_id,
                        conflict_token=known.conflict_token,
                        identity=client.identity,
                        ignore_missing_task_queues=alone,
                    )
                )
                return version.build_id
        except RPCError as error:
            if error.status not in NOT_YET or loop.time() >= ends:
                _refuse(error)
        if loop.time() >= ends:
            raise NotDeployed(
                f"Temporal knows no worker of {version.deployment_name}: start one first."
            )
        await asyncio.sleep(LOOK)


async def ramp(client: Client, version: WorkerDeploymentVersion, percentage: float) -> None:
    """Send so many cases of a hundred to a build that is to be current; 0 takes it back."""
    try:
        await client.workflow_service.set_worker_deployment_ramping_version(
            SetWorkerDeploymentRampingVersionRequest(
                namespace=client.namespace,
                deployment_name=version.deployment_name,
                build_id=version.build_id if percentage else "",
                percentage=percentage,
                identity=client.identity,
            )
        )
    except RPCError as error:
        _refuse(error)


async def _described(client: Client, name: str) -> DescribeWorkerDeploymentResponse | None:
    try:
        return await client.workflow_service.describe_worker_deployment(
            DescribeWorkerDeploymentRequest(namespace=client.namespace, deployment_name=name)
        )
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return None
        raise


def _refuse(error: RPCError) -> NoReturn:
    if error.status in NOT_YET or error.status == RPCStatusCode.INVALID_ARGUMENT:
        raise NotDeployed(
            f"Temporal does not send work there ({error.status.name}): see"
            " `standpipe deployment show`, and start a worker of that build first."
        ) from None
    raise error


def _time(at: Timestamp) -> datetime | None:
    return at.ToDatetime(UTC) if at.seconds else None
