package programs

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tapedeck/capture/ca"
)

// TestNPM installs a package from a registry by TLS that is opened.
func TestNPM(t *testing.T) {
	npm := require(t, "npm")
	files := http.NewServeMux()
	o := newOrigin(t, files)
	registry := "https://" + o.name + ":" + o.tls
	publish(t, npm, files, registry)
	data := t.TempDir()
	record := []string{built(t), "record", "--data", data, "--service", "caller", "--upstream-ca", o.roots, "--outbound", freePort(t), "--"}
	install(t, npm, registry, ca.Variables(o.roots), nil)
	install(t, npm, registry, nil, record)
	list := onTape(t, data)
	for _, path := range []string{"/tiny", "/tiny/-/tiny-1.0.0.tgz"} {
		if strings.Count(list, `"path":"`+path+`"`) != 1 {
			t.Errorf("%s is not on tape once:\n%s", path, list)
		}
	}
}

const source = "module.exports = 'tiny';\n"

// publish packs a package of one file and puts it into the registry.
func publish(t *testing.T, npm string, files *http.ServeMux, registry string) {
	dir := t.TempDir()
	for name, text := range map[string]string{"package.json": `{"name":"tiny","version":"1.0.0"}`, "index.js": source} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var packed []struct{ Filename, Shasum, Integrity string }
	said := run(t, nil, npm, "pack", "--silent", "--json", "--offline", "--pack-destination", dir, dir)
	if err := json.Unmarshal([]byte(said), &packed); err != nil || len(packed) != 1 {
		t.Fatalf("npm pack says %s: %v", said, err)
	}
	version := map[string]any{"name": "tiny", "version": "1.0.0", "dist": map[string]any{
		"tarball": registry + "/tiny/-/tiny-1.0.0.tgz", "shasum": packed[0].Shasum, "integrity": packed[0].Integrity}}
	files.HandleFunc("GET /tiny", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"name": "tiny", "dist-tags": map[string]string{"latest": "1.0.0"}, "versions": map[string]any{"1.0.0": version}})
	})
	files.HandleFunc("GET /tiny/-/tiny-1.0.0.tgz", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join(dir, packed[0].Filename))
	})
}

// install runs npm behind a command, and looks at what came.
func install(t *testing.T, npm, registry string, variables, behind []string) {
	t.Helper()
	into := t.TempDir()
	variables = append(variables, "npm_config_cache="+t.TempDir(), "npm_config_update_notifier=false")
	run(t, variables, append(behind, npm, "install", "--no-audit", "--no-fund", "--fetch-retries=0", "--prefix", into, "--registry", registry+"/", "tiny")...)
	if got, err := os.ReadFile(filepath.Join(into, "node_modules/tiny/index.js")); err != nil || string(got) != source {
		t.Errorf("npm installed %q, %v", got, err)
	}
}
