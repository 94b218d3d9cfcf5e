"""Puts empty libraries in the place of NVIDIA's, so that torch's wheel can be imported without 2 GB of them.

The wheel on the package index is linked to CUDA. Nothing is computed there: asked for a device, a stub says that there is none.
"""

import pathlib
import re
import subprocess
import sysconfig
import tempfile

FOLDER = pathlib.Path(sysconfig.get_paths()["purelib"]) / "torch/lib"
THEIRS = re.compile(r"lib(cu|nccl|nv)")
# What CUDA answers where there is no device.
NO_DEVICE = 100


def readelf(*args):
    return subprocess.run(["readelf", "-W", *args], capture_output=True, text=True, check=True).stdout


def survey():
    """Libraries that are asked for, the version names asked of each, and the symbols asked for under each of those."""
    libraries, versions, symbols = set(), {}, {}
    for path in sorted([*FOLDER.glob("*torch*.so"), *FOLDER.glob("libc10*.so")]):
        libraries |= set(re.findall(r"NEEDED.*\[(.*?)\]", readelf("-d", path)))
        library = None
        for line in readelf("-V", path).splitlines():
            if found := re.search(r"File: (\S+)", line):
                library = found[1]
            elif library and (found := re.search(r"Name: (\S+)\s+Flags", line)):
                versions.setdefault(library, set()).add(found[1])
        for name, version in re.findall(r" UND (\w+)(?:@+(\S+))?", readelf("--dyn-syms", path)):
            symbols.setdefault(version, set()).add(name)
    return libraries, versions, symbols


def build(library, versions, symbols):
    named = sorted(versions.get(library, ()))
    if named:
        names = set().union(*(symbols.get(version, set()) for version in named))
    else:
        names = {name for name in symbols[""] if re.match(r"(cu|nccl|nv)", name)}
    with tempfile.TemporaryDirectory() as work:
        source, script = pathlib.Path(work, "stub.c"), pathlib.Path(work, "stub.map")
        source.write_text("".join(f"int {name}(void) {{ return {NO_DEVICE}; }}\n" for name in sorted(names)))
        nodes = {version: "; ".join(sorted(symbols.get(version, ()))) for version in named}
        script.write_text("".join(f"{version} {{ global: {body}; }};\n" for version, body in nodes.items()))
        flags = ["-w", "-fno-builtin", "-fPIC", "-shared", f"-Wl,-soname,{library}"]
        if named:
            flags.append(f"-Wl,--version-script={script}")
        subprocess.run(["cc", source, *flags, "-o", FOLDER / library], check=True)


def main():
    libraries, versions, symbols = survey()
    for library in sorted(libraries):
        if THEIRS.match(library) and not (FOLDER / library).exists():
            build(library, versions, symbols)


main()
