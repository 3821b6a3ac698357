#!/bin/sh
# tools.sh - the programs that the tests drive and a fresh machine may lack.
# Installs from Debian's packages when that is allowed (root or sudo without a
# password); otherwise it names what to install.
set -eu

missing=
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need curl curl
need git git
need java default-jdk-headless # runs a source file: e2e/programs
need /usr/bin/python3 python3
/usr/bin/python3 -c 'import requests' 2>/dev/null || missing="$missing python3-requests"
/usr/bin/python3 -c 'import boto3' 2>/dev/null || missing="$missing python3-boto3"
if [ "$(uname -s)" = Linux ] && [ "$(id -u)" = 0 ]; then # capture's transparent mode, in namespaces of the test
	need ip iproute2
	need nft nftables
	need iptables iptables
	need setpriv util-linux
	need psql postgresql-client # behind the transparent mode: e2e/programs
	/usr/bin/python3 -c 'import websockets' 2>/dev/null || missing="$missing python3-websockets"
fi
if grep -qs '^ID=debian' /etc/os-release; then # Ubuntu has it as a snap only
	need chromium chromium
fi
nginx=
if [ "$(uname -s)" = Linux ] && ! command -v nginx >/dev/null 2>&1 && [ ! -x /usr/sbin/nginx ]; then # not in the path of an ordinary user
	nginx=nginx
	missing="$missing nginx"
fi
[ -d /usr/share/zoneinfo ] || missing="$missing tzdata"

[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ]; then
	as=
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
	as="sudo -n"
else
	echo "please install:$missing" >&2
	exit 1
fi
echo "installing:$missing"
# shellcheck disable=SC2086
$as apt-get update -qq
# shellcheck disable=SC2086
install() { DEBIAN_FRONTEND=noninteractive $as apt-get install -y -qq --no-install-recommends $missing >/dev/null; }
if [ -z "$nginx" ] || [ -e /usr/sbin/policy-rc.d ]; then
	install
	exit
fi
# The tests run an nginx of their own: the package's is not to listen on port
# 80, now or after the next boot.
printf '#!/bin/sh\nexit 101\n' | $as tee /usr/sbin/policy-rc.d >/dev/null
trap '$as rm -f /usr/sbin/policy-rc.d' EXIT
$as chmod 755 /usr/sbin/policy-rc.d
install
if command -v systemctl >/dev/null 2>&1; then
	$as systemctl disable --quiet nginx 2>/dev/null || true
fi
