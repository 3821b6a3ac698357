package harness

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/grafana/grafana-plugin-sdk-go/data"
)

var update = flag.Bool("update", false, "write testdata/frames.golden anew")

// The frames of every query type as they are on the wire: names, types, units,
// labels and links. Panels find fields by them.
func (v views) frames(t *testing.T) {
	var b strings.Builder
	for _, asked := range []struct {
		kind string
		model
	}{
		{"traffic", model{"selector": `{host="pay.example"}`}}, {"throughput", model{"groupBy": []string{"service"}}}, {"errors", model{"groupBy": []string{"class"}}},
		{"latency", nil}, {"heatmap", model{"selector": `{host="pay.example"}`}}, {"top", nil}, {"service_map", nil}, {"dependencies", nil},
		{"exchange", model{"exchange": v.ids[0].String()}}, {"sequence", model{"exchange": v.ids[0].String()}}, {"values", model{"key": "service"}},
		{"pipeline", model{"measure": "sources"}}, {"scenarios", nil}, {"replays", nil},
	} {
		for _, f := range v.ask(t, asked.kind, asked.model) {
			describe(&b, asked.kind, f)
		}
	}
	const file = "testdata/frames.golden"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("frames have changed; go test ./grafana-plugin/harness -run TestViews/frames -update writes them anew:\n%s", diff)
	}
}

func describe(b *strings.Builder, kind string, f *data.Frame) {
	fmt.Fprintf(b, "%s: frame %q, type %q %d.%d, shown as %q\n", kind, f.Name, f.Meta.Type, f.Meta.TypeVersion[0], f.Meta.TypeVersion[1], f.Meta.PreferredVisualization)
	for _, field := range f.Fields {
		fmt.Fprintf(b, "  %s %s", field.Name, field.Type())
		if len(field.Labels) > 0 {
			fmt.Fprintf(b, " {%s}", field.Labels)
		}
		if c := field.Config; c != nil {
			if c.Unit != "" {
				fmt.Fprintf(b, " in %s", c.Unit)
			}
			if c.DisplayNameFromDS != "" {
				fmt.Fprintf(b, " as %q", c.DisplayNameFromDS)
			}
			for _, l := range c.Links {
				fmt.Fprintf(b, " → %s", l.Title)
			}
		}
		b.WriteByte('\n')
	}
}
