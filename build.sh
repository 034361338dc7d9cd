#!/usr/bin/env bash
# Builds and runs SharQ. Each verb first makes what it needs: the environment (.venv) and the
# compiled extension. PYTHON chooses the interpreter, CC the compiler.
set -euo pipefail

called_from=$PWD
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
root=$(pwd -P)
case ${PYTHON:-} in
    /*) ;;
    */*) PYTHON=$called_from/$PYTHON ;;
esac
# Where .venv is activated: it may have to be made anew, and not by its own Python.
PATH=${PATH//"$root/.venv/bin:"/}

shopt -s nullglob
# To the bottom of both folders; `**` is not for macOS, which has bash 3.2. No name has a space.
found() { find sharq server -name "$1" | LC_ALL=C sort; }
# shellcheck disable=SC2207
cython_sources=($(found '*.pyx')) cython_includes=($(found '*.pxi'))
# shellcheck disable=SC2207
cython_files=("${cython_sources[@]}" "${cython_includes[@]}" $(found '*.pxd'))

# ---- verbs: the comment beside the name is its line of help ----

verb_serve() { # run sharq-server: --port 9000 --data-dir DIR --config FILE …
    prepare runtime
    cd -- "$called_from"
    exec "$root/.venv/bin/sharq-server" "$@"
}

verb_demo() { # show the queue at work, with a store and a server of its own
    prepare runtime
    cd -- "$called_from"
    exec "$root/.venv/bin/python" -P -m sharq_server.demo "$@"
}

verb_test() { # run the tests that need nothing else; arguments go to pytest
    prepare dev
    run_tests --needs=none "$@"
}

verb_test-all() { # run those, too, that need a browser, Java, …; --needs=all: fail without one
    prepare dev
    run_tests "$@"
}

verb_cover() { # run the tests and show the lines of Python that none reaches
    prepare dev
    .venv/bin/coverage erase
    .venv/bin/coverage run -m pytest "$@"
    .venv/bin/coverage combine --quiet
    .venv/bin/coverage report
}

verb_fuzz() { # try inputs without end: --minutes N --seed S --target NAME --guided --asan
    prepare dev
    export PYTHONPATH="$root"
    arguments=()
    for argument; do
        case $argument in
            --asan) with_sanitizers ;;
            --guided) with_atheris && arguments+=("$argument") ;;
            *) arguments+=("$argument") ;;
        esac
    done
    exec .venv/bin/python -P -m tests.fuzz ${arguments[@]+"${arguments[@]}"}
}

