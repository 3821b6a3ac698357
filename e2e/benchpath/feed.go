package main

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/events"
	"tapedeck/internal/benchtest"
	"tapedeck/internal/service"
)

const feedServices = 20

// feeder makes tapes as captures of 20 services would: JSON of an API in which
// names repeat and values do not.
type feeder struct {
	random  *rand.Rand
	sources [feedServices]struct {
		id       events.ID
		number   uint64
		counters events.Counters
	}
	next int
	text int64 // bytes of the names and values in the exchanges
}

func newFeeder() *feeder {
	f := &feeder{random: rand.New(rand.NewPCG(1, 1))}
	for i := range f.sources {
		f.sources[i].id = events.NewID(time.Now())
	}
	return f
}

// tape is the next service's: full, or of at most n exchanges.
func (f *feeder) tape(n int) (subject string, raw []byte, exchanges int, err error) {
	i := f.next % feedServices
	s := &f.sources[i]
	f.next++
	w := &events.Workload{Cluster: "bench", Namespace: "shop", Service: fmt.Sprintf("s%d", i), Instance: "0"}
	now := time.Now()
	b := events.NewBuilder(now)
	for exchanges < n && b.Size() < events.TapeSize {
		entry, endpoint, x := f.exchange(now)
		if err := b.AddExchange(entry, endpoint, x); err != nil {
			return "", nil, 0, err
		}
		exchanges++
	}
	s.number++
	s.counters.Begun += uint64(exchanges)
	s.counters.Taped = s.counters.Begun
	raw, err = b.Close(&events.Header{SourceId: s.id[:], Number: s.number, Workload: w, ClosedAt: now.UnixNano(),
		Counters: &events.Counters{Begun: s.counters.Begun, Taped: s.counters.Taped}})
	return events.CapturedSubject(w), raw, exchanges, err
}

// exchange is of 1.5 KiB.
func (f *feeder) exchange(now time.Time) (*events.Entry, *events.Endpoint, *events.Exchange) {
	id, trace := events.NewID(now), events.NewID(now)
	n, kind := f.random.IntN(1_000_000), f.random.IntN(20)
	path := fmt.Sprintf("/api/v1/e%d/%d", kind, n)
	body := []byte(`{"items":[`)
	for i := range 7 {
		body = fmt.Appendf(body, `{"id":"%016x","sku":"sku-%06d","name":"a product of the shop","price":%d.%02d,"quantity":%d,"tags":["new","sale"],"updated":"2026-11-28T%02d:%02d:%02dZ"},`,
			f.random.Uint64(), f.random.IntN(1_000_000), f.random.IntN(500), f.random.IntN(100), i, f.random.IntN(24), f.random.IntN(60), f.random.IntN(60))
	}
	body = append(body[:len(body)-1], "]}"...)
	field := func(name, value string) *events.Field {
		return &events.Field{Name: []byte(name), Value: []byte(value)}
	}
	took := int64(f.random.ExpFloat64() * 20_000)
	x := &events.Exchange{Id: id[:],
		Request: &events.Request{Method: "GET", Target: path, Version: "HTTP/1.1", FirstByte: now.UnixNano(), Headers: []*events.Field{
			field("Host", "shop.example"), field("User-Agent", "shop/1.2"), field("Accept", "application/json"), field("Traceparent", "00-"+trace.String()+"-01")}},
		Response: &events.Response{Status: "200", Headers: []*events.Field{
			field("Content-Type", "application/json"), field("Content-Length", fmt.Sprint(len(body))), field("Server", "shop"), field("Cache-Control", "no-store")},
			Body: &events.Body{Data: body, Size: int64(len(body)), Kept: int64(len(body))}}}
	f.text += int64(len(body) + len("GET HTTP/1.1") + len(path))
	for _, h := range append(x.Request.Headers, x.Response.Headers...) {
		f.text += int64(len(h.Name) + len(h.Value))
	}
	entry := &events.Entry{Id: id[:], Time: uint64(now.UnixNano()), DurationUs: took, TtfbUs: took / 2, Peer: "10.1.2.3:4567", Path: path,
		Status: "200", Class: events.StatusClass_OK, ResponseBytes: int64(len(body)), TraceId: trace[:], SpanId: trace[8:], Session: trace[:], Connection: trace[:]}
	return entry, &events.Endpoint{Direction: events.Direction_INBOUND, Protocol: "http", Host: "shop.example", Method: "GET", Template: fmt.Sprintf("/api/v1/e%d/{id}", kind)}, x
}

// fill publishes full tapes of at least n exchanges.
func (f *feeder) fill(ctx context.Context, js jetstream.JetStream, n int) (sent int, err error) {
	for sent < n {
		subject, raw, exchanges, err := f.tape(n - sent)
		if err != nil {
			return sent, err
		}
		if err := publish(ctx, js, subject, raw); err != nil {
			return sent, err
		}
		sent += exchanges
	}
	return sent, nil
}

func publish(ctx context.Context, js jetstream.JetStream, subject string, raw []byte) error {
	front, err := events.ParseFront(raw)
	if err != nil {
		return err
	}
	e, err := events.NewEvent(subject, "bench", front.TapeID().String(), front.Header.Workload.Service, raw)
	if err != nil {
		return err
	}
	msg, err := events.Encode(subject, e)
	if err != nil {
		return err
	}
	_, err = js.PublishMsg(ctx, msg)
	return err
}

