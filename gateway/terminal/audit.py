"""`standpipe audit`: is anything missing or altered, and was every step allowed?"""

import typer

app = typer.Typer(
    no_args_is_help=True, help="Prove that the log is whole and that every step in it was allowed."
)
