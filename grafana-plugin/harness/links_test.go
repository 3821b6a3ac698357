package harness

import (
	"maps"
	"regexp"
	"strings"
	"testing"

	"github.com/grafana/grafana-plugin-sdk-go/data"
)

// What a number counts is what its link lists: the query's own selector,
// direction and filters, and the series' labels.
func (v views) links(t *testing.T) {
	f := v.one(t, "errors", model{"measure": "error_count", "groupBy": []string{"service", "class"}, "direction": "inbound",
		"filters": []model{{"key": "host", "operator": "!=", "value": "nowhere"}}})
	listed := 0.0
	for _, field := range f.Fields[1:] {
		list := v.one(t, "traffic", linkOf(t, field, nil))
		listed += float64(list.Rows())
		if want := sum(field); float64(list.Rows()) != want {
			t.Errorf("%s: %d exchanges behind %v", field.Labels, list.Rows(), want)
		}
	}
	if listed == 0 {
		t.Error("no link lists anything")
	}
	f = v.one(t, "errors", model{"measure": "error_count"})
	if list := v.one(t, "traffic", linkOf(t, f.Fields[1], nil)); float64(list.Rows()) != sum(f.Fields[1]) {
		t.Errorf("%d exchanges behind %v errors", list.Rows(), sum(f.Fields[1]))
	}
	for kind, m := range map[string]model{"top": {"direction": "inbound"}, "dependencies": {"selector": `{service="orders"}`}} {
		f := v.one(t, kind, m)
		requests := column[float64](t, f, "requests")
		linked, _ := f.FieldByName(map[string]string{"top": "service", "dependencies": "dependency"}[kind])
		for i := range f.Rows() {
			fields := map[string]string{}
			for _, field := range f.Fields {
				if text, ok := field.At(i).(string); ok {
					fields[field.Name] = text
				}
			}
			if list := v.one(t, "traffic", linkOf(t, linked, fields)); float64(list.Rows()) != requests[i] {
				t.Errorf("%s row %d: %d exchanges behind %v", kind, i, list.Rows(), requests[i])
			}
		}
	}
}

var dataField = regexp.MustCompile(`\$\{__data\.fields\["(\w+)"\]\}`)

// linkOf is the query of a field's first link, with the row's fields in it as
// the browser's side writes them.
func linkOf(t *testing.T, field *data.Field, row map[string]string) model {
	t.Helper()
	if len(field.Config.Links) == 0 || field.Config.Links[0].Internal == nil {
		t.Fatalf("field %s has no link", field.Name)
	}
	m := maps.Clone(field.Config.Links[0].Internal.Query.(model))
	text := m["selector"].(string)
	m["selector"] = dataField.ReplaceAllStringFunc(text, func(found string) string { return row[dataField.FindStringSubmatch(found)[1]] })
	return m
}

// The inspector shows the SQL, with its values apart.
func (v views) statements(t *testing.T) {
	for _, kind := range []string{"traffic", "throughput", "errors", "latency", "heatmap", "top", "service_map", "dependencies"} {
		f := v.ask(t, kind, model{"selector": `{service="it's"}`})[0]
		text := f.Meta.ExecutedQueryString
		if !strings.Contains(text, "SELECT ") || !strings.Contains(text, `"it's"`) || strings.Contains(text, "'it") {
			t.Errorf("%s: executed %q", kind, text)
		}
	}
}
