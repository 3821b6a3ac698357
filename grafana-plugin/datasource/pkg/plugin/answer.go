package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"
	"github.com/grafana/grafana-plugin-sdk-go/experimental/concurrent"

	"tapedeck/indexer/traffic"
)

// view answers a question from the index.
type view func(context.Context, *traffic.Reader, *question) (data.Frames, error)

// views are the query types, each in a file of its name.
var views = map[string]view{
	"traffic":      lines,
	"exchange":     exchange,
	"throughput":   throughput,
	"errors":       errorSeries,
	"latency":      latency,
	"heatmap":      heatmap,
	"top":          top,
	"service_map":  serviceMap,
	"dependencies": dependencies,
	"sequence":     sequence,
	"values":       values,
	"pipeline":     pipeline,
	"scenarios":    scenarios,
	"replays":      replays,
}

func knownTypes() []string { return slices.Sorted(maps.Keys(views)) }

// answer is a view for Grafana: its frames say which statements they come from.
func (d *DataSource) answer(v view) concurrent.QueryDataFunc {
	return func(ctx context.Context, q concurrent.Query) backend.DataResponse {
		asked, err := readQuery(q.DataQuery)
		if err != nil {
			return failed(err)
		}
		asked.links = d.links
		index, err := d.reader(ctx)
		if err != nil {
			return failed(d.inWords(err))
		}
		ctx, statements := traffic.WithStatements(ctx)
		frames, err := v(ctx, index, asked)
		if err != nil {
			return failed(d.inWords(err))
		}
		for _, frame := range frames {
			if frame.Meta == nil {
				frame.Meta = &data.FrameMeta{}
			}
			frame.Meta.ExecutedQueryString = "-- " + asked.expr.String() + "\n" + statements.String()
		}
		return backend.DataResponse{Frames: frames}
	}
}

// failed answers a query that gave an error. None of them is the plugin's
// fault: the query is wrong, or what the plugin asks does not answer.
func failed(err error) backend.DataResponse {
	return backend.ErrDataResponseWithSource(statusOf(err), backend.ErrorSourceDownstream, err.Error())
}

func statusOf(err error) backend.Status {
	switch {
	case errors.As(err, new(badQuery)), errors.Is(err, traffic.ErrQuery):
		return backend.StatusBadRequest
	case errors.Is(err, traffic.ErrNotFound):
		return backend.StatusNotFound
	case errors.Is(err, context.DeadlineExceeded):
		return backend.StatusTimeout
	}
	return backend.StatusBadGateway
}

func unknownType(_ context.Context, q concurrent.Query) backend.DataResponse {
	return failed(badf("query type %q is none of %s", q.DataQuery.QueryType, strings.Join(knownTypes(), ", ")))
}

// variable finds what Grafana's browser side would have replaced.
var variable = regexp.MustCompile(`\$(\w+|\{[^}]*\})`)

// withoutVariables refuses queries of an alert rule with a template variable
// in them: a rule has no values for it, so it would find nothing for ever and
// be silent.
func withoutVariables(answer concurrent.QueryDataFunc) concurrent.QueryDataFunc {
	return func(ctx context.Context, q concurrent.Query) backend.DataResponse {
		if name := leftOver(q.DataQuery); name != "" {
			return failed(badf("alert rules have no template variables: write a value for %s, or [$] for the character", name))
		}
		return answer(ctx, q)
	}
}

// leftOver is a template variable that nobody has replaced, empty for none.
func leftOver(q backend.DataQuery) string {
	var asked query
	if json.Unmarshal(q.JSON, &asked) != nil {
		return "" // said where it is read
	}
	for _, text := range asked.texts() {
		if found := variable.FindString(text); found != "" {
			return found
		}
	}
	return ""
}
