"""What a container engine does, as far as the service notices: for machines that have none."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

USER = 10001
CODE = Path("/opt/yolo-backend")
"""Where the image has the code."""

# Read by the linker, by Python and by libraries that look for the CPU.
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/sys")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


def can_contain() -> bool:
    """Whether this process may make a file system of its own and another user: whether it is root on Linux, really."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    return (
        subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode
        == 0
    )


def contained(command: Sequence[str], *, root: Path, code: Path, volumes: Mapping[str, Path]) -> list[str]:
    """Return a command that runs ``command`` where the code is, with a file system of its own, as the image's user.

    Args:
        command: What to run.
        root: An empty directory to put the file system on; others see nothing of it.
        code: Where it is on this machine.
        volumes: Directories to write to, by where they are in there.
    """
    there = [path for path in map(Path, _SYSTEM) if path.exists()]
    binds = {path: path for path in there if not path.is_symlink()}
    binds |= {path: path for path in (Path(sys.base_prefix), Path(sys.prefix))} | {code: CODE}
    lines = [
        f"mount -t tmpfs -o mode=755 none {_(root)}",
        f"mkdir -p {_(root)}/dev/shm {_(root)}/proc {_(root)}/tmp",
        f"mount --rbind /proc {_(root)}/proc",
        *(f"mount -t tmpfs -o mode=1777 none {_(root)}{path}" for path in ("/dev/shm", "/tmp")),
        *(f"touch {_(root, device)} && mount --bind {device} {_(root, device)}" for device in _DEVICES),
        *(f"cp -P {path} {_(root, path)}" for path in there if path.is_symlink()),
    ]
    for here, place in binds.items():
        lines.append(f"mkdir -p {_(root, place)} && mount --bind {_(here)} {_(root, place)}")
        lines.append(f"mount -o remount,ro,bind {_(root, place)}")
    for volume, here in volumes.items():
        lines.append(f"mkdir -p {_(root, volume)} && mount --bind {_(here)} {_(root, volume)}")
    lines.append(f"mount -o remount,ro {_(root)}")
    # As docker-compose.yml does: no root, no capability, none to gain.
    rights = f"setpriv --reuid {USER} --regid {USER} --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs"
    lines.append(f"exec chroot {_(root)} {rights} sh -c {shlex.quote(f'cd {CODE} && exec {shlex.join(command)}')}")
    return ["unshare", "--mount", "--propagation", "private", "sh", "-euc", "\n".join(lines)]


def _(*parts: Path | str) -> str:
    return shlex.quote("".join(map(str, parts)))
