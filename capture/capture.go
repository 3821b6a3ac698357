// Package capture records the traffic of a service: bytes first, meaning second.
//
// # What it does
//
// It listens where the service's callers (--inbound) and the service itself
// (--outbound) are sent to, and relays: one client connection, one upstream
// connection, bytes unchanged both ways. The bytes are shown to dissectors
// (package wire) on the side, which find the exchanges in them; these are
// redacted, written into tapes, and published. The relay never waits for any
// of that, unless --on-pressure=block asks for it.
//
//	client ──▶ relay ──▶ upstream
//	             │ copy, bounded
//	             ▼
//	          dissect ─▶ redact ─▶ tape ─▶ publish ─▶ captured.…
//	                                          └──▶ spool ──┘
//
// # Consumes
//
// Nothing.
//
// # Publishes
//
// captured.<cluster>.<namespace>.<service>: tapes, Nats-Msg-Id = tape id.
//
// # Guarantees
//
// What the relay sends on is what it received, in any traffic, understood or
// not. Every exchange that begins is taped, dropped for a reason, or open, and
// each tape's header says how many of each. A tape is forgotten only after
// JetStream's PubAck or an fsync in the spool. Nothing unredacted is written
// anywhere.
//
// # When it fails
//
// NATS away, its stream full or a durable consumer missing: tapes go to the
// spool, and from there to NATS when it is back, oldest first beside the fresh
// ones. Spool full: the newest or the oldest tapes are dropped and counted
// (spool). Copy behind its
// bound: exchanges are dropped and counted (pressure). Dissector panics: what it
// was reading is dropped and counted (panic), the connection goes on, and its
// rest is recorded as bytes. Redaction rules can't be read, panic or take too
// long: metadata is all that is recorded, counted, an alarm in the log and in
// /status. Process
// killed: its connections break; what was in memory is lost, at most five times
// --tape-age of recording. Closed tapes and the counts outlive it (package
// ledger): the next start with the same --data publishes them, and a last
// header that counts the rest as dropped (killed). A tape that NATS did not
// answer for is sent again while the spool is full.
package capture

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"tapedeck/capture/cause"
	"tapedeck/capture/openapi"
	"tapedeck/capture/spool"
	"tapedeck/events"
	"tapedeck/internal/service"
	"tapedeck/wire"
	"tapedeck/wire/grpc"
	"tapedeck/wire/http1"
	"tapedeck/wire/http2"
)

// Deps are what capture needs from its process.
type Deps struct {
	JS       jetstream.JetStream   // nil: everything stays in the spool
	Data     string                // folder for spool and key
	Log      *slog.Logger          // nil: none
	Register prometheus.Registerer // nil: no metrics
	// Protocols that are recognised, HTTP first; nil: HTTP/1, HTTP/2, gRPC.
	Protocols []wire.Protocol
}

// Service is a capture process.
type Service struct {
	cfg       Config
	log       *slog.Logger
	metrics   *metrics
	protocols []wire.Protocol
	recorder  *recorder
	publisher *publisher
	budget    *budget
	terms     terms
	listeners []*listener
	sources   string // folder of the ledgers
	data      string
	transparency

	dissectors []*dissecting
	turn       atomic.Uint32

	mu       sync.Mutex
	sessions map[*session]struct{}
	relays   sync.WaitGroup
}

type listener struct {
	*net.TCPListener
	route route
}

