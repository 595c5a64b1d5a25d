#!/bin/sh
# Makes sure that a Chromium is there for the browser tests; installs Debian's where that is possible.
set -eu
for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null 2>&1; then exit 0; fi
done
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "the browser tests need Chromium: install it (Debian, Ubuntu: apt-get install chromium)" >&2
    exit 1
fi
echo "installing Chromium ..."
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends chromium fonts-dejavu-core >/dev/null
