package traffic

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"tapedeck/events"
	"tapedeck/internal/pgtest"
)

// noon is when most tests take place: not far from now, for the clock rule,
// and at the start of a bucket of every level but the day's.
var noon = time.Now().UTC().Truncate(24 * time.Hour).Add(-36 * time.Hour)

func openStore(t testing.TB) *Store {
	t.Helper()
	return openAt(t, pgtest.New(t))
}

func openAt(t testing.TB, dsn string) *Store {
	t.Helper()
	s, err := Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func openReader(t testing.TB, s *Store) *Reader {
	t.Helper()
	r, err := OpenReader(t.Context(), s.pool.Config().ConnString())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// source makes tapes as one capture does.
type source struct {
	id       events.ID
	workload *events.Workload
	number   uint64
	counters events.Counters
}

func newSource(service string) *source {
	return &source{
		id:       events.NewID(noon),
		workload: &events.Workload{Cluster: "c1", Namespace: "shop", Service: service, Version: "1.2", Instance: service + "-0"},
	}
}

func getEndpoint(template string) *events.Endpoint {
	return &events.Endpoint{Direction: events.Direction_INBOUND, Protocol: "http", Host: "shop.example", Method: "GET", Template: template}
}

// entry is an exchange of 10 ms that ended well.
func entryAt(at time.Time) *events.Entry {
	id := events.NewID(at)
	return &events.Entry{
		Id: id[:], Time: uint64(at.UnixNano()), DurationUs: 10_000, TtfbUs: 8_000,
		Peer: "10.1.2.3:4567", Path: "/cart", Status: "200", Class: events.StatusClass_OK, RequestBytes: 10, ResponseBytes: 2000,
	}
}

// exchange is one entry of a tape to be made.
type exchange struct {
	*events.Entry
	*events.Endpoint
}

// tape makes a tape of exchanges, and open ones, as it is received at.
func (s *source) tape(t testing.TB, at time.Time, exchanges []exchange, open ...exchange) Received {
	t.Helper()
	return Received{received(t, s.raw(t, at, exchanges, open...)).Front, at}
}

// received is a tape that arrived when it was closed.
func received(t testing.TB, raw []byte) Received {
	t.Helper()
	front, err := events.ParseFront(raw)
	if err != nil {
		t.Fatal(err)
	}
	return Received{front, time.Unix(0, front.Header.ClosedAt)}
}

func (s *source) raw(t testing.TB, at time.Time, exchanges []exchange, open ...exchange) []byte {
	t.Helper()
	b := events.NewBuilder(at)
	for _, x := range exchanges {
		if err := b.AddExchange(x.Entry, x.Endpoint, &events.Exchange{Id: x.Entry.Id}); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range open {
		b.AddOpen(x.Entry, x.Endpoint, nil)
	}
	s.number++
	s.counters.Begun += uint64(len(exchanges))
	s.counters.Taped += uint64(len(exchanges))
	raw, err := b.Close(&events.Header{
		SourceId: s.id[:], Number: s.number, Workload: s.workload, ClosedAt: at.UnixNano(),
		Counters: &events.Counters{Begun: s.counters.Begun, Taped: s.counters.Taped, Dropped: s.counters.Dropped, Open: s.counters.Open},
	})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// randomTape has n exchanges of a few endpoints in the hour before at.
func (s *source) randomTape(t testing.TB, r *rand.Rand, at time.Time, n int) Received {
	t.Helper()
	var list []exchange
	for range n {
		e := entryAt(at.Add(-time.Duration(r.Int64N(int64(time.Hour)))))
		e.DurationUs = int64(r.ExpFloat64() * 20_000)
		e.Class = events.StatusClass(1 + r.IntN(4))
		e.Status = []string{"200", "404", "503", ""}[e.Class-1]
		e.RequestBytes, e.ResponseBytes = r.Int64N(1000), r.Int64N(100_000)
		list = append(list, exchange{e, getEndpoint(fmt.Sprintf("/e/%d", r.IntN(5)))})
	}
	return s.tape(t, at, list)
}

func noBury(t testing.TB) Bury {
	return func(_ context.Context, dead []Dead) error {
		t.Errorf("%d exchanges were refused: %v", len(dead), dead[0].Reason)
		return nil
	}
}

func mustWrite(t testing.TB, s *Store, tapes ...Received) []Stored {
	t.Helper()
	stored, err := s.Write(t.Context(), tapes, noBury(t))
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

// ask returns the one value of a query.
func ask[T any](t testing.TB, s *Store, sql string, args ...any) T {
	t.Helper()
	rows, err := s.pool.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}