// New checks the configuration, opens key and spool and binds every listener.
func New(cfg Config, deps Deps) (*Service, error) {
	cfg = cfg.withDefaults()
	s := &Service{cfg: cfg, log: deps.Log, metrics: newMetrics(), protocols: deps.Protocols, data: deps.Data, sessions: map[*session]struct{}{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.own.local = map[netip.AddrPort]struct{}{}
	routes, err := cfg.routes()
	if err == nil {
		err = errors.Join(checkProxyUser(cfg.ProxyUser), checkModes(&cfg))
	}
	if err != nil {
		return nil, err
	}
	if s.protocols == nil {
		if s.protocols, err = cfg.protocols(); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(s.openTerms(deps, routes), cfg.keepDescriptors(deps.Data)); err != nil {
		return nil, err
	}
	if err := s.wire(deps); err != nil {
		return nil, err
	}
	if err := s.listen(routes); err != nil {
		return nil, err
	}
	if err := s.metrics.register(deps.Register, s.publisher, s.budget, s.recorder.redactor); err != nil {
		s.closeListeners()
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return s, nil
}

// protocols are those that are recognised, HTTP first.
func (c *Config) protocols() ([]wire.Protocol, error) {
	templates, err := c.templates()
	if err != nil {
		return nil, err
	}
	calls := &grpc.Protocol{Tags: c.Tag}
	return []wire.Protocol{
		&http1.Protocol{Tags: c.Tag, Templates: templates},
		&http2.Protocol{Tags: c.Tag, Templates: templates, Inner: []http2.Inner{calls}},
	}, nil
}

// templates are those of --openapi, nil without one.
func (c *Config) templates() (wire.Templater, error) {
	if len(c.OpenAPI) == 0 {
		return nil, nil
	}
	t, err := openapi.Open(c.OpenAPI)
	if err != nil {
		return nil, err
	}
	return t.Template, nil
}

// wire makes the parts behind the relay.
func (s *Service) wire(deps Deps) error {
	cfg := s.cfg
	redactor, err := openRedactor(cfg, deps.Data, s.log)
	if err != nil {
		return err
	}
	setDefault(&cfg.Spool, filepath.Join(deps.Data, "spool"))
	store, err := spool.Open(cfg.Spool, int64(cfg.SpoolSize))
	if err != nil {
		return service.Hint(err, "choose a folder that can be written with --spool DIR or --data DIR")
	}
	s.budget = newBudget(int64(cfg.Buffer), cfg.OnPressure == "block")
	for range runtime.GOMAXPROCS(0) {
		s.dissectors = append(s.dissectors, newDissecting(s.budget, s.panicked))
	}
	for _, d := range s.dissectors {
		d.all = s.dissectors
	}
	r, p := newRecorder(time.Now()), newPublisher()
	r.workload, r.redactor, r.maxBody, r.age = cfg.workload(), redactor, int64(cfg.MaxBody), cfg.TapeAge
	if len(cfg.Outbound)+len(cfg.Transparent) > 0 { // else there is nothing to link
		r.causes = cause.New(cfg.IgnoreTraces)
	}
	r.endpoints = newEndpoints(cfg.MaxEndpoints, s.log, s.metrics)
	r.log, r.metrics, r.publish, r.spooled = s.log, s.metrics, p.take, store.Tapes
	p.js, p.spool, p.lost, p.log, p.metrics = deps.JS, store, r.lost, s.log, s.metrics
	p.stored, p.emptied = r.stored, s.settleSources
	s.sources = filepath.Join(deps.Data, "sources")
	if cfg.SpoolDrop == "oldest" {
		p.evict = s.evict
	}
	p.workload, p.source = r.workload, "/tapedeck/capture/"+r.source.String()
	s.recorder, s.publisher = r, p
	return nil
}

func (s *Service) panicked(p any) {
	s.metrics.panics.Inc()
	s.log.Error("dissector panicked; the rest of the connection is recorded as bytes", "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
}

func (s *Service) listen(routes []route) error {
	for _, r := range routes {
		l, err := s.bind(r)
		if err != nil {
			s.closeListeners()
			return bindHint(fmt.Errorf("listen for %s on %s: %w", r.flag(), r.listen, err))
		}
		r.listen = l.Addr().String()
		s.listeners = append(s.listeners, &listener{l, r})
	}
	return nil
}

// bindHint keeps a hint that says more than that the address may be in use.
func bindHint(err error) error {
	if errors.Is(err, syscall.EPERM) {
		return err
	}
	return service.Hint(err, "choose a free address")
}

func (s *Service) closeListeners() {
	for _, l := range s.listeners {
		l.Close()
	}
}

// Addrs are the addresses that capture listens on, inbound first, in the order
// of the configuration.
func (s *Service) Addrs() []net.Addr {
	var addrs []net.Addr
	for _, l := range s.listeners {
		addrs = append(addrs, l.Addr())
	}
	return addrs
}

// Counts are what was seen since the start.
func (s *Service) Counts() Counts { return s.recorder.Counts() }

// Source identifies this run in the tapes' headers.
func (s *Service) Source() events.ID { return s.recorder.source }
