package scenario

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"tapedeck/events"
	"tapedeck/wire"
)

// Options say what a scenario is called and where it comes from.
type Options struct {
	Name      string
	Version   string    // see Version
	Request   string    // id of the request
	By        string    // who asked
	Selector  string    // that chose the exchanges
	CreatedAt time.Time // default: now
	Protocols []wire.Protocol
	Warnings  []string // that are known before
	TempDir   string   // for exchanges that do not fit into Memory; default: the system's
	Memory    int      // bytes; default 32 MiB
}

// InvalidError says why no scenario can be made of a selection, and what to do
// about it.
type InvalidError struct{ Reason string }

func (e *InvalidError) Error() string { return e.Reason }

// Builder makes a scenario of recorded exchanges, which may come in any order
// and repeatedly. It holds about 100 bytes of each exchange, the exchanges
// themselves up to Options.Memory, and one session or piece; the rest waits in
// a temporary file. It is not safe for concurrent use.
type Builder struct {
	options   Options
	protocols map[string]wire.Protocol
	spill     spill
	workloads []*events.Workload
	sessions  *joiner
	seen      *sightings
	given     *hashSet // random-looking values that dependencies answered
	tests     []testItem
	mocks     []mockItem
	names     []dependency
	skipped   map[string]int
	fixed     *hashSet // in Finish: values that recorded requests hold as they are
	made      *hashSet // in Finish: values that the service made up, "noun:value"
	keys      map[string]bool
	turns     turns // in Finish
	strangers int   // sessions with a credential from nowhere
}

// testItem is a kept test.
type testItem struct {
	id      events.ID
	time    int64
	session uint32
	length  uint32
	offset  int64
}

// mockItem is a kept mock.
type mockItem struct {
	id         events.ID
	time       int64
	route      [8]byte
	workload   uint32
	dependency uint32
	length     uint32
	offset     int64
}

// NewBuilder begins a scenario. Close frees what it holds.
func NewBuilder(o Options) *Builder {
	if o.Memory == 0 {
		o.Memory = 32 << 20
	}
	if o.CreatedAt.IsZero() {
		o.CreatedAt = time.Now()
	}
	b := &Builder{
		options: o, protocols: map[string]wire.Protocol{}, spill: spill{dir: o.TempDir, limit: o.Memory},
		sessions: newJoiner(), seen: newSightings(), given: newHashSet(), skipped: map[string]int{},
		fixed: newHashSet(), made: newHashSet(), keys: map[string]bool{}, turns: turns{},
	}
	for _, p := range o.Protocols {
		b.protocols[p.Name()] = p
	}
	return b
}

// Close removes the temporary file.
func (b *Builder) Close() error { return b.spill.close() }

// Warn adds what a person should know to the manifest.
func (b *Builder) Warn(sentences ...string) {
	b.options.Warnings = append(b.options.Warnings, sentences...)
}

// Empty says that nothing was added that could be used.
func (b *Builder) Empty() bool { return len(b.tests)+len(b.mocks) == 0 }

// Add adds an exchange with whole bodies (Body.Data), which then belongs to
// the builder. What cannot be sent again or be an answer is counted in the
// manifest, by reason.
func (b *Builder) Add(row *events.Row, x *events.Exchange) error {
	if reason := b.unfit(row, x); reason != "" {
		b.skipped[reason]++
		return nil
	}
	for _, body := range []*events.Body{x.Request.Body, x.Response.Body} {
		if body != nil {
			body.Parts = nil
		}
	}
	b.noteKeys(x)
	var err error
	if row.Direction == events.Direction_OUTBOUND {
		err = b.addMock(row, x)
	} else {
		err = b.addTest(row, x)
	}
	if err != nil {
		return fmt.Errorf("add exchange %s: %w", row.ID, err)
	}
	return nil
}

// unfit says why an exchange can be neither test nor mock.
func (b *Builder) unfit(row *events.Row, x *events.Exchange) string {
	switch {
	case row.Open || row.Kind == events.Kind_OPEN:
		return "not ended"
	case b.protocols[x.Protocol] == nil:
		return "protocol " + x.Protocol + " can't be replayed"
	case x.OnlyMetadata():
		return "only metadata was recorded, redaction having failed"
	case x.Request == nil || row.Flags&uint32(events.Flag_GAP) != 0:
		return "not recorded whole"
	case x.Response == nil:
		return "no answer was recorded"
	case len(x.Segments) > 0:
		return "streams can't be replayed"
	case row.Direction == events.Direction_INBOUND && incomplete(x.Request.Body):
		return "request body was truncated"
	case row.Direction == events.Direction_OUTBOUND && incomplete(x.Response.Body):
		return "answer of a dependency was truncated"
	}
	return ""
}

