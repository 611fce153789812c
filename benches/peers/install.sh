# Sourced by every peer's run.sh: where a peer lives, and how a Python one is installed.
# A peer's own folder name is its name; `here` is that folder.

peers=$(dirname "$here")
home=${RIVERRUN_PEERS_DIR:-$peers/../../target/peers}/$(basename "$here")
mkdir -p "$home"
home=$(cd "$home" && pwd)

# The pinned wheels exist for these versions of Python; RIVERRUN_PEERS_PYTHON overrides the search.
find_python() {
    for python in $RIVERRUN_PEERS_PYTHON python3.11 python3.12 python3.10 python3; do
        "$python" -c 'import venv' 2>/dev/null && return
    done
    echo "$(basename "$here"): no Python found: install Python 3.11, or name one in RIVERRUN_PEERS_PYTHON" >&2
    exit 1
}

# Makes $home/venv hold exactly what requirements.txt pins. The copy of that file beside it, written last,
# says that an earlier installation went to its end.
install_python() {
    cmp -s "$here/requirements.txt" "$home/requirements.txt" && return
    find_python
    rm -rf "$home/venv"
    "$python" -m venv "$home/venv" >&2
    "$home/venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
    cp "$here/requirements.txt" "$home/requirements.txt"
}

# Becomes the runner, so that the process the harness started is the one it measures.
run_python() {
    RIVERRUN_PEER_HOME=$home PYTHONPATH=$peers PYTHONDONTWRITEBYTECODE=1 \
        exec "$home/venv/bin/python" "$here/runner.py" "$@"
}
