#!/bin/sh
# timescale.sh: a real PostgreSQL with TimescaleDB (Apache-2 edition) in a
# private folder. No Docker, no root, no change to the host system.
#
#   timescale.sh start   [DIR [PORT]]  install if needed, initdb if needed, start, print the address
#   timescale.sh dsn     [DIR]         print the address of the running server
#   timescale.sh status  [DIR]
#   timescale.sh psql    [DIR [...]]   the private psql, already connected
#   timescale.sh stop    [DIR]         fast shutdown
#   timescale.sh install [DIR]         only unpack the software
#   timescale.sh destroy [DIR]         stop and delete DIR
#
# Without DIR: tapedeck/timescale in the user's cache folder; for root, whose
# home the server's user cannot enter, /var/tmp/tapedeck-0/timescale. Without
# PORT: the one of the last start, else a free one. Many callers may start the
# same DIR at once: one starts, the others wait and get the same address.
#
# How it works, and why: see README.md beside this file.
#
# Settings (environment)
#   TS_SUITE     Debian suite              trixie   (sid has PostgreSQL 18)
#   TS_PG        PostgreSQL major          17
#   TS_MIRROR    Debian mirror             the one in the host's own apt sources, else debootstrap's
#   TS_SECURITY  its security archive      likewise
#   TS_ROOT      where the software goes   DIR/root (several DIRs may share it)
#   TS_APT       where apt keeps its files DIR/apt  (worth keeping in a CI cache)
#   TS_DB        database to create        tapedeck
#   TS_USER      user to run as, if root   postgres if there is one, else nobody
#   TS_CONF      file with more postgresql.conf lines, included last
#   TS_KEYRING   keyring to check the mirror with
#   TS_STALE_OK  1 accepts a mirror whose release file has expired (frozen mirrors)
set -eu
umask 022

die() { echo "timescale.sh: $*" >&2; exit 1; }
log() { echo "timescale.sh: $*" >&2; }

default_dir() {
	if [ "$(id -u)" = 0 ]; then
		echo /var/tmp/tapedeck-0/timescale
	else
		echo "${XDG_CACHE_HOME:-${HOME:?is not set: name a folder}/.cache}/tapedeck/timescale"
	fi
}

