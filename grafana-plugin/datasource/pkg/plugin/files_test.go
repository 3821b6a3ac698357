package plugin

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What the backend, the browser's side, the dashboards and the provisioning
// have to agree on.

const (
	browserSide = "../../src"
	deploy      = "../../../../deploy"
	sourceUID   = "api-traffic"
)

func readJSON(t *testing.T, to any, name ...string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(name...))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, to); err != nil {
		t.Fatalf("%s: %v", filepath.Join(name...), err)
	}
}

func TestPluginJSON(t *testing.T) {
	var p struct {
		ID, Executable string
		Backend        bool
		Dependencies   struct{ GrafanaDependency string }
	}
	readJSON(t, &p, browserSide, "plugin.json")
	if p.ID != ID || p.Executable != "gpx_tapedeck" || !p.Backend || p.Dependencies.GrafanaDependency != ">=12.0.0" {
		t.Errorf("got %+v", p)
	}
}

func TestEditorOffersWhatTheBackendKnows(t *testing.T) {
	var offered []struct{ Value string }
	readJSON(t, &offered, browserSide, "query_types.json")
	var got []string
	for _, o := range offered {
		got = append(got, o.Value)
	}
	slices.Sort(got)
	if diff := cmp.Diff(knownTypes(), got); diff != "" {
		t.Error(diff)
	}
}

type source struct{ Type, UID string }

type dashboard struct {
	UID    string
	Panels []struct {
		Title      string
		DataSource source
		Targets    []struct {
			RefID, QueryType, Measure string
			DataSource                source
			Selector, Direction       string
			GroupBy                   []string
		}
	}
}

func TestDashboards(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(deploy, "dashboards", "*.json"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	uids := map[string]string{}
	for _, name := range names {
		var d dashboard
		readJSON(t, &d, name)
		if d.UID == "" || uids[d.UID] != "" {
			t.Errorf("%s has the uid %q, and so has %q", name, d.UID, uids[d.UID])
		}
		uids[d.UID] = name
		checkDashboard(t, d)
	}
}

func checkDashboard(t *testing.T, d dashboard) {
	ours := source{Type: ID, UID: sourceUID}
	for _, p := range d.Panels {
		if p.DataSource != ours || len(p.Targets) == 0 {
			t.Errorf("panel %q asks %+v %d times", p.Title, p.DataSource, len(p.Targets))
		}
		for _, target := range p.Targets {
			if target.DataSource != ours || !slices.Contains(knownTypes(), target.QueryType) {
				t.Errorf("panel %q asks %+v for %q", p.Title, target.DataSource, target.QueryType)
			}
			raw, err := json.Marshal(map[string]any{
				"selector": strings.ReplaceAll(target.Selector, "$service", ".*"), "direction": target.Direction,
				"measure": target.Measure, "groupBy": target.GroupBy,
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := readQuery(asked(string(raw))); err != nil {
				t.Errorf("panel %q: %v", p.Title, err)
			}
		}
	}
}

func TestProvisioningNamesTheSameSource(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(deploy, "grafana", "provisioning", "datasources", "tapedeck.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"uid: " + sourceUID, "type: " + ID} {
		if !strings.Contains(string(b), line+"\n") {
			t.Errorf("no line %q", line)
		}
	}
}
