package harness

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"tapedeck/events"
	"tapedeck/events/selector"
)

type panel struct {
	Title, Type string
	Targets     []model
}

type board struct {
	Title      string
	Panels     []panel
	Templating struct {
		List []struct {
			Name, Type, AllValue string
			IncludeAll           bool
			Query                model
		}
	}
	Annotations struct{ List []struct{ Target model } }
}

// Every panel of every dashboard gets an answer with something in it, in the
// frame that its kind of panel needs, and what it counts is what was written.
func TestDashboardsAnswer(t *testing.T) {
	x, h, samples, ids := shop(t)
	v := views{h: h, who: x.source(), samples: samples, ids: ids}
	names, err := filepath.Glob("../../deploy/dashboards/*.json")
	if err != nil || len(names) < 6 {
		t.Fatalf("%d dashboards: %v", len(names), err)
	}
	counted := map[string]int{}
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var b board
		if err := json.Unmarshal(raw, &b); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Run(b.Title, func(t *testing.T) { v.board(t, &b, counted) })
	}
	for _, kind := range []string{"throughput", "errors", "heatmap", "top", "dependencies"} {
		if counted[kind] == 0 {
			t.Errorf("of %s no panel's total was counted again", kind)
		}
	}
}

func (v views) board(t *testing.T, b *board, counted map[string]int) {
	variables := v.variables(t, b)
	for _, p := range b.Panels {
		for _, target := range p.Targets {
			m := filled(target, variables)
			frames := v.ask(t, m["queryType"].(string), m)
			if complaint := fits(p.Type, frames); complaint != "" {
				t.Errorf("panel %q of type %s: %s", p.Title, p.Type, complaint)
				continue
			}
			if got, known := total(frames[0], m); known {
				counted[m["queryType"].(string)]++
				if want := v.total(t, m); math.Abs(got-want) > 1e-6 || want == 0 {
					t.Errorf("panel %q counts %v, want %v", p.Title, got, want)
				}
			}
		}
	}
	for _, a := range b.Annotations.List {
		if v.one(t, a.Target["queryType"].(string), a.Target).Rows() == 0 {
			t.Error("no annotations")
		}
	}
}

// variables are what the browser's side would fill in: all, or the first value.
func (v views) variables(t *testing.T, b *board) map[string]string {
	t.Helper()
	variables := map[string]string{}
	for _, variable := range b.Templating.List {
		if variable.Type != "query" {
			continue
		}
		f := v.one(t, variable.Query["queryType"].(string), filled(variable.Query, variables))
		values := column[string](t, f, "value")
		if len(values) == 0 {
			t.Fatalf("the variable %s has no values", variable.Name)
		}
		variables[variable.Name] = values[0]
		if variable.IncludeAll {
			variables[variable.Name] = variable.AllValue
		}
	}
	return variables
}

var reference = regexp.MustCompile(`\$(\w+)`)

func filled(target model, variables map[string]string) model {
	m := model{}
	for name, value := range target {
		if text, ok := value.(string); ok {
			value = reference.ReplaceAllStringFunc(text, func(name string) string { return variables[name[1:]] })
		}
		m[name] = value
	}
	return m
}

// fits says what a kind of panel misses in its frames, empty for nothing.
func fits(kind string, frames data.Frames) string {
	if len(frames) == 0 || frames[0].Rows() == 0 {
		return "shows nothing"
	}
	first := frames[0].Meta
	switch kind {
	case "nodeGraph":
		if len(frames) != 2 || frames[1].Rows() == 0 || first.PreferredVisualization != data.VisTypeNodeGraph {
			return "has no nodes and edges"
		}
		return ""
	case "timeseries", "stat":
		if first.Type != data.FrameTypeTimeSeriesWide {
			return "has no series"
		}
		if !slices.ContainsFunc(frames[0].Fields[1:], hasValue) {
			return "has no value"
		}
	case "logs":
		if first.Type != data.FrameTypeLogLines {
			return "has no lines"
		}
	case "heatmap":
		if first.Type != "heatmap-rows" {
			return "has no rows of counts"
		}
	case "table":
		if first.PreferredVisualization != data.VisTypeTable {
			return "has no table"
		}
	default:
		return "is of a type that this test does not know"
	}
	if len(frames) != 1 {
		return "has more than one frame"
	}
	return ""
}

func hasValue(f *data.Field) bool {
	for i := range f.Len() {
		if _, there := f.ConcreteAt(i); there {
			return true
		}
	}
	return false
}

// total is how many exchanges a frame counts, where it counts them.
func total(f *data.Frame, m model) (n float64, known bool) {
	perSecond := m["measure"] == "requests" || m["measure"] == nil
	switch kind := m["queryType"]; {
	case kind == "throughput" && perSecond, kind == "errors" && m["measure"] == "error_count", kind == "heatmap":
		for _, field := range f.Fields[1:] {
			n += sum(field)
		}
		if kind == "throughput" {
			n *= 10 // seconds of a bucket
		}
		return n, true
	case kind == "top", kind == "dependencies":
		requests, _ := f.FieldByName("requests")
		return sum(requests), true
	}
	return 0, false
}

// total counts the samples that a query is about.
func (v views) total(t *testing.T, m model) float64 {
	t.Helper()
	text, _ := m["selector"].(string)
	expr, err := selector.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	expr = selector.ExcludeReplays(expr)
	direction, _ := m["direction"].(string)
	if m["queryType"] == "dependencies" {
		direction = "outbound"
	}
	return count(v.samples, func(s sample) bool {
		if m["queryType"] == "errors" && !strings.Contains("client server failed", s.class.Name()) {
			return false
		}
		return (direction == "" || s.direction.Name() == direction) && expr.Match(s.row())
	})
}

func (s sample) row() *events.Row {
	e := s.endpoint()
	return &events.Row{Cluster: "local", Namespace: "demo", Service: s.service, Direction: s.direction, Protocol: e.Protocol, Host: e.Host,
		Method: e.Method, Template: e.Template, Status: s.status, Class: s.class, Replay: e.Replay, ReplayID: s.replay}
}