func incomplete(b *events.Body) bool { return b.GetSize() > int64(len(b.GetData())) }

func (b *Builder) noteKeys(x *events.Exchange) {
	if key := RedactionKey(x); key != "" {
		b.keys[key] = true
	}
}

func (b *Builder) addTest(row *events.Row, x *events.Exchange) error {
	w := b.workload(row)
	key := sessionKey{w, row.Session}
	byConnection := row.Session == events.SessionID{}
	if byConnection {
		key.id = row.Connection
	}
	nanos := row.Time.UnixNano()
	session := b.sessions.add(key, byConnection, row.ID, nanos, x)
	safe := isSafe(x.Request.Method)
	for _, l := range responseLeaves(x.Response) {
		if isExtraction(l) {
			b.seen.add(l.value, session, nanos, safe)
		}
	}
	offset, length, err := b.spill.append(&Test{Exchange: x, Host: row.Host, Template: row.Template, Class: row.Class, Flags: row.Flags})
	if err != nil {
		return err
	}
	b.tests = append(b.tests, testItem{row.ID, nanos, session, length, offset})
	return nil
}

func isRandomLooking(l leaf) bool {
	if l.kind != kindText {
		return false
	}
	c := classifyWord(l.key, l.value, recordedNever)
	return c == ClassUUID || c == ClassToken
}

// noteGiven remembers random-looking values that a dependency answered and
// was not told in the same breath.
func (b *Builder) noteGiven(x *events.Exchange) {
	told := map[string]bool{}
	for _, l := range requestLeaves(x.Request) {
		told[l.value] = true
	}
	for _, l := range responseLeaves(x.Response) {
		if isRandomLooking(l) && !told[l.value] {
			b.given.add(l.value)
		}
	}
}

func (b *Builder) addMock(row *events.Row, x *events.Exchange) error {
	b.noteGiven(x)
	s := b.protocols[x.Protocol].Signature(x)
	d := b.dependency(row, x)
	offset, length, err := b.spill.append(&Mock{
		Exchange: x, Dependency: b.names[d].name, Template: row.Template, Class: row.Class, Flags: row.Flags,
		Exact: s.Exact[:], Shape: s.Shape[:], Route: s.Route[:],
	})
	if err != nil {
		return err
	}
	b.mocks = append(b.mocks, mockItem{row.ID, row.Time.UnixNano(), [8]byte(s.Route[:8]), b.workload(row), d, length, offset})
	return nil
}

// workload numbers the services; instances and versions are one.
func (b *Builder) workload(row *events.Row) uint32 {
	i := slices.IndexFunc(b.workloads, func(w *events.Workload) bool {
		return w.Cluster == row.Cluster && w.Namespace == row.Namespace && w.Service == row.Service
	})
	if i < 0 {
		i = len(b.workloads)
		b.workloads = append(b.workloads, &events.Workload{
			Cluster: row.Cluster, Namespace: row.Namespace, Service: row.Service, Version: row.Version, Instance: row.Instance,
		})
	}
	return uint32(i)
}

// order sorts what was kept and drops what came twice: tests by session and
// time, mocks by dependency, route and time.
func (b *Builder) order(moved map[events.ID]uint32) {
	for i := range b.tests {
		t := &b.tests[i]
		if to, ok := moved[t.id]; ok {
			t.session = to
		}
		t.session = b.sessions.root(t.session)
	}
	slices.SortFunc(b.tests, func(x, y testItem) int {
		return cmp.Or(cmp.Compare(x.session, y.session), cmp.Compare(x.time, y.time), slices.Compare(x.id[:], y.id[:]))
	})
	b.tests = slices.CompactFunc(b.tests, func(x, y testItem) bool { return x.id == y.id })
	slices.SortFunc(b.mocks, func(x, y mockItem) int {
		return cmp.Or(cmp.Compare(x.dependency, y.dependency), slices.Compare(x.route[:], y.route[:]), cmp.Compare(x.time, y.time), slices.Compare(x.id[:], y.id[:]))
	})
	b.mocks = slices.CompactFunc(b.mocks, func(x, y mockItem) bool { return x.id == y.id })
}
