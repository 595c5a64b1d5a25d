#!/bin/sh
# Fetches axe-core, which checks pages for accessibility, into build/axe. npm checks what it fetches against its hash.
set -eu
version=4.14.1
if [ -f "build/axe/$version/axe.min.js" ]; then exit 0; fi
if ! command -v npm >/dev/null 2>&1; then
    echo "npm is not there, so the tests of accessibility are skipped (Debian, Ubuntu: apt-get install npm)" >&2
    exit 0
fi
mkdir -p "build/axe/$version"
cd "build/axe/$version"
npm pack --silent "axe-core@$version" >/dev/null || {
    echo "axe-core could not be fetched, so the tests of accessibility are skipped" >&2
    exit 0
}
tar -xzf "axe-core-$version.tgz" --strip-components=1 package/axe.min.js
