#!/bin/sh
set -e
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../install.sh"
install_python
[ "$1" = --install ] || run_python
