#!/bin/sh
# peers.sh DIR - the programs that capture is compared with: those of Debian,
# and Go programs built into DIR at pinned versions. None enters our go.mod.
# Without root the Debian ones must be there already; a peer that is missing is
# a row without figures, never a failure.
set -eu

dir=$1
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

# debian PACKAGE... installs without starting the services they bring.
debian() {
	if [ "$(id -u)" != 0 ]; then
		echo "peers.sh: please install: $*" >&2
		return
	fi
	policy=/usr/sbin/policy-rc.d
	ours=
	if [ ! -e "$policy" ]; then
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
		ours=$policy
	fi
	apt-get update -qq || true
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null ||
		echo "peers.sh: could not install: $*" >&2
	[ -z "$ours" ] || rm -f "$ours"
}

missing=
need() { [ -n "$(command -v "$1" || true)" ] || missing="$missing $2"; }
PATH=$PATH:/usr/sbin:/sbin
need haproxy haproxy
need nginx nginx-light
need mitmdump mitmproxy
[ -e /usr/include/pcap/pcap.h ] || missing="$missing libpcap-dev"
# shellcheck disable=SC2086
[ -z "$missing" ] || debian $missing

# built NAME PACKAGE@VERSION CGO
built() {
	[ -x "$dir/$1" ] && return
	echo "building $2"
	(cd "$dir" && CGO_ENABLED=$3 GOBIN=$dir GOFLAGS=-mod=mod go install "$2") ||
		echo "peers.sh: could not build $2" >&2
}
built goreplay github.com/buger/goreplay@v1.3.2 1
built ghz github.com/bojand/ghz/cmd/ghz@v0.93.0 0

[ -x "$dir/goproxy" ] || (cd "$(dirname "$0")/goproxy" && CGO_ENABLED=0 go build -o "$dir/goproxy" .) ||
	echo "peers.sh: could not build goproxy" >&2
