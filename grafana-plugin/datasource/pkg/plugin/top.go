package plugin

import (
	"context"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"tapedeck/events/selector"
	"tapedeck/indexer/traffic"
)

// top answers with the groups that have the most of something.
func top(ctx context.Context, index *traffic.Reader, q *question) (data.Frames, error) {
	by := q.by(selector.Service, selector.Method, selector.Endpoint)
	found, err := index.Top(ctx, traffic.TopQuery{Query: q.chosen(), By: by, Order: traffic.Order(q.OrderBy), Limit: q.Limit})
	if err != nil {
		return nil, err
	}
	return data.Frames{topFrame(found, by, q)}, nil
}

func topFrame(found *traffic.Top, by []selector.Key, q *question) *data.Frame {
	groups := found.Groups
	var fields []*data.Field
	for _, key := range by {
		field := column(string(key), "", groups, func(g *traffic.TopGroup) string { return g.Labels[key] })
		fields = append(fields, linked(field, keyLinks(key, q.rows(by))...))
	}
	fields = append(fields, numbers(groups, found.To.Sub(found.From).Seconds(),
		func(g *traffic.TopGroup) *traffic.Totals { return &g.Totals },
		func(g *traffic.TopGroup) *traffic.Quantiles { return &g.Quantiles })...)
	return table(found.Notice, fields...)
}

// keyLinks lead to the exchanges of a row and to the dashboard about its key.
func keyLinks(key selector.Key, exchanges data.DataLink) []data.DataLink {
	list := []data.DataLink{exchanges}
	switch key {
	case selector.Service:
		list = append(list, dashboardLink("Service", "tapedeck-service", "service"))
	case selector.Endpoint:
		list = append(list, dashboardLink("Endpoint", "tapedeck-endpoint", "endpoint"))
	}
	return list
}
