package plugin

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/grafana/grafana-plugin-sdk-go/data"
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

type target struct {
	RefID, QueryType string
	DataSource       source
}

type dashboard struct {
	UID, Title string
	Tags       []string
	Panels     []struct {
		ID         int
		Title      string
		DataSource source
		Targets    []target
	}
	Templating struct {
		List []struct {
			Name       string
			DataSource source
		}
	}
	Annotations struct {
		List []struct {
			DataSource source
			Target     target
		}
	}
}

func TestDashboards(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(deploy, "dashboards", "*.json"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	uids, titles := map[string]string{}, map[string]string{}
	for _, name := range names {
		var d dashboard
		readJSON(t, &d, name)
		if d.UID == "" || uids[d.UID] != "" {
			t.Errorf("%s has the uid %q, and so has %q", name, d.UID, uids[d.UID])
		}
		if !slices.Contains(d.Tags, "tapedeck") {
			t.Errorf("%s has the tags %q: the menu of the others does not show it", name, d.Tags)
		}
		uids[d.UID], titles["dashboards/"+filepath.Base(name)] = name, d.Title
		checkDashboard(t, d)
	}
	checkLinks(t, uids)
	var p struct{ Includes []struct{ Name, Path string } }
	readJSON(t, &p, browserSide, "plugin.json")
	included := map[string]string{}
	for _, i := range p.Includes {
		included[i.Path] = i.Name
	}
	if diff := cmp.Diff(titles, included); diff != "" {
		t.Errorf("plugin.json includes other dashboards: %s", diff)
	}
}

// checkDashboard: what it asks is asked of our data source, by its fixed uid.
func checkDashboard(t *testing.T, d dashboard) {
	ours, ids := source{Type: ID, UID: sourceUID}, map[int]bool{}
	checkTarget := func(what string, target target) {
		if target.DataSource != ours && target.DataSource != (source{}) || !slices.Contains(knownTypes(), target.QueryType) {
			t.Errorf("%s: %s asks %+v for %q", d.UID, what, target.DataSource, target.QueryType)
		}
	}
	for _, p := range d.Panels {
		if p.DataSource != ours || len(p.Targets) == 0 || ids[p.ID] {
			t.Errorf("%s: panel %d, %q, asks %+v %d times", d.UID, p.ID, p.Title, p.DataSource, len(p.Targets))
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			checkTarget(p.Title, target)
		}
	}
	for _, v := range d.Templating.List {
		if v.DataSource != ours {
			t.Errorf("%s: variable %s asks %+v", d.UID, v.Name, v.DataSource)
		}
	}
	for _, a := range d.Annotations.List {
		if a.DataSource != ours {
			t.Errorf("%s: annotations ask %+v", d.UID, a.DataSource)
		}
		checkTarget("annotation", a.Target)
	}
}

// checkLinks: the dashboards that frames link to are there.
func checkLinks(t *testing.T, uids map[string]string) {
	service, endpoint := keyLinks("service", data.DataLink{}), keyLinks("endpoint", data.DataLink{})
	for _, l := range append(service, endpoint...) {
		if l.URL == "" {
			continue
		}
		uid, _, _ := strings.Cut(strings.TrimPrefix(l.URL, "/d/"), "?")
		if uids[uid] == "" {
			t.Errorf("%q leads to %s, which is no dashboard", l.Title, l.URL)
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
