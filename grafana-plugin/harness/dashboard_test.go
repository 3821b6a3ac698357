package harness

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every panel of every dashboard gets an answer with something in it.
func TestDashboardsAnswer(t *testing.T) {
	x, h := newIndex(t), start(t)
	x.write(inbound(hour), outbound(hour))
	who := x.source()
	names, err := filepath.Glob("../../deploy/dashboards/*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			Panels []struct {
				Title   string
				Targets []map[string]any
			}
		}
		// Variables are replaced by the browser's side; this one's value is the default.
		if err := json.Unmarshal([]byte(strings.ReplaceAll(string(raw), "$service", ".*")), &d); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				refID, kind := target["refId"].(string), target["queryType"].(string)
				if frame := oneFrame(t, ask(t, h, who, query(refID, kind, target))[refID]); frame.Rows() == 0 {
					t.Errorf("%s: panel %q shows nothing", name, p.Title)
				}
			}
		}
	}
}
