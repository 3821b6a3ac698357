package archiver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/internal/natstest"
	"tapedeck/internal/s3test"
	"tapedeck/internal/service"
)

var orders = events.Service{Cluster: "local", Namespace: "shop", Service: "orders"}

func newTape(t testing.TB, s events.Service, number uint64) *events.Tape {
	t.Helper()
	source := events.NewID(time.Now())
	b := events.NewBuilder(time.Now())
	id := events.NewID(time.Now())
	x := &events.Exchange{Id: id[:], Request: &events.Request{Method: "GET", Target: fmt.Sprintf("/%d", number)}}
	if err := b.AddExchange(&events.Entry{Id: id[:]}, &events.Endpoint{Protocol: "http"}, x); err != nil {
		t.Fatal(err)
	}
	raw, err := b.Close(&events.Header{
		SourceId: source[:], Number: number, ClosedAt: time.Now().UnixNano(),
		Workload: &events.Workload{Cluster: s.Cluster, Namespace: s.Namespace, Service: s.Service},
	})
	if err != nil {
		t.Fatal(err)
	}
	tape, err := events.ParseTape(raw)
	if err != nil {
		t.Fatal(err)
	}
	return tape
}

// publish sends a tape as capture does.
func publish(t testing.TB, js jetstream.JetStream, tape *events.Tape) {
	t.Helper()
	publishOn(t, js, events.CapturedSubject(tape.Header.Workload), tape.TapeID().String(), tape.Bytes())
}

