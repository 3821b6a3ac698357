package plugin

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"tapedeck/events/selector"
	"tapedeck/indexer/traffic"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// counted has two buckets of 10 s.
func counted(series ...traffic.ThroughputSeries) *traffic.Throughput {
	c := &traffic.Throughput{Series: series}
	c.From, c.To, c.Step = noon, noon.Add(20*time.Second), 10*time.Second
	return c
}

func seriesOf(host string, totals ...traffic.Totals) traffic.ThroughputSeries {
	s := traffic.ThroughputSeries{Labels: traffic.Labels{selector.Host: host}}
	for i, t := range totals {
		s.Points = append(s.Points, traffic.ThroughputPoint{Time: noon.Add(time.Duration(i) * 10 * time.Second), Totals: t})
	}
	return s
}

func valuesOf(f *data.Field) (list []any) {
	for i := range f.Len() {
		v, ok := f.ConcreteAt(i)
		if !ok {
			v = nil
		}
		list = append(list, v)
	}
	return list
}

func TestThroughputFrame(t *testing.T) {
	c := counted(
		seriesOf("a", traffic.Totals{Requests: 20, Server: 4, Failed: 1, RequestBytes: 100, ResponseBytes: 50}, traffic.Totals{}),
		seriesOf("b", traffic.Totals{}, traffic.Totals{Requests: 5}),
	)
	by := []selector.Key{selector.Host}
	for name, want := range map[string][2][]any{
		"requests":       {{2.0, 0.0}, {0.0, 0.5}},
		"errors":         {{0.5, 0.0}, {0.0, 0.0}},
		"error_rate":     {{0.25, nil}, {nil, 0.0}},
		"request_bytes":  {{10.0, 0.0}, {0.0, 0.0}},
		"response_bytes": {{5.0, 0.0}, {0.0, 0.0}},
	} {
		f := throughputFrame(c, by, measures[name], noon.Add(time.Hour))
		if len(f.Fields) != 3 || f.Meta.Type != data.FrameTypeTimeSeriesWide || f.Meta.TypeVersion != (data.FrameTypeVersion{0, 1}) {
			t.Fatalf("%s: got %d fields, meta %+v", name, len(f.Fields), f.Meta)
		}
		if diff := cmp.Diff(want, [2][]any{valuesOf(f.Fields[1]), valuesOf(f.Fields[2])}); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if got := f.Fields[1].Labels["host"] + " " + f.Fields[2].Config.DisplayNameFromDS; got != "a b" {
			t.Errorf("%s: got series %s", name, got)
		}
	}
}

func TestThroughputLeavesOutWhatHasNotEnded(t *testing.T) {
	c := counted(seriesOf("", traffic.Totals{Requests: 10}, traffic.Totals{Requests: 1}))
	f := throughputFrame(c, nil, measures["requests"], noon.Add(19*time.Second))
	if diff := cmp.Diff([]any{1.0}, valuesOf(f.Fields[1])); diff != "" {
		t.Error(diff)
	}
}

func TestThroughputOfNothing(t *testing.T) {
	f := throughputFrame(counted(), nil, measures["requests"], noon.Add(time.Hour))
	if diff := cmp.Diff([]any{0.0, 0.0}, valuesOf(f.Fields[1])); diff != "" {
		t.Errorf("without groups: %s", diff)
	}
	f = throughputFrame(counted(), []selector.Key{selector.Host}, measures["requests"], noon.Add(time.Hour))
	if len(f.Fields) != 0 || f.Meta.Type != data.FrameTypeTimeSeriesWide {
		t.Errorf("with groups: got %d fields, meta %+v", len(f.Fields), f.Meta)
	}
}

func TestThroughputSaysWhatIsMissing(t *testing.T) {
	c := counted()
	c.Notice = "7 more series are not shown"
	f := throughputFrame(c, nil, measures["requests"], noon.Add(time.Hour))
	if len(f.Meta.Notices) != 1 || f.Meta.Notices[0].Text != c.Notice {
		t.Errorf("got notices %+v", f.Meta.Notices)
	}
}