verb_lint() { # check format, style, types, the extension's stub and its warnings
    prepare dev
    keep_bytecode
    export PATH="$root/.venv/bin:$PATH"
    rm -rf build/lint
    mkdir -p build/lint
    modules=()
    for source in "${cython_sources[@]}"; do modules+=("$(module_of "$source")"); done
    # Each call of it reads all the types there are, for as long as mypy does: one call, beside mypy.
    check stubtest --mypy-config-file pyproject.toml "${modules[@]}" >build/lint/stubtest 2>&1 &
    stubtest=$!
    trap 'pkill -P $stubtest || kill $stubtest 2>/dev/null || true' EXIT
    check ruff format --check .
    check ruff check .
    check mypy
    for source in "${cython_sources[@]}"; do
        check cython -3 -Wextra -Werror --module-name "$(module_of "$source")" \
            "$source" -o "build/lint/$(module_of "$source").c"
    done
    # cython-lint looks into files of that name alone. Cython itself reads an include where it stands.
    for include in "${cython_includes[@]}"; do
        cp "$include" "build/lint/$(module_of "${include%.pxi}").pyx"
    done
    check cython-lint sharq server build/lint/*.pyx
    wait $stubtest
    trap - EXIT
    cat build/lint/stubtest
    [ ! -e build/lint/failed ] || fail "Failed: $(paste -sd' ' build/lint/failed)"
}

verb_format() { # rewrite the sources in the project's format
    prepare dev
    .venv/bin/ruff check --fix .
    .venv/bin/ruff format .
}

verb_faults() { # check by fault: --minutes N --seed S; a store, servers, workers under kill -9
    prepare dev
    keep_bytecode
    exec .venv/bin/python -m tests.faults "$@"
}

verb_bench() { # run the benchmarks; arguments go to bench/
    prepare dev
    exec .venv/bin/python -m bench "$@"
}

verb_pictures() { # take the pictures of the README: --minutes N; needs playwright and Chromium
    prepare dev
    exec .venv/bin/python -m bench.pictures "$@"
}

verb_soak() { # hold 10,000 connections under load: --minutes N --connections N --slow N
    prepare dev
    exec .venv/bin/python -m tests.load "$@"
}

verb_annotate() { # show which lines of the extension go through the interpreter, as HTML
    prepare dev
    mkdir -p build/annotate
    for source in "${cython_sources[@]}"; do
        name=$(module_of "$source")
        .venv/bin/cython -3 --annotate --module-name "$name" \
            "$source" -o "build/annotate/$name.c"
        echo "$root/build/annotate/$name.html"
    done
}

verb_wheel() { # build the sdist, and the wheel from it, into dist/
    prepare dev
    rm -rf dist build/wheel
    # One commit gives the same wheel each time: its files are dated by it.
    committed=$(git log -1 --format=%ct 2>/dev/null) || committed=
    [ -z "$committed" ] || export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$committed}"
    # The linker line that some Pythons remember puts a path of their builder's into the extension.
    [ "$(uname)" != Linux ] || export LDSHARED="${LDSHARED:-${CC:-cc} -shared}"
    say "Building the sdist and the wheel…"
    logged .venv/bin/python -m build --outdir build/wheel . ||
        fail "They could not be built; the whole log is in build/log."
    mkdir dist
    mv build/wheel/*.tar.gz dist
    repair build/wheel/*.whl
    ls dist/*
}

verb_smoke() { # build the wheel and try it in an empty environment without a compiler
    verb_wheel
    exec .venv/bin/python -m pytest -m packaging tests/packaging "$@"
}

verb_clean() { # remove everything that was made
    rm -rf .venv .peers build dist sharq.egg-info .coverage .coverage.* \
        .hypothesis .mypy_cache .pytest_cache .ruff_cache
    find bench docs examples server sharq tests \( -name __pycache__ -o -name '*.so' \) -prune \
        -exec rm -rf {} + 2>/dev/null || true
}

# ---- the tests ----

# Side by side first, then alone those that judge time.
run_tests() {
    keep_bytecode
    outcome=5 # pytest's word for no test at all
    ways=("--numprocesses=auto --dist=worksteal" --alone)
    # In one process nothing runs beside those either, so that all run at once.
    for argument in "$@"; do
        [ "$argument" != -n0 ] || unset "ways[1]"
    done
    for how in "${ways[@]}"; do
        status=0
        # shellcheck disable=SC2086 # several words
        .venv/bin/python -m pytest $how "$@" || status=$?
        case $status in
            0) [ $outcome -ne 5 ] || outcome=0 ;;
            2 | 3 | 4) exit $status ;; # interrupted, broken, or asked for what there is not
            5) ;;
            *) outcome=$status ;;
        esac
    done
    case $outcome in
        0) say "All tests that were chosen have passed." ;;
        5) say "No test was chosen." ;;
        *) say "Some tests have failed: see above." ;;
    esac
    exit $outcome
}

# ---- the environment and the extension ----

# Leaves an environment in .venv that is up to date: `prepare runtime` with what the server needs,
# `prepare dev` with the tools too.
prepare() {
    ! up_to_date "$1" || return 0
    find_python
    exec 9>.build-lock
    "$python" -c 'if True:
        import fcntl, signal, sys
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.stderr.write("Waiting for another build to end...\n")
            fcntl.flock(9, fcntl.LOCK_EX)'
    up_to_date "$1" || build "$1"
    exec 9>&- # not before: the lock belongs to this open file; and the server must not inherit it
}

# Python keeps what it compiles, in a place of its own, whatever the environment says: some hundred
# processes of a run load the same modules.
keep_bytecode() {
    unset PYTHONDONTWRITEBYTECODE
    export PYTHONPYCACHEPREFIX="$root/build/bytecode"
}

# An environment that has the tools serves both purposes, and keeps them.
up_to_date() {
    { [ "$1" = runtime ] || [ -e .venv/dev ]; } &&
        [ "$(cat .venv/stamp 2>/dev/null)" = "$(fingerprint)" ] || return 1
    for source in "${cython_sources[@]}"; do
        compgen -G "${source%.pyx}.*.so" >/dev/null || return 1
    done
}

fingerprint() {
    environment_identity
    cksum build.sh setup.py pyproject.toml "${cython_files[@]}"
}

# sharq/_fastpath.pyx is sharq._fastpath, server/sharq_server/http/_lane.pyx sharq_server.http._lane.
module_of() {
    local module=${1%.pyx}
    module=${module#server/}
    echo "${module//\//.}"
}

# An environment belongs to one place and one Python: its scripts hold both.
environment_identity() {
    echo "$root"
    "${PYTHON:-.venv/bin/python}" -IS -c 'import sys; print(sys.version, sys.base_prefix)' 2>/dev/null
}

environment_is_whole() {
    [ -x .venv/bin/python ] && [ "$(cat .venv/environment 2>/dev/null)" = "$(environment_identity)" ]
}

build() {
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    extras='[server]' bytecode=--compile
    # Of the tools most is never loaded, and what is goes elsewhere: see `keep_bytecode`.
    if [ "$1" = dev ] || [ -e .venv/dev ]; then extras='[server,dev]' bytecode=--no-compile; fi
    mkdir -p build
    find_python
    check_compiler
    if ! environment_is_whole; then
        say "Making the environment (.venv)…"
        rm -rf .venv
        logged "$python" -m venv .venv || fail "The environment could not be made; see above."
    fi
    identity=$(environment_identity)
    built=$(fingerprint)

    say "Installing what is needed and compiling…"
    # An installation that is broken off leaves no environment that a later run would trust.
    rm -rf .venv/stamp .venv/environment build/cython
    status=0
    logged .venv/bin/python -m pip install --no-input $bytecode -e ".$extras" || status=$?
    [ $status -ge 128 ] || echo "$identity" >.venv/environment
    [ $status -eq 0 ] || fail "pip could not install or compile; the whole log is in build/log."
    [ "$extras" = '[server]' ] || : >.venv/dev
    echo "$built" >.venv/stamp
    trap - INT TERM HUP
}

find_python() {
    python=.venv/bin/python
    ! environment_is_whole || return 0
    for python in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            "$python" -c 'import ensurepip, venv' 2>/dev/null ||
                fail "$python has no venv module (Debian, Ubuntu: apt-get install python3-venv)."
            return
        fi
        [ -z "${PYTHON:-}" ] || fail "PYTHON=$PYTHON is no Python 3.11 or later."
    done
    found=$(python3 --version 2>/dev/null || echo "no Python 3")
    fail "SharQ needs Python 3.11 or later; PATH has $found. PYTHON=/path/to/python names another."
}

# Chooses the compiler and compiles one line with it, so that what is missing is said in one line.
check_compiler() {
    own=$("$python" -c 'import sysconfig; print((sysconfig.get_config_var("CC") or "cc").split()[0])')
    include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    for compiler in "${CC:-}" "$own" cc gcc clang; do
        if command -v "${compiler%% *}" >/dev/null; then break; fi
        [ -z "${CC:-}" ] || fail "CC=$CC is no compiler that can be run."
        compiler=
    done
    hint="Debian, Ubuntu: apt-get install gcc libc6-dev python3-dev; macOS: xcode-select --install"
    [ -n "$compiler" ] || fail "SharQ needs a C compiler, and there is none on PATH ($hint)."
    # shellcheck disable=SC2086 # a compiler may come with options
    if ! complaint=$($compiler -I"$include" -fsyntax-only -x c - <<<'#include <Python.h>' 2>&1); then
        fail "$compiler cannot compile for $python: ${complaint%%$'\n'*} ($hint)"
    fi
    [ "$compiler" = "$own" ] || export CC="$compiler"
}

# Atheris has wheels for some Pythons on Linux alone, so that it is no requirement of the tools.
with_atheris() {
    export PYTHONPATH="$root/build/atheris:$PYTHONPATH"
    [ -d build/atheris/atheris ] ||
        logged .venv/bin/python -m pip install --no-input --target build/atheris 'atheris>=3,<4' ||
        fail "Atheris could not be installed; the whole log is in build/log."
}

# Has Python take the extensions from copies of the sources in build/asan, compiled with
# AddressSanitizer and UndefinedBehaviorSanitizer. What is there otherwise is not touched.
with_sanitizers() {
    [ "$(uname)" = Linux ] || fail "The sanitizers are for Linux here."
    say "Compiling the extensions with the sanitizers…"
    mkdir -p build/asan/sharq build/asan/server
    # No module may be found there that is gone here. What did not change is not compiled again.
    find build/asan/sharq build/asan/server -type f ! -name '*.so' -delete
    find sharq server setup.py pyproject.toml README.md LICENSE \
        -name '*.so' -o -name __pycache__ -prune -o -type f -exec cp -p --parents -t build/asan {} +
    (
        cd build/asan
        export CFLAGS="-fsanitize=address,undefined -fno-sanitize-recover=undefined -g -O1"
        export LDFLAGS="-fsanitize=address,undefined"
        "$root/.venv/bin/python" setup.py -q build_ext --inplace >"$root/build/log" 2>&1
    ) || fail "They could not be compiled; the whole log is in build/log."
    export PYTHONPATH="$root/build/asan:$root/build/asan/server:$PYTHONPATH" PYTHONMALLOC=malloc
    # Python itself frees little at its end; that is no leak of the extensions'.
    export ASAN_OPTIONS="detect_leaks=0:abort_on_error=1" UBSAN_OPTIONS="print_stacktrace=1"
    LD_PRELOAD="$(${CC:-cc} -print-file-name=libasan.so):$(${CC:-cc} -print-file-name=libubsan.so)"
    export LD_PRELOAD
}

# Tags the wheel by the systems that it runs on, strips its extensions, and puts it into dist/.
repair() {
    if [ "$(uname)" != Linux ]; then
        mv "$1" dist # nothing to gather: the extensions need the system's libraries alone
        return
    fi
    # An older glibc is not for this wheel: it requires the embedded store, which has none for it.
    if getconf GNU_LIBC_VERSION >/dev/null 2>&1; then
        export AUDITWHEEL_PLAT="manylinux_2_28_$(uname -m)"
    fi
    PATH="$root/.venv/bin:$PATH"
    logged auditwheel repair --strip --only-plat --wheel-dir dist "$1" ||
        fail "The wheel would not run wherever it may be installed; see above."
}

# ---- words ----

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "build.sh: $*"
    exit 1
}

# Runs a command quietly; when it fails, shows the end of what it said.
logged() {
    local status=0
    "$@" >build/log 2>&1 || status=$?
    [ $status -eq 0 ] || tail -n 40 build/log >&2
    return $status
}

# Runs a check of `lint` and remembers when it failed, so that one run shows all that is wrong.
check() {
    say "== $*"
    "$@" || echo "$1" >>build/lint/failed
}

verbs() {
    echo "Usage: ./build.sh VERB [arguments]"
    sed -n 's/^verb_\([a-z-]*\)() { # /\1|/p' build.sh | while IFS='|' read -r name what; do
        printf '  %-9s %s\n' "$name" "$what"
    done
}

verb=${1:-help}
if declare -F "verb_$verb" >/dev/null; then
    shift
    "verb_$verb" "$@"
elif [ "$verb" = help ] || [ "$verb" = --help ] || [ "$verb" = -h ]; then
    verbs
else
    verbs >&2
    exit 2
fi
