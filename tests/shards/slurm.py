"""A Slurm cluster of one node on loopback: munged, slurmctld and slurmd of Debian's packages, as processes of the test.

https://slurm.schedmd.com/slurm.conf.html
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.ports import free_port

PROGRAMS: Final = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "scancel", "sinfo")
PATIENCE: Final = 60  # seconds
# A requeued job waits until its credential has expired: after 120 s by default, and not less than 5.
CONF: Final = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CryptoType=crypto/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0
SwitchType=switch/none
MailProg=/bin/true
ReturnToService=2
KillWait=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=8192 State=UNKNOWN
PartitionName=test Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


def missing() -> list[str]:
    """Programs that are not here. The daemons are in /usr/sbin, which a user's PATH may lack."""
    return [name for name in PROGRAMS if not _path(name)]


def _path(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


class Slurm:
    """A context manager. Jobs of `sbatch` with its `environment` run here."""

    def __init__(self, folder: Path, *, cores: int) -> None:
        self.folder = folder
        self._cores = cores
        self._processes: list[subprocess.Popen[bytes]] = []
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}

    def __enter__(self) -> Self:
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        facts = {"host": socket.gethostname().partition(".")[0], "folder": self.folder, "cores": self._cores,
                 "controller": free_port(), "node": free_port(), "user": _user()}  # fmt: skip
        (self.folder / "slurm.conf").write_text(CONF.format(**facts))
        files = [f"--{name}-file={self.folder}/munge.{name}" for name in ("key", "log", "pid", "seed")]
        try:
            # --force: the folder of a test is its owner's only, and munged wants one that all may enter.
            self._start("munged", "--foreground", "--force", f"--socket={self.folder}/munge.socket", *files)
            self.wait((self.folder / "munge.socket").exists)
            self._start("slurmctld", "-D", "-i", "-f", self.environment["SLURM_CONF"])
            self._start("slurmd", "-D", "-f", self.environment["SLURM_CONF"])
            self.wait(lambda: self.call("sinfo", "--noheader", "--format=%T", check=False).strip() == "idle")
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.call("scancel", "--full", f"--user={_user()}")
            self.wait(lambda: not self.call("squeue", "--noheader", "--format=%i").strip())
        finally:
            self._stop()

    def _start(self, name: str, *arguments: str) -> None:
        with (self.folder / f"{name}.out").open("wb") as out:
            command = [_path(name) or name, *arguments]
            self._processes.append(
                subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | self.environment)
            )  # fmt: skip

    def _stop(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
            process.wait(100)

    def call(self, name: str, *arguments: str, check: bool = True) -> str:
        """One of Slurm's commands; its standard output."""
        done = subprocess.run(
            [_path(name) or name, *arguments], env=os.environ | self.environment, capture_output=True, text=True,
            check=False, timeout=30,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def wait(self, true: Callable[[], object]) -> None:
        """Until it is so. Fails where a daemon ends, or after PATIENCE."""
        until = time.monotonic() + PATIENCE
        while not true():
            for process in self._processes:
                assert process.poll() is None, self._logs()
            assert time.monotonic() < until, self._logs()
            time.sleep(0.1)

    def _logs(self) -> str:
        paths = [*self.folder.glob("*.out"), *self.folder.glob("*.log")]
        return "\n".join(f"== {path.name}\n{path.read_text(errors='replace')[-2000:]}" for path in sorted(paths))

    def job(self, number: str) -> dict[str, str]:
        """What Slurm says of a job: JobState, ExitCode, Restarts and others."""
        words = self.call("scontrol", "--oneliner", "show", "job", number).split()
        return {name: value for name, _, value in (word.partition("=") for word in words)}


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name