cmd=${1:-}
case $cmd in
start|dsn|status|psql|stop|install|destroy) shift ;;
*) sed -n '2,13p' "$0" | cut -c3-; exit 2 ;;
esac
DIR=${1:-$(default_dir)}
[ $# = 0 ] || shift
mkdir -p "$DIR"
DIR=$(cd "$DIR" && pwd -P)
case $DIR in *[!A-Za-z0-9/._+-]*) die "use a path without spaces or special characters: $DIR" ;; esac
# The socket's path is bounded by the kernel (107 bytes).
[ ${#DIR} -le 80 ] || die "use a shorter path: $DIR"
# What is run from here must not be somebody else's.
own=$DIR
if [ "$DIR" = "$(default_dir)" ]; then own="$DIR $(dirname "$DIR")"; fi
for d in $own; do
	[ "$(stat -c %u "$d")" = "$(id -u)" ] || die "$d belongs to another user: choose a folder of your own"
done

# What `start` was told is kept in DIR/settings, so that later calls need no
# environment; the environment still wins.
S_SUITE='' S_PG='' S_ROOT='' S_DB=''
# shellcheck disable=SC1091
if [ -r "$DIR/settings" ]; then . "$DIR/settings"; fi
SUITE=${TS_SUITE:-${S_SUITE:-trixie}}
PG=${TS_PG:-${S_PG:-17}}
ROOT=${TS_ROOT:-${S_ROOT:-$DIR/root}}
DB=${TS_DB:-${S_DB:-tapedeck}}
APT=${TS_APT:-$DIR/apt}
DATA=$DIR/data
BIN=$ROOT/usr/lib/postgresql/$PG/bin
PKG=postgresql-$PG-timescaledb

# --- who runs the server ----------------------------------------------------
RUN_UID=$(id -u)
RUN_GID=$(id -g)
if [ "$RUN_UID" = 0 ]; then # PostgreSQL refuses to run as root
	if [ -z "${TS_USER:-}" ]; then
		TS_USER=nobody
		if id postgres >/dev/null 2>&1; then TS_USER=postgres; fi
	fi
	RUN_UID=$(id -u "$TS_USER")
	RUN_GID=$(id -g "$TS_USER")
	as() { HOME=$DIR setpriv --reuid="$RUN_UID" --regid="$RUN_GID" --clear-groups -- "$@"; }
else
	as() { "$@"; }
fi

# --- the packages -----------------------------------------------------------
# The host's own Debian mirror: what its apt would fetch from.
apt_uri() { apt-get indextargets --format "\$(REPO_URI)" 2>/dev/null | sort -u | grep -E "$1" | head -1; }

# from_host PACKAGE unpacks a package of the host's own (trusted) archive below
# $APT/host, for the two things an Ubuntu host does not have; `apt-get download`
# needs no root.
from_host() {
	log "taking $1 from the host's own apt sources"
	mkdir -p "$APT/host"
	( cd "$APT/host" && apt-get download -q "$1" >&2 && dpkg-deb -x "$1"_*.deb . )
}

# The mirror that debootstrap uses for Debian.
default_mirror() {
	[ -d "$APT/host/usr/share/debootstrap" ] || from_host debootstrap || return 0
	grep -rhoE 'https?://[a-z.]+/debian' "$APT/host/usr/sbin/debootstrap" "$APT/host/usr/share/debootstrap" |
		grep -Ev '//(archive|old|ports)' | sort | uniq -c | sort -rn | sed -n '1s/.* //p'
}

keyring() {
	if [ -n "${TS_KEYRING:-}" ]; then echo "$TS_KEYRING"; return; fi
	# debian-archive-keyring.pgp is the name from forky on
	for k in /usr/share/keyrings/debian-archive-keyring.gpg /usr/share/keyrings/debian-archive-keyring.pgp \
		"$APT"/host/usr/share/keyrings/debian-archive-keyring.gpg; do
		if [ -r "$k" ]; then echo "$k"; return; fi
	done
	from_host debian-archive-keyring || die "cannot get debian-archive-keyring: install it, or set TS_KEYRING"
	echo "$APT/host/usr/share/keyrings/debian-archive-keyring.gpg"
}

# apt with its own state, cache and sources, and an EMPTY status file, so that
# it resolves the whole closure down to libc6.
apt_setup() {
	mirror=${TS_MIRROR:-$(apt_uri '/debian/?$')}
	mirror=${mirror:-$(default_mirror)}
	security=${TS_SECURITY:-$(apt_uri '/debian-security/?$')}
	[ -n "$mirror" ] || die "no Debian mirror is known here: set TS_MIRROR to one, and TS_SECURITY to its security archive"
	mkdir -p "$APT/state/lists/partial" "$APT/cache/archives/partial" "$APT/etc/preferences.d" \
		"$APT/etc/trusted.gpg.d" "$APT/etc/apt.conf.d" "$APT/debs"
	: > "$APT/state/status"
	key=$(keyring)
	{
		echo "deb [signed-by=$key] $mirror $SUITE main"
		case $SUITE in
		sid|unstable|experimental) ;;
		*)
			echo "deb [signed-by=$key] $mirror $SUITE-updates main"
			[ -z "$security" ] || echo "deb [signed-by=$key] $security $SUITE-security main"
			;;
		esac
	} > "$APT/etc/sources.list"
	cat > "$APT/apt.conf" <<-CONF
		Dir::State "$APT/state";
		Dir::State::status "$APT/state/status";
		Dir::Cache "$APT/cache";
		Dir::Etc "$APT/etc";
		Dir::Etc::sourcelist "$APT/etc/sources.list";
		Dir::Etc::sourceparts "-";
		APT::Install-Recommends "false";
		APT::Sandbox::User "root";
		Acquire::Languages "none";
		Acquire::Retries "3";
		Debug::NoLocking "true";
	CONF
	[ -z "${TS_STALE_OK:-}" ] || echo 'Acquire::Check-Valid-Until "false";' >> "$APT/apt.conf"
	# Our file replaces the host's apt.conf.d, whose hooks must not run here; a
	# proxy set there is still needed.
	apt-config dump | grep -E '^Acquire::(http|https|ForceIPv)' >> "$APT/apt.conf" || true
}

# The packages we unpack, out of the whole closure: shared libraries,
# PostgreSQL, TimescaleDB, time zones; not LLVM, perl, locales, PAM.
wanted() {
	grep -E "^(lib|zlib1g|tzdata|postgresql-$PG|postgresql-client-$PG)" |
	grep -Ev "^(libllvm|libz3-|libperl|lib.*-perl$|libc-l10n|libc-bin|libc-dev|libproc2|libpam-modules|libpam-runtime|libsemanage|libsepol|libgdbm|libdb5|libaudit-common|libdebconf|postgresql-$PG-jit)"
}

