#!/usr/bin/env python3
"""third-party.py TARGET [LICENCE-FOLDER...]

Prints what the program is made of besides this project: every crate linked into the build for TARGET (a Rust triple) with
version, licence and home, the C and C++ libraries inside it, and the texts of all their licences, each text once. In the
tarball as THIRD-PARTY.txt. The folders are searched for licence texts of libraries that no crate brings (OpenCV, zlib).
"""
import json
import pathlib
import subprocess
import sys

C_LIBRARIES = [
    ("OpenCV (core, imgproc)", "Apache-2.0", "https://opencv.org"),
    ("OpenH264", "BSD-2-Clause", "https://www.openh264.org"),
    ("libjpeg-turbo", "IJG AND BSD-3-Clause AND Zlib", "https://libjpeg-turbo.org"),
    ("zlib", "Zlib", "https://zlib.net"),
    ("DejaVu fonts", "Bitstream-Vera", "https://dejavu-fonts.github.io"),
    ("Droid Sans Fallback", "Apache-2.0", "https://android.googlesource.com"),
]
TEXTS = ("LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE")


def metadata(target):
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    # no need to ask the network for what is there already
    for options in (["--offline"], []):
        done = subprocess.run(command + options, capture_output=True, text=True)
        if done.returncode == 0:
            return json.loads(done.stdout)
    sys.exit(done.stderr)


def linked(data):
    """The packages reached by normal dependencies: no build scripts', no tests'."""
    nodes = {node["id"]: node for node in data["resolve"]["nodes"]}
    root = data["resolve"]["root"]
    waiting, seen = [root], {root}
    while waiting:
        for dependency in nodes[waiting.pop()]["deps"]:
            normal = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if normal and dependency["pkg"] not in seen:
                seen.add(dependency["pkg"])
                waiting.append(dependency["pkg"])
    packages = [package for package in data["packages"] if package["id"] in seen - {root}]
    return sorted(packages, key=lambda package: (package["name"], package["version"]))


def texts_of(folder, depth):
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.is_file() and path.name.upper().startswith(TEXTS) and path.suffix not in (".rs", ".jpg"):
            found.append(path)
        elif path.is_dir() and depth > 0 and path.name not in ("src", "tests", "benches"):
            found += texts_of(path, depth - 1)
    return found


def main(target, *folders):
    packages = linked(metadata(target))
    print("rtcam contains the software below, each under the licence named (where OR joins several: any of them).\n")
    print("C and C++ libraries, fonts:")
    for row in C_LIBRARIES:
        print("%-34s %-40s %s" % row)
    print("\nRust crates:")
    for package in packages:
        name = f"{package['name']} {package['version']}"
        print("%-34s %-40s %s" % (name, package["license"], package["repository"] or ""))
    users = {}
    places = [(package["name"], pathlib.Path(package["manifest_path"]).parent, 1) for package in packages]
    places += [(pathlib.Path(folder).name, pathlib.Path(folder), 2) for folder in folders]
    places.append(("fonts", pathlib.Path("assets/fonts"), 0))
    for name, folder, depth in places:
        for path in texts_of(folder, depth):
            text = "\n".join(line.rstrip() for line in path.read_text(errors="replace").strip().splitlines())
            users.setdefault(text, set()).add(name)
    for text, names in sorted(users.items(), key=lambda item: min(item[1])):
        print("\n" + "=" * 100 + "\n" + ", ".join(sorted(names)) + ":\n\n" + text)


if len(sys.argv) < 2:
    sys.exit(__doc__)
main(*sys.argv[1:])
