"""Runs one server as its child and stops it when whoever started the guard is gone.

Started by stack.py as `python -I -S guard.py SPEC`, with a pipe as standard input that nobody
writes to: its end is the word to stop, and it ends however the starter dies, SIGKILL included.
It imports nothing but the standard library's light parts, because it must start in milliseconds.
"""

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
from typing import Any

PR_SET_PDEATHSIG, PR_SET_SECUREBITS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 1, 28, 47, 2
SECBIT_NO_SETUID_FIXUP = 4
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522


def main(spec: dict[str, Any]) -> int:
    """Run `spec["command"]` until it ends or standard input does; return its exit status.

    `uid`/`gid` (optional) are whom it runs as, `stop_signal` asks it to stop, and after `grace`
    seconds it is killed. Its process id stands in `pid_file` while it runs.
    """
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, only_wake)

    try:
        child = subprocess.Popen(
            spec["command"],
            stdin=subprocess.DEVNULL,
            cwd=spec["directory"],
            pass_fds=spec["inherit"],
            preexec_fn=lambda: become(spec),
        )
    except (OSError, subprocess.SubprocessError) as error:
        print(f"cannot run {spec['command'][0]}: {error}", file=sys.stderr)
        return 126
    with open(spec["pid_file"], "w") as file:
        print(child.pid, file=file)

    stopping = False
    while not stopping and child.poll() is None:
        ready, _, _ = select.select([0, woken], [], [])
        asked = woken in ready and set(os.read(woken, 512)) - {signal.SIGCHLD}
        stopping = 0 in ready or bool(asked)
    if stopping and child.poll() is None:
        child.send_signal(spec["stop_signal"])
        try:
            child.wait(spec["grace"])
        except subprocess.TimeoutExpired:
            child.kill()
    status = child.wait()
    os.unlink(spec["pid_file"])
    return status if status >= 0 else 128 - status


def only_wake(number: int, frame: object) -> None:
    """Python writes the signal's number to the wake-up pipe; that is all we need of it."""


def become(spec: dict[str, Any]) -> None:
    """In the child before exec: another user if asked, and never outliving the guard."""
    os.umask(0o077)
    if spec["uid"] is not None:
        give_up_root(spec["uid"], spec["gid"])
    if sys.platform == "linux":
        # After the change of user, which clears it.
        prctl(PR_SET_PDEATHSIG, spec["stop_signal"])


def give_up_root(uid: int, gid: int) -> None:
    """PostgreSQL refuses to run as root, so become another user.

    On Linux that user keeps root's right to pass through directories: the programs and the data
    may lie under a home directory that is closed to others, and opening that up to everybody
    would be worse. Elsewhere the user must be able to reach both.
    """
    # Without that bit the right is lost with the user, and access(2) would not know of it.
    keep = sys.platform == "linux" and prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    for kept in (1 << CAP_DAC_OVERRIDE, 0) if keep else ():
        header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
        # effective, permitted, inheritable: first for capabilities 0-31, then for 32-63
        data = (ctypes.c_uint32 * 6)(kept, kept, kept, 0, 0, 0)
        if ctypes.CDLL(None).capset(header, data) == 0:
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE)
            break  # else this root has no such right, as in some containers, and gives up all


def prctl(option: int, *arguments: int) -> bool:
    """Linux's prctl(2); the kernel insists that unused arguments are zero."""
    four = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    return ctypes.CDLL(None).prctl(option, *four) == 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