download() {
	export APT_CONFIG="$APT/apt.conf"
	apt-get update -qq || die "apt-get update failed"
	apt-get install -s -qq "$PKG" > "$APT/closure" 2>"$APT/closure.err" ||
		{ cat "$APT/closure.err" >&2; die "$PKG is not in $SUITE"; }
	# "Inst name (version ...)" -> name=version
	sed -n 's/^Inst \([^ ]*\) (\([^ ]*\) .*/\1=\2/p' "$APT/closure" | sort -u > "$APT/all"
	cut -d= -f1 "$APT/all" | wanted > "$APT/names"
	grep -E "^($(paste -sd'|' "$APT/names" | sed 's/+/\\+/g'))=" "$APT/all" > "$APT/list"
	# apt checks every hash, and skips what is already in debs/
	( cd "$APT/debs" && xargs apt-get download -qq < "$APT/list" ) || die "apt-get download failed"
	unset APT_CONFIG
}

unpack() {
	new=$1
	rm -rf "$new"
	mkdir -p "$new"
	while IFS='=' read -r n v; do
		f=$(find "$APT/debs" -name "${n}_$(echo "$v" | sed 's/:/%3a/')_*.deb" | head -1)
		[ -n "$f" ] || die "$n $v was not downloaded"
		dpkg-deb -x "$f" "$new" # maintainer scripts are never run
	done < "$APT/list"
	# not needed at run time: JIT (needs LLVM), translations, documentation
	rm -rf "$new/usr/lib/postgresql/$PG/lib/bitcode" "$new/usr/lib/postgresql/$PG"/lib/llvmjit*.so \
		"$new/usr/share/locale" "$new/usr/share/doc" "$new/usr/share/man" "${new:?}/etc" "${new:?}/var"
}

