package plugin

import (
	"maps"
	"slices"
	"strings"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"tapedeck/events/selector"
)

// links lead from a number to what it is made of, within this data source, and
// to the traces that applications sent to another one.
type links struct {
	uid, name             string
	tracesUID, tracesType string
}

// to asks a query in Explore; ${__data.fields.x} in it is the row's field x.
func (l links) to(title string, query map[string]any) data.DataLink {
	return data.DataLink{Title: title, Internal: &data.InternalDataLink{DatasourceUID: l.uid, DatasourceName: l.name, Query: query}}
}

// trace asks a trace of what applications said of it, and of what was recorded.
func (l links) trace(id string) []data.DataLink {
	list := []data.DataLink{l.to("Calls of the trace", map[string]any{"queryType": "sequence", "trace": id})}
	if l.tracesUID == "" {
		return list
	}
	query := map[string]any{"query": id} // as Jaeger has it
	if l.tracesType != "jaeger" {
		query["queryType"] = "traceql"
	}
	return append(list, data.DataLink{Title: "Spans of the trace", Internal: &data.InternalDataLink{DatasourceUID: l.tracesUID, Query: query}})
}

// rows lists the exchanges of the question that a row of groups counts.
func (q *question) rows(by []selector.Key) data.DataLink {
	fields := map[selector.Key]string{}
	for _, key := range by {
		fields[key] = string(key)
	}
	return q.list(fields)
}

// list lists exchanges of the question whose keys are what the row's fields
// say. Backquotes: nothing in the value is special there.
func (q *question) list(fields map[selector.Key]string) data.DataLink {
	var conditions []string
	if !q.expr.All() {
		inside := strings.TrimSuffix(strings.TrimPrefix(q.expr.String(), "{"), "}")
		conditions = append(conditions, "("+inside+")")
	}
	for _, name := range selector.Keys() {
		if field, asked := fields[selector.Key(name)]; asked {
			conditions = append(conditions, name+"=`${__data.fields[\""+field+"\"]}`")
		}
	}
	return q.links.to("Exchanges", map[string]any{"queryType": "traffic", "selector": "{" + strings.Join(conditions, " && ") + "}"})
}

// linkSeries leads from each series to the exchanges of the question that it
// counts.
func (q *question) linkSeries(frame *data.Frame) data.Frames {
	for _, field := range frame.Fields {
		if field.Type() == data.FieldTypeTime {
			continue
		}
		expr := q.expr
		for _, name := range slices.Sorted(maps.Keys(field.Labels)) {
			// quantile is no key
			if condition, err := selector.Equals(name, field.Labels[name]); err == nil {
				expr = selector.Join(expr, condition)
			}
		}
		field.Config.Links = []data.DataLink{q.links.to("Exchanges", map[string]any{"queryType": "traffic", "selector": expr.String()})}
	}
	return data.Frames{frame}
}

// dashboardLink opens one of ours for the field's value, in the same time range.
func dashboardLink(title, uid, variable string) data.DataLink {
	return data.DataLink{Title: title, URL: "/d/" + uid + "?var-" + variable + "=${__value.raw:percentencode}&${__url_time_range}"}
}
