package harness

import (
	"testing"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"
)

// Alert rules ask without a user and without variables. They take a frame by
// its type, version and schema; everything else they refuse or guess at.
func (v views) alerts(t *testing.T) {
	for kind, m := range map[string]model{
		"throughput": {"groupBy": []string{"service"}}, "errors": {"groupBy": []string{"service", "class"}}, "latency": {"groupBy": []string{"endpoint"}},
		"pipeline": {"measure": "lag"}, "top": nil, "dependencies": nil,
	} {
		f := oneFrame(t, v.alert(t, query("A", kind, m)))
		if f.Meta.TypeVersion != (data.FrameTypeVersion{0, 1}) {
			t.Errorf("%s: version %v: alert rules guess", kind, f.Meta.TypeVersion)
		}
		switch f.Meta.Type {
		case data.FrameTypeTimeSeriesWide:
			if len(f.Fields) == 0 {
				continue // no data, which rules understand; the pipeline's tapes are of now
			}
			if got := f.TimeSeriesSchema().Type; got != data.TimeSeriesTypeWide {
				t.Errorf("%s: the SDK reads it as %s", kind, got)
			}
			checkLabels(t, kind, f)
		case data.FrameTypeNumericLong:
			checkTable(t, f)
		default:
			t.Errorf("%s: type %q is none that rules take", kind, f.Meta.Type)
		}
	}
	// Of nothing: a frame of the type without fields, or zeros.
	for kind, fields := range map[string]int{"throughput": 2, "errors": 2, "latency": 0} {
		f := oneFrame(t, v.alert(t, query("A", kind, model{"selector": `{service="nobody"}`})))
		if f.Meta.Type != data.FrameTypeTimeSeriesWide || len(f.Fields) != fields {
			t.Errorf("%s of nothing: %d fields of %q, want %d", kind, len(f.Fields), f.Meta.Type, fields)
		}
	}
	if r := v.alert(t, query("A", "errors", model{"selector": `{service="$service"}`})); r.Status != backend.StatusBadRequest {
		t.Errorf("a rule with a variable: %d %v", r.Status, r.Error)
	}
	// A rule's rules are not those of the next panel.
	if r := ask(t, v.h, v.who, query("A", "errors", model{"selector": `{path=~"/$x"}`}))["A"]; r.Error != nil {
		t.Errorf("a panel after a rule: %v", r.Error)
	}
}

// checkLabels: series of a rule are told apart by their labels alone.
func checkLabels(t *testing.T, kind string, f *data.Frame) {
	t.Helper()
	seen := map[string]bool{}
	for _, field := range f.Fields[1:] {
		if labels := field.Labels.String(); seen[labels] {
			t.Errorf("%s: two series with the labels %s", kind, labels)
		} else {
			seen[labels] = true
		}
	}
}

func (v views) alert(t *testing.T, q backend.DataQuery) backend.DataResponse {
	t.Helper()
	who := v.who
	who.User = nil
	res, err := v.h.Query(t.Context(), &backend.QueryDataRequest{
		PluginContext: who, Headers: map[string]string{backend.FromAlertHeaderName: "true"}, Queries: []backend.DataQuery{q},
	})
	if err != nil {
		t.Fatal(err)
	}
	return res.Responses["A"]
}
