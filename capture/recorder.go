package capture

import (
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"tapedeck/capture/cause"
	"tapedeck/capture/redact"
	"tapedeck/events"
)

const (
	// maxRecord bounds one record: alone in a tape it stays below NATS'
	// default max_payload of 1 MiB, headers of the message included.
	maxRecord = 896 << 10
	// idleTape is how often a source without traffic says what it has counted.
	idleTape = 30 * time.Second

	dropTooLarge = "too-large"
	dropSpool    = "spool"
	dropRecord   = "unrecordable"
)

// recorder is a source: it writes exchanges into tapes and counts. Everything
// that begins is taped, dropped for a reason, or open.
type recorder struct {
	workload  *events.Workload
	redactor  *redact.Source // nil: off
	causes    *cause.Linker  // nil: off
	maxBody   int64
	age       time.Duration
	log       *slog.Logger
	metrics   *metrics
	publish   func(*closedTape) // takes it; may wait
	spooled   func() int        // tapes in the spool
	endpoints *endpoints        // nil: no bound

	tally

	mu      sync.Mutex
	source  events.ID
	builder *events.Builder
	since   time.Time // of the builder's first record
	key     string    // id of the redaction key of what is in it, "" for none
	last    time.Time // when a tape was closed
	tapes   uint64    // closed
	ended   bool
}

// closedTape is a tape on its way out.
type closedTape struct {
	id        events.ID
	bytes     []byte
	exchanges int
	unkept    bool
}

// Counts are what a source has seen since it began.
type Counts struct {
	Begun   uint64
	Taped   uint64
	Open    uint64
	Dropped map[string]uint64
}

func newRecorder(now time.Time) *recorder {
	return &recorder{
		source: events.NewID(now), builder: events.NewBuilder(now), last: now,
		tally: tally{begun: new(atomic.Uint64), dropped: map[string]uint64{}},
	}
}

// limit is how much of a body is kept.
func (r *recorder) limit() int64 {
	if r.maxBody == 0 {
		return math.MaxInt64
	}
	return r.maxBody
}

func (r *recorder) add(entry *events.Entry, endpoint *events.Endpoint, x *events.Exchange) {
	if tooLarge(x) {
		r.drop(dropTooLarge, 1)
		return
	}
	r.metrics.exchange(x.Direction, entry)
	if x.OnlyMetadata() {
		r.metrics.metadataOnly.Inc()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.room(len(x.Request.GetBody().GetData())+len(x.Response.GetBody().GetData()), x.RedactionKeyId)
	if err := r.builder.AddExchange(entry, endpoint, x); err != nil {
		r.log.Error("record exchange", "error", err)
		r.drop(dropRecord, 1)
		return
	}
	r.tapedOne()
	r.closeWhenFull()
}

// addOpen writes the entry of an open exchange, redacted under the key of that
// id, and returns the tape that it is in.
func (r *recorder) addOpen(entry *events.Entry, endpoint *events.Endpoint, key string) events.ID {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.room(0, key)
	tape := r.builder.ID()
	r.builder.AddOpen(entry, endpoint, nil)
	r.closeWhenFull()
	return tape
}

// addSegment writes a segment and, into the same tape, the open entry that
// points at it. A tape has one open entry of an exchange at most: there is
// none if the last one is in the same tape. nil says that it is not kept.
func (r *recorder) addSegment(g *events.Segment, open *openEntry, key string) (ref *events.RecordRef, opened bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.room(proto.Size(g), key)
	due := open != nil && open.last != r.builder.ID()
	if !due && len(g.Messages) == 0 {
		return nil, false // it is only there to be pointed at
	}
	ref, err := r.builder.AddSegment(g)
	if err != nil {
		r.log.Error("record segment", "error", err)
		return nil, false
	}
	if due {
		r.builder.AddOpen(open.entry, open.endpoint, ref)
	}
	r.closeWhenFull()
	return ref, due
}

// openEntry is one on its way into a tape.
type openEntry struct {
	entry    *events.Entry
	endpoint *events.Endpoint
	last     events.ID // the tape of the one before
}

// addPart writes body bytes; nil says that they are not kept.
func (r *recorder) addPart(p *events.Part, key string) *events.RecordRef {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.room(len(p.Data), key)
	ref, err := r.builder.AddPart(p)
	if err != nil {
		r.log.Error("record part", "error", err)
		return nil
	}
	r.closeWhenFull()
	return ref
}

// room closes the tape before a record that would make it too long, or that
// was redacted under another key than the rest: a tape has one.
func (r *recorder) room(size int, key string) {
	now := time.Now()
	turned := key != "" && r.key != "" && key != r.key
	if !r.builder.Empty() && (turned || r.builder.Size()+size > events.TapeSize) {
		r.close(now, false)
	}
	if r.builder.Empty() {
		r.since = now
	}
	if key != "" {
		r.key = key
	}
}

func (r *recorder) closeWhenFull() {
	if r.builder.Size() >= events.TapeSize {
		r.close(time.Now(), false)
	}
}

// due says whether a tape is old enough: age while at least ten exchanges a
// second come, up to five times that for a quiet service.
func due(since time.Duration, exchanges int, age time.Duration) bool {
	if since < age {
		return false
	}
	return float64(exchanges) >= 10*since.Seconds() || since >= 5*age
}

// tick closes the tape by its age, and says something now and then when there
// is nothing to say.
func (r *recorder) tick(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	if r.builder.Empty() {
		if now.Sub(r.last) >= idleTape {
			r.close(now, false)
		}
		return
	}
	if due(now.Sub(r.since), r.builder.Exchanges(), r.age) {
		r.close(now, false)
	}
}

// end closes the last tape.
func (r *recorder) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended {
		r.close(time.Now(), true)
		r.ended = true
	}
}

// close ends the tape, counts it and begins the next. Callers hold mu.
func (r *recorder) close(now time.Time, last bool) {
	b, key := r.builder, r.key
	if key == "" {
		key = r.redactor.At(now).KeyID()
	}
	r.builder, r.key, r.last = events.NewBuilder(now), "", now
	r.tapes++
	h := &events.Header{
		SourceId: r.source[:], Number: r.tapes, Workload: r.workload, RedactionKeyId: key,
		ClosedAt: now.UnixNano(), Counters: r.header(last), Last: last,
	}
	raw, err := b.Close(h)
	t := &closedTape{id: b.ID(), bytes: raw, exchanges: b.Exchanges()}
	if err != nil { // a text that is no UTF-8: a bug, and never silent
		r.log.Error("close tape", "error", err)
		r.unbuilt(t)
		return
	}
	r.keep(t, r.tapes, r.log)
	r.metrics.tapes.Inc()
	r.metrics.tapeBytes.Observe(float64(len(raw)))
	r.publish(t)
}
