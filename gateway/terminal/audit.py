"""`standpipe audit`: is anything missing or altered, and was every step allowed?"""

import typer

from gateway.terminal import (
    audit_case,
    audit_checkpoints,
    audit_dossier,
    audit_export,
    audit_replay,
    audit_restore,
    audit_verify,
)

app = typer.Typer(
    no_args_is_help=True, help="Prove that the log is whole and that every step in it was allowed."
)

app.command("verify")(audit_verify.verify_log)
app.command("checkpoint")(audit_checkpoints.checkpoint)
app.command("key")(audit_checkpoints.key)
app.command("witness")(audit_checkpoints.witness)
app.command("redecide")(audit_replay.redecide)
app.command("replay")(audit_replay.replay)
app.command("restore-log")(audit_restore.restore_log)
app.command("explain")(audit_case.explain_case)
app.command("dossier")(audit_dossier.prove)
app.command("check-dossier")(audit_dossier.check_dossier)
app.command("export")(audit_export.export_log)
app.command("check-export")(audit_export.check_export)
