package scenariogen

import (
	"context"
	"testing"
	"time"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/indexer/traffic"
	"tapedeck/internal/pgtest"
)

// indexed writes the tapes of the archive into a new index.
func indexed(t *testing.T, archive *tapes.Archive, skip func(*events.Front) bool) *traffic.Reader {
	t.Helper()
	dsn := pgtest.New(t)
	store, err := traffic.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	if _, err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for located, err := range archive.Scan(t.Context(), tapes.ScanOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if skip != nil && skip(located.Front) {
			continue
		}
		received := traffic.Received{Front: located.Front, At: time.Now()}
		if _, err := store.Write(t.Context(), []traffic.Received{received}, nil); err != nil {
			t.Fatal(err)
		}
	}
	reader, err := traffic.OpenReader(context.WithoutCancel(t.Context()), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reader.Close)
	return reader
}

func TestCreateReadsTheIndexWhereItCovers(t *testing.T) {
	archive := openArchive(t)
	recordShop(t, archive)
	// The catalog's tape is left out of the index, which tells the ways apart.
	index := indexed(t, archive, func(f *events.Front) bool { return f.Header.Workload.Service == "catalog" })
	deps := depsOf(archive, nil)
	deps.Index = index
	tests := map[string]struct {
		req          events.ScenarioRequest
		tests, mocks int
	}{
		"index":           {events.ScenarioRequest{Selector: `{service="shop"}`, From: began.Add(2 * time.Second)}, 2, 2},
		"index, an end":   {events.ScenarioRequest{Selector: `{service="shop"}`, From: began.Add(2 * time.Second), To: began.Add(20 * time.Second)}, 1, 1},
		"tapes, all time": {events.ScenarioRequest{Selector: `{service="catalog"}`}, 1, 0},
		"tapes, too old":  {events.ScenarioRequest{Selector: `{service="catalog"}`, From: began.Add(-time.Hour)}, 1, 0},
	}
	for name, tt := range tests {
		tt.req.Name, tt.req.ID = "checkout", name
		ready, err := Create(t.Context(), Config{}, deps, tt.req)
		if err != nil || ready.Tests != tt.tests || ready.Mocks != tt.mocks {
			t.Errorf("%s: %d tests, %d mocks, %v, want %d, %d", name, ready.Tests, ready.Mocks, err, tt.tests, tt.mocks)
		}
	}
	if _, err := Create(t.Context(), Config{}, deps, events.ScenarioRequest{Name: "a", Selector: `{service="catalog"}`, From: began.Add(time.Second)}); err == nil {
		t.Error("the tapes were read although the index covers the time")
	}
}
