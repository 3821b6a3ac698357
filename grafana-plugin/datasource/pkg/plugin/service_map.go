package plugin

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"tapedeck/indexer/traffic"
)

// maxNodes is how many the Node graph panel draws; it hides the others.
const maxNodes = 1500

// serviceMap answers with who calls whom, as the Node graph panel reads it.
func serviceMap(ctx context.Context, index *traffic.Reader, q *question) (data.Frames, error) {
	graph, err := index.Map(ctx, q.chosen())
	if err != nil {
		return nil, err
	}
	notice := cut(graph, maxNodes)
	seconds := graph.To.Sub(graph.From).Seconds()
	nodes, edges := nodesFrame(graph.Nodes, seconds), edgesFrame(graph.Edges, seconds)
	warn(nodes, graph.Notice)
	warn(nodes, notice)
	return data.Frames{nodes, edges}, nil
}

// cut keeps the edges with the most requests, and their ends: the panel fails
// on an edge without one.
func cut(graph *traffic.Graph, most int) (notice string) {
	shown, edges := map[string]bool{}, graph.Edges[:0]
	for _, e := range graph.Edges {
		more := 0
		for _, end := range []string{e.From, e.To} {
			if !shown[end] {
				more++
			}
		}
		if len(shown)+more > most {
			continue
		}
		shown[e.From], shown[e.To] = true, true
		edges = append(edges, e)
	}
	if left := len(graph.Edges) - len(edges); left > 0 {
		notice = fmt.Sprintf("%d more edges are not shown", left)
	}
	nodes := graph.Nodes[:0]
	for _, n := range graph.Nodes {
		if shown[n.ID] {
			nodes = append(nodes, n)
		}
	}
	graph.Nodes, graph.Edges = nodes, edges
	return notice
}

func nodesFrame(nodes []traffic.Node, seconds float64) *data.Frame {
	text := func(name string, of func(*traffic.Node) string) *data.Field { return column(name, "", nodes, of) }
	fields := []*data.Field{
		text("id", func(n *traffic.Node) string { return n.ID }),
		text("title", func(n *traffic.Node) string { return n.Name }),
		text("subtitle", subtitle),
		// Calls into it; nobody is known to call a client.
		column("mainstat", "reqps", nodes, func(n *traffic.Node) *float64 { return whenCalled(n.Requests, float64(n.Requests)/seconds) }),
		column("secondarystat", "ms", nodes, func(n *traffic.Node) *float64 { return whenCalled(n.Requests, millis(n.P95)) }),
	}
	fields = append(fields, arcs(nodes)...)
	fields = append(fields,
		text("detail__kind", func(n *traffic.Node) string { return string(n.Kind) }),
		linked(text("detail__service", func(n *traffic.Node) string { return serviceOf(n) }), dashboardLink("Service", "tapedeck-service", "service")))
	fields = append(fields, details(nodes,
		func(n *traffic.Node) *traffic.Totals { return &n.Totals }, func(n *traffic.Node) *traffic.Quantiles { return &n.Quantiles })...)
	return graphFrame("nodes", fields)
}

func serviceOf(n *traffic.Node) string {
	if n.Service == nil {
		return ""
	}
	return n.Service.Service
}

func subtitle(n *traffic.Node) string {
	if n.Service == nil {
		return string(n.Kind)
	}
	return strings.Trim(n.Service.Cluster+" "+n.Service.Namespace, " ")
}

func whenCalled(requests int64, v float64) *float64 {
	if requests == 0 {
		return nil
	}
	return &v
}

