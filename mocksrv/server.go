package mocksrv

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"tapedeck/events"
	"tapedeck/internal/service"
	"tapedeck/scenariogen/scenario"
	"tapedeck/wire/http1"
)

// How long an answer takes.
const (
	LatencyNone     = "none"     // it comes at once
	LatencyRecorded = "recorded" // it begins after the time that was recorded
)

// Options say what is mocked. Scenario is needed.
type Options struct {
	Scenario     *scenario.Scenario
	Dependencies []string          // by name; default: all of the scenario
	Listen       map[string]string // addresses by dependency; default: the recorded one, else any on Host
	Host         string            // to listen on where no address is named; default 127.0.0.1
	Proxy        string            // address of the HTTP proxy; default any on Host, "off": none
	Latency      string            // LatencyNone (default) or LatencyRecorded
	PassThrough  bool              // send what has no recorded answer to the real dependency
	Secrets      *scenario.Secrets // that the replay sends; nil: none
	Ready        func([]Address)   // told by Serve where it listens
	Metrics      *Metrics          // default: none
	Log          *slog.Logger      // default: none
}

// Address is where a dependency is mocked.
type Address struct {
	Dependency string // "" for the HTTP proxy, which answers for all
	Address    string // host:port
	Recorded   string // the recorded address, where there is one; not free if it is another
}

// Server mocks dependencies.
type Server struct {
	Options
	dependencies map[string]*dependency
	proxy        net.Listener
	mu           sync.Mutex
	strangers    map[string]*counts // hosts that were called through the proxy and are no dependency
}

// dependency is one mocked dependency.
type dependency struct {
	events.Dependency
	listener net.Listener
	matcher  *scenario.Matcher
	pass     *http1.Pool // nil: no pass-through
	counts
}

// Serve mocks until ctx is done, then lets answers under way finish.
func Serve(ctx context.Context, o Options) error {
	s, err := Listen(ctx, o)
	if err != nil {
		return err
	}
	if o.Ready != nil {
		o.Ready(s.Addresses())
	}
	return s.Run(ctx)
}

// Listen loads the mocks and opens the listeners; Run answers. Connections that
// come between the two wait.
func Listen(ctx context.Context, o Options) (*Server, error) {
	s := &Server{Options: o, dependencies: map[string]*dependency{}, strangers: map[string]*counts{}}
	s.Host = cmp.Or(s.Host, "127.0.0.1")
	s.Latency = cmp.Or(s.Latency, LatencyNone)
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if err := s.open(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) open(ctx context.Context) error {
	if s.Scenario == nil {
		return errors.New("mock without a scenario")
	}
	if s.Latency != LatencyNone && s.Latency != LatencyRecorded {
		return fmt.Errorf("latency %q of mocks is neither %s nor %s", s.Latency, LatencyNone, LatencyRecorded)
	}
	wanted := s.Dependencies
	if len(wanted) == 0 {
		for _, d := range s.Scenario.Manifest().Dependencies {
			wanted = append(wanted, d.Name)
		}
	}
	for _, name := range wanted {
		if err := s.openDependency(ctx, name); err != nil {
			return fmt.Errorf("mock %s: %w", name, err)
		}
	}
	if s.Proxy == "off" {
		return nil
	}
	var err error
	if s.proxy, err = net.Listen("tcp", cmp.Or(s.Proxy, net.JoinHostPort(s.Host, "0"))); err != nil {
		return fmt.Errorf("mock as a proxy: %w", err)
	}
	return nil
}

func (s *Server) openDependency(ctx context.Context, name string) error {
	about, ok := s.Scenario.Dependency(name)
	if !ok {
		return s.unknown(name)
	}
	if about.Protocol != http1.Name {
		return fmt.Errorf("its protocol %q can't be mocked", about.Protocol)
	}
	d := &dependency{Dependency: about, matcher: scenario.NewMatcher(new(http1.Protocol).Signature)}
	d.matcher.Secrets = s.Secrets
	secure := false
	for m, err := range s.Scenario.Mocks(ctx, name) {
		if err != nil {
			return err
		}
		secure = secure || m.Exchange.Request.Scheme == "https"
		d.matcher.Add(m)
	}
	if s.PassThrough {
		d.pass = realPool(name, secure)
	}
	var err error
	if d.listener, err = s.listen(about); err != nil {
		return err
	}
	s.dependencies[name] = d
	return nil
}

func (s *Server) unknown(name string) error {
	var names []string
	for _, d := range s.Scenario.Manifest().Dependencies {
		names = append(names, d.Name)
	}
	if len(names) == 0 {
		return service.Hint(fmt.Errorf("the scenario %s has no dependencies", s.Scenario.Manifest().Name),
			"record what the service calls with --outbound LISTEN=HOST:PORT, or through the proxy variables")
	}
	return fmt.Errorf("the scenario has no such dependency, it has %s", strings.Join(names, ", "))
}

// listen opens the address that was asked for, else the recorded one, else any.
// Only an address that was asked for must be free.
func (s *Server) listen(d events.Dependency) (net.Listener, error) {
	if asked := s.Options.Listen[d.Name]; asked != "" {
		return net.Listen("tcp", s.completeAddress(asked))
	}
	if d.Listen != "" {
		if l, err := net.Listen("tcp", s.completeAddress(d.Listen)); err == nil {
			return l, nil
		}
	}
	return net.Listen("tcp", net.JoinHostPort(s.Host, "0"))
}

// completeAddress makes host:port of what may be a port alone.
func (s *Server) completeAddress(address string) string {
	if !strings.Contains(address, ":") {
		address = ":" + address
	}
	if port, ok := strings.CutPrefix(address, ":"); ok {
		return net.JoinHostPort(s.Host, port)
	}
	return address
}

// Addresses says where each dependency is mocked, then the proxy.
func (s *Server) Addresses() []Address {
	var all []Address
	for _, d := range s.sorted() {
		all = append(all, Address{d.Name, d.listener.Addr().String(), d.Listen})
	}
	if s.proxy != nil {
		all = append(all, Address{Address: s.proxy.Addr().String()})
	}
	return all
}

func (s *Server) sorted() []*dependency {
	var all []*dependency
	for _, d := range s.dependencies {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b *dependency) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Run answers until ctx is done, then lets answers under way finish.
func (s *Server) Run(ctx context.Context) error {
	defer s.Close()
	group := service.NewGroup(ctx)
	server := &http1.Server{Log: s.Log, DrainTimeout: 2 * time.Second}
	for _, d := range s.dependencies {
		group.Go("mock of "+d.Name, func(ctx context.Context) error {
			return server.Serve(ctx, d.listener, func(ctx context.Context, x *events.Exchange) *events.Response { return s.answer(ctx, d, x) })
		})
	}
	if s.proxy != nil {
		group.Go("mock proxy", func(ctx context.Context) error { return server.Serve(ctx, s.proxy, s.answerAsProxy) })
	}
	if s.proxy == nil && len(s.dependencies) == 0 {
		<-ctx.Done()
	}
	return group.Wait()
}

// Close closes the listeners of a Server that is not run.
func (s *Server) Close() error {
	for _, d := range s.dependencies {
		d.listener.Close()
		if d.pass != nil {
			d.pass.Close()
		}
	}
	if s.proxy != nil {
		s.proxy.Close()
	}
	return nil
}
