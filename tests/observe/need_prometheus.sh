#!/bin/sh
# Makes sure that a Prometheus is there for the tests of what it scrapes: on the PATH, or Debian's package unpacked into
# the cache folder. It is not installed, since that would start a service of its own.
set -eu
if command -v prometheus >/dev/null 2>&1 && command -v promtool >/dev/null 2>&1; then exit 0; fi
place="${XDG_CACHE_HOME:-$HOME/.cache}/tokenswarm/prometheus"
if [ -x "$place/usr/bin/prometheus" ] && [ -x "$place/usr/bin/promtool" ]; then exit 0; fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "these tests need prometheus and promtool on the PATH (https://prometheus.io/download)" >&2
    exit 1
fi
echo "fetching Prometheus ..."
if [ "$(id -u)" = 0 ]; then apt-get -qq update; fi
mkdir -p "$place"
cd "$place"
apt-get -qq -o APT::Sandbox::User=root download prometheus
dpkg -x prometheus_*.deb .
rm prometheus_*.deb
