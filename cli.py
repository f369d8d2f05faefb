"""`standpipe`: the command line. Its verbs are the gateway's; `standpipe --help` lists them."""

import os
import sys
from contextlib import suppress
from typing import NoReturn

import typer

from gateway.terminal import (
    approvals,
    arrears,
    asking,
    assessments,
    audit,
    cases,
    cutoff,
    demonstration,
    deployment,
    files,
    keys,
    opening,
    policies,
    records,
    registers,
    rehearse_arrears,
    satisfaction,
    servers,
    staff,
    tokens,
    webhooks,
)
from gateway.terminal.output import Verbs

app = typer.Typer(
    name="standpipe",
    cls=Verbs,
    rich_markup_mode="markdown",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Service cases of gas and water utilities as durable workflows with an auditable log.

    Start with `standpipe up` (or `standpipe demo`), then `standpipe repair report` or
    `standpipe complaint register`.

    Exit codes: 0 done; 1 refused, failed, or differences found; 2 wrong input; 3 nothing runs here,
    or it does not answer. Results go to standard output, all else to standard error; `--json` gives
    results as JSON. Settings come from STANDPIPE_* and TEMPORAL_* environment variables; with
    STANDPIPE_GATEWAY_URL and a token, the same words work through a gateway elsewhere.""",
)
app.command()(servers.up)
app.command()(demonstration.demo)
app.command()(servers.worker)
app.command()(servers.serve)
app.command()(servers.migrate)
app.command()(servers.recover)
app.add_typer(deployment.app, name="deployment")
app.add_typer(cases.app, name="case")
app.add_typer(opening.repair, name="repair")
app.add_typer(opening.complaint, name="complaint")
app.command("command", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
    asking.send_command
)
app.command("approvals")(approvals.list_approvals)
app.command()(approvals.approve)
app.command()(approvals.reject)
app.add_typer(keys.app, name="key")
app.command()(tokens.token)
app.command()(cutoff.permit)
app.command("dossier")(cutoff.show_dossier)
app.command("stops")(registers.list_stops)
app.command("part-payments")(registers.list_part_payments)
app.add_typer(staff.app, name="staff")
app.add_typer(assessments.app, name="assessment")
app.command("satisfaction")(satisfaction.show_satisfaction)
files.importing.command("arrears")(arrears.import_arrears)
files.importing.command("payments")(arrears.import_payments)
app.add_typer(files.importing, name="import")
files.rehearsing.command("arrears")(rehearse_arrears.rehearse_arrears)
app.add_typer(files.rehearsing, name="rehearse")
app.add_typer(webhooks.app, name="webhook")
app.command()(records.worklist)
app.command()(records.outbox)
app.command()(records.refusals)
app.add_typer(records.party, name="party")
app.command()(records.rebuild)
app.add_typer(policies.app, name="policy")
app.add_typer(audit.app, name="audit")


def main() -> NoReturn:
    """The console entry. It ends the process at once, which a Temporal client might else abort."""
    code = 1
    try:
        app(prog_name="standpipe")
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except Exception as fault:  # noqa: BLE001 - nobody is left to catch it
        sys.excepthook(type(fault), fault, fault.__traceback__)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
