"""Servers and proxies as child processes, for the drivers' and the bench's scripts.

Everything that is started here ends with this process: the server script ends with its standard input, the
others get SIGKILL from the kernel.
"""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

SUPPORT = pathlib.Path(__file__).resolve().parent
ROOT = SUPPORT.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
PROGRAM = os.environ.get("INTERLOCK_PROGRAM", TARGET / "release" / "interlock")
KINDS = ("mysql", "mariadb")
TICKS = os.sysconf("SC_CLK_TCK")

# Ended by a signal, the scripts still clean up.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_port(port, process, log):
    for _ in range(400):
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    sys.exit(f"nothing listens on port {port}:\n{pathlib.Path(log).read_text()[-2000:]}")


def client(kind, program):
    """A MySQL or MariaDB client program: of the private root, or of the distribution."""
    if kind == "mysql":
        return str(TARGET / "mysql-root" / "run" / program)
    return shutil.which({"mysql": "mariadb", "mysqldump": "mariadb-dump", "mysqladmin": "mariadb-admin"}[program])


def cpu(pid):
    """User and system time of a process so far, in seconds."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) / TICKS, int(fields[12]) / TICKS


def memory(pid, field="VmRSS"):
    """Resident memory of a process in bytes; VmHWM is its highest value so far."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(field)


def sysbench(test, port, action, prepared=False, schema="test", **options):
    """Runs sysbench as root; options are its own, with _ for -. Gives what has become of it."""
    return subprocess.run(
        [
            "sysbench", test, "--db-driver=mysql", "--mysql-host=127.0.0.1", f"--mysql-port={port}",
            "--mysql-user=root", f"--mysql-db={schema}", "--db-ps-mode=" + ("auto" if prepared else "disable"),
            *(f"--{name.replace('_', '-')}={value}" for name, value in options.items()), action,
        ],
        capture_output=True, text=True, timeout=120 + options.get("time", 0),
    )


class Server:
    """A private server; None of it is left after close()."""

    @classmethod
    def start(cls, kind, *options):
        """The server, or None where it cannot be had (with CI=true that ends the program)."""
        script = subprocess.Popen(
            [SUPPORT / "server", kind, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        line = script.stdout.readline().split()
        if not line:
            code = script.wait()
            if code == 3 and os.environ.get("CI") != "true":
                return None
            sys.exit(f"{kind} did not start")
        self = cls()
        self.kind, self.script = kind, script
        self.port, self.socket, self.pid, self.version = int(line[1]), line[2], int(line[3]), line[4]
        self.datadir = pathlib.Path(self.socket).parent / "data"
        return self

    @property
    def name(self):
        return {"mysql": "MySQL", "mariadb": "MariaDB"}[self.kind] + " " + self.version

    def sql(self, text, schema=""):
        """Runs statements with the command-line client, directly; gives what it prints."""
        return subprocess.run(
            [client(self.kind, "mysql"), "-uroot", "-S", self.socket, "-N", "-B", *([schema] if schema else [])],
            input=text, text=True, check=True, capture_output=True,
        ).stdout

    def close(self):
        self.script.stdin.close()
        self.script.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Proxy:
    """Something that listens on a port and passes on to a server."""

    name = pid = port = None

    def _start(self, command, ready_port):
        self.files = pathlib.Path(tempfile.mkdtemp(prefix="interlock-proxy."))
        self.log = self.files / "log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *map(str, command(self.files))],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )
        self.pid = self.process.pid
        wait_for_port(ready_port, self.process, self.log)

    def close(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.files, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Direct:
    """No proxy: the server itself, in a proxy's place."""

    def __init__(self, server):
        self.name, self.pid, self.port = "direct", None, server.port

    def close(self):
        pass

    __enter__ = Server.__enter__
    __exit__ = Server.__exit__


class HAProxy(Proxy):
    """HAProxy in tcp mode with two threads."""

    def __init__(self, server):
        self.name, self.port = "haproxy", free_port()

        def command(files):
            (files / "haproxy.cfg").write_text(
                "global\n  maxconn 5000\n  nbthread 2\n"
                "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n"
                f"listen relay\n  bind 127.0.0.1:{self.port}\n  server one 127.0.0.1:{server.port}\n"
            )
            return ["haproxy", "-db", "-f", files / "haproxy.cfg"]

        self._start(command, self.port)


class MySQLRouter(Proxy):
    """mysqlrouter passing connections through."""

    @staticmethod
    def installed():
        return shutil.which("mysqlrouter")

    def __init__(self, server):
        self.name, self.port = "mysqlrouter", free_port()

        def command(files):
            (files / "router.conf").write_text(
                f"[DEFAULT]\nlogging_folder={files}\nruntime_folder={files}\ndata_folder={files}\n"
                "unknown_config_option=warning\n[routing:relay]\n"
                f"bind_address=127.0.0.1\nbind_port={self.port}\ndestinations=127.0.0.1:{server.port}\n"
                "routing_strategy=first-available\nprotocol=classic\nmax_connections=5000\n"
                "client_ssl_mode=PASSTHROUGH\n"
            )
            return ["mysqlrouter", "--user=root", "-c", files / "router.conf"]

        self._start(command, self.port)


class Interlock(Proxy):
    """The release build of interlock, with a control connection as root."""

    def __init__(self, server, action="flag", config="", name="interlock", admin=True):
        self.name, self.port, self.admin = name, free_port(), free_port() if admin else None
        listen = f"127.0.0.1:{self.admin}" if admin else ""

        def command(files):
            (files / "interlock.toml").write_text(config)
            return [
                PROGRAM, "run", "--config", files / "interlock.toml",
                "--listen", f"127.0.0.1:{self.port}", "--admin-listen", listen,
                "--upstream", f"127.0.0.1:{server.port}", "--control-url", f"mysql://root@127.0.0.1:{server.port}",
                "--action", action,
            ]

        self._start(command, self.admin or self.port)
        wait_for_port(self.port, self.process, self.log)

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=10) as answer:
            return answer.read().decode()

    def metrics(self):
        """Samples of /metrics: name with labels → value."""
        samples = {}
        for line in self.get("/metrics").splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                samples[name] = float(value)
        return samples

    def conflicts(self):
        return json.loads(self.get("/api/conflicts?after=0"))["conflicts"]

    def terminate(self, limit=20):
        """SIGTERM; gives the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(limit)
