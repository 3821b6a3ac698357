package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"tapedeck/events/selector"
	"tapedeck/indexer/traffic"
)

type trafficDeps struct{ trafficFlags }

// Run lists what services call.
func (c *trafficDeps) Run(ctx context.Context, env *Env) error {
	return c.view(ctx, func(views traffic.Views, q traffic.Query) error {
		list, err := views.Dependencies(ctx, q)
		if err != nil {
			return err
		}
		if c.Output == "json" {
			return printJSON(env.Stdout, list)
		}
		if len(list.Dependencies) == 0 {
			fmt.Fprintln(env.Stderr, "no outbound exchanges found")
			return nil
		}
		t := &table{head: []string{"REQUESTS", "ERRORS", "P50", "P99", "SERVICE", "CALLS", "ENDPOINTS", "WHICH IS"}}
		for _, d := range list.Dependencies {
			target := ""
			if d.Target != nil {
				target = d.Target.Service
			}
			t.add(count(d.Requests), failures(d.Errors()), duration(d.P50), duration(d.P99),
				cell{text: d.Service.Service}, cell{text: printable([]byte(d.Host))}, number(d.Endpoints), cell{text: target, color: faint})
		}
		t.print(env)
		return nil
	})
}

type trafficMap struct{ trafficFlags }

// Run draws who calls whom.
func (c *trafficMap) Run(ctx context.Context, env *Env) error {
	return c.view(ctx, func(views traffic.Views, q traffic.Query) error {
		graph, err := views.Map(ctx, q)
		if err != nil {
			return err
		}
		if c.Output == "json" {
			return printJSON(env.Stdout, graph)
		}
		if len(graph.Edges) == 0 {
			fmt.Fprintln(env.Stderr, "no exchanges found")
			return nil
		}
		printGraph(env, graph)
		return nil
	})
}

// printGraph draws each edge with a bar of its share.
func printGraph(env *Env, g *traffic.Graph) {
	names := map[string]string{}
	for _, n := range g.Nodes {
		names[n.ID] = printable([]byte(n.Name))
	}
	most := g.Edges[0].Requests
	t := &table{head: []string{"FROM", "", "TO", "REQUESTS", "ERRORS", "P50", "P99", ""}}
	for _, e := range g.Edges {
		t.add(cell{text: names[e.From]}, cell{text: "──▶", color: faint}, cell{text: names[e.To], color: bold},
			count(e.Requests), failures(e.Errors()), duration(e.P50), duration(e.P99),
			cell{text: bar(float64(e.Requests)/float64(most), 20), color: cyan})
	}
	t.print(env)
}

type trafficThroughput struct {
	trafficFlags
	By    []string      `placeholder:"KEY" help:"Split by these keys: service, direction, endpoint, method, host, … Default: service, direction."`
	Step  time.Duration `help:"Length of a bucket. Default: fitting the terminal."`
	Limit int           `default:"20" help:"At most so many rows."`
}

// Run draws exchanges over time, with latency.
func (c *trafficThroughput) Run(ctx context.Context, env *Env) error {
	return c.view(ctx, func(views traffic.Views, q traffic.Query) error {
		series := traffic.SeriesQuery{Query: q, Step: c.Step, Limit: c.Limit, By: []selector.Key{selector.Service, selector.Direction}}
		if len(c.By) > 0 {
			series.By = nil
			for _, key := range c.By {
				series.By = append(series.By, selector.Key(key))
			}
		}
		throughput, err := views.Throughput(ctx, series)
		if err != nil {
			return err
		}
		latency, err := views.Latency(ctx, series)
		if err != nil {
			return err
		}
		if c.Output == "json" {
			return printJSON(env.Stdout, map[string]any{"throughput": throughput, "latency": latency})
		}
		if len(throughput.Series) == 0 {
			fmt.Fprintln(env.Stderr, "no exchanges found")
			return nil
		}
		printThroughput(env, series.By, throughput, latency)
		return nil
	})
}

// lineWidth is how many columns a sparkline may have.
const lineWidth = 40

func printThroughput(env *Env, by []selector.Key, throughput *traffic.Throughput, latency *traffic.Latency) {
	head := make([]string, 0, len(by)+6)
	for _, k := range by {
		head = append(head, strings.ToUpper(string(k)))
	}
	t := &table{head: append(head, "REQUESTS", "ERRORS", "MEAN", "PEAK", "P50", "P99", "")}
	seconds := throughput.To.Sub(throughput.From).Seconds()
	for _, s := range throughput.Series {
		var row []cell
		for _, k := range by {
			row = append(row, cell{text: printable([]byte(s.Labels[k]))})
		}
		values, peak := merged(s.Points, lineWidth), 0.0
		for _, p := range s.Points {
			peak = max(peak, float64(p.Requests)/throughput.Step.Seconds())
		}
		q := latencyOf(latency, s.Labels, by)
		t.add(append(row, count(s.Total.Requests), failures(s.Total.Errors()),
			cell{text: shortRate(float64(s.Total.Requests) / seconds), right: true}, cell{text: shortRate(peak), right: true},
			duration(q.P50), duration(q.P99), cell{text: sparkline(values), color: cyan})...)
	}
	t.print(env)
	fmt.Fprintf(env.Stdout, "%s\n", env.paint(faint, fmt.Sprintf("%s to %s, buckets of %s",
		throughput.From.Local().Format("2006-01-02 15:04:05"), throughput.To.Local().Format("15:04:05"), throughput.Step)))
	if throughput.Notice != "" {
		fmt.Fprintln(env.Stdout, throughput.Notice)
	}
}

// merged adds neighbours up until the points fit into width columns.
func merged(points []traffic.ThroughputPoint, width int) []float64 {
	each := (len(points) + width - 1) / width
	values := make([]float64, 0, width)
	for i, p := range points {
		if i%each == 0 {
			values = append(values, 0)
		}
		values[len(values)-1] += float64(p.Requests)
	}
	return values
}

// latencyOf is the latency of the series with the same labels.
func latencyOf(l *traffic.Latency, labels traffic.Labels, by []selector.Key) traffic.Quantiles {
	for _, s := range l.Series {
		same := true
		for _, k := range by {
			same = same && s.Labels[k] == labels[k]
		}
		if same {
			return s.Total.Quantiles
		}
	}
	return traffic.Quantiles{}
}

func count(n int64) cell { return cell{text: fmt.Sprint(n), right: true} }

func duration(d time.Duration) cell { return cell{text: shortDuration(d), right: true} }

func failures(n int64) cell {
	c := count(n)
	if n > 0 {
		c.color = red
	}
	return c
}
