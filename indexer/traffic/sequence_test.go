package traffic

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tapedeck/events"
)

func TestSequenceOrdersByCauseFirst(t *testing.T) {
	row := func(path string, direction events.Direction, after time.Duration, span, parent byte) events.Row {
		at := noon.Add(after)
		r := events.Row{ID: events.NewID(at), Time: at, Path: path, Direction: direction, Trace: events.TraceID{1}}
		if span > 0 {
			r.Span = events.SpanID{span}
		}
		if parent > 0 {
			r.ParentSpan = events.SpanID{parent}
		}
		return r
	}
	in, out := events.Direction_INBOUND, events.Direction_OUTBOUND
	gateway := row("gateway", in, 10*time.Millisecond, 1, 0)
	toOrders := row("to orders", out, 20*time.Millisecond, 2, 1)
	orders := row("orders", in, 0, 2, 0) // its clock is late
	toCatalog := row("to catalog", out, 5*time.Millisecond, 0, 0)
	toCatalog.Cause = orders.ID
	other := row("other", in, 30*time.Millisecond, 0, 0)
	rows := []events.Row{other, toCatalog, orders, toOrders, gateway}

	var got []string
	for _, s := range sequence(rows) {
		got = append(got, fmt.Sprintf("%s%s", strings.Repeat("  ", s.Depth), s.Path))
	}
	want := []string{"gateway", "  to orders", "    orders", "      to catalog", "other"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sequence (-want +got):\n%s", diff)
	}
}

func TestSequenceLosesNothingInACircle(t *testing.T) {
	a, b := events.NewID(noon), events.NewID(noon.Add(time.Second))
	steps := sequence([]events.Row{
		{ID: a, Time: noon, Cause: b}, {ID: b, Time: noon.Add(time.Second), Cause: a},
		{ID: events.NewID(noon), Time: noon.Add(2 * time.Second), Span: events.SpanID{1}, ParentSpan: events.SpanID{1}},
	})
	if len(steps) != 3 {
		t.Errorf("%d steps, want 3: %+v", len(steps), steps)
	}
}
