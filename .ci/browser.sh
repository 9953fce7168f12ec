#!/bin/sh
# Clicks through the pages that the program writes, in headless Chromium. Screenshots: target/browser/.
# Installs Chromium where this may (root on Debian or Ubuntu); elsewhere it must be there.
set -eu
cd "$(dirname "$0")/.."
if ! { command -v chromedriver && { command -v chromium || command -v google-chrome; }; } >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -q
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends chromium chromium-driver
    fi
fi
# Without the variable, tests skip on a machine that has no Chromium.
WINDOWKV_BROWSER=required cargo test --release -p windowkv-browser-tests -- --test-threads=2
