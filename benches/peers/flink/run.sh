#!/bin/sh
set -e
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../install.sh"
install_python

# The package of Flink's libraries is a folder of jars. Classes are compiled again when a source is newer.
jars=$(echo "$home"/venv/lib/python*/site-packages/pyflink/lib)
RIVERRUN_FLINK_CLASSPATH="$home/classes:$(ls "$jars"/*.jar | grep -v flink-scala | tr '\n' ':')"
export RIVERRUN_FLINK_CLASSPATH
if [ -n "$(find "$here" -name '*.java' -newer "$home/compiled" 2>/dev/null || echo none)" ] || [ ! -f "$home/compiled" ]; then
    mkdir -p "$home/classes"
    javac -nowarn -d "$home/classes" -cp "$RIVERRUN_FLINK_CLASSPATH" "$here"/*.java >&2
    cp -r "$here/META-INF" "$home/classes/"
    touch "$home/compiled"
fi
[ "$1" = --install ] || run_python
