"""Lists a wheel's members, or extracts those named on standard input. Run by `cargo xtask setup`, nowhere else."""
import sys
import zipfile

verb, wheel = sys.argv[1:3]
with zipfile.ZipFile(wheel) as archive:
    if verb == "list":
        print("\n".join(archive.namelist()))
    else:
        for name in sys.stdin.read().splitlines():
            archive.extract(name, sys.argv[3])
