"""The compiled extension and the package map; the metadata is in pyproject.toml."""

from Cython.Build import cythonize
from setuptools import Extension, setup

setup(
    packages=["sharq", "sharq_server"],
    package_dir={"sharq": "sharq", "sharq_server": "server"},
    ext_modules=cythonize(
        [
            Extension(
                "sharq._fastpath",
                ["sharq/_fastpath.pyx"],
                # Python's own flags may be -O3 -g: slower to compile, and several times the size.
                extra_compile_args=["-O2", "-g0"],
            )
        ],
        build_dir="build/cython",
        compiler_directives={"language_level": "3", "auto_pickle": False, "autotestdict": False},
    ),
)
