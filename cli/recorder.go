package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"tapedeck/archiver"
	"tapedeck/archiver/tapes"
	"tapedeck/capture"
	"tapedeck/events"
	"tapedeck/indexer"
	"tapedeck/indexer/traffic"
	"tapedeck/internal/service"
)

// recorder is one or more captures with what keeps their tapes: archiver and,
// with a database, indexer, unless those run elsewhere on --nats.
//
//	captures ─▶ CAPTURED ─▶ workers
//
// It ends in two steps: the captures publish their last tapes, then the
// workers take all that is in the stream.
type recorder struct {
	stack    *stack
	configs  []capture.Config
	captures *service.Group
	workers  *service.Group
	id       string
	from, to time.Time // to is zero until it ends
}

// drainPatience bounds how long the workers may take at the end.
const drainPatience = time.Minute

// startRecorder binds all listeners before it returns.
func (s *stack) startRecorder(ctx context.Context, configs []capture.Config) (*recorder, error) {
	// Workers outlive ctx: they end when the last tape is in.
	r := &recorder{stack: s, captures: service.NewGroup(ctx), workers: service.NewGroup(context.WithoutCancel(ctx)), from: time.Now().UTC()}
	if err := service.CheckStreams(ctx, s.js, events.StreamCaptured); err != nil {
		return nil, err // it would be spooled, and nobody looks there at the end
	}
	r.id = events.NewID(r.from).String()
	var services []*capture.Service
	for _, c := range configs {
		// Several captures in one process are told apart by a label.
		metrics := prometheus.WrapRegistererWith(prometheus.Labels{"workload": c.Service}, s.debug.Registry)
		capturing, err := s.capture(c, metrics)
		if err != nil {
			return nil, err
		}
		services, r.configs = append(services, capturing), append(r.configs, c)
	}
	if s.embedded != nil {
		if err := r.startWorkers(); err != nil {
			return nil, err
		}
	}
	r.workers.Go("http", s.debug.Run)
	context.AfterFunc(r.workers.Context(), r.captures.Stop) // nobody archives any more
	for i, capturing := range services {
		r.captures.Go("capture "+r.configs[i].Service, capturing.Run)
	}
	return r, nil
}

func (r *recorder) startWorkers() error {
	archiving, err := r.stack.archiver(archiver.Config{})
	if err != nil {
		return err
	}
	if r.stack.Database != "" {
		indexing, err := r.stack.indexer(indexer.Config{Linger: 50 * time.Millisecond})
		if err != nil {
			return err
		}
		r.workers.Go("indexer", indexing.Run)
	}
	r.workers.Go("archiver", archiving.Run)
	return nil
}

// finish ends the recording and returns its rows, the oldest first. Rows stay
// with whoever archives them when that is elsewhere.
func (r *recorder) finish() ([]events.Row, error) {
	r.captures.Stop()
	err := r.captures.Wait()
	r.to = time.Now().UTC()
	var rows []events.Row
	if r.stack.embedded != nil {
		err = errors.Join(err, drain(r.workers.Context(), r.stack))
	}
	r.workers.Stop()
	if err := errors.Join(err, r.workers.Wait()); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	if r.stack.embedded != nil {
		rows, err = r.rows()
	}
	return rows, err
}

// idlePolls is how often in a row nothing must be waiting: the server counts
// what is pending a moment after it has acked a publish.
const idlePolls = 3

// drain waits until the workers have taken everything that was captured.
func drain(ctx context.Context, s *stack) error {
	ctx, cancel := context.WithTimeout(ctx, drainPatience)
	defer cancel()
	slow := time.Now().Add(3 * time.Second)
	for idle := 0; ; {
		waiting, err := unhandled(ctx, s.js, s.Database != "")
		if idle++; err != nil || waiting > 0 {
			idle = 0
		}
		if idle == idlePolls {
			return nil
		}
		if !slow.IsZero() && time.Now().After(slow) {
			slow = time.Time{}
			s.log.Warn("not everything is archived yet; after a recording that was killed it takes up to a minute", "messages", waiting)
		}
		if !service.Sleep(ctx, 20*time.Millisecond) {
			err := fmt.Errorf("%s not archived yet after %s", plural(waiting, "message"), drainPatience)
			return service.Hint(err, "nothing is lost: they are kept in --data and go on at the next start")
		}
	}
}

