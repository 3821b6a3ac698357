package traffic

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"tapedeck/events"
	"tapedeck/events/selector"
)

// Scan answers every view from the exchanges themselves, for recordings
// without a database. It reads all of them for each answer, some twice, and
// keeps no more in memory than what it answers with.
type Scan struct {
	// Rows are the exchanges, each once, in any order; see RowsOf. It is
	// called anew for every pass.
	Rows func() iter.Seq2[events.Row, error]
}

// RowsOf are the rows of a tape as the index stores them: texts cleaned and
// cut to their bounds, times in microseconds, tags sorted, and never later than
// the tape was closed by more than 5 minutes.
func RowsOf(f *events.Front) ([]events.Row, error) {
	p, err := prepare(Received{Front: f, At: time.Unix(0, f.Header.ClosedAt)}, newDictionary())
	if err != nil {
		return nil, err
	}
	w := cleanWorkload(f.Header.Workload)
	endpoints := make([]*events.Endpoint, len(f.Index.Endpoints))
	for i, e := range f.Index.Endpoints {
		endpoints[i] = cleanEndpoint(e)
	}
	rows := make([]events.Row, 0, len(p.rows)+len(p.opens))
	for _, list := range [][]row{p.rows, p.opens} {
		for i := range list {
			rows = append(rows, list[i].stored(w, endpoints[list[i].entry.Endpoint]))
		}
	}
	return rows, nil
}

// stored is the row as it is read back from the index.
func (r *row) stored(w *events.Workload, e *events.Endpoint) events.Row {
	x := r.tape.Row(r.entry)
	x.Time, x.Flags = time.UnixMicro(r.time).UTC(), r.flags
	x.Cluster, x.Namespace, x.Service, x.Version, x.Instance = w.Cluster, w.Namespace, w.Service, w.Version, w.Instance
	x.Protocol, x.Host, x.Method, x.Template = e.Protocol, e.Host, e.Method, e.Template
	x.Path, x.Status, x.Peer, x.ReplayID = text(x.Path, maxPath), text(x.Status, maxStatus), text(x.Peer, maxName), text(x.ReplayID, maxName)
	x.Duration, x.TTFB = max(x.Duration, 0), max(x.TTFB, 0)
	x.RequestBytes, x.ResponseBytes = max(x.RequestBytes, 0), max(x.ResponseBytes, 0)
	x.CauseConfidence = confidence(x.CauseConfidence)
	x.Class = countedClass(x.Class)
	if x.Open && x.Class == events.StatusClass_FAILED {
		x.Class = events.StatusClass_STATUS_CLASS_UNSPECIFIED // what has not ended has not failed
	}
	x.Tags = cleanTags(x.Tags)
	return x
}

// cleanTags keeps what copyBuffer.tags keeps.
func cleanTags(tags []*events.Tag) []*events.Tag {
	var kept []*events.Tag
	for _, t := range tags {
		key := text(t.Key, maxTagKey)
		if len(kept) < maxTags && !slices.ContainsFunc(kept, func(k *events.Tag) bool { return k.Key == key }) {
			kept = append(kept, &events.Tag{Key: key, Value: text(t.Value, maxTagValue)})
		}
	}
	sortTags(kept)
	return kept
}

// each visits the rows that have ended.
func (s *Scan) each(ctx context.Context, visit func(*events.Row)) error {
	return s.all(ctx, func(r *events.Row) {
		if !r.Open {
			visit(r)
		}
	})
}

func (s *Scan) all(ctx context.Context, visit func(*events.Row)) error {
	n := 0
	var row events.Row // one for all: visit keeps none
	for r, err := range s.Rows() {
		if err != nil {
			return fmt.Errorf("scan tapes: %w", err)
		}
		if n++; n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		row = r
		visit(&row)
	}
	return ctx.Err()
}

// bounds completes a range with the oldest and the newest exchange in it.
func (s *Scan) bounds(ctx context.Context, q *Query) (from, to time.Time, ok bool, err error) {
	if !q.From.IsZero() && !q.To.IsZero() {
		return q.From, q.To, q.From.Before(q.To), nil
	}
	var oldest, newest time.Time
	err = s.each(ctx, func(r *events.Row) {
		if !q.includes(r.Time) {
			return
		}
		if oldest.IsZero() || r.Time.Before(oldest) {
			oldest = r.Time
		}
		if r.Time.After(newest) {
			newest = r.Time
		}
	})
	if err != nil || oldest.IsZero() {
		return from, to, false, err
	}
	from, to = q.From, q.To
	if from.IsZero() {
		from = oldest
	}
	if to.IsZero() {
		to = newest.Add(time.Microsecond)
	}
	return from, to, true, nil
}

// newestIn is the time of the newest exchange of a range.
func (s *Scan) newestIn(ctx context.Context, q *Query) (newest time.Time, err error) {
	err = s.each(ctx, func(r *events.Row) {
		if q.includes(r.Time) && r.Time.After(newest) {
			newest = r.Time
		}
	})
	return newest, err
}

// Throughput counts exchanges over time.
func (s *Scan) Throughput(ctx context.Context, q SeriesQuery) (*Throughput, error) {
	d, err := s.series(ctx, q)
	if err != nil {
		return nil, err
	}
	return d.throughput(q.Limit), nil
}

// Latency says how long exchanges took over time.
func (s *Scan) Latency(ctx context.Context, q SeriesQuery) (*Latency, error) {
	d, err := s.series(ctx, q)
	if err != nil {
		return nil, err
	}
	return d.latency(q.Limit), nil
}

// HeatMap counts exchanges by time and duration.
func (s *Scan) HeatMap(ctx context.Context, q SeriesQuery) (*HeatMap, error) {
	q.By = nil
	d, err := s.series(ctx, q)
	if err != nil {
		return nil, err
	}
	return d.heatMap(), nil
}

// Top ranks groups of exchanges.
func (s *Scan) Top(ctx context.Context, q TopQuery) (*Top, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	d, err := s.cells(ctx, &q.Query, q.By, wholeCut)
	if err != nil {
		return nil, err
	}
	return d.top(&q), nil
}

func (s *Scan) series(ctx context.Context, q SeriesQuery) (*seriesData, error) {
	return s.cells(ctx, &q.Query, q.By, q.window)
}

func (s *Scan) cells(ctx context.Context, q *Query, by []selector.Key, cut func(from, to time.Time) (window, error)) (*seriesData, error) {
	if err := checkSplit(by); err != nil {
		return nil, err
	}
	d := newSeriesData(by)
	from, to, ok, err := s.bounds(ctx, q)
	if err != nil || !ok {
		return d, err
	}
	w, err := cut(from, to)
	if err != nil {
		return nil, err
	}
	d.set(w)
	d.Source = scanSource
	filter := selector.ExcludeReplays(q.Selector)
	err = s.each(ctx, func(r *events.Row) {
		if w.includes(r.Time) && filter.Match(r) {
			e := endpointOf(r)
			d.cells.at(cellKey{floorTime(r.Time, w.step).UnixMicro(), d.groups.of(&e)}).countRow(r)
		}
	})
	return d, err
}

const scanSource = "tapes"

func (w window) includes(t time.Time) bool { return !t.Before(w.from) && t.Before(w.to) }

// countRow counts a row as count does its entry.
func (t *totals) countRow(r *events.Row) {
	t.count(&events.Entry{
		Class: r.Class, RequestBytes: r.RequestBytes, ResponseBytes: r.ResponseBytes, DurationUs: r.Duration.Microseconds(),
	})
}