# The programs need a newer glibc than the host may have, so each becomes a
# wrapper that runs it under the folder's own loader.
wrap() {
	ld=$(find "$ROOT"/usr/lib/*-linux-gnu* "$ROOT"/lib/*-linux-gnu* -maxdepth 1 -name 'ld-linux*.so.*' 2>/dev/null | head -1)
	[ -n "$ld" ] || die "no dynamic loader in the unpacked libc6"
	mkdir -p "$BIN/elf"
	for f in "$BIN"/*; do
		[ -f "$f" ] || continue
		[ "$(head -c 4 "$f" | tail -c 3)" = ELF ] || continue
		b=$(basename "$f")
		mv "$f" "$BIN/elf/$b"
		# --argv0 is what PostgreSQL derives its share/ and lib/ folders from
		printf '#!/bin/sh\nexec %s --library-path %s:%s --argv0 "%s" %s "$@"\n' \
			"$ld" "$(dirname "$ld")" "$ROOT/usr/lib/postgresql/$PG/lib" "$BIN/$b" "$BIN/elf/$b" > "$f"
		chmod 755 "$f"
	done
}

install_root() {
	stamp=$ROOT/.timescale
	if [ -r "$stamp" ] && [ "$(sed -n 1p "$stamp")" = "$SUITE $PG $ROOT" ]; then return 0; fi
	for tool in apt-get dpkg-deb; do
		command -v $tool >/dev/null || die "needs $tool (Debian or Ubuntu)"
	done
	log "installing PostgreSQL $PG with TimescaleDB from Debian $SUITE into $ROOT"
	apt_setup
	download
	unpack "$ROOT.new"
	rm -rf "$ROOT"
	mv "$ROOT.new" "$ROOT"
	wrap
	"$BIN/postgres" --version >&2 || die "the unpacked postgres does not run"
	{ echo "$SUITE $PG $ROOT"; cat "$APT/list"; } > "$stamp"
}

# --- the cluster ------------------------------------------------------------
current_port() { sed -n 4p "$DATA/postmaster.pid" 2>/dev/null; }

# A pid file that a crash left behind may name a process that is not ours.
running() {
	[ -r "$DATA/postmaster.pid" ] && kill -0 "$(sed -n 1p "$DATA/postmaster.pid")" 2>/dev/null &&
		"$BIN/pg_isready" -q -h 127.0.0.1 -p "$(current_port)" -t 5
}

init_data() {
	if [ -r "$DATA/PG_VERSION" ]; then return 0; fi
	mkdir -p "$DATA" "$DIR/run"
	chmod 700 "$DATA"
	chmod 755 "$DIR/run"
	[ -s "$DIR/password" ] || (umask 077; od -An -N16 -tx1 /dev/urandom | tr -d ' \n' > "$DIR/password")
	if [ "$(id -u)" = 0 ]; then chown "$RUN_UID:$RUN_GID" "$DATA" "$DIR/run" "$DIR/password"; fi
	zone=UTC
	if [ ! -r /usr/share/zoneinfo/UTC ]; then
		zone=GMT # the only one that is built in
		log "warning: no /usr/share/zoneinfo on this host, only the time zone GMT works: install tzdata"
	fi
	# C.UTF-8: byte order, so that plain b-tree indexes serve LIKE 'x%', and no
	# locale files are needed.
	as "$BIN/initdb" -D "$DATA" -U postgres --pwfile="$DIR/password" --auth=scram-sha-256 \
		--encoding=UTF8 --locale-provider=builtin --builtin-locale=C.UTF-8 --locale=C --data-checksums >"$DIR/initdb.log" 2>&1 ||
		{ cat "$DIR/initdb.log" >&2; rm -rf "$DATA"; die "initdb failed"; }
	as sh -c "cat >> '$DATA/postgresql.conf'" <<-CONF

		# --- timescale.sh
		shared_preload_libraries = 'timescaledb'
		timescaledb.telemetry_level = 'off'
		listen_addresses = '127.0.0.1'
		unix_socket_directories = '$DIR/run'
		dynamic_shared_memory_type = posix
		jit = off
		timezone = '$zone'
		log_timezone = '$zone'
		max_connections = 200
		max_worker_processes = 32
		shared_buffers = 256MB
		max_wal_size = 2GB
		include_if_exists = '$DIR/extra.conf'
	CONF
}

dsn() { echo "postgres://postgres:$(cat "$DIR/password")@127.0.0.1:$1/$DB?sslmode=disable"; }

query() {
	port=$1
	shift
	PGPASSWORD=$(cat "$DIR/password") "$BIN/psql" -X -q -At -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$port" -U postgres "$@" 9>&-
}

# 9>&-: the server must not keep our lock open.
launch() { as "$BIN/pg_ctl" -D "$DATA" -l "$DATA/server.log" -o "-p $1" -w -t 60 start >/dev/null 2>&1 9>&-; }

# A port that another program took meanwhile is no reason to fail, unless the
# caller asked for it.
launch_anywhere() {
	port=$(cat "$DIR/port" 2>/dev/null || echo 0)
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		# below the range that the kernel gives to outgoing connections
		[ "$port" != 0 ] || port=$((15000 + $(od -An -N2 -tu2 /dev/urandom) % 16000))
		if launch "$port"; then PORT=$port; return 0; fi
		tail -20 "$DATA/server.log" | grep -q 'could not bind' || return 1
		port=0
	done
	return 1
}

start() {
	PORT=${1:-}
	exec 9>"$DIR/.lock"
	flock 9 # of two starts at once the second waits
	as test -x "$DIR" || die "user ${TS_USER:-} cannot enter $DIR: choose a folder outside of a private home, e.g. below /var/tmp"
	install_root
	as test -x "$BIN/postgres" || die "user ${TS_USER:-} cannot run $BIN/postgres: put TS_ROOT outside of a private home"
	printf 'S_SUITE=%s S_PG=%s S_ROOT=%s S_DB=%s\n' "$SUITE" "$PG" "$ROOT" "$DB" > "$DIR/settings"
	if running; then
		[ -z "$PORT" ] || [ "$(current_port)" = "$PORT" ] || die "already running on port $(current_port)"
		dsn "$(current_port)"
		return 0
	fi
	init_data
	[ -z "${TS_CONF:-}" ] || { cat "$TS_CONF" > "$DIR/extra.conf"; chmod 644 "$DIR/extra.conf"; }
	if [ -n "$PORT" ]; then launch "$PORT"; else launch_anywhere; fi ||
		{ tail -20 "$DATA/server.log" >&2; die "the server did not start"; }
	[ "$(query "$PORT" -d postgres -c "select 1 from pg_database where datname = '$DB'")" = 1 ] ||
		query "$PORT" -d postgres -c "create database $DB"
	query "$PORT" -d "$DB" -c "set client_min_messages = warning" -c "create extension if not exists timescaledb"
	echo "$PORT" > "$DIR/port"
	dsn "$PORT"
}

case $cmd in
install) install_root ;;
start) start "${1:-}" ;;
stop)
	running || { log "not running"; exit 0; }
	as "$BIN/pg_ctl" -D "$DATA" -m fast -w -t 60 stop >/dev/null || die "stop failed"
	;;
status)
	running || { echo stopped; exit 3; }
	echo "running, pid $(sed -n 1p "$DATA/postmaster.pid"), port $(current_port)"
	;;
dsn)
	running || die "not running"
	dsn "$(current_port)"
	;;
psql)
	running || die "not running"
	PGPASSWORD=$(cat "$DIR/password") exec "$BIN/psql" -h 127.0.0.1 -p "$(current_port)" -U postgres -d "$DB" "$@"
	;;
destroy)
	[ -r "$DIR/settings" ] || die "$DIR was not made by this script"
	if running; then as "$BIN/pg_ctl" -D "$DATA" -m immediate -w stop >/dev/null; fi
	rm -rf "$DIR"
	;;
esac
