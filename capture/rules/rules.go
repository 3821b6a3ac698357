// Package rules writes the firewall rules that bring connections to a
// transparent listener, for nft or for iptables, as a shell script that adds
// them, removes them and prints what they counted. It changes nothing itself:
// who prints rules can read them before root runs them.
//
// What they do: new TCP connections to the given ports of this machine, and
// all TCP connections that leave it, go to the listener. Left alone are the
// connections of capture's own user (and of its mark), loopback and this
// machine's other addresses, capture's own listeners, and given networks. UDP
// to port 443 (QUIC, HTTP/3) can't be recorded; it is counted, and refused when
// asked, so that clients fall back to TCP.
package rules

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Rules are what a script is written from.
type Rules struct {
	Listen    uint16         // port of the transparent listener
	TProxy    bool           // TPROXY instead of REDIRECT
	UID       int            // of capture: its connections are left alone
	Fwmark    uint32         // of capture's upstream connections; 0: none
	Ports     []uint16       // of the service, inbound
	Outbound  bool           // all TCP connections that leave
	Exclude   []netip.Prefix // destinations that are left alone
	Own       []uint16       // ports of capture's listeners
	BlockQUIC bool
}

const (
	// tproxyMark and tproxyTable bring packets that leave back to this machine.
	tproxyMark  = 0x7d1
	tproxyTable = 2001
)

// check refuses rules that would cut capture off from the world.
func (r *Rules) check() error {
	if r.Listen == 0 {
		return errors.New("the transparent listener needs a port other than 0")
	}
	if len(r.Ports) == 0 && !r.Outbound {
		return errors.New("rules for nothing: neither ports of the service nor outbound connections")
	}
	for _, p := range r.Ports {
		if p == 0 || p == r.Listen || slices.Contains(r.Own, p) {
			return fmt.Errorf("port %d is not one of the service: capture listens on it", p)
		}
	}
	if r.Fwmark == tproxyMark {
		return fmt.Errorf("mark %#x is the one that the rules themselves use", tproxyMark)
	}
	return nil
}

// split parts the networks by family, 4 first.
func split(networks []netip.Prefix) (v4, v6 []string) {
	for _, p := range networks {
		if p.Addr().Is4() {
			v4 = append(v4, p.Masked().String())
		} else {
			v6 = append(v6, p.Masked().String())
		}
	}
	return v4, v6
}

func ports(numbers []uint16) []string {
	var out []string
	for _, n := range numbers {
		out = append(out, strconv.Itoa(int(n)))
	}
	return out
}

// script is the frame that both kinds of rules share.
func (r *Rules) script(kind, add, remove, count string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `#!/bin/sh
# Rules of tapedeck capture (%s). Run as root, in the network namespace of the
# service:   … | sh -s add     … | sh -s remove     … | sh -s count
# Connections of user %d are left alone: it must be capture's and not the
# service's.
set -eu

# six runs a command about IPv6 where there is IPv6.
six() { [ ! -e /proc/net/if_inet6 ] || "$@"; }

add() {
%s}

remove() {
%s}

count() {
%s}

case "${1:-add}" in
add | remove | count) "${1:-add}" ;;
*) echo "usage: sh -s [add|remove|count]" >&2; exit 2 ;;
esac
`, kind, r.UID, add, remove, count)
	return b.String()
}

// routes are the policy routes of TPROXY: what is marked is delivered here.
func (r *Rules) routes(verb string) string {
	if !r.TProxy {
		return ""
	}
	var b strings.Builder
	for _, ip := range []string{"ip -4", "six ip -6"} {
		if verb == "add" {
			fmt.Fprintf(&b, "\t%s rule add fwmark %#x lookup %d\n", ip, tproxyMark, tproxyTable)
			fmt.Fprintf(&b, "\t%s route add local default dev lo table %d\n", ip, tproxyTable)
			continue
		}
		fmt.Fprintf(&b, "\t%s rule del fwmark %#x lookup %d 2>/dev/null || true\n", ip, tproxyMark, tproxyTable)
		fmt.Fprintf(&b, "\t%s route flush table %d 2>/dev/null || true\n", ip, tproxyTable)
	}
	return b.String()
}