func publishOn(t testing.TB, js jetstream.JetStream, subject, id string, data []byte) {
	t.Helper()
	e, err := events.NewEvent(subject, "/tapedeck/capture/test", id, "test", data)
	if err == nil {
		err = events.Publish(t.Context(), js, subject, e)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// run runs an archiver until stop is called.
func run(t testing.TB, js jetstream.JetStream, a *tapes.Archive, cfg Config) (s *Service, stop func()) {
	t.Helper()
	s, err := New(cfg, Deps{JetStream: js, Archive: a, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	var once atomic.Bool
	stop = func() {
		if once.Swap(true) {
			return
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the archiver ended with %v, want nil", err)
		}
	}
	t.Cleanup(stop)
	return s, stop
}

// eventually polls until done says so.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
		service.Sleep(t.Context(), 10*time.Millisecond)
	}
}

func info(t testing.TB, js jetstream.JetStream) *jetstream.ConsumerInfo {
	t.Helper()
	c, err := js.Consumer(t.Context(), events.StreamCaptured, events.DurableArchiver)
	if err != nil {
		t.Fatal(err)
	}
	return c.CachedInfo()
}

// drained says that the last message was delivered and none is unacked: what is
// pending is counted a moment after a publish is acked.
func drained(t testing.TB, js jetstream.JetStream) func() bool {
	s, err := js.Stream(t.Context(), events.StreamCaptured)
	if err != nil {
		t.Fatal(err)
	}
	last := s.CachedInfo().State.LastSeq
	return func() bool {
		i := info(t, js)
		return i.Delivered.Stream >= last && i.NumPending == 0 && i.NumAckPending == 0
	}
}

func alone() Config { return reelsOf(0, 0) }
func reelsOf(size service.Size, age time.Duration) Config {
	return Config{ReelSize: &size, ReelAge: age}
}

// onArchives runs a test on each kind of bucket, with tapes alone and in reels.
func onArchives(t *testing.T, test func(*testing.T, *tapes.Archive, Config)) {
	modes := map[string]Config{"alone": alone(), "reels": reelsOf(3000, 200*time.Millisecond)}
	for name, cfg := range modes {
		t.Run("directory/"+name, func(t *testing.T) { test(t, open(t, t.TempDir()), cfg) })
		t.Run("s3/"+name, func(t *testing.T) {
			s := s3test.Start(t, "archive")
			s.Setenv(t)
			test(t, open(t, s.URL("archive", "")), cfg)
		})
	}
}

func open(t testing.TB, location string) *tapes.Archive {
	t.Helper()
	a, err := tapes.Open(t.Context(), location)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// expectArchived looks for tapes with the eyes of a process that knows nothing.
func expectArchived(t testing.TB, a *tapes.Archive, want ...*events.Tape) {
	t.Helper()
	fresh := tapes.New(a.Bucket)
	for _, tape := range want {
		w := tape.Header.Workload
		p, err := fresh.Find(t.Context(), events.Service{Cluster: w.Cluster, Namespace: w.Namespace, Service: w.Service}, tape.TapeID())
		if err != nil {
			t.Error(err)
			continue
		}
		got, err := fresh.Tape(t.Context(), p)
		if err != nil || !bytes.Equal(got.Bytes(), tape.Bytes()) {
			t.Errorf("tape %s at %s: got %v, %v", tape.TapeID(), p, got, err)
		}
	}
}

// announced reads everything on ARCHIVED: where which tape lies.
func announced(t testing.TB, js jetstream.JetStream) map[events.ID]tapes.Place {
	t.Helper()
	c, err := js.Consumer(t.Context(), events.StreamArchived, events.DurableIndexer)
	if err != nil {
		t.Fatal(err)
	}
	batch, err := c.FetchNoWait(1000)
	if err != nil {
		t.Fatal(err)
	}
	places := map[events.ID]tapes.Place{}
	for msg := range batch.Messages() {
		e, err := events.Decode(msg.Subject(), msg.Headers(), msg.Data())
		if err != nil {
			t.Fatal(err)
		}
		a, err := events.DecodeData[events.Archived](e)
		if err != nil {
			t.Fatal(err)
		}
		if want := events.ArchivedSubject(&events.Workload{Cluster: a.Cluster, Namespace: a.Namespace, Service: a.Service.Service}); msg.Subject() != want {
			t.Errorf("announced on %s, want %s", msg.Subject(), want)
		}
		for _, tape := range a.Tapes {
			places[tape.ID] = tapes.Place{Object: a.Object, Offset: tape.Offset, Length: tape.Length}
		}
	}
	return places
}

func dead(t testing.TB, js jetstream.JetStream) []*jetstream.RawStreamMsg {
	t.Helper()
	s, err := js.Stream(t.Context(), events.StreamDead)
	if err != nil {
		t.Fatal(err)
	}
	var msgs []*jetstream.RawStreamMsg
	for seq := max(s.CachedInfo().State.FirstSeq, 1); seq <= s.CachedInfo().State.LastSeq; seq++ {
		msg, err := s.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		msgs = append(msgs, msg)
	}
	return msgs
}

func TestArchives(t *testing.T) {
	onArchives(t, func(t *testing.T, a *tapes.Archive, cfg Config) {
		_, js := natstest.New(t)
		services := []events.Service{orders, {Cluster: "local", Namespace: "shop", Service: "cart v2"}, {Cluster: "local", Namespace: "", Service: "lone"}}
		var want []*events.Tape
		for i := range 50 {
			tape := newTape(t, services[i%3], uint64(i))
			want = append(want, tape)
			publish(t, js, tape)
		}
		_, stop := run(t, js, a, cfg)
		eventually(t, "every tape is acknowledged", drained(t, js))
		stop()
		expectArchived(t, a, want...)
		places := announced(t, js)
		objects := map[string]int{}
		for _, tape := range want {
			p := places[tape.TapeID()]
			objects[p.Object]++
			got, err := a.Tape(t.Context(), p)
			if err != nil || !bytes.Equal(got.Bytes(), tape.Bytes()) {
				t.Errorf("tape %s is announced at %s: got %v, %v", tape.TapeID(), p, got, err)
			}
		}
		if single := *cfg.ReelSize == 0; single != (len(objects) == len(want)) {
			t.Errorf("%d tapes in %d objects, alone %v", len(want), len(objects), single)
		}
		if left := dead(t, js); len(left) > 0 {
			t.Errorf("%d dead letters, want none", len(left))
		}
	})
}

// A worker that was killed after its write and before its ack leaves a tape
// that is delivered again: nothing changes, and it is announced again.
func TestRedelivery(t *testing.T) {
	onArchives(t, func(t *testing.T, a *tapes.Archive, cfg Config) {
		_, js := natstest.New(t)
		var want []*events.Tape
		for i := range 5 {
			tape := newTape(t, orders, uint64(i))
			want = append(want, tape)
			publish(t, js, tape)
		}
		if _, err := a.PutTape(t.Context(), want[0]); err != nil {
			t.Fatal(err)
		}
		killed(t, js, len(want))
		_, stop := run(t, js, a, cfg)
		eventually(t, "every tape is acknowledged", drained(t, js))
		stop()
		expectArchived(t, a, want...)
		if places := announced(t, js); len(places) != len(want) {
			t.Errorf("%d tapes announced, want %d", len(places), len(want))
		}
		if left := dead(t, js); len(left) > 0 {
			t.Errorf("%d dead letters, want none", len(left))
		}
	})
}

// killed takes messages and gives them back, as if the server had waited for
// the acks of a killed worker.
func killed(t testing.TB, js jetstream.JetStream, n int) {
	t.Helper()
	c, err := js.Consumer(t.Context(), events.StreamCaptured, events.DurableArchiver)
	if err != nil {
		t.Fatal(err)
	}
	batch, err := c.Fetch(n)
	if err != nil {
		t.Fatal(err)
	}
	for msg := range batch.Messages() {
		if err := msg.Nak(); err != nil {
			t.Fatal(err)
		}
	}
}

// While S3 is away nothing is acknowledged; when it is back all is archived.
func TestOutage(t *testing.T) {
	for name, cfg := range map[string]Config{"alone": alone(), "reels": reelsOf(3000, 100*time.Millisecond)} {
		t.Run(name, func(t *testing.T) {
			server := s3test.Start(t, "archive")
			server.Setenv(t)
			a := open(t, server.URL("archive", ""))
			_, js := natstest.New(t)
			server.Stop()
			var want []*events.Tape
			for i := range 20 {
				tape := newTape(t, orders, uint64(i))
				want = append(want, tape)
				publish(t, js, tape)
			}
			s, _ := run(t, js, a, cfg)
			eventually(t, "the service says that it fails", func() bool { return s.Ready() != nil })
			if i := info(t, js); i.NumPending+uint64(i.NumAckPending) != uint64(len(want)) {
				t.Errorf("%d of %d tapes are left while S3 is away", i.NumPending+uint64(i.NumAckPending), len(want))
			}
			if err := server.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			eventually(t, "every tape is acknowledged", drained(t, js))
			expectArchived(t, a, want...)
			if err := s.Ready(); err != nil {
				t.Errorf("still not ready: %v", err)
			}
		})
	}
}

// full is a bucket on a disk without space until it has.
type full struct {
	tapes.Bucket
	left atomic.Int64 // writes that fail
}

func (f *full) Put(ctx context.Context, key string, b []byte) error {
	if f.left.Add(-1) >= 0 {
		return fmt.Errorf("put %s: %w", key, syscall.ENOSPC)
	}
	return f.Bucket.Put(ctx, key, b)
}

func TestFullDisk(t *testing.T) {
	bucket := &full{Bucket: open(t, t.TempDir()).Bucket}
	bucket.left.Store(4)
	a := tapes.New(bucket)
	_, js := natstest.New(t)
	want := []*events.Tape{newTape(t, orders, 1), newTape(t, orders, 2), newTape(t, orders, 3)}
	for _, tape := range want {
		publish(t, js, tape)
	}
	run(t, js, a, alone())
	eventually(t, "every tape is acknowledged", drained(t, js))
	expectArchived(t, a, want...)
	if left := dead(t, js); len(left) > 0 {
		t.Errorf("%d dead letters, want none", len(left))
	}
}

// Told to end, the service writes its open reels first.
func TestStopWritesReels(t *testing.T) {
	a := open(t, t.TempDir())
	_, js := natstest.New(t)
	bank := events.Service{Cluster: "local", Namespace: "bank", Service: "tills"}
	want := []*events.Tape{newTape(t, orders, 1), newTape(t, bank, 1), newTape(t, orders, 2)}
	for _, tape := range want {
		publish(t, js, tape)
	}
	_, stop := run(t, js, a, reelsOf(1<<30, time.Hour))
	eventually(t, "every tape is held", func() bool { i := info(t, js); return i.NumPending == 0 && i.NumAckPending == len(want) })
	stop()
	eventually(t, "the server has every ack", drained(t, js))
	expectArchived(t, a, want...)
	objects := map[string]bool{}
	for _, p := range announced(t, js) {
		objects[p.Object] = true
	}
	if len(objects) != 2 {
		t.Errorf("got %d reels, want one a namespace: %v", len(objects), objects)
	}
}

// What can never be archived goes to the dead letters, once and whole, with the
// reason; what is beside it is archived.
func TestMalformed(t *testing.T) {
	onArchives(t, func(t *testing.T, a *tapes.Archive, cfg Config) {
		_, js := natstest.New(t)
		good := newTape(t, orders, 1)
		subject := events.CapturedSubject(good.Header.Workload)
		flipped := bytes.Clone(good.Bytes())
		flipped[len(flipped)-1] ^= 1 // in a block
		clash := newTape(t, orders, 2)
		bad := map[string][]byte{
			"garbage":   []byte("this is no tape"),
			"truncated": good.Bytes()[:len(good.Bytes())-1],
			"flipped":   flipped,
			"empty":     nil,
		}
		for id, data := range bad {
			publishOn(t, js, subject, id, data)
		}
		other := newTape(t, events.Service{Cluster: "local", Namespace: "shop", Service: "cart"}, 3)
		publishOn(t, js, subject, "elsewhere", other.Bytes())
		if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: subject, Data: good.Bytes()}); err != nil { // no CloudEvent
			t.Fatal(err)
		}
		publish(t, js, good)
		want := len(bad) + 2
		if *cfg.ReelSize == 0 { // a reel has keys of its own: no clash
			if err := a.Put(t.Context(), a.Key(clash.Header), []byte("something else")); err != nil {
				t.Fatal(err)
			}
			publish(t, js, clash)
			want++
		}
		_, stop := run(t, js, a, cfg)
		eventually(t, "every message is handled", drained(t, js))
		stop()
		expectArchived(t, a, good)
		letters := dead(t, js)
		if len(letters) != want {
			t.Errorf("%d dead letters, want %d", len(letters), want)
		}
		for _, l := range letters {
			if l.Subject != events.DeadLetterSubject(events.StreamCaptured) || l.Header.Get(events.DeadReasonHeader) == "" || l.Header.Get(events.DeadSubjectHeader) != subject {
				t.Errorf("dead letter on %s with headers %v", l.Subject, l.Header)
			}
			if id := l.Header.Get("ce-id"); bad[id] != nil && !bytes.Equal(bad[id], l.Data) {
				t.Errorf("dead letter %s is not whole", id)
			}
		}
	})
}

// A name that no folder can have is refused for ever, not tried for ever.
func TestLongName(t *testing.T) {
	_, js := natstest.New(t)
	long := newTape(t, events.Service{Service: string(slices.Repeat([]byte("x"), 201))}, 1)
	publish(t, js, long)
	run(t, js, open(t, t.TempDir()), alone())
	eventually(t, "it is handled", drained(t, js))
	if n := len(dead(t, js)); n != 1 {
		t.Errorf("%d dead letters, want 1", n)
	}
}

func TestDefaults(t *testing.T) {
	_, js := natstest.New(t)
	deps := Deps{JetStream: js, Archive: open(t, t.TempDir()), Log: slog.New(slog.DiscardHandler)}
	if s, err := New(Config{}, deps); err != nil || s.reels != nil {
		t.Errorf("a directory: got reels %v, %v; want each tape alone", s.reels, err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	deps.Archive = open(t, "s3://bucket")
	if s, err := New(Config{}, deps); err != nil || s.reels == nil || s.reels.size != defaultReelSize || s.reels.age != defaultReelAge {
		t.Errorf("S3: got reels %+v, %v; want 16 MiB and 10 s", s.reels, err)
	}
	if _, err := New(reelsOf(-1, 0), deps); err == nil {
		t.Error("a size below 0 was accepted")
	}
}

func TestStreamsMissing(t *testing.T) {
	_, _, js := natstest.Start(t, t.TempDir())
	s, err := New(Config{}, Deps{JetStream: js, Archive: open(t, t.TempDir()), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); service.HintOf(err) == "" || errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want one that says what to do", err)
	}
}
