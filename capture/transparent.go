package capture

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"tapedeck/events"
	"tapedeck/internal/service"
)

// Why a connection to a transparent listener is not relayed.
var (
	errLoop          = errors.New("it was going to one of our own listeners")
	errOwn           = errors.New("it is a connection of our own: the rules must leave our user (or mark) out")
	errNotRedirected = errors.New("it was not redirected: the kernel knows no other destination")
)

// transparentRoute reads the LISTEN of --transparent. A bare port listens on
// all addresses even in a recording on one machine: the kernel redirects to
// loopback what goes out and to the interface's address what comes in, and
// what comes without its help is refused.
func (c *Config) transparentRoute(listen string) (route, error) {
	address, err := listenAddress(listen, "")
	if err != nil {
		return route{}, service.Hint(fmt.Errorf("--transparent %s: listen address: %w", listen, err), "an address is PORT, :PORT or HOST:PORT")
	}
	r := route{listen: address, transparent: true}
	switch c.TransparentDirection {
	case "inbound":
		r.direction = events.Direction_INBOUND
	case "outbound":
		r.direction = events.Direction_OUTBOUND
	}
	return r, nil
}

// destination is the route of a connection: that of its listener, and where
// the client was going when the listener is a transparent one.
func (s *Service) destination(c *net.TCPConn, r route) (route, error) {
	if !r.transparent {
		return r, nil
	}
	to, err := original(c, s.cfg.TransparentMode == "tproxy")
	if err != nil {
		return r, err
	}
	local := s.addresses.local(to.Addr(), time.Now())
	if local && s.listensOn(to.Port()) {
		return r, errLoop
	}
	if s.own.holds(c) {
		return r, errOwn
	}
	r.upstream = to.String()
	if r.direction == events.Direction_DIRECTION_UNSPECIFIED {
		r.direction = events.Direction_OUTBOUND
		if local {
			r.direction = events.Direction_INBOUND
		}
	}
	return r, nil
}

func (s *Service) listensOn(port uint16) bool {
	for _, l := range s.listeners {
		if l.Addr().(*net.TCPAddr).Port == int(port) {
			return true
		}
	}
	return false
}

// reject resets a connection that is not relayed.
func (s *Service) reject(c *net.TCPConn, r route, err error) {
	reason := "not-redirected"
	if errors.Is(err, errLoop) || errors.Is(err, errOwn) {
		reason = "loop"
	}
	s.metrics.rejected.WithLabelValues(reason).Inc()
	if now := time.Now().Unix(); s.complained.Load() < now { // a loop comes by the thousands
		s.complained.Store(now)
		s.log.Warn("connection refused", "listener", r.listen, "client", c.RemoteAddr().String(), "reason", err)
	}
	reset(c)
}

// ownSockets are the local addresses of our upstream connections. A client
// with one of them is ourselves: rules that do not leave us out would have us
// relay to ourselves for ever.
type ownSockets struct {
	mu    sync.Mutex
	local map[netip.AddrPort]struct{}
}

func (o *ownSockets) add(c *net.TCPConn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.local[plainAddress(c.LocalAddr())] = struct{}{}
}

func (o *ownSockets) remove(c *net.TCPConn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.local, plainAddress(c.LocalAddr()))
}

// holds says that the client of c is one of our upstream connections.
func (o *ownSockets) holds(c *net.TCPConn) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ours := o.local[plainAddress(c.RemoteAddr())]
	return ours
}

func plainAddress(a net.Addr) netip.AddrPort {
	p := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap().WithZone(""), p.Port())
}

// addresses are those of this machine; they are read again when they are a
// second old, since they change with its interfaces.
type addresses struct {
	mu   sync.Mutex
	read time.Time
	set  map[netip.Addr]struct{}
}

func (a *addresses) local(ip netip.Addr, now time.Time) bool {
	if ip.IsLoopback() {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Sub(a.read) > time.Second {
		a.read, a.set = now, interfaceAddresses()
	}
	_, ok := a.set[ip.Unmap().WithZone("")]
	return ok
}

func interfaceAddresses() map[netip.Addr]struct{} {
	set := map[netip.Addr]struct{}{}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return set // without them all is outbound, and a loop ends at ownSockets
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			set[p.Addr().Unmap()] = struct{}{}
		}
	}
	return set
}

// transparency is what a service with transparent listeners keeps.
type transparency struct {
	own        ownSockets
	addresses  addresses
	complained atomic.Int64 // Unix s
}

// bind listens for a route. A transparent one takes no Multipath TCP, whose
// sockets do not tell their original destination.
func (s *Service) bind(r route) (*net.TCPListener, error) {
	var lc net.ListenConfig
	if r.transparent {
		lc.SetMultipathTCP(false)
		lc.Control = transparentControl(s.cfg.TransparentMode == "tproxy")
	}
	l, err := lc.Listen(context.Background(), "tcp", r.listen)
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}