// feed lets workers work off a stream that is full when they start.
func feed(ctx context.Context, c config, x *index) error {
	for _, indexed := range []bool{false, true} {
		if err := alone(ctx, c, func(ctx context.Context, c config, x *index) error { return feedOnce(ctx, c, x, indexed) }); err != nil {
			return err
		}
	}
	return nil
}

func feedOnce(ctx context.Context, c config, x *index, indexed bool) error {
	var all processes
	defer all.kill()
	nats, close, err := all.startBroker(ctx, c)
	if err != nil {
		return err
	}
	defer close()
	f := newFeeder()
	n, err := f.fill(ctx, nats.js, c.records)
	if err != nil {
		return err
	}
	began, what := time.Now(), "the archive"
	all.startArchiver(c, nats.url)
	durables := []string{events.DurableArchiver}
	if indexed {
		all.startIndexer(c, nats.url, x.dsn)
		what, durables = "archive and index", append(durables, events.DurableIndexer)
	}
	if err := workedOff(ctx, nats.js, durables); err != nil {
		return err
	}
	took := time.Since(began)
	if indexed {
		if got, err := x.wait(ctx, n); err != nil || got != n {
			return fmt.Errorf("fed %d, indexed %d, %w", n, got, err)
		}
	}
	if _, err := all.stop(); err != nil {
		return err
	}
	got, err := archivedExchanges(ctx, filepath.Join(c.folder, "archive"))
	if err != nil || got != n {
		return fmt.Errorf("fed %d, archived %d, %w", n, got, err)
	}
	size := sizeOf(filepath.Join(c.folder, "archive"))
	fmt.Printf("%d records of %.1f KiB into %s in %.1f s: %.0f records/s; %.0f bytes a record in the archive, %.2f of its text\n",
		n, float64(f.text)/float64(n)/1024, what, took.Seconds(), float64(n)/took.Seconds(), float64(size)/float64(n), float64(size)/float64(f.text))
	return nil
}

// workedOff waits until consumers have nothing left.
func workedOff(ctx context.Context, js jetstream.JetStream, durables []string) error {
	for _, durable := range durables {
		consumer, err := js.Consumer(ctx, events.StreamCaptured, durable)
		if err != nil {
			return err
		}
		for {
			info, err := consumer.Info(ctx)
			if err != nil {
				return err
			}
			if info.NumPending == 0 && info.NumAckPending == 0 {
				break
			}
			if !service.Sleep(ctx, 50*time.Millisecond) {
				return ctx.Err()
			}
		}
	}
	return nil
}

func sizeOf(folder string) (size int64) {
	filepath.WalkDir(folder, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				size += info.Size()
			}
		}
		return nil
	})
	return size
}

// soak feeds the workers at a steady rate and looks at their memory.
func soak(ctx context.Context, c config, x *index) error {
	var all processes
	defer all.kill()
	nats, close, err := all.startBroker(ctx, c)
	if err != nil {
		return err
	}
	defer close()
	workers := []*benchtest.Process{all.startArchiver(c, nats.url), all.startIndexer(c, nats.url, x.dsn)}
	f, began, sent, looked := newFeeder(), time.Now(), 0, time.Duration(0)
	fmt.Printf("%8s %12s %10s %14s %14s\n", "minute", "fed", "waiting", "archiver MiB", "indexer MiB")
	for elapsed := time.Duration(0); elapsed < c.soak; elapsed = time.Since(began) {
		n, err := f.fill(ctx, nats.js, 1000)
		if err != nil {
			return err
		}
		sent += n
		if elapsed-looked >= time.Minute {
			looked = elapsed
			if err := look(ctx, nats.js, elapsed, sent, workers); err != nil {
				return err
			}
		}
		if ahead := time.Duration(sent)*time.Second/time.Duration(c.rate) - time.Since(began); ahead > 0 && !service.Sleep(ctx, ahead) {
			return ctx.Err()
		}
	}
	fed := time.Since(began)
	if got, err := x.wait(ctx, sent); err != nil || got != sent {
		return fmt.Errorf("fed %d, indexed %d, %w", sent, got, err)
	}
	fmt.Printf("%d exchanges in %.0f s, %.0f/s; all indexed %.1f s after the last\n", sent, fed.Seconds(), float64(sent)/fed.Seconds(), time.Since(began).Seconds()-fed.Seconds())
	_, err = all.stop()
	return err
}

func look(ctx context.Context, js jetstream.JetStream, at time.Duration, sent int, workers []*benchtest.Process) error {
	consumer, err := js.Consumer(ctx, events.StreamCaptured, events.DurableIndexer)
	if err != nil {
		return err
	}
	info, err := consumer.Info(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("%8.1f %12d %10d", at.Minutes(), sent, info.NumPending+uint64(info.NumAckPending))
	for _, w := range workers {
		_, now := w.Memory()
		fmt.Printf(" %14.1f", float64(now)/(1<<20))
	}
	fmt.Println()
	return nil
}
