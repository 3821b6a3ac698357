package plugin

import (
	"context"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"tapedeck/events/selector"
	"tapedeck/indexer/traffic"
)

// dependencies answers with the backends that services call.
func dependencies(ctx context.Context, index *traffic.Reader, q *question) (data.Frames, error) {
	found, err := index.Dependencies(ctx, q.chosen())
	if err != nil {
		return nil, err
	}
	if q.Limit > 0 {
		found.Dependencies = found.Dependencies[:min(q.Limit, len(found.Dependencies))]
	}
	return data.Frames{dependenciesFrame(found, q)}, nil
}

func dependenciesFrame(found *traffic.DependencyList, q *question) *data.Frame {
	list := found.Dependencies
	calls := q.list(map[selector.Key]string{selector.Service: "service", selector.Host: "dependency", selector.Protocol: "technology"})
	text := func(name string, of func(*traffic.Dependency) string) *data.Field { return column(name, "", list, of) }
	fields := []*data.Field{
		linked(text("service", func(d *traffic.Dependency) string { return d.Service.Service }), dashboardLink("Service", "tapedeck-service", "service")),
		linked(text("dependency", func(d *traffic.Dependency) string { return d.Host }), calls),
		text("technology", func(d *traffic.Dependency) string { return d.Protocol }),
		text("target", func(d *traffic.Dependency) string { // the service that answers there
			if d.Target == nil {
				return ""
			}
			return d.Target.Service
		}),
		text("namespace", func(d *traffic.Dependency) string { return d.Namespace }),
		text("cluster", func(d *traffic.Dependency) string { return d.Cluster }),
		column("endpoints", "short", list, func(d *traffic.Dependency) float64 { return float64(d.Endpoints) }),
	}
	fields = append(fields, numbers(list, found.To.Sub(found.From).Seconds(),
		func(d *traffic.Dependency) *traffic.Totals { return &d.Totals },
		func(d *traffic.Dependency) *traffic.Quantiles { return &d.Quantiles })...)
	return table(found.Notice, fields...)
}
