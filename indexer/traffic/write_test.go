package traffic

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"tapedeck/events"
	"tapedeck/internal/pgtest"
)

func TestWriteEveryColumn(t *testing.T) {
	s := openStore(t)
	src := newSource("cart")
	src.counters = events.Counters{Begun: 9, Taped: 5, Dropped: map[string]uint64{"pressure": 2, "parse": 1}, Open: 1}
	e := entryAt(noon.Add(123_456_789)) // ns: cut to µs
	e.Status, e.Class = "503", events.StatusClass_SERVER
	e.DurationUs = int64(40 * time.Minute / time.Microsecond) // over int4
	e.ResponseBytes = 10 << 30
	e.Session = []byte("session-16-bytes")
	e.Connection = []byte("connect-16-bytes")
	e.TraceId = []byte("trace---16-bytes")
	e.SpanId, e.ParentSpanId = []byte{0xff, 2, 3, 4, 5, 6, 7, 8}, []byte{0, 0, 0, 0, 0, 0, 0, 9}
	e.CauseId, e.CauseConfidence = []byte("cause---16-bytes"), 0.5
	e.ReplayId, e.Flags = "r1", uint32(events.Flag_REDACTED)
	e.Tags = []*events.Tag{{Key: "tenant", Value: `a"b\`}, {Key: "tenant", Value: "second"}, {Key: "b", Value: ""}}
	tape := src.tape(t, noon.Add(time.Minute), []exchange{{e, getEndpoint("/cart/{id}")}}, exchange{entryAt(noon), getEndpoint("/feed")})
	if got := mustWrite(t, s, tape); len(got) != 1 || !got[0].New || got[0].Tape != tape.TapeID() {
		t.Errorf("Write = %+v", got)
	}

	got := ask[string](t, s, `select concat_ws(' ', extract(epoch from x.time)::text, duration_us, ttfb_us, request_bytes, response_bytes, to_hex(span), parent_span,
		connection, session, trace, cause, block, position, code, flags, cause_confidence, class, status, path, peer, replay_id, tags->>'tenant', tags::text)
		from exchanges x`)
	us := strconv.FormatInt(noon.Unix(), 10) + ".123456"
	want := strings.Join([]string{us, "2400000000 8000 10 10737418240 ff02030405060708 9",
		"636f6e6e-6563-742d-3136-2d6279746573 73657373-696f-6e2d-3136-2d6279746573 74726163-652d-2d2d-3136-2d6279746573 63617573-652d-2d2d-3136-2d6279746573",
		`0 0 503 2 0.5 3 503 /cart 10.1.2.3:4567 r1 a"b\ {"b": "", "tenant": "a\"b\\"}`}, " ")
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("row (-want +got):\n%s", d)
	}
	row := tape.Row(e)
	if !ask[bool](t, s, "select workload_id = $1 and endpoint_id = $2 and id = $3 and tape = $4 from exchanges",
		row.WorkloadID(), row.EndpointID(), [16]byte(row.ID), [16]byte(row.Tape)) {
		t.Error("ids of the row are not those of events.Row")
	}
	if !ask[bool](t, s, `select (cluster, namespace, service, direction, protocol, host, method, template, replay) =
		('c1', 'shop', 'cart', 'inbound', 'http', 'shop.example', 'GET', '/cart/{id}', false) from endpoints where id = $1`, row.EndpointID()) {
		t.Error("endpoint differs")
	}
	if !ask[bool](t, s, "select (cluster, namespace, service, version, instance) = ('c1', 'shop', 'cart', '1.2', 'cart-0') from workloads where id = $1", row.WorkloadID()) {
		t.Error("workload differs")
	}
	if n := ask[int](t, s, "select count(*) from open_exchanges where session is null and trace is null and tags is null and cause is null"); n != 1 {
		t.Errorf("%d open exchanges, want 1 with its absent ids NULL", n)
	}
	ledger := ask[string](t, s, "select concat_ws(' ', number, begun, taped, dropped, open, exchanges, opens, dead, drops::text, last, bytes) from tapes")
	if want := `1 10 6 3 1 1 1 0 {"parse": 1, "pressure": 2} f `; !strings.HasPrefix(ledger, want) {
		t.Errorf("ledger = %q, want %q…", ledger, want)
	}
}

// Two indexers get the same tapes, in any order, again and again.
func TestWriteOnce(t *testing.T) {
	dsn := pgtest.New(t)
	stores := []*Store{openAt(t, dsn), openAt(t, dsn)}
	r := rand.New(rand.NewPCG(1, 2))
	sources := []*source{newSource("cart"), newSource("orders")}
	var tapes []Received
	exchanges := 0
	for i := range 60 {
		n := r.IntN(40) // header-only tapes as well
		tapes = append(tapes, sources[i%2].randomTape(t, r, noon.Add(time.Duration(i)*time.Second), n))
		exchanges += n
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	news := map[events.ID]int{}
	for w := range 6 {
		r := rand.New(rand.NewPCG(uint64(w), 3))
		wg.Go(func() {
			for range 12 {
				share := make([]Received, 1+r.IntN(20))
				for i := range share {
					share[i] = tapes[r.IntN(len(tapes))] // some twice
				}
				stored, err := stores[w%2].Write(t.Context(), share, noBury(t))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				once := map[events.ID]bool{}
				for _, x := range stored {
					if x.New && !once[x.Tape] {
						once[x.Tape] = true
						news[x.Tape]++
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for _, x := range mustWrite(t, stores[0], tapes...) {
		if x.New {
			news[x.Tape]++
		}
	}
	for id, n := range news {
		if n != 1 {
			t.Errorf("tape %s was new %d times", id, n)
		}
	}
	s := stores[0]
	if got := ask[int](t, s, "select count(*) from tapes"); got != len(tapes) || len(news) != len(tapes) {
		t.Errorf("ledger has %d tapes, %d were new, want %d", got, len(news), len(tapes))
	}
	if got := ask[int](t, s, "select count(*) from exchanges"); got != exchanges {
		t.Errorf("%d rows, want %d", got, exchanges)
	}
	if got := ask[int](t, s, "select count(distinct id) from exchanges"); got != exchanges {
		t.Errorf("%d unique rows, want %d", got, exchanges)
	}
	if got := ask[int](t, s, "select coalesce(sum(requests), 0)::int8 from rollup_part"); got != exchanges {
		t.Errorf("parts count %d requests, want %d", got, exchanges)
	}
}

// A row that the server refuses goes apart; all others are stored.
func TestWritePoison(t *testing.T) {
	s := openStore(t)
	// What we send is clean, so the refusal has to be made.
	_, err := s.pool.Exec(t.Context(), `
		create function refuse() returns trigger language plpgsql as $$ begin raise exception 'too good for this world' using errcode = '22003'; end $$;
		create trigger refuse before insert on exchanges for each row when (new.path = '/poison') execute function refuse()`)
	if err != nil {
		t.Fatal(err)
	}
	src := newSource("cart")
	var list []exchange
	for i := range 50 {
		e := entryAt(noon.Add(-time.Duration(i) * time.Second)) // written in another order than taped
		if i == 7 || i == 8 || i == 49 {
			e.Path, e.Class = "/poison", events.StatusClass_SERVER
		}
		list = append(list, exchange{e, getEndpoint("/x")})
	}
	bad := src.tape(t, noon, list)
	good := src.tape(t, noon, []exchange{{entryAt(noon), getEndpoint("/x")}})

	refusal := errors.New("dead letters are full")
	if _, err := s.Write(t.Context(), []Received{bad, good}, func(context.Context, []Dead) error { return refusal }); !errors.Is(err, refusal) {
		t.Fatalf("Write = %v, want %v", err, refusal)
	}
	if n := ask[int](t, s, "select (select count(*) from tapes) + (select count(*) from exchanges) + (select count(*) from rollup_part)"); n != 0 {
		t.Errorf("%d rows were written though the dead could not be buried", n)
	}

	buried := map[int]string{}
	stored, err := s.Write(t.Context(), []Received{bad, good}, func(_ context.Context, dead []Dead) error {
		for _, d := range dead {
			buried[d.Ordinal] = d.Row.Path
			if !strings.Contains(d.Reason.Error(), "too good") || d.Row.Tape != bad.TapeID() {
				t.Errorf("dead %+v", d)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[int]string{7: "/poison", 8: "/poison", 49: "/poison"}, buried); d != "" {
		t.Errorf("buried (-want +got):\n%s", d)
	}
	if stored[0].Dead != 3 || stored[1].Dead != 0 {
		t.Errorf("stored = %+v", stored)
	}
	if got := ask[string](t, s, "select concat_ws(' ', (select count(*) from exchanges), (select sum(requests) from rollup_part), (select sum(server) from rollup_part), (select string_agg(dead::text, ',' order by number) from tapes))"); got != "48 48 0 3,0" {
		t.Errorf("rows, requests, failures, dead = %q, want 48 48 0 3,0", got)
	}
}

func TestWriteNastyTexts(t *testing.T) {
	s := openStore(t)
	src := newSource("a\x00b")
	src.workload.Instance = strings.Repeat("ü", 1000)
	e := entryAt(noon)
	e.Path = "/\x00" + strings.Repeat("é", 2000)
	e.Status, e.Peer, e.ReplayId = "\x00", strings.Repeat("p", 5000), "\x00\x01"
	e.CauseConfidence, e.DurationUs = -1, -5
	for i := range 20 {
		e.Tags = append(e.Tags, &events.Tag{Key: strings.Repeat("k", i*10), Value: "\x00\u2028\u001f\"\\" + strings.Repeat("\U0001F600", 3000)})
	}
	p := getEndpoint(strings.Repeat("/\x00", 3000))
	mustWrite(t, s, src.tape(t, noon, []exchange{{e, p}}))
	got := ask[string](t, s, "select path from exchanges")
	if len(got) > maxPath || !utf8.ValidString(got) || !strings.HasPrefix(got, "/\uFFFDé") {
		t.Errorf("path of %d bytes: %.20q", len(got), got)
	}
	if n := ask[int](t, s, "select count(*) from exchanges, jsonb_object_keys(tags)"); n != maxTags {
		t.Errorf("%d tags, want %d", n, maxTags)
	}
	if !ask[bool](t, s, "select w.id = x.workload_id and p.id = x.endpoint_id from exchanges x, workloads w, endpoints p") {
		t.Error("dictionary rows are not those of the row")
	}
	// An id follows from the fields as they are stored.
	row := events.Row{Direction: events.Direction_INBOUND, Protocol: p.Protocol, Host: p.Host, Method: p.Method}
	err := s.pool.QueryRow(t.Context(), "select cluster, namespace, service, template from endpoints").Scan(&row.Cluster, &row.Namespace, &row.Service, &row.Template)
	if err != nil || row.EndpointID() != ask[int64](t, s, "select id from endpoints") {
		t.Errorf("endpoint id does not follow from its row (%v)", err)
	}
}

func TestWriteClock(t *testing.T) {
	s := openStore(t)
	src := newSource("cart")
	in2031 := noon.AddDate(5, 0, 0)
	list := []exchange{
		{entryAt(noon.Add(4 * time.Minute)), getEndpoint("/near")},
		{entryAt(in2031), getEndpoint("/far")},
		{entryAt(noon.AddDate(-1, 0, 0)), getEndpoint("/imported")},
	}
	mustWrite(t, s, src.tape(t, noon, list, exchange{entryAt(in2031), getEndpoint("/far")}, exchange{entryAt(noon), getEndpoint("/near")}))
	for _, test := range []struct {
		template string
		want     time.Time
		flags    int
	}{
		{"/near", noon.Add(4 * time.Minute), 0},
		{"/far", noon, int(events.Flag_CLOCK)},
		{"/imported", noon.AddDate(-1, 0, 0), 0},
	} {
		const sql = " from exchanges x join endpoints p on p.id = endpoint_id where template = $1"
		at, flags := ask[time.Time](t, s, "select time"+sql, test.template), ask[int](t, s, "select flags"+sql, test.template)
		if !at.Equal(test.want) || flags != test.flags {
			t.Errorf("%s at %s with flags %d, want %s and %d", test.template, at, flags, test.want, test.flags)
		}
	}
	if n := ask[int](t, s, "select count(*) from open_exchanges"); n != 1 {
		t.Errorf("%d open exchanges, want 1: one with a wrong clock would never be closed", n)
	}
}

func TestWriteRefused(t *testing.T) {
	s := openStore(t)
	src := newSource("cart")
	bad := src.tape(t, noon, []exchange{{entryAt(noon), &events.Endpoint{Protocol: "http"}}})
	if _, err := s.Write(t.Context(), []Received{bad}, noBury(t)); !errors.Is(err, ErrRefused) || Unavailable(err) {
		t.Errorf("Write without a direction = %v, want ErrRefused", err)
	}
}

// A database that failed over may have lost dictionary rows that this process
// wrote: after a failure it does not trust its memory.
func TestWriteForgetsAfterFailure(t *testing.T) {
	s := openStore(t)
	src := newSource("cart")
	one := func() Received { return src.tape(t, noon, []exchange{{entryAt(noon), getEndpoint("/x")}}) }
	mustWrite(t, s, one())
	if _, err := s.pool.Exec(t.Context(), "delete from endpoints; delete from workloads"); err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Write(gone, []Received{one()}, noBury(t)); err == nil {
		t.Fatal("Write with a cancelled context succeeded")
	}
	mustWrite(t, s, one())
	if n := ask[int](t, s, "select (select count(*) from endpoints) + (select count(*) from workloads)"); n != 2 {
		t.Errorf("%d dictionary rows, want 2", n)
	}
}

func TestUnavailable(t *testing.T) {
	s := openStore(t)
	_, missing := s.pool.Exec(t.Context(), "select * from no_such_table")
	_, value := s.pool.Exec(t.Context(), "select 'x'::int4")
	_, gone := Open(t.Context(), "postgres://nobody@127.0.0.1:1/none?sslmode=disable&connect_timeout=1")
	for _, test := range []struct {
		err  error
		want bool
	}{{missing, true}, {value, false}, {gone, true}, {nil, false}, {ErrRefused, false}, {context.Canceled, false}} {
		if got := Unavailable(test.err); got != test.want {
			t.Errorf("Unavailable(%v) = %v, want %v", test.err, got, test.want)
		}
	}
	if !spoiled(value) || spoiled(missing) {
		t.Error("a refused value is spoiled, a missing table is not")
	}
}