// unhandled counts what the workers of the streams to the stores have not
// acknowledged.
func unhandled(ctx context.Context, js jetstream.JetStream, database bool) (int, error) {
	waiting := 0
	for _, stream := range []string{events.StreamCaptured, events.StreamArchived} {
		for _, durable := range events.Durables(stream, database) {
			c, err := js.Consumer(ctx, stream, durable)
			if err != nil {
				return 0, err
			}
			info := c.CachedInfo()
			waiting += int(info.NumPending) + info.NumAckPending
		}
	}
	return waiting, nil
}

// rows are what this recording put into the archive.
func (r *recorder) rows() ([]events.Row, error) {
	archived := &source{archive: r.stack.archive, damaged: map[tapes.Place]error{}}
	rows, err := archived.rows(context.Background(), query{Query: traffic.Query{From: r.from, To: r.to}}, math.MaxInt)
	return slices.DeleteFunc(rows, func(row events.Row) bool { return !slices.Contains(r.services(), row.Service) }), err
}

func (r *recorder) remember(rows []events.Row, program []string) error {
	if r.stack.embedded == nil {
		return nil
	}
	return remember(r.stack.Data, recording{
		ID: r.id, From: r.from, To: r.to,
		Services: r.services(), Exchanges: len(rows), Program: program,
	})
}

// services are the names of what is recorded.
func (r *recorder) services() []string {
	var names []string
	for _, c := range r.configs {
		names = append(names, c.Service)
	}
	return names
}

// proxy is the address of the HTTP proxy for CMD, with the user that it asks
// for; "" without one.
func (r *recorder) proxy() string {
	for _, c := range r.configs {
		for _, o := range c.Outbound {
			if !strings.Contains(o, "=") {
				return userInfo(c.ProxyUser) + localAddress(o)
			}
		}
	}
	return ""
}

// userInfo writes USER:PASSWORD as a URL does.
func userInfo(credentials string) string {
	if user, password, ok := strings.Cut(credentials, ":"); ok {
		return url.UserPassword(user, password).String() + "@"
	}
	return ""
}

// variables are the environment of CMD. What is recorded by its own listener
// does not pass the proxy as well.
func (r *recorder) variables() ([]string, error) {
	var out, java, direct []string
	for _, c := range r.configs {
		if c.OutboundTLS == "open" && out == nil {
			var err error
			if out, java, err = trustVariables(r.stack.Data, c.CA); err != nil {
				return nil, err
			}
		}
		for _, o := range c.Outbound {
			if listen, _, fixed := strings.Cut(o, "="); fixed {
				address := localAddress(listen)
				direct = append(direct, address, "localhost:"+portOf(address))
			}
		}
	}
	if p := r.proxy(); p != "" {
		out = append(out, proxyVariables(p, direct...)...)
		java = append(javaProxy(p, direct != nil), java...)
	}
	if java != nil {
		out = append(out, javaVariable(java, os.Getenv("JAVA_TOOL_OPTIONS")))
	}
	return out, nil
}

// localAddress is where a program on this machine reaches a LISTEN.
func localAddress(listen string) string {
	if !strings.Contains(listen, ":") {
		return "127.0.0.1:" + listen
	}
	if strings.HasPrefix(listen, ":") {
		return "127.0.0.1" + listen
	}
	return listen
}

// quiet is the logger of commands for people: warnings and worse, unless they
// ask for more.
func quiet(f service.Flags, env *Env) *slog.Logger {
	if f.Log == "" {
		f.Log = "warn"
	}
	return f.Logger(env.Stderr)
}
