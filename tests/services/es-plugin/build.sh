#!/bin/bash
# Compile TestNodePlugin.java against an unpacked server and install it there:  build.sh ES_HOME
# Needs ES_JAVA_HOME to be a JDK (javac, jar), not a JRE. Takes 2 to 4 s; run it before the node starts.
set -euo pipefail
home=$1 here=$(cd "$(dirname "$0")" && pwd)
version=$(sed -nE 's/^elasticsearch.version=(.*)/\1/p' "$home/modules/transport-netty4/plugin-descriptor.properties")
release=21; [ "${version%%.*}" = 8 ] && release=17
out=$(mktemp -d); trap 'rm -rf "$out"' EXIT
"$ES_JAVA_HOME/bin/javac" -nowarn --release $release -proc:none -cp "$home/lib/*" -d "$out/classes" "$here/TestNodePlugin.java" >&2
mkdir -p "$out/classes/META-INF/services" "$home/plugins/test-node"
echo 'TestNodePlugin$Features' > "$out/classes/META-INF/services/org.elasticsearch.features.FeatureSpecification"
# renamed into place: a node that runs has the earlier file open
"$ES_JAVA_HOME/bin/jar" --create --file "$home/test-node.jar.part" -C "$out/classes" .
mv "$home/test-node.jar.part" "$home/plugins/test-node/test-node.jar"
cat > "$home/plugins/test-node/plugin-descriptor.properties" <<P
name=test-node
description=What the test node needs from modules that the Maven artifact leaves out
version=1
elasticsearch.version=$version
java.version=$release
classname=TestNodePlugin
P
cp "$here/TestNodePlugin.java" "$home/TestNodePlugin.java"   # by which es-start.sh knows what was built
