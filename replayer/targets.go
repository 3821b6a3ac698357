package replayer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"syscall"

	"tapedeck/wire/http1"
)

// Targets says what may be replayed against: it is the replayer's own setting,
// which a request can't widen. Each entry is a host name ("shop.test",
// "*.staging.svc"), an address, a network ("10.0.0.0/8"), "loopback" or "any".
// The zero value allows loopback.
//
// Names are checked as they stand in the target, networks on the address that
// a connection is really made to, behind DNS: a name that changes its address
// between two look-ups gains nothing.
type Targets struct {
	any, loopback bool
	names         []string // lower case; "*." at the front for all below
	networks      []netip.Prefix
}

// ParseTargets reads the entries of --allow-target.
func ParseTargets(entries []string) (Targets, error) {
	t := Targets{loopback: len(entries) == 0}
	for _, e := range entries {
		e = strings.ToLower(strings.TrimSpace(e))
		prefix, errPrefix := netip.ParsePrefix(e)
		address, errAddress := netip.ParseAddr(e)
		switch {
		case e == "any":
			t.any = true
		case e == "loopback":
			t.loopback = true
		case errPrefix == nil:
			t.networks = append(t.networks, prefix.Masked())
		case errAddress == nil:
			t.networks = append(t.networks, netip.PrefixFrom(address.Unmap(), address.Unmap().BitLen()))
		case e == "" || strings.ContainsAny(e, "/: "):
			return Targets{}, fmt.Errorf("allowed target %q is no host name, address or network", e)
		default:
			t.names = append(t.names, e)
		}
	}
	return t, nil
}

// parseTarget reads the target of a request.
func parseTarget(target string) (*url.URL, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("target %q is no URL like http://localhost:3000", target)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return nil, fmt.Errorf("target %q is no URL like http://localhost:3000", target)
	case u.User != nil:
		return nil, errors.New("target holds a user name or password: send them as recorded, or by a transform")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("target %q has a path: requests have their own", target)
	}
	return u, nil
}

// Check looks the target up and refuses it when it may not be reached.
func (t *Targets) Check(ctx context.Context, target *url.URL) error {
	if t.named(target.Hostname()) {
		return nil
	}
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", target.Hostname())
	if err != nil {
		return fmt.Errorf("look up target %s: %w", target.Hostname(), err)
	}
	for _, a := range addresses {
		if !t.has(a) {
			return t.refused(target.Hostname(), a.Unmap().String())
		}
	}
	return nil
}

// Control is the check of a connection to target at the last moment.
func (t *Targets) Control(target *url.URL) func(network, address string, c syscall.RawConn) error {
	if t.named(target.Hostname()) {
		return nil
	}
	return func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil || !t.has(to.Addr()) {
			return t.refused(target.Hostname(), address)
		}
		return nil
	}
}

func (t *Targets) refused(host, address string) error {
	return fmt.Errorf("%w: %s (%s) is not among the replayer's --allow-target", http1.ErrRefused, host, address)
}

// named says that the host is allowed whatever its address.
func (t *Targets) named(host string) bool {
	if t.any {
		return true
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, n := range t.names {
		if below, wild := strings.CutPrefix(n, "*"); n == host || wild && strings.HasSuffix(host, below) {
			return true
		}
	}
	return false
}

func (t *Targets) has(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if t.loopbackAllowed() && a.IsLoopback() {
		return true
	}
	for _, n := range t.networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

func (t *Targets) loopbackAllowed() bool {
	return t.loopback || !t.any && len(t.names) == 0 && len(t.networks) == 0
}