// arcs are the ring around a node; they add up to 1.
func arcs(nodes []traffic.Node) []*data.Field {
	arc := func(name, legend, color string, of func(traffic.Totals) int64) *data.Field {
		field := column(name, "percentunit", nodes, func(n *traffic.Node) float64 {
			if n.Requests == 0 {
				return 0
			}
			return float64(of(n.Totals)) / float64(n.Requests)
		})
		field.Config.DisplayNameFromDS = legend
		field.Config.Color = map[string]any{"mode": "fixed", "fixedColor": color}
		return field
	}
	quiet := arc("arc__quiet", "not called", "gray", func(traffic.Totals) int64 { return 0 })
	for i := range nodes {
		if nodes[i].Requests == 0 {
			quiet.Set(i, 1.0)
		}
	}
	return []*data.Field{
		arc("arc__ok", "ok", "green", func(t traffic.Totals) int64 { return t.OK }),
		arc("arc__client", "client errors", "orange", func(t traffic.Totals) int64 { return t.Client }),
		arc("arc__errors", "errors", "red", func(t traffic.Totals) int64 { return t.Errors() }),
		quiet,
	}
}

func edgesFrame(edges []traffic.Edge, seconds float64) *data.Frame {
	text := func(name string, of func(*traffic.Edge) string) *data.Field { return column(name, "", edges, of) }
	fields := []*data.Field{
		text("id", func(e *traffic.Edge) string { return e.From + " → " + e.To }),
		text("source", func(e *traffic.Edge) string { return e.From }),
		text("target", func(e *traffic.Edge) string { return e.To }),
		column("mainstat", "reqps", edges, func(e *traffic.Edge) float64 { return float64(e.Requests) / seconds }),
		column("secondarystat", "ms", edges, func(e *traffic.Edge) float64 { return millis(e.P95) }),
		column("thickness", "", edges, func(e *traffic.Edge) float64 { return thickness(e.Requests) }),
		text("color", edgeColor),
		text("detail__protocols", func(e *traffic.Edge) string { return strings.Join(e.Protocols, ", ") }),
		text("detail__seen", func(e *traffic.Edge) string { return "at the " + string(e.Seen) }),
		column("detail__network", "ms", edges, func(e *traffic.Edge) *float64 {
			if e.Network == nil {
				return nil
			}
			return new(float64(*e.Network) / 1000)
		}),
	}
	fields = append(fields, details(edges,
		func(e *traffic.Edge) *traffic.Totals { return &e.Totals }, func(e *traffic.Edge) *traffic.Quantiles { return &e.Quantiles })...)
	return graphFrame("edges", fields)
}

// details are the numbers that the menu of a node or an edge shows.
func details[Row any](rows []Row, totals func(*Row) *traffic.Totals, took func(*Row) *traffic.Quantiles) []*data.Field {
	return []*data.Field{
		column("detail__requests", "short", rows, func(r *Row) float64 { return float64(totals(r).Requests) }),
		column("detail__errors", "short", rows, func(r *Row) float64 { return float64(totals(r).Errors()) }),
		column("detail__error_rate", "percentunit", rows, func(r *Row) *float64 { return share(totals(r).Errors(), totals(r).Requests) }),
		column("detail__p50", "ms", rows, func(r *Row) float64 { return millis(took(r).P50) }),
		column("detail__p95", "ms", rows, func(r *Row) float64 { return millis(took(r).P95) }),
		column("detail__p99", "ms", rows, func(r *Row) float64 { return millis(took(r).P99) }),
	}
}

// thickness grows by one with ten times the requests.
func thickness(requests int64) float64 {
	return 1 + math.Round(10*math.Log10(float64(max(requests, 1))))/10
}

// noticeable is the share of errors from which an edge is red.
const noticeable = 0.05

func edgeColor(e *traffic.Edge) string {
	if rate := share(e.Errors(), e.Requests); rate != nil && *rate >= noticeable {
		return "#e02f44"
	}
	return "#8e8e8e"
}

func graphFrame(name string, fields []*data.Field) *data.Frame {
	frame := data.NewFrame(name, fields...)
	frame.Meta = &data.FrameMeta{PreferredVisualization: data.VisTypeNodeGraph}
	return frame
}
